"""`filters.jql` and other encoders in `filters.quality`: a score is head(encoder(text)); what does not fit is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curate.core.errors import CurateError
from curate.core.models import models_folder
from curate.core.stage import Context
from filters.encoders.options import PackedOptions, make_encoder
from filters.heads.card import Card, Labels, TrainedOn
from filters.heads.head import Layers, write_head
from filters.jql import STAGE, Jql, JqlConfig
from filters.quality import Quality, QualityConfig
from filters.registry import JQL_ENCODER, JQL_TEACHERS
from tests.filters.test_quality import batch
from tests.filters.tiny_encoders import TEXTS, write_gte

pytest.importorskip("torch", reason="needs curate[gpu]")

SIZE = 32
RNG = np.random.default_rng(8)


def card(name: str, encoder: str = JQL_ENCODER, **settings: Any) -> Card:
    return Card(
        format=1,
        name=name,
        about="a test",
        encoder=TrainedOn(name=encoder, checksum="", settings=settings, max_characters=65_536),
        layers=(SIZE, 10, 1),
        labels=Labels(about="none", minimum=0, maximum=5),
        metrics={},
        data="none",
        recipe="random",
        licence="Apache-2.0",
        weights_sha256="",
    )


def layers() -> Layers:
    return [
        (RNG.standard_normal((b, a)).astype(np.float32), RNG.standard_normal(b).astype(np.float32))
        for a, b in ((SIZE, 10), (10, 1))
    ]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gte(tmp_path_factory.mktemp("models") / JQL_ENCODER)


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Layers]]:
    folder = tmp_path_factory.mktemp("heads")
    made = {teacher: layers() for teacher in JQL_TEACHERS}
    for teacher, name in JQL_TEACHERS.items():
        write_head(made[teacher], card(name, pooling="cls", prefix="", normalize=True), folder)
    return folder, made


def context(scratch: Path) -> Context:
    return Context(models=models_folder(), scratch=scratch, offline=True)


def opened(model: Path, heads: Path, scratch: Path, **options: Any) -> Jql:
    given = {"model": str(model), "heads": str(heads), "device": "cpu", "dtype": "float32", "max_tokens": 64}
    step = STAGE(JqlConfig(**{**given, **options}))
    step.artifacts(context(scratch))
    step.open(context(scratch))
    return step


def test_embeddings_are_kept_for_the_next_step_and_apart_by_precision(
    model: Path, heads: tuple[Path, dict[str, Layers]], tmp_path: Path
) -> None:
    """The three heads see one encoding; another run finds it and has equal scores; other numbers are another folder."""
    texts = batch([*TEXTS, TEXTS[0]])
    options = {"model": str(model), "heads": str(heads[0]), "device": "cpu", "max_tokens": 64}

    def run(dtype: str) -> tuple[dict[str, list[Any]], dict[str, int]]:
        step = STAGE(JqlConfig.model_validate({**options, "dtype": dtype, "cache": str(tmp_path / "shared")}))
        step.open(replace(context(tmp_path), snapshot=step.snapshot(context(tmp_path))))
        step.begin()
        made = {name: column.to_pylist() for name, column in step.annotate(texts).items()}
        return made, dict(step.finish())

    different = len(set(TEXTS))
    first, counts = run("float32")
    assert counts == {"encoded": different, "cached": different}
    again, counts = run("float32")
    assert counts == {"reused": different}
    assert again == first
    other, counts = run("bfloat16")
    assert counts["encoded"] == different
    assert other != first
    assert len(list((tmp_path / "shared/embeddings").iterdir())) == 2


def test_one_column_for_each_head(model: Path, heads: tuple[Path, dict[str, Layers]], tmp_path: Path) -> None:
    step = opened(model, heads[0], tmp_path)
    found = step.annotate(batch(TEXTS))
    assert set(found) == set(step.writes())
    encoder = make_encoder(PackedOptions(use="packed", model=str(model), max_tokens=64))
    encoder.open()
    encoded = encoder.encode(pa.array(TEXTS), 65_536)
    read = encoded.n_tokens > 0
    assert found["scored"].to_pylist() == read.tolist()
    assert found["n_tokens"].to_pylist() == [n or None for n in encoded.n_tokens.tolist()]
    assert [t for t in found["truncated"].to_pylist() if t is not None] == encoded.truncated[read].tolist()
    for teacher in JQL_TEACHERS:
        (one, bias), (two, last) = heads[1][teacher]
        wanted = np.maximum(encoded.embeddings @ one.T + bias, 0) @ two[0] + last[0]
        scores = found[f"{teacher}_score"]
        assert scores.is_valid().to_pylist() == read.tolist()
        assert np.abs(scores.filter(pa.array(read)).to_numpy() - wanted[read]).max() < 1e-3


def test_the_preset_is_jqls(tmp_path: Path) -> None:
    options = JqlConfig().encoder()
    assert (options.model, options.max_tokens, options.pooling) == (JQL_ENCODER, 8192, "cls")
    assert (options.dtype, options.device, options.normalize) == ("bfloat16", "cuda", True)
    assert STAGE(JqlConfig()).resources().gpus == 1
    assert STAGE(JqlConfig(device="cpu")).resources().gpus == 0


def test_what_has_to_be_pulled_is_said_at_once(tmp_path: Path) -> None:
    step = STAGE(JqlConfig())
    with pytest.raises(CurateError) as caught:
        step.artifacts(Context(models=tmp_path, scratch=tmp_path))
    assert [(p.code, p.help) for p in caught.value.problems] == [
        ("E504", f"run: curate models pull {JQL_ENCODER}"),
        ("E504", "run: curate models pull jql-edu-heads && curate heads import jql-edu-heads"),
    ]


def test_a_head_of_another_encoder_or_pooling_is_refused(model: Path, tmp_path: Path) -> None:
    encoder = PackedOptions(use="packed", model=str(model), max_tokens=64)
    for made, why in [
        (
            card("other", "multilingual-e5-base"),
            rf"multilingual-e5-base \(of any checksum\), not for {JQL_ENCODER}",
        ),
        (card("pooled", pooling="mean"), "with pooling 'mean', not 'cls'"),
        (card("raw", normalize=False), "with normalize False, not True"),
    ]:
        head = write_head(layers(), made, tmp_path)
        step = Quality(QualityConfig(encoder=encoder, head=str(head)))
        for refuse in (step.artifacts, step.open):
            with pytest.raises(CurateError, match=why) as caught:
                refuse(context(tmp_path))
            assert caught.value.problems[0].code == "E508"


def test_several_heads_in_the_general_step(
    model: Path, heads: tuple[Path, dict[str, Layers]], tmp_path: Path
) -> None:
    paths = {t: str(heads[0] / f"{name}.safetensors") for t, name in JQL_TEACHERS.items()}
    encoder = PackedOptions(use="packed", model=str(model), max_tokens=64)
    step = Quality(QualityConfig(encoder=encoder, head=paths, unscored="drop"))
    files = step.artifacts(context(tmp_path))
    assert {"weights", "tokenizer", "config", "head/gemma_score", "card/llama_score"} <= set(files)
    step.open(context(tmp_path))
    found = step.annotate(batch(TEXTS))
    preset = opened(model, heads[0], tmp_path).annotate(batch(TEXTS))
    for name, column in preset.items():
        assert found[name].equals(column)
    assert found["reasons"].to_pylist() == [[] if s else ["unscored"] for s in found["scored"].to_pylist()]
    with pytest.raises(ValueError, match="min_score"):
        QualityConfig(encoder=encoder, head=paths, min_score=1)
    with pytest.raises(ValueError, match="names no head"):
        QualityConfig(head={})


def test_a_vector_that_is_no_number_fails_its_row(
    heads: tuple[Path, dict[str, Layers]], tmp_path: Path
) -> None:
    """A row of the embeddings that overflows: the texts with that token fail, the others have scores."""
    from safetensors.numpy import load_file, save_file

    folder = write_gte(tmp_path / JQL_ENCODER)
    tensors = load_file(folder / "model.safetensors")
    tokens = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    tensors["embeddings.word_embeddings.weight"][tokens["N"]] = np.inf
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    found = opened(folder, heads[0], tmp_path).annotate(batch(["one two", "N", "two one"]))
    assert found["failed"].to_pylist() == [None, f"the encoder {JQL_ENCODER} gives no number", None]
    assert found["gemma_score"].is_valid().to_pylist() == [True, False, True]
