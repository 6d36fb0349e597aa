"""Heads: what is applied is what the file says, and files that do not fit are refused with what is wrong."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from curate.core.errors import CurateError
from filters.heads.card import (
    SHIPPED,
    Card,
    Labels,
    TrainedOn,
    card_path,
    check_encoder,
    shipped,
    weights_path,
)
from filters.heads.head import Layers, read_head, write_head

RNG = np.random.default_rng(5)


def layers(*widths: int) -> Layers:
    return [
        (RNG.standard_normal((b, a)).astype(np.float32) / a**0.5, RNG.standard_normal(b).astype(np.float32))
        for a, b in pairwise(widths)
    ]


def card(*widths: int) -> Card:
    return Card(
        format=1,
        name="toy",
        about="a test",
        encoder=TrainedOn(name="usem3", checksum="ab" * 32, max_characters=100),
        layers=widths,
        labels=Labels(about="none", minimum=0, maximum=5),
        metrics={},
        data="none",
        recipe="random",
        licence="Apache-2.0",
        weights_sha256="",
    )


@pytest.mark.parametrize("widths", [(512, 1), (768, 1000, 1), (20, 33, 7, 1)])
def test_a_head_is_linear_layers_with_relu_between(tmp_path: Path, widths: tuple[int, ...]) -> None:
    made = layers(*widths)
    head = read_head(write_head(made, card(*widths), tmp_path))
    vectors = RNG.standard_normal((1500, widths[0])).astype(np.float32)
    values = vectors.astype(np.float64)
    for number, (weight, bias) in enumerate(made):
        values = values @ weight.T.astype(np.float64) + bias
        if number + 1 < len(made):
            values = np.maximum(values, 0)
    scores = head.score(vectors)
    assert scores.dtype == np.float32
    assert np.abs(scores - values[:, 0]).max() < 1e-4
    alone = np.concatenate([head.score(vectors[at : at + 1]) for at in range(0, 1500, 97)])
    assert alone.tobytes() == scores[::97].tobytes()
    assert head.score(vectors[:0]).shape == (0,)


def test_the_shipped_heads_are_whole_and_small() -> None:
    assert shipped() == ["edu-usem3"]
    for name in shipped():
        head = read_head(weights_path(name))
        assert head.card.name == name
        assert head.card.metrics["spearman_mean"] >= 0.60
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 100_000


def test_a_head_of_another_encoder_is_refused_naming_both() -> None:
    made = card(512, 1)
    check_encoder(made, "usem3", "ab" * 32)
    with pytest.raises(CurateError, match=r"encoder usem3 .abab.*not for arctic .cdcd") as caught:
        check_encoder(made, "arctic", "cd" * 32)
    assert caught.value.problems[0].code == "E508"
    with pytest.raises(CurateError, match=r"usem3 \(abab.*not for usem3 \(cdcd") as caught:
        check_encoder(made, "usem3", "cd" * 32)
    assert "version" in caught.value.problems[0].help


def test_rounding_is_not_what_a_head_was_made_for() -> None:
    """A head trained in float32 on a CPU serves in bfloat16 on a GPU; pooling is another encoder."""
    trained = read_head(weights_path("edu-usem3")).card
    settings = {"dtype": "float32", "pooling": "cls"}
    made = trained.model_copy(update={"encoder": trained.encoder.model_copy(update={"settings": settings})})
    found = made.encoder.checksum
    check_encoder(made, made.encoder.name, found, {"dtype": "bfloat16", "pooling": "cls"})
    with pytest.raises(CurateError, match="pooling"):
        check_encoder(made, made.encoder.name, found, {"dtype": "float32", "pooling": "mean"})


def test_names_are_of_shipped_heads_or_paths(tmp_path: Path) -> None:
    with pytest.raises(CurateError, match="no head 'edu_usem3'") as caught:
        weights_path("edu_usem3")
    assert "edu-usem3" in caught.value.problems[0].help
    with pytest.raises(CurateError, match="no head at"):
        weights_path(str(tmp_path / "mine.safetensors"))
    path = write_head(layers(512, 1), card(512, 1), tmp_path)
    assert weights_path(str(path)) == path


def refused(path: Path, why: str) -> None:
    with pytest.raises(CurateError, match=why) as caught:
        read_head(path)
    assert caught.value.problems[0].code == "E507"


def test_cards_that_are_none_are_refused(tmp_path: Path) -> None:
    path = write_head(layers(8, 1), card(8, 1), tmp_path)
    text = card_path(path).read_text()
    for wrong, why in [
        ("{", "not the card"),
        (text.replace('"about"', '"abuot"'), "about"),
        (text.replace('"format": 1', '"format": 2'), "format"),
        (text.replace('"usem3"', "3"), "encoder.name"),
        ("[]", "not the card"),
    ]:
        card_path(path).write_text(wrong)
        refused(path, why)
    card_path(path).unlink()
    refused(path, "has no card")


def test_weights_that_are_not_the_cards_are_refused(tmp_path: Path) -> None:
    path = write_head(layers(8, 1), card(8, 1), tmp_path)
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    refused(path, "SHA-256")

    def rewritten(tensors: dict[str, np.ndarray], *widths: int) -> Path:
        save_file(tensors, path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        stated = card(*widths).model_copy(update={"weights_sha256": digest})
        card_path(path).write_text(stated.to_json())
        return path

    good = {"0.weight": np.ones((1, 8), np.float32), "0.bias": np.ones(1, np.float32)}
    read_head(rewritten(good, 8, 1))
    refused(rewritten(good, 9, 1), r"layer 0 is \(1, 8\)")
    refused(rewritten(good, 8, 4, 1), "its card asks for")
    refused(rewritten({"0.weight": good["0.weight"]}, 8, 1), "its card asks for")
    refused(rewritten({**good, "0.bias": np.ones(1, np.float16)}, 8, 1), "float32")
    refused(rewritten({**good, "0.bias": np.full(1, np.nan, np.float32)}, 8, 1), "not finite")
    wide = {"0.weight": np.ones((2, 8), np.float32), "0.bias": np.ones(2, np.float32)}
    refused(rewritten(wide, 8, 2), "2 values")
    path.write_bytes(b"no tensors at all")
    digest = hashlib.sha256(b"no tensors at all").hexdigest()
    card_path(path).write_text(card(8, 1).model_copy(update={"weights_sha256": digest}).to_json())
    refused(path, "cannot be used as a head")
