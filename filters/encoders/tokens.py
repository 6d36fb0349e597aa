"""Texts to numbers of tokens, by a `tokenizer.json` and the library tokenizers, which cuts in native threads.

In: texts. Out, per text: int32[n] with the marks that the model expects at both ends, at most `max_tokens`; whether more was
there; and whether there was anything to read. What is too long loses its last tokens, never the marks, as the library's
own truncation does.

A text that becomes nothing but marks and prefix (an empty one, or one whose every character the tokenizer drops) has no
tokens to read: `n_tokens` is 0, and the model never sees it. Their number does not tell: byte-level BPE joins the blank at
the end of a prefix with the text behind it, so `query: a` has as many tokens as `query: `.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from filters.encoders.encoder import MOST_CHARACTERS

Int32s = npt.NDArray[np.int32]


class Tokenized(NamedTuple):
    """ids: of each text, empty if there is nothing to read. truncated: bool[texts]."""

    ids: list[Int32s]
    truncated: npt.NDArray[np.bool_]


class Tokenizer:
    """A tokenizer.json. threads: that it may use, fixed by the first tokenizer of the process."""

    def __init__(self, path: Path, max_tokens: int, prefix: str, threads: int) -> None:
        from tokenizers import Tokenizer as Library

        from filters.encoders.folder import unfit

        os.environ.setdefault("RAYON_NUM_THREADS", str(threads))
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "true" if threads > 1 else "false")
        try:
            self._library: Any = Library.from_file(str(path))
        except Exception as cause:  # the library raises Exception itself
            raise unfit(path, f"the library tokenizers does not read it: {cause}") from cause
        self._library.no_padding()
        self._library.no_truncation()
        self._prefix = prefix
        self._most = max_tokens
        self._nothing = np.array(self._library.encode(prefix).ids, np.int32)
        marked = self._library.encode(prefix + "a").special_tokens_mask
        self._tail = len(marked) - max((at + 1 for at, mark in enumerate(marked) if not mark), default=0)

    @property
    def highest(self) -> int:
        """The highest number that a token can have."""
        return max(self._library.get_vocab(with_added_tokens=True).values(), default=0)

    def encode(self, texts: list[str]) -> Tokenized:
        """texts: at most MOST_CHARACTERS each."""
        assert all(len(text) <= MOST_CHARACTERS for text in texts)
        given = [self._prefix + text for text in texts] if self._prefix else texts
        found = [np.array(made.ids, np.int32) for made in self._library.encode_batch_fast(given)]
        truncated = np.array([len(ids) > self._most for ids in found], np.bool_)
        return Tokenized([self._cut(ids) for ids in found], truncated)

    def _cut(self, ids: Int32s) -> Int32s:
        if np.array_equal(ids, self._nothing):
            return ids[:0]
        if len(ids) <= self._most:
            return ids
        return np.concatenate([ids[: self._most - self._tail], ids[len(ids) - self._tail :]])
