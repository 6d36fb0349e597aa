"""Embeddings outlive the pass that made them: another head, threshold or run finds them, and nothing published tells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.corpus import TEXTS, write_parquet
from tests.e2e.cli import Place
from tests.e2e.run_folder import done_records, published

CONFIG = """
input: {path: in/*.parquet}
steps:
  - {use: filters.quality, as: edu, max_characters: 60}
  - {use: filters.quality, as: again, max_characters: 60, min_score: -9}
publish:
  - {name: all, path: out/all}
"""
FOUND = ("near one", "cyrillic", "han", "arabic", "exact one")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Two shards; the second has a text of the first, and one of its own."""
    place = Place(tmp_path_factory.mktemp("embeddings") / "work")
    for number, names in enumerate((FOUND, (FOUND[0], "controls and emoji"))):
        write_parquet(place / f"in/{number}.parquet", [{"id": n, "text": TEXTS[n]} for n in names])
    place.config(CONFIG)
    place.run(workers=2).succeeded()
    return place


def counts(place: Place, run: str = "job") -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = place.report(run)["jobs"]
    return found


def snapshot(place: Place, run: str = "job") -> list[Any]:
    plan = json.loads((place / f"runs/{run}/plan.json").read_text())
    return [step["snapshot"] for phase in plan["phases"] for step in phase["steps"]]


def shards(place: Place) -> list[Path]:
    return sorted((place / "runs/job/cache/embeddings").glob("usem3-*/*.arrow"))


def test_embeddings_are_found_again_and_make_no_difference(place: Place) -> None:
    """One story, since each run of it costs seconds."""
    assert counts(place) == {"edu": {"encoded": 7, "cached": 7}, "again": {"reused": 7}}
    assert len(shards(place)) == 2
    assert snapshot(place) == [[], []]
    first = published(place / "out/all")
    _is_told_how_fast(place)

    # A unit that is lost is done again as it was done before, though its embeddings are there by now.
    overlay = next((place / "runs/job/overlays/pass1").glob("000001.*"))
    overlay.unlink()
    place.run().succeeded()
    assert snapshot(place) == [[], []]
    assert counts(place)["edu"] == {"encoded": 7, "cached": 7}
    assert len(shards(place)) == 2
    assert published(place / "out/all") == first

    # Another threshold takes all of them from the cache.
    place.run("--set", "steps.again.min_score=9").succeeded()
    assert snapshot(place) == [[path.name for path in shards(place)]] * 2
    assert counts(place) == {"edu": {"reused": 7}, "again": {"reused": 7}}
    assert place.report()["encoders"] == []
    assert place.report()["rows_kept"] == 0

    # So does another run that shares them, and publishes the same.
    sets = [part for step in ("edu", "again") for part in ("--set", f"steps.{step}.cache=runs/job/cache")]
    place.run("--run-dir", "runs/other", "--set", "publish.all.path=out/other", *sets).succeeded()
    assert counts(place, "other")["edu"] == {"reused": 7}
    assert not (place / "runs/other/cache").exists()
    assert published(place / "out/other") == first


def _is_told_how_fast(place: Place) -> None:
    """Tokens are those of the column; busy seconds lie within the units' own; the report has the sum of the done-files."""
    columns = [
        pq.read_table(path, columns=["edu__n_tokens"]).column(0)
        for path in (place / "out/all").rglob("*.parquet")
    ]
    tokens = sum(pc.sum(column).as_py() for column in columns)
    units = [
        record["facts"]["encoders"]["usem3"] for record in done_records(place / "runs/job")["pass1"].values()
    ]
    assert len(units) == 2
    assert all(unit["tokens"] > 0 and 0 < unit["busy_seconds"] < unit["seconds"] < 60 for unit in units)
    (entry,) = place.report()["encoders"]
    assert (entry["phase"], entry["encoder"], entry["tokens"]) == ("pass1", "usem3", tokens)
    assert entry["tokens"] == sum(unit["tokens"] for unit in units)
    assert entry["busy_seconds"] == pytest.approx(sum(unit["busy_seconds"] for unit in units), abs=2e-3)
    assert entry["busy_share"] == pytest.approx(entry["busy_seconds"] / entry["seconds"], rel=0.02)
    assert entry["tokens_per_second"] == pytest.approx(tokens / entry["seconds"], rel=0.02)
    assert json.loads(place.curate("status", "job", "--json").out)["encoders"] == [entry]
    assert "usem3 in pass1: " in place.curate("report", "job").out
