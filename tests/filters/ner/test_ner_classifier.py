"""`classifier:` of `filters.ner_relevance`: XLM-R of the true architecture with random weights, against transformers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from curate.core.batch import DocBatch
from curate.core.errors import CurateError
from curate.core.stage import Context
from filters.ner.classifier import ratings
from filters.ner_relevance import NerRelevance, NerRelevanceConfig
from tests.filters import tiny_encoders as tiny

torch = pytest.importorskip("torch", reason="needs curate[gpu]")
transformers = pytest.importorskip("transformers", reason="needs curate[gpu]")

TEXTS = [*tiny.TEXTS, "x" * 2000]


def write_classifier(folder: Path, labels: int, middle: float = 0.0) -> Path:
    config = transformers.XLMRobertaConfig(
        vocab_size=tiny.write_tokenizer(folder), hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=48, max_position_embeddings=130, type_vocab_size=1, pad_token_id=tiny.PAD,
        num_labels=labels,
    )  # fmt: skip
    model = tiny._stirred(transformers.XLMRobertaForSequenceClassification(config), labels)
    with torch.no_grad():  # values about the middle of what it was trained on
        model.classifier.out_proj.bias.add_(middle)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[Any, Path]:
    root = tmp_path_factory.mktemp("classifiers")
    made = {labels: write_classifier(root / f"xlmr-{labels}", labels) for labels in (2, 4)}
    one = {1: write_classifier(root / "xlmr-1", 1, 0.5), "rating": write_classifier(root / "rating", 1, 2.5)}
    return {**made, **one}


def opened(
    tmp_path: Path, folder: Path, context: dict[str, Any] | None = None, **options: Any
) -> NerRelevance:
    own = {"target": options.pop("target")} if "target" in options else {}
    step = NerRelevance(
        NerRelevanceConfig.model_validate(
            {"classifier": {"model": str(folder), "max_tokens": 64, **own}, **options}
        )
    )
    given = Context(models=tmp_path, scratch=tmp_path, **(context or {}))
    step.artifacts(given)
    step.open(given)
    return step


def batch(texts: list[str]) -> DocBatch:
    columns = {
        "doc": pa.array(range(len(texts)), pa.int64()),
        "text": pa.array(texts, pa.string()),
        "lang": pa.array(["xho_Latn"] * len(texts)),
    }
    return DocBatch(pa.RecordBatch.from_pydict(columns), language="lang")


def said_by_transformers(folder: Path) -> list[Any]:
    """Its logits text by text, in float64; None where its tokenizer finds nothing."""
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    found = []
    for text in TEXTS:
        ids = tokenizer(text)["input_ids"]
        ids = ids if len(ids) <= 64 else [*ids[:63], ids[-1]]
        with torch.inference_mode():
            found.append(
                model(torch.tensor([ids])).logits[0].double().numpy().tolist() if len(ids) > 2 else None
            )
    return found


def expected(values: list[float], target: str) -> tuple[float, float]:
    if len(values) == 1:
        (value,) = values
        if target == "rating":
            score = min(max(value, 1), 4)
            return score, min(max(score - 2, 0), 1)
        prob = min(max(value, 0), 1)
        return 1 + 3 * prob, prob
    powers = [float(np.exp(value)) for value in values]
    shares = [power / sum(powers) for power in powers]
    if len(values) == 2:
        return 1 + 3 * shares[1], shares[1]
    return sum((i + 1) * share for i, share in enumerate(shares)), shares[2] + shares[3]


@pytest.mark.parametrize("kind", [1, "rating", 2, 4])
def test_scores_are_what_the_classifier_says(
    tmp_path: Path, folders: dict[Any, Path], kind: int | str
) -> None:
    target = "rating" if kind == "rating" else "binary"
    found = opened(tmp_path, folders[kind], target=target, min_prob=0.5).annotate(batch(TEXTS))
    said = said_by_transformers(folders[kind])
    wanted = [(1.0, 0.0) if values is None else expected(values, target) for values in said]
    score, prob = (np.array(found[name].to_pylist()) for name in ("score", "prob"))
    assert np.allclose(score, [w[0] for w in wanted], atol=5e-3)  # float16 in the cache
    assert np.allclose(prob, [w[1] for w in wanted], atol=5e-3)
    assert found["embedded"].to_pylist() == [values is not None for values in said]
    assert [r == ["low_prob"] for r in found["reasons"].to_pylist()] == (prob < 0.5).tolist()
    assert prob.std() > 0.01


def test_what_one_head_made_another_finds(tmp_path: Path, folders: dict[Any, Path]) -> None:
    step = opened(tmp_path, folders[1], {"cache": tmp_path / "cache"})
    first = step.annotate(batch(TEXTS))
    counts = step.finish()
    assert counts["encoded"] == counts["cached"] == len(set(TEXTS))
    given = Context(models=tmp_path, scratch=tmp_path, cache=tmp_path / "cache")
    names = step.snapshot(given)
    assert len(names) == 1
    again = opened(
        tmp_path, folders[1], {"cache": tmp_path / "cache", "snapshot": names}, target="rating", min_prob=0.1
    )
    second = again.annotate(batch(TEXTS))
    assert again.finish() == {"reused": len(set(TEXTS))}
    assert second["embedded"].equals(first["embedded"])
    assert opened(tmp_path, folders[1], cache=False).snapshot(given) == ()


def test_one_value_of_many_labels_is_a_probability() -> None:
    found = ratings(np.array([[0.0], [3.0], [-800.0]]), "binary", sigmoid=True)
    assert found.prob.tolist() == pytest.approx([0.5, 1 / (1 + np.exp(-3)), 0])


def test_folders_that_are_no_classifier(tmp_path: Path, folders: dict[Any, Path]) -> None:
    def changed(name: str, **changes: Any) -> Path:
        folder = shutil.copytree(folders[4], tmp_path / name)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, **changes}))
        return folder

    with pytest.raises(CurateError, match=r"E507.*architecture is XLMRobertaModel"):
        opened(tmp_path, changed("encoder", architectures=["XLMRobertaModel"]))
    with pytest.raises(CurateError, match=r"E507.*it gives 3 values"):
        opened(tmp_path, changed("three", id2label={str(i): str(i) for i in range(3)}))
    with pytest.raises(CurateError, match="E507"):
        opened(tmp_path, changed("two", id2label={"0": "no", "1": "yes"}, label2id={"no": 0, "yes": 1}))
    bare = tiny.write_xlm_roberta(tmp_path / "bare")
    config = json.loads((bare / "config.json").read_text())
    (bare / "config.json").write_text(
        json.dumps({**config, "architectures": ["XLMRobertaForSequenceClassification"]})
    )
    with pytest.raises(CurateError, match=r"E507.*its weights lack 4 tensors, the first is classifier"):
        opened(tmp_path, bare)
    (folder := changed("torn")).joinpath("model.safetensors").unlink()
    with pytest.raises(CurateError, match="E507"):
        opened(tmp_path, folder)
    with pytest.raises(ValidationError, match="a classifier has no head"):
        NerRelevanceConfig.model_validate({"head": "x", "classifier": {"model": "y"}})
