"""Stop words by language, counted in the texts of a corpus.

In: the texts of a run over a reference corpus as they were read, with their languages. Out, by language: the stop words,
lower case, most frequent first.

The rule is FineWeb-2's (Penedo et al. 2025, arXiv 2506.20920v1, section 4.4.1 and appendix A.7.1): the words above a share
of all words of a cleaned Wikipedia. Here it is 0.8 %, and no fewer than 8 words, which then are the most frequent ones: none
of the published lists is shorter. An unclean corpus puts English words into the lists of small languages (appendix A.7.1):
choose a clean one. What is ours:

- Words are those of the run whose filters will look for them (`words:`), so both sides cut texts alike. All tokens that are
  not only punctuation are words, as for `words_count`; only those with a letter can be stop words.
- `The` and `the` count as one word and are listed as `the`: what `filters.gopher_quality` compares is the exact spelling.
- Of a language with more than `SAMPLE` documents, about that many are counted, chosen by a hash of the document's number.
- A language with fewer documents than asked for, or fewer than 8 different words with a letter, gets none: it is reported.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.core.batch import DocBatch, Words
from curate.core.columns import DOC, TEXT, UNDETERMINED
from curate.running.ledger import language_codes
from curate.thresholds.rules import DEFAULT
from curate.views.documents import Documents

#: Share of all words above which a word is a stop word, and the fewest of a language.
SHARE: Final = 0.008
LEAST: Final = 8
#: Documents of a language that are counted.
SAMPLE: Final = 20_000
#: Different words of a language that are held; beyond that the rarest are forgotten.
_DISTINCT: Final = 500_000
#: Rows tokenised at once, and their bytes.
_ROWS: Final = 8_192
_BYTES: Final = 16 << 20

_LANGUAGE: Final = "language"
Numbers = npt.NDArray[np.int64]


@dataclass
class Counted:
    """A language's words. documents: that were counted, of all with that language; words: int, tokens in all."""

    documents: int = 0
    words: int = 0
    counts: Counter[str] = field(default_factory=Counter)

    def stop_words(self, share: float = SHARE, least: int = LEAST) -> list[str]:
        """The list, most frequent first, equals by alphabet; empty if there are fewer than `least` different words."""
        ordered = sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))
        if len(ordered) < least:
            return []
        above = sum(count > share * self.words for _, count in ordered)
        return [word for word, _ in ordered[: max(least, above)]]


def count_words(
    corpus: Documents, words: Words, wanted: frozenset[str] | None = None, *, sample: int = SAMPLE
) -> tuple[dict[str, Counted], dict[str, int]]:
    """Words of each language of a run, and its documents. words: the definition; wanted: only these languages."""
    shards = list(corpus.readable_shards())
    totals: Counter[str] = Counter()
    for shard in shards:
        for names, codes, _ in _rows(corpus, shard):
            for code, count in enumerate(np.bincount(codes, minlength=len(names)).tolist()):
                totals[names[code]] += count
    found: dict[str, Counted] = {}
    for shard in shards:
        for names, codes, record in _rows(corpus, shard, text=True):
            rate = np.array([sample / max(1, totals[name]) for name in names])
            known = np.array([name != UNDETERMINED and (wanted is None or name in wanted) for name in names])
            chosen = known[codes] & (_position(record.column(DOC).to_numpy()) < rate[codes])
            for start, rows in _stretches(record.column(TEXT), chosen):
                _count(
                    names,
                    codes[start : start + len(rows)][rows],
                    record.slice(start, len(rows)),
                    rows,
                    words,
                    found,
                )
    return found, {name: count for name, count in totals.items() if count}


def _position(docs: Numbers) -> npt.NDArray[np.float64]:
    """float64[docs] in [0, 1): a hash of each document's number (the finaliser of splitmix64)."""
    mixed = docs.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) / 2.0**53


