"""Annotated texts to spaCy's binary format, a `DocBin`: what `spacy train` reads.

In: rows with `text`, `tokens`, `spans` and perhaps `nested`. Out: a `Doc` for each, whose text is ours to the letter: what
stands between two of our tokens, unless it is one space, is a token of its own, as spaCy has it. `doc.ents` are the spans
that begin and end with tokens and overlap none before them; `doc.spans["sc"]`, which spaCy's spancat reads, has the
nested ones too. What cannot be written is counted as for `bio` (`filters.ner.export`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from curate.core.errors import error

if TYPE_CHECKING:
    from spacy.tokens import Doc
    from spacy.vocab import Vocab

#: Where spaCy's spancat looks for spans that may overlap.
SPANS_KEY: Final = "sc"


def words_of(
    text: str, tokens: Sequence[Mapping[str, int]]
) -> tuple[list[str], list[bool], list[tuple[int, int]]]:
    """Words and whether a space follows each, which give the text when joined; and of each of our tokens its first word and
    one behind its last."""
    words: list[str] = []
    spaces: list[bool] = []
    places = []
    at = 0
    for token in [*tokens, {"start": len(text), "end": len(text)}]:
        gap = text[at : token["start"]]
        if gap.startswith(" ") and words:
            spaces[-1] = True
            gap = gap[1:]
        if gap:
            words.append(gap)
            spaces.append(False)
        if token["start"] < token["end"]:
            places.append((len(words), len(words) + 1))
            words.append(text[token["start"] : token["end"]])
            spaces.append(False)
        at = token["end"]
    return words, spaces, places


def make_doc(
    vocab: Vocab,
    text: str,
    tokens: Sequence[Mapping[str, int]],
    flat: Sequence[tuple[int, int, str]],
    every: Sequence[tuple[int, int, str]],
) -> Doc:
    """The document. flat, every: spans by our tokens (first, one behind the last, label); those of `flat` do not overlap."""
    from spacy.tokens import Doc, Span

    words, spaces, places = words_of(text, tokens)
    doc = Doc(vocab, words=words, spaces=spaces)

    def span(place: tuple[int, int, str]) -> Any:
        first, last, label = place
        return Span(doc, places[first][0], places[last - 1][1], label=label)

    doc.set_ents([span(place) for place in flat])
    doc.spans[SPANS_KEY] = [span(place) for place in every]
    return doc


class SpacyWriter:
    """Collects documents, and writes them when all are there."""

    def __init__(self, output: BinaryIO) -> None:
        try:
            import spacy
            from spacy.tokens import DocBin
        except ImportError as cause:
            raise error(
                "E502", f"spaCy cannot be imported: {cause}", help="pip install 'curate[ner]'"
            ) from cause

        self._output = output
        self._vocab = spacy.blank("xx").vocab
        self._docs = DocBin(store_user_data=False)  # there are none, and they would be pickled

    def add(
        self,
        row: Mapping[str, Any],
        flat: Sequence[tuple[int, int, str]],
        every: Sequence[tuple[int, int, str]],
        counts: Counter[str],
    ) -> None:
        doc = make_doc(self._vocab, row["text"], row["tokens"], flat, every)
        if doc.text != row["text"]:  # tokens that overlap
            counts["sentences_whose_tokens_overlap"] += 1
            return
        self._docs.add(doc)
        counts["sentences"] += 1
        counts["spans"] += len(flat)

    def end(self) -> None:
        self._output.write(self._docs.to_bytes())
