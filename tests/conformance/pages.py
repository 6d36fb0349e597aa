"""Runs kernels on buffers beside which memory ends: `python -m tests.conformance.pages [SEED] [ROUNDS]`.

Kernels read and write eight bytes and more at once through addresses, which NUMBA_BOUNDSCHECK does not see. Here texts,
offsets and the buffers that such accesses go to end where a page without any access begins, or begin where one ends, by
turns: a byte too far is a SIGSEGV, and `faulthandler` says where. With the word `beyond` for a seed one byte is read that is
too far, to show that it is noticed.
"""

from __future__ import annotations

import ctypes
import faulthandler
import mmap
import random
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.core.batch import SPACY_LIKE, UNICODE, DocBatch, Words
from curate.core.stage import Annotator
from curate.core.text.memory import address_of, kernel, view_uint8
from curate.kernels import use_kernel_cache
from filters import c4_lines, ngrams, repeated_lines
from lid import word_cache
from tests.conformance.bounds import WITHOUT_KERNELS
from tests.conformance.cases import LANGUAGE, REQUIRED, SMALL, Case, opened, record, steps
from tests.core.text.hostile import TEXTS

_WORDS: Final[tuple[Words, ...]] = (UNICODE, SPACY_LIKE)
#: Steps without kernels of their own.
_WITHOUT: Final = ("filters.quality", *WITHOUT_KERNELS)
#: Modules whose buffers are written through addresses, and which of them; outputs that shrink later are written by index.
_WRITTEN: Final[dict[Any, tuple[type, ...]]] = {
    c4_lines: (np.uint8,),
    ngrams: (np.uint8, np.int32, np.uint64, np.int64),
    repeated_lines: (np.int32, np.int64),
    word_cache: (np.uint8, np.int32, np.uint64, np.int64),
}
_LONGEST: Final = 5_000
_PIECES: Final = (
    *(
        "a",
        "b c",
        "[1]",
        "[edit]",
        "[citation needed]",
        "[",
        "\n",
        "\n\n",
        "\r\n",
        " ",
        "  ",
        "\u3000",
        "é",
        "漢",
        "ก",
    ),
    *(
        "🙂",
        "\u0301",
        "...",
        "…",
        "-",
        "•",
        "{",
        "lorem ipsum",
        "javascript",
        "cookie",
        "</s>",
        "x" * 70,
        "word",
    ),
    *(
        "the",
        "The quick brown fox. ",
        "é" * 300,
        "\u2028",
        "٣",
        "https://a.b/c?d=e",
        '"',
        "can't",
        "e.g.",
        "\0",
    ),
)

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


class Kept(np.ndarray[Any, Any]):
    """An array whose memory cannot shrink."""

    def resize(self, *size: Any, refcheck: bool = True) -> None:
        pass


def guarded(size: int, dtype: Any, *, front: bool) -> npt.NDArray[Any]:
    """Zeros of that size, with a page without access behind the last, or before the first."""
    kind = np.dtype(dtype)
    page, length = mmap.PAGESIZE, size * kind.itemsize
    inside = max(1, -(-length // page)) * page
    memory = mmap.mmap(-1, inside + page)
    start = np.frombuffer(memory, np.uint8).ctypes.data
    if _libc.mprotect(start if front else start + inside, page, 0):
        raise OSError(ctypes.get_errno(), "mprotect")
    return np.frombuffer(memory, kind, size, page if front else inside - length).view(Kept)


class Numpy:
    """numpy whose new one-dimensional arrays of these types are guarded."""

    front = False

    def __init__(self, kinds: tuple[type, ...]) -> None:
        self._kinds = kinds

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def empty(self, size: Any, dtype: Any = float) -> npt.NDArray[Any]:
        return self._made(np.empty, size, dtype)

    def zeros(self, size: Any, dtype: Any = float) -> npt.NDArray[Any]:
        return self._made(np.zeros, size, dtype)

    def _made(self, make: Any, size: Any, dtype: Any) -> npt.NDArray[Any]:
        if np.ndim(size) or dtype not in self._kinds:
            made: npt.NDArray[Any] = make(size, dtype)
            return made
        return guarded(int(size), dtype, front=Numpy.front)


def batch_of(texts: list[str], words: Words, language: str | None, *, front: bool) -> DocBatch:
    """Documents whose texts and offsets are guarded."""
    encoded = [text.encode() for text in texts]
    offsets = guarded(len(texts) + 1, np.int32, front=front)
    offsets[1:] = np.cumsum([len(text) for text in encoded])
    data = guarded(int(offsets[-1]), np.uint8, front=front)
    data[:] = np.frombuffer(b"".join(encoded), np.uint8)
    text = pa.StringArray.from_buffers(len(texts), pa.py_buffer(offsets), pa.py_buffer(data))
    whole = record(texts)
    return DocBatch(
        whole.set_column(whole.schema.get_field_index("text"), "text", text), language=language, words=words
    )


def visit(batch: DocBatch, built: list[Annotator[Any]]) -> None:
    _ = batch.tokens.hashes, batch.lines
    for step in built:
        step.annotate(batch)


def made_up(rng: random.Random) -> list[str]:
    """A few texts of a few pieces each, or of many."""
    sizes = [rng.choice([0, 1, 2, 5, 30, 200]) for _ in range(rng.randint(1, 4))]
    return ["".join(rng.choice(_PIECES) for _ in range(size)) for size in sizes]


def run(seed: int, rounds: int, scratch: Path) -> None:
    rng = random.Random(seed)
    texts = [[text[:_LONGEST]] for text in (*TEXTS.values(), *SMALL.values())]
    texts += [made_up(rng) for _ in range(rounds)]
    built = annotators(scratch)
    everything = [text for some in texts for text in some]
    for words in _WORDS:  # every kernel is compiled before numpy is another to its module
        visit(DocBatch(record(everything), language=LANGUAGE, words=words), built)
    for module, kinds in _WRITTEN.items():
        module.np = Numpy(kinds)
    built = annotators(scratch)
    for number, some in enumerate(texts):
        for front in (False, True):
            Numpy.front = front
            for words in _WORDS:
                visit(batch_of(some, words, LANGUAGE if number % 2 else None, front=front), built)
    print(f"{len(built)} steps, {len(texts)} batches", file=sys.stderr)


def annotators(scratch: Path) -> list[Annotator[Any]]:
    """Every step with kernels; the encoder, which takes long, is seen by NUMBA_BOUNDSCHECK."""
    made = [opened(Case(name, REQUIRED.get(name, {})), scratch) for name in steps() if name not in _WITHOUT]
    return [step for step in made if isinstance(step, Annotator)]


@kernel
def _byte(address, size, at):  # type: ignore[no-untyped-def]  # numba infers
    return view_uint8(address, size)[at]


def main() -> None:
    faulthandler.enable()
    use_kernel_cache()
    if sys.argv[1:] == ["beyond"]:
        text = guarded(10, np.uint8, front=False)
        print(_byte(address_of(text), 10, 9), flush=True)
        print(_byte(address_of(text), 10, 10), flush=True)
        return
    seed, rounds = (*map(int, sys.argv[1:]), *(1, 200)[len(sys.argv) - 1 :])
    with tempfile.TemporaryDirectory() as scratch:
        run(seed, rounds, Path(scratch))


if __name__ == "__main__":
    main()
