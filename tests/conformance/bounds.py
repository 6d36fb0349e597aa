"""Runs every kernel on hostile texts with bounds checks: `python -m tests.conformance.bounds`.

Needs NUMBA_BOUNDSCHECK=1 and a NUMBA_CACHE_DIR of its own, set before numba is imported (`test_bounds.py` does). Compiled
code does not check indices otherwise, so a write beyond a buffer would pass every other test.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import numba
import numpy as np
import pyarrow as pa

from curate.core.batch import SPACY_LIKE, UNICODE, DocBatch, Words
from curate.core.stage import Annotator
from curate.stages import load
from tests.conformance.cases import LANGUAGE, MODELLED, REQUIRED, SMALL, Case, opened, record, steps
from tests.core.text.hostile import BYTES, TEXTS, arrow

#: Steps without kernels of their own: also those that ask a server or hold a library's model, which take turns for it.
WITHOUT_KERNELS = (
    "filters.datatrove",
    "filters.select",
    *MODELLED,
    *(name for name in steps() if getattr(load(name), "SERIAL", False)),
)
_WORDS: tuple[Words, ...] = (UNICODE, SPACY_LIKE)


def main() -> None:
    assert numba.config.BOUNDSCHECK == 1, "NUMBA_BOUNDSCHECK is not set"
    texts = [*TEXTS.values(), *SMALL.values(), "\n" * 1_000_000, "word " * 200_000, "x" * 3_000_000]
    with tempfile.TemporaryDirectory() as scratch:
        built = [
            opened(Case(name, REQUIRED.get(name, {})), Path(scratch))
            for name in steps()
            if name not in WITHOUT_KERNELS
        ]
        for words in _WORDS:
            for language in (LANGUAGE, None):
                batch = DocBatch(record(texts), language=language, words=words)
                _ = batch.tokens.hashes, batch.lines
                for step in built:
                    if isinstance(step, Annotator):
                        step.annotate(batch)
                filtered = batch.filter(np.arange(batch.num_rows) % 3 > 0)
                rewritten = filtered.rewritten(
                    pa.array([None if row % 2 else "one two\n" * row for row in range(filtered.num_rows)])
                )
                _ = rewritten.tokens.hashes, rewritten.lines
            # Text is valid UTF-8 by contract; the cutters stay inside their buffers on any bytes all the same.
            invalid = record(["x"] * len(BYTES)).set_column(2, "text", arrow(list(BYTES.values())))
            batch = DocBatch(invalid, language=LANGUAGE, words=words)
            _ = batch.tokens.hashes, batch.lines
    print(f"{len(built)} steps, {len(texts)} texts, {len(BYTES)} byte strings", file=sys.stderr)


if __name__ == "__main__":
    assert "NUMBA_CACHE_DIR" in os.environ
    main()
