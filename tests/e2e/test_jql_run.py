"""`filters.jql` in a run, with encoder and heads of the true form and random weights where the models folder has them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file, save_file

from filters.registry import JQL_ENCODER, JQL_HEADS, JQL_TEACHERS
from tests.corpus import write_parquet
from tests.e2e.cli import Place
from tests.filters.tiny_encoders import PROSE, write_gte, write_heads

pytest.importorskip("torch", reason="needs curate[gpu]")

ROOT = Path(__file__).parents[2]
COLUMNS = [f"jql__{teacher}_score" for teacher in JQL_TEACHERS]
CONFIG = f"""
input: {{path: in/*.parquet}}
steps:
  - {{use: filters.jql, as: jql, device: cpu, dtype: float32, max_tokens: 200, batch_tokens: 500}}
  - {{use: filters.quantile, columns: {json.dumps(COLUMNS)}, keep: {{all: 0.4}}}}
publish: [{{name: all, path: out/all}}]
"""


@pytest.fixture
def pulled(place: Place) -> Place:
    """Models as `curate models pull` and `curate heads import` leave them; the encoder overflows at the letter `N`."""
    models = place / "models"
    model = write_gte(models / JQL_ENCODER)
    write_heads(models / JQL_HEADS)
    tensors = load_file(model / "model.safetensors")
    vocabulary = json.loads((model / "tokenizer.json").read_text())["model"]["vocab"]
    tensors["embeddings.word_embeddings.weight"][vocabulary["N"]] = np.inf
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    texts = [f"{text[: 40 + 3 * number]} {number}" for number in range(12) for text in PROSE[:3]]
    rows = [{"id": f"row {at}", "text": text} for at, text in enumerate(texts)]
    rows += [{"id": "odd", "text": "N"}, {"id": "nothing", "text": "\u9f98"}]
    for shard, part in enumerate((rows[:20], rows[20:])):
        write_parquet(place / f"in/{shard}.parquet", part)
    place.config(CONFIG)
    return place


def kept_by(place: Place) -> list[dict[str, Any]]:
    tables = [pq.read_table(path) for path in (place / "out/all").rglob("*.parquet")]
    return [row for table in tables for row in table.to_pylist()]


def test_scores_select_and_what_is_no_number_is_quarantined(pulled: Place) -> None:
    models = {"CURATE_MODELS": str(pulled / "models")}
    pulled.run(environment=models).succeeded()
    report = pulled.report()
    assert (report["rows_in"], report["quarantine"]["rows"]) == (38, 1)
    assert report["jobs"]["jql"] == {"encoded": 38, "cached": 37}
    quarantine = pq.read_table(next((pulled / "runs/job/quarantine").rglob("*.parquet"))).to_pylist()
    assert [JQL_ENCODER in str(row) and "gives no number" in str(row) for row in quarantine] == [True]
    kept = kept_by(pulled)
    scored = [row for row in kept if row["jql__scored"]]
    assert 0 < len(scored) < 30
    for column in COLUMNS:  # every head puts them among its best 60 %, that is the 22 best of 36
        assert all(row[column] is not None for row in scored)
    assert {"nothing"} <= {row["id"] for row in kept}

    # Asked for a GPU that is not there, a run does not begin.
    shutil.rmtree(pulled / "runs/job")
    hidden = {**models, "CUDA_VISIBLE_DEVICES": ""}
    result = pulled.run("--set", "steps.jql.device=cuda", environment=hidden)
    result.failed_with("E509", exit_code=2)
    assert "needs 1 GPU" in result.err
    assert not list((pulled / "runs/job").glob("logs/worker*"))


def test_the_config_is_checked_without_models(place: Place) -> None:
    shutil.copytree(ROOT / "configs", place / "configs")
    write_parquet(place / "data/sample/0.parquet", [{"id": "a", "text": "b"}])
    empty = {"CURATE_MODELS": str(place / "none")}
    result = place.curate("check", "configs/jql.yaml", environment=empty)
    result.failed_with("E504", "E504", exit_code=2)
    assert f"run: curate models pull {JQL_ENCODER}\n" in result.err
    assert f"run: curate models pull {JQL_HEADS} && curate heads import {JQL_HEADS}\n" in result.err
    models = place / "models"
    config = write_gte(models / JQL_ENCODER) / "config.json"
    config.write_text(
        config.read_text().replace('"max_position_embeddings": 256', '"max_position_embeddings": 8192')
    )
    write_heads(models / JQL_HEADS)
    place.curate("check", "configs/jql.yaml", environment={"CURATE_MODELS": str(models)}).succeeded()
