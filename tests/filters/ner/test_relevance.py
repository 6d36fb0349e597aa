"""`filters.ner_relevance`: passages with names score above those without, alone or in company, and heads are checked."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curate.core.batch import DocBatch
from curate.core.errors import CurateError
from curate.core.models import models_folder
from curate.core.stage import Context
from filters.encoders.encoder import Encoded, checksum
from filters.ner.names_encoder import WEIGHTS, Usem3Names, read_layers, write_layers
from filters.ner.relevance_head import SHIPPED, head_path, read_ner_head, write_ner_head
from filters.ner_relevance import NerRelevance, NerRelevanceConfig

NAMES = (
    "President Emmanuel Macron met Chancellor Angela Merkel in Berlin on Tuesday. The talks with Siemens, Airbus and the "
    "European Commission went on in Paris, where Ursula von der Leyen spoke for Brussels about Greece and Turkey."
)
PLAIN = (
    "You should always wash your hands before you cook. Cut the onions into small pieces and let them get soft in a little "
    "oil, then add the rice and some water. Stir it from time to time until all of it is done and serve it warm."
)
CHINESE = (
    "习近平主席星期二在北京会见法国总统马克龙。中国外交部和欧盟委员会发表声明。",
    "做饭之前要洗手。把洋葱切成小块，放一点油炒软。",
)
TEXTS = [
    NAMES,
    PLAIN,
    *CHINESE,
    "Ünnepi beszéd Budapesten, Kovács János és Nagy Péter előtt.",
    "ez egy rövid szöveg nevek nélkül.",
    "",
]
LANGUAGES = ["eng_Latn", "eng_Latn", "cmn_Hani", "cmn_Hani", "hun_Latn", "hun_Latn", None]


@pytest.fixture(scope="module")
def step(tmp_path_factory: pytest.TempPathFactory) -> NerRelevance:
    return opened(tmp_path_factory.mktemp("scratch"), min_prob=0.4)


def opened(scratch: Path, **options: Any) -> NerRelevance:
    made = NerRelevance(NerRelevanceConfig(**options))
    context = Context(models=models_folder(), scratch=scratch, offline=True)
    made.artifacts(context)
    made.open(context)
    return made


def batch(rows: list[int], *, languages: bool = True) -> DocBatch:
    columns = {"doc": pa.array(rows, pa.int64()), "text": pa.array([TEXTS[r] for r in rows], pa.string())}
    if languages:
        columns["lid__lang"] = pa.array([LANGUAGES[r] for r in rows], pa.string())
    return DocBatch(pa.RecordBatch.from_pydict(columns), language="lid__lang" if languages else None)


def test_passages_with_names_score_above_those_without(step: NerRelevance) -> None:
    found = {name: column.to_pylist() for name, column in step.annotate(batch(list(range(7)))).items()}
    score = found["score"]
    for rich in (0, 2, 4):
        assert score[rich] > score[rich + 1] + 0.3
    assert all(1 <= value <= 4 for value in score)
    assert found["embedded"] == [True] * 4 + [False] * 3
    assert found["reasons"][0] == []
    assert found["reasons"][1] == ["low_prob"]
    assert all((p < 0.4) == (r == ["low_prob"]) for p, r in zip(found["prob"], found["reasons"], strict=True))


def test_a_score_does_not_depend_on_what_stands_beside_it(step: NerRelevance) -> None:
    together = step.annotate(batch(list(range(7))))["score"]
    alone = [step.annotate(batch([row]))["score"][0].as_py() for row in reversed(range(7))]
    assert together.to_pylist() == alone[::-1]


def test_a_vector_that_is_no_number_fails_its_row(
    step: NerRelevance, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = step.annotate(batch([0, 1, 2]))["score"].to_pylist()
    assert step._vectors is not None
    encode = step._vectors.encode

    def broken(texts: pa.StringArray, counts: Counter[str]) -> Encoded:
        made = encode(texts, counts)
        made.embeddings[1, 7] = np.nan
        return made

    monkeypatch.setattr(step._vectors, "encode", broken)
    found = step.annotate(batch([0, 1, 2]))
    assert found["failed"].to_pylist() == [None, "the encoder gives no number", None]
    score = found["score"].to_pylist()
    assert (score[0], score[2]) == (wanted[0], wanted[2])


def test_without_languages_everything_is_embedded(step: NerRelevance) -> None:
    assert step.annotate(batch([0, 4], languages=False))["embedded"].to_pylist() == [True, True]


def test_the_card_states_what_was_reached() -> None:
    card = read_ner_head(head_path("ner-usem3")).card
    figures = np.array(list(card.held_out.values()))
    assert set(card.metrics) == {"spearman_mean", "macro_f1_mean"}
    assert np.allclose(
        figures.mean(axis=0), [card.metrics["spearman_mean"], card.metrics["macro_f1_mean"]], atol=1e-3
    )
    assert card.licence == "CC-BY-SA-4.0"


def copied(tmp_path: Path) -> Path:
    for name in ("ner-usem3.safetensors", "ner-usem3.json"):
        shutil.copy(SHIPPED / name, tmp_path / name)
    return tmp_path / "ner-usem3.safetensors"


def test_a_head_of_ones_own_brings_its_network(tmp_path: Path, step: NerRelevance) -> None:
    """Another network beside a copy of the head: other figures of the tokens, other scores; and its card must be its own."""
    path, own = copied(tmp_path), tmp_path / WEIGHTS.name
    first, (weight, bias) = read_layers(WEIGHTS)
    write_layers((first, (weight * 0.5, bias + 1)), own)
    with pytest.raises(CurateError, match="E508"):
        opened(tmp_path, head=str(path))
    head = read_ner_head(path)
    trained = head.card.encoder.model_copy(update={"checksum": checksum(Usem3Names(own).files())})
    card = head.card.model_copy(update={"name": "mine", "encoder": trained})
    mine = write_ner_head(card, head._embedding, head._surface, tmp_path, head._alone)
    found = opened(tmp_path, head=str(mine)).annotate(batch([0, 1]))["score"].to_pylist()
    shipped = step.annotate(batch([0, 1]))["score"].to_pylist()
    assert found[1] > shipped[1] + 0.1  # every token is more of a name to it


def test_a_head_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    for head, code in (("ner-usme3", "C207"), ("/nowhere/x.safetensors", "C207")):
        with pytest.raises(CurateError, match=code):
            opened(tmp_path, head=head)
    path = copied(tmp_path)
    path.with_suffix(".json").unlink()
    with pytest.raises(CurateError, match="E507"):
        opened(tmp_path, head=str(path))
    path = copied(tmp_path)
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(CurateError, match="SHA-256"):
        opened(tmp_path, head=str(path))
    path = copied(tmp_path)
    card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    card["encoder"]["checksum"] = "0" * 64
    path.with_suffix(".json").write_text(json.dumps(card), encoding="utf-8")
    with pytest.raises(CurateError, match="E508"):
        opened(tmp_path, head=str(path))
    head = read_ner_head(head_path("ner-usem3"))
    strange = write_ner_head(
        head.card.model_copy(update={"surface": ("marks",)}), np.zeros(512), np.zeros(1), tmp_path
    )
    with pytest.raises(CurateError, match="it is for the surface marks"):
        read_ner_head(strange)
