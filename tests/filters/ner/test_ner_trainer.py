"""What trains the head of `filters.ner_relevance`: a language that is left out has no say, marks are right, and the network
learns what can be learned."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from filters.encoders.usem3 import Usem3
from filters.encoders.usem3_weights import FEATURES
from filters.ner.names_encoder import Layers
from scripts.ner_tokens import Tokens, _marks, said, trained
from scripts.ner_trainer import Float64s, Passages, Trainer, least_squares


def test_a_language_that_is_left_out_has_no_say() -> None:
    chance = np.random.default_rng(3)
    language = np.repeat(["deu_Latn", "eng_Latn", "por_Latn"], 20)
    density, vectors = chance.random(60), chance.random((60, 8))
    surface, said = chance.random((60, 2)), chance.random((60, 2))
    text = pa.array([""] * 60, pa.string())

    def trainer(label: Float64s) -> Trainer:
        return Trainer(Passages(text, language, language, density, label, vectors, surface, None, said))

    label = chance.random(60)
    other = label.copy()
    other[:20] = chance.permutation(other[:20])
    one, two = trainer(label), trainer(other)
    left, here = one.languages - {"deu_Latn"}, language == "deu_Latn"
    assert np.array_equal(one.mix(left), two.mix(left))
    assert np.array_equal(one.figures(left, one.gold, here), two.figures(left, two.gold, here))
    assert not np.array_equal(one.mix(one.languages), two.mix(two.languages))


def test_weights_are_not_below_zero() -> None:
    x = np.random.default_rng(5).normal(size=(2000, 3))
    found = least_squares(x, x @ np.array([2.0, 0.5, -1.0]), np.ones(2000))
    assert np.allclose(found, [2, 0.5, 0], atol=0.1)


def test_marks_stand_where_names_do() -> None:
    encoder = Usem3()
    encoder.open()
    text = "so Zoë 习近平 x"
    pieces = encoder._tokenizer.encode(text, return_type="proto").pieces
    places = [(text.index("Zoë"), text.index("Zoë") + 3), (text.index("习"), text.index("习") + 3)]
    marks = _marks(text, places, [(piece.begin, piece.end) for piece in pieces])
    assert len(marks) == len(pieces) + 2
    assert not marks[[0, -1]].any()
    data = text.encode()
    for piece, (inside, begins) in zip(pieces, marks[1:-1], strict=True):
        part = data[piece.begin : piece.end].decode(errors="replace")
        assert inside == any(c in part for c in "Zoë习近平" if (c != "o" or piece.begin > 2))
        assert begins == ("Z" in part or "习" in part)


LENGTH, PASSAGES = 30, 300
LANGUAGES = np.array(["deu_Latn", "eng_Latn"] * (PASSAGES // 2))


@pytest.fixture(scope="module")
def separable() -> Tokens:
    """Tokens that are part of a name along one direction of their features, and begin one along another."""
    chance = np.random.default_rng(11)
    total = LENGTH * PASSAGES
    marks = np.stack([chance.random(total) < 0.3, chance.random(total) < 0.2], axis=1)
    features = chance.normal(size=(total, FEATURES)).astype(np.float16)
    features[:, 5] += np.where(marks[:, 0], 200, -200)  # so far apart that the few steps there are suffice
    features[:, 900] += np.where(marks[:, 1], 200, -200)
    edges = np.arange(PASSAGES + 1) * LENGTH
    # The marks of beginning and end say the contrary: if they were trained on, it would be seen.
    for at in (edges[:-1], edges[1:] - 1):
        marks[at] = True
        features[at] = 0
    return Tokens(features, edges, marks)


def of_first(tokens: Tokens, passages: int) -> npt.NDArray[np.bool_]:
    return np.arange(len(tokens.ends) - 1) < passages


def bytes_of(layers: Layers) -> list[bytes]:
    return [array.tobytes() for layer in layers for array in layer]


def test_the_network_learns_what_can_be_learned(separable: Tokens) -> None:
    layers = trained(separable, LANGUAGES, of_first(separable, 240))
    held = np.arange(240, PASSAGES)
    found = said(layers, separable, held)
    inner = separable.marks.reshape(PASSAGES, LENGTH, 2)[held, 1:-1]
    for output in range(2):
        truth = inner[:, :, output].mean(axis=1)
        assert np.corrcoef(found[:, output], truth)[0, 1] > 0.95
        assert np.abs(found[:, output] - truth).mean() < 0.05


def test_the_same_tokens_give_the_same_network_and_what_is_left_out_has_no_say(separable: Tokens) -> None:
    few = of_first(separable, 60)
    one = bytes_of(trained(separable, LANGUAGES, few))
    features, marks = separable.features.copy(), separable.marks.copy()
    features[60 * LENGTH :] = 7
    marks[60 * LENGTH :] ^= True
    edge = [0, LENGTH - 1, LENGTH]  # marks of beginning and end of passages that are chosen
    features[edge], marks[edge] = 3, False
    assert bytes_of(trained(Tokens(features, separable.ends, marks), LANGUAGES, few)) == one
    marks[1] ^= True
    assert bytes_of(trained(Tokens(features, separable.ends, marks), LANGUAGES, few)) != one


def test_fewer_tokens_than_a_batch(separable: Tokens) -> None:
    layers = trained(separable, LANGUAGES, of_first(separable, 2))
    assert all(np.isfinite(array).all() for layer in layers for array in layer)
    assert layers[1][1].any()
