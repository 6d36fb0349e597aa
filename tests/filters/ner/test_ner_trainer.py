"""What trains the head of `filters.ner_relevance`: a language that is left out has no say, and marks are right."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from filters.encoders.usem3 import Usem3
from scripts.ner_tokens import _marks
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
