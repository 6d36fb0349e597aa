"""GLiNER teachers: a model with the true architecture and random weights, as far as the package is installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curate.core.batch import DocBatch
from curate.core.errors import CurateError
from curate.core.stage import Context
from filters.ner_gliner import GlinerConfig, NerGliner
from filters.ner_merge import MergeConfig, NerMerge

INSTALLED = importlib.util.find_spec("gliner") is not None
TEXTS = ["Ada met Bob in Bonn.", "  ", "ذهب محمد إلى القاهرة", "one two " * 40]


def step(model: Path, **options: Any) -> NerGliner:
    return NerGliner(
        GlinerConfig.model_validate({"model": str(model), "types": ["person", "city"], **options})
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from gliner import GLiNER, GLiNERConfig
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("gliner")
    torch.manual_seed(1)
    letters = [chr(c) for c in (*range(33, 127), *range(0x627, 0x64B))]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{c}" for c in letters)]
    raw = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    marks = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=raw, **marks).save_pretrained(folder / "encoder")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(words), **sizes)).save_pretrained(folder / "encoder")
    config = GLiNERConfig(model_name=str(folder / "encoder"), hidden_size=16, max_width=4, max_len=40)
    GLiNER.from_config(config).save_pretrained(folder / "model")
    return folder / "model"


@pytest.mark.skipif(not INSTALLED, reason="gliner is not installed")
@pytest.mark.filterwarnings("ignore")
def test_what_a_model_finds_stands_where_it_says(model: Path, tmp_path: Path) -> None:
    context = Context(models=tmp_path, scratch=tmp_path, offline=True)
    teacher = step(model, threshold=0.4, nested=True)
    assert "gliner_config.json" in teacher.artifacts(context)
    teacher.open(context)
    record = pa.RecordBatch.from_pydict({"doc": pa.array(range(4), pa.int64()), "text": pa.array(TEXTS)})
    found = teacher.annotate(DocBatch(record))
    assert found["outcome"].to_pylist() == ["ok", "ok", "ok", "too_long"]
    said = found["mentions"].to_pylist()
    assert said[0]
    assert said[2]
    assert (said[1], said[3]) == ([], None)
    for text, mentions in zip(TEXTS, said, strict=True):
        for mention in mentions or ():
            assert text[mention["start"] : mention["end"]] == mention["text"]
            assert mention["label"] in ("person", "city")
    merge = NerMerge(MergeConfig(teachers=["gliner"], unanswered="keep"))
    merge.open(context)
    batch = DocBatch(record).append({"gliner__mentions": found["mentions"]})
    reasons = {r["reason"] for row in merge.annotate(batch)["rejects"].to_pylist() for r in row or ()}
    assert reasons <= {"overlaps_better"}
    none = step(model, threshold=1.0)
    none.open(context)
    assert none.annotate(DocBatch(record))["mentions"].to_pylist() == [[], [], [], None]


@pytest.mark.skipif(not INSTALLED, reason="gliner is not installed")
@pytest.mark.filterwarnings("ignore")
def test_models_that_are_none(model: Path, tmp_path: Path) -> None:
    context = Context(models=tmp_path, scratch=tmp_path)
    with pytest.raises(CurateError, match="E504"):
        step(tmp_path).artifacts(context)
    (tmp_path / "gliner_config.json").write_text("{}")
    with pytest.raises(CurateError, match="E507"):
        step(tmp_path).open(context)


@pytest.mark.skipif(INSTALLED, reason="gliner is installed")
def test_without_the_package(tmp_path: Path) -> None:
    with pytest.raises(CurateError, match="E502"):
        step(tmp_path).artifacts(Context(models=tmp_path, scratch=tmp_path))
