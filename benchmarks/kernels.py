"""Megabytes of text a second that each kernel does, on one thread, in CPU seconds.

    python benchmarks/kernels.py [--megabytes 50] [--runs 5]

The text is `data/sample/*.parquet` (column `text`), repeated to the size asked for, or else Python's own
manual (`pydoc_data`); documents are shuffled. A row is the best of the runs, after one that loads the
compiled code. `gopher` and `filter` start from ready tokens and lines, `filter` keeps a random half of the
documents and includes Arrow's copy of their texts.

Floors on English, where a token is about 5 bytes: a token costs two mispredicted branches (where the word
ends, what follows), about 10 ns, and 9 bytes of fresh memory to write, about 1 ns: near 450 MB/s for
`tokens`. Reading each byte once through a table takes about 1 ns: near 1,000 MB/s for `lines` unless eight
bytes are tested at a time. `hashes` and `gopher` look at a token once, 3 to 5 ns: 1,000 to 1,600 MB/s.
"""

from __future__ import annotations

import platform
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import numba
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from curate.core.batch import DocBatch  # noqa: E402  # after the path is set
from curate.core.text.codepoints import UNICODE_VERSION  # noqa: E402  # after the path is set
from filters.gopher_quality import STAGE  # noqa: E402  # after the path is set

OTHERS = {
    "Russian": "Съешь же ещё этих мягких французских булок, да выпей чаю. ",
    "Hindi": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता प्राप्त है। ",
    "Chinese": "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心。",
    "Thai": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ ",
}


def documents() -> tuple[list[str], str]:
    """Texts and where they are from."""
    files = sorted((ROOT / "data" / "sample").glob("*.parquet"))
    if files:
        texts = [text for file in files for text in pq.read_table(file, columns=["text"])["text"].to_pylist()]
        return [text for text in texts if text], "data/sample"
    from pydoc_data.topics import topics

    return list(topics.values()), "pydoc_data"


def batch_of(texts: list[str], size: int) -> DocBatch:
    """About `size` bytes of the texts, shuffled."""
    rng, chosen, total = random.Random(1), [], 0
    while total < size:
        chosen.append(rng.choice(texts))
        total += len(chosen[-1].encode())
    doc = pa.array(range(len(chosen)), pa.int64())
    return DocBatch(pa.RecordBatch.from_pydict({"doc": doc, "text": pa.array(chosen)}))


def best(runs: int, work: Callable[[], object]) -> float:
    """CPU seconds of the fastest run after the first."""
    seconds = []
    for _ in range(runs + 1):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds[1:])


@click.command()
@click.option("--megabytes", default=50, show_default=True, help="Text to work on, in 16 MB batches.")
@click.option("--runs", default=5, show_default=True, help="Runs of each kernel; the fastest counts.")
def main(megabytes: int, runs: int) -> None:
    """Measure every kernel and print a table."""
    texts, source = documents()
    batches = [batch_of(texts, 16_000_000) for _ in range(max(1, megabytes // 16))]
    size = sum(int(batch.text_bytes.sum()) for batch in batches) / 1e6
    step, rng = STAGE(STAGE.Config()), np.random.default_rng(1)
    masks = [rng.random(batch.num_rows) < 0.5 for batch in batches]
    for batch in batches:
        _ = batch.tokens.hashes, batch.lines

    def fresh() -> list[DocBatch]:
        return [DocBatch(batch.record) for batch in batches]

    def hashes() -> None:
        for batch in batches:
            batch.tokens.__dict__.pop("hashes")
            _ = batch.tokens.hashes

    rows: dict[str, Callable[[], object]] = {
        "tokens": lambda: [batch.tokens for batch in fresh()],
        "lines": lambda: [batch.lines for batch in fresh()],
        "hashes": hashes,
        "gopher": lambda: [step.annotate(batch) for batch in batches],
        "filter": lambda: [batch.filter(mask) for batch, mask in zip(batches, masks, strict=True)],
        "tokens + lines + gopher": lambda: [step.annotate(batch) for batch in fresh()],
    }
    print(f"{size:.0f} MB of {source}, {sum(len(b.tokens) for b in batches) / size / 1e6:.3f} tokens a byte")
    print(
        f"Python {platform.python_version()}, numba {numba.__version__}, numpy {np.__version__}, "
        f"pyarrow {pa.__version__}, Unicode {UNICODE_VERSION}, {platform.machine()}\n"
    )
    print("| kernel | MB/s |\n|---|---|")
    for name, work in rows.items():
        print(f"| {name} | {size / best(runs, work):.0f} |", flush=True)
    for language, text in OTHERS.items():
        other = batch_of([text * 50], 8_000_000)
        length = float(other.text_bytes.sum()) / 1e6
        rate = length / best(runs, lambda other=other: DocBatch(other.record).tokens)  # type: ignore[misc]  # a default binds the loop variable
        print(f"| tokens, {language} | {rate:.0f} |", flush=True)


if __name__ == "__main__":
    main()