def _rows(
    corpus: Documents, shard: int, *, text: bool = False
) -> Iterator[tuple[tuple[str, ...], Numbers, pa.RecordBatch]]:
    """Records of a shard that have a text, with their languages: the different ones, and each row's index into them."""
    known = corpus.languages(shard)
    for batch in corpus.batches(shard, [TEXT]):
        record = batch.filter(pc.greater(pc.binary_length(batch.column(TEXT)), 0))
        docs = record.column(DOC).to_numpy()
        names: tuple[str, ...] = (DEFAULT if corpus.plan.language is None else UNDETERMINED,)
        codes = np.zeros(len(docs), np.int64)
        if known is not None and len(known[0]):
            names, by_doc = language_codes(known[1], len(known[0]))
            at = np.minimum(np.searchsorted(known[0], docs), len(known[0]) - 1)
            # Rows that a pass never saw (no text, bad records) have no language.
            codes = np.where(known[0][at] == docs, by_doc[at], len(names))
            names = (*names, UNDETERMINED)
        yield names, codes, record.select([DOC, TEXT]) if text else record


def _stretches(
    text: pa.StringArray, chosen: npt.NDArray[np.bool_]
) -> Iterator[tuple[int, npt.NDArray[np.bool_]]]:
    """Stretches of rows of bounded size: the first row, and which rows of it are chosen."""
    ends = np.cumsum(pc.binary_length(text).to_numpy(zero_copy_only=False) * chosen)
    start = 0
    while start < len(chosen):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, min(start + _ROWS, int(np.searchsorted(ends, before + _BYTES, side="right"))))
        if chosen[start:stop].any():
            yield start, chosen[start:stop]
        start = stop


def _count(
    names: tuple[str, ...],
    codes: Numbers,
    record: pa.RecordBatch,
    rows: npt.NDArray[np.bool_],
    words: Words,
    found: dict[str, Counted],
) -> None:
    """Add the words of chosen rows. codes: int64[chosen rows]."""
    from curate.core.text.codepoints import COUNTED, LETTER

    languages = pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(names, pa.string()))
    chosen = record.filter(pa.array(rows)).append_column(_LANGUAGE, languages.cast(pa.string()))
    language = None if names == (DEFAULT,) else _LANGUAGE
    tokens = DocBatch(chosen, language=language, words=words).tokens
    of_token = np.repeat(codes, np.diff(tokens.docs))
    counted, letters = (tokens.classes & COUNTED) > 0, (tokens.classes & LETTER) > 0
    in_all = np.bincount(of_token[counted], minlength=len(names))
    candidates = np.flatnonzero(counted & letters)
    # Different words of a language by hash: Python sees each once.
    pair = tokens.hashes[candidates] ^ (
        of_token[candidates].astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    )
    _, first, counts = np.unique(pair, return_index=True, return_counts=True)
    data = tokens.data
    for token, count in zip(candidates[first].tolist(), counts.tolist(), strict=True):
        word = data[tokens.starts[token] : tokens.ends[token]].tobytes().decode("utf-8", "replace").lower()
        found.setdefault(names[of_token[token]], Counted()).counts[word] += count
    for code in np.unique(codes).tolist():
        entry = found.setdefault(names[code], Counted())
        entry.documents += int(np.count_nonzero(codes == code))
        entry.words += int(in_all[code])
        least = 1
        while len(entry.counts) > _DISTINCT:
            entry.counts = Counter({word: count for word, count in entry.counts.items() if count > least})
            least *= 2


def stop_word_lists(
    corpus: Documents, words: Words, languages: Mapping[str, int], min_docs: int
) -> tuple[dict[str, dict[str, object]], dict[str, str]]:
    """For these languages of a run: language → documents, words counted and the list; and why others have none."""
    wanted = [language for language in languages if language != UNDETERMINED]
    found, totals = count_words(corpus, words, frozenset(wanted))
    lists: dict[str, dict[str, object]] = {}
    left_out: dict[str, str] = {}
    for language in sorted(languages):
        count = totals.get(language, 0)
        if language == UNDETERMINED:
            left_out[language] = "no language is known"
        elif count < min_docs:
            left_out[language] = (
                f"{count:,} document{'s' * (count != 1)} of {corpus.plan.name}, fewer than {min_docs:,}"
            )
        else:
            entry = found.get(language, Counted())
            listed = entry.stop_words()
            if listed:
                lists[language] = {"documents": entry.documents, "words": entry.words, "list": listed}
            else:
                left_out[language] = f"fewer than {LEAST} different words with a letter"
    return lists, left_out
