"""`filters.quality`: scores that order documents, null where the encoder cannot judge, quarantine for what is no number."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from ruamel.yaml import YAML
from safetensors.numpy import load_file

from curate.core.batch import DocBatch
from curate.core.errors import CurateError
from curate.core.models import models_folder
from curate.core.stage import Context
from filters.encoders.usem3 import Usem3
from filters.heads.card import TrainedOn, read_card, weights_path
from filters.heads.head import write_head
from filters.heads.training.recipe import Recipe
from filters.heads.training.train import train
from filters.quality import Quality, QualityConfig

LESSON = (
    "Photosynthesis is the process by which green plants make sugar from carbon dioxide and water. Chlorophyll absorbs "
    "light; its energy splits water into oxygen and hydrogen. Students can observe this by counting the bubbles that a "
    "water plant gives off near a lamp."
)
AD = "BUY NOW!!! Cheap watches, best price, free shipping today only. Click here, sign up, win a voucher! Casino bonus."
TEXTS = [LESSON, AD, "Lezione di prova", LESSON + " " + AD]
LANGUAGES = ["eng_Latn", "eng_Latn", "fin_Latn", None]


def opened(tmp_path: Path, **options: Any) -> Quality:
    step = Quality(QualityConfig(**options))
    context = Context(models=models_folder(), scratch=tmp_path, offline=True)
    step.artifacts(context)
    step.open(context)
    return step


def batch(texts: list[str], languages: list[str | None] | None = None) -> DocBatch:
    columns = {"doc": pa.array(range(len(texts)), pa.int64()), "text": pa.array(texts, pa.string())}
    if languages is not None:
        columns["lid__lang"] = pa.array(languages, pa.string())
    return DocBatch(pa.RecordBatch.from_pydict(columns), language=None if languages is None else "lid__lang")


def columns(step: Quality, documents: DocBatch) -> dict[str, list[Any]]:
    return {name: column.to_pylist() for name, column in step.annotate(documents).items()}


def test_a_lesson_scores_above_an_advertisement(tmp_path: Path) -> None:
    found = columns(opened(tmp_path), batch(TEXTS))
    assert found["score"][0] > found["score"][1] + 1
    assert found["scored"] == [True] * 4
    assert set(found) == {"score", "scored", "n_tokens", "truncated"}


def test_languages_that_the_encoder_does_not_know_are_not_scored(tmp_path: Path) -> None:
    found = columns(opened(tmp_path), batch(TEXTS, LANGUAGES))
    assert found["scored"] == [True, True, False, False]
    for name in ("score", "n_tokens", "truncated"):
        assert [value is None for value in found[name]] == [False, False, True, True]
    dropped = columns(opened(tmp_path, unscored="drop"), batch(TEXTS, LANGUAGES))
    assert dropped["reasons"] == [[], [], ["unscored"], ["unscored"]]
    assert dropped["score"] == found["score"]


def test_a_text_without_tokens_is_not_scored(tmp_path: Path) -> None:
    found = columns(opened(tmp_path, unscored="drop"), batch(["\u3000\xa0", LESSON]))
    assert found["scored"] == [False, True]
    assert found["reasons"] == [["unscored"], []]


def test_min_score_drops_what_is_below_and_not_what_has_no_score(tmp_path: Path) -> None:
    found = columns(opened(tmp_path, min_score=1.5), batch(TEXTS, LANGUAGES))
    assert found["reasons"] == [[], ["low_score"], [], []]


def test_the_head_says_how_many_characters_are_read_unless_the_config_does(tmp_path: Path) -> None:
    most = read_card(weights_path("edu-usem3")).encoder.max_characters
    long = batch([LESSON * 20, LESSON * 20 + AD, LESSON])
    found = columns(opened(tmp_path), long)
    assert len(LESSON * 20) > most
    assert found["truncated"] == [True, True, False]
    assert found["score"][0] == found["score"][1]
    shorter = columns(opened(tmp_path, max_characters=len(LESSON)), long)
    assert shorter["score"] == [shorter["score"][2]] * 3
    assert shorter["truncated"] == [True, True, False]


def test_more_characters_than_the_tokenizer_is_given_are_refused() -> None:
    assert QualityConfig(max_characters=65_536).max_characters == 65_536
    with pytest.raises(ValueError, match="max_characters"):
        QualityConfig(max_characters=65_537)
    TrainedOn(name="usem3", checksum="", max_characters=65_536)
    with pytest.raises(ValueError, match="max_characters"):
        TrainedOn(name="usem3", checksum="", max_characters=65_537)


def test_scores_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    step = opened(tmp_path)
    together = step.annotate(batch(TEXTS * 50))["score"]
    alone = [step.annotate(batch([text]))["score"][0].as_py() for text in TEXTS]
    assert together.to_pylist() == alone * 50
    assert len(step.annotate(batch([]))["score"]) == 0


def test_a_score_that_is_no_number_fails_its_row(tmp_path: Path) -> None:
    """Weights that overflow for one side of the space: those rows fail, the others have scores."""
    card = read_card(weights_path("edu-usem3"))
    encoder = Usem3()
    encoder.open()
    vectors = encoder.encode(pa.array([LESSON, AD]), 2000).embeddings
    weights = np.where(vectors[0] > vectors[1], np.sign(vectors[0]), 0)[None, :] * np.float32(3e38)
    exact = vectors.astype(np.float64) @ weights[0]
    assert (np.abs(exact) > 3.4e38).tolist() == [True, False]
    head = write_head([(weights, np.zeros(1))], card, tmp_path)
    documents = batch([LESSON, AD, "Lezione"], ["eng_Latn", "eng_Latn", "fin_Latn"])
    found = opened(tmp_path, head=str(head)).annotate(documents)
    failed = found["failed"].to_pylist()
    assert "no number" in failed[0]
    assert failed[1:] == [None, None]
    assert found["score"].to_pylist()[0] is None


def test_a_head_for_another_encoder_is_refused_before_work_starts(tmp_path: Path) -> None:
    card = read_card(weights_path("edu-usem3"))
    other = card.model_copy(update={"encoder": TrainedOn(name="usem3", checksum="0" * 64, max_characters=9)})
    head = write_head([(np.zeros((1, 512)), np.zeros(1))], other, tmp_path)
    step = Quality(QualityConfig(head=str(head)))
    context = Context(models=models_folder(), scratch=tmp_path, offline=True)
    for refuse in (lambda: step.artifacts(context), lambda: step.open(context)):
        with pytest.raises(CurateError, match="E508"):
            refuse()


def test_the_encoder_and_the_head_enter_the_fingerprint(tmp_path: Path) -> None:
    step = Quality(QualityConfig())
    found = step.artifacts(Context(models=models_folder(), scratch=tmp_path, offline=True))
    assert set(found) == {"weights", "tokenizer", "head", "card", "library/sentencepiece"}
    version = importlib.metadata.version("sentencepiece")
    assert f"\nVersion: {version}\n" in found["library/sentencepiece"].read_text(encoding="utf-8")
    assert json.loads(found["card"].read_text())["name"] == "edu-usem3"


ROOT = Path(__file__).resolve().parents[2]
SCORED = ROOT.parent / "shared/data/edu-scored/edu_scored_eng.jsonl.zst"


@pytest.mark.slow
@pytest.mark.skipif(not SCORED.exists(), reason="needs the documents with scores beside the project")
def test_the_shipped_head_is_what_its_recipe_makes(tmp_path: Path) -> None:
    """The weights, but for the last bits, and the correlation that its card promises."""
    raw = YAML(typ="safe", pure=True).load((ROOT / "configs/heads/edu.yaml").read_text())
    raw["labels"][0]["path"] = str(SCORED)
    made = train(Recipe.model_validate({**raw, "seeds": 1, "output": str(tmp_path)}))
    assert made.metrics["spearman_mean"] >= 0.60
    mine, shipped = load_file(made.head), load_file(weights_path("edu-usem3"))
    assert all(np.allclose(mine[name], shipped[name], atol=1e-4) for name in shipped)
    assert read_card(made.head).encoder == read_card(weights_path("edu-usem3")).encoder
