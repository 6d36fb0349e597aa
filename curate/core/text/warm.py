"""Fills numba's cache, so that the parent of many workers compiles and they only load."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa

from curate.core.batch import UNICODE, DocBatch, Words
from curate.core.columns import DOC, TEXT
from curate.core.stage import Annotator

#: A few characters of every kind that a kernel treats apart.
SAMPLE = ("The cat's 3.14 words...\n- e\u0301té", "日本語 ไทย 한국어 👍🏽🇫🇷", "")


def compile_kernels(
    steps: Iterable[Annotator[Any]] = (), words: Words = UNICODE, *, passages: bool = False
) -> None:
    """Runs every kernel of `curate.core.text`, and the steps that read only the text, once on a tiny batch.

    words: the word definition of the run; the kernels of the other one are left alone. passages: also
    those that cut passages out.

    The steps must be open. The compiled code lands in NUMBA_CACHE_DIR, which has to be set before the first
    import; a process that finds it there needs about a tenth of the time.
    """
    doc = pa.array(range(len(SAMPLE)), pa.int64())
    batch = DocBatch(pa.RecordBatch.from_pydict({DOC: doc, TEXT: pa.array(SAMPLE, pa.string())}), words=words)
    _ = batch.tokens.hashes, batch.lines
    batch.filter(np.array([True, False, True]))
    rewritten = batch.rewritten(pa.array(["one", None, "two"], pa.string()))
    _ = rewritten.tokens.hashes, rewritten.lines
    if passages:
        from curate.core.text.slices import pieces

        pieces(batch.text, np.arange(4), np.zeros(3, np.int32), np.ones(3, np.int32))
    for step in steps:
        if step.reads() <= {DOC, TEXT}:
            step.annotate(batch)
