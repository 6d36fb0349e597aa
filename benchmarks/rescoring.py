"""Scores from embeddings that are in the cache, and two workers of one encoder; parts of `benchmarks/scoring.py`.

Rescoring: documents of 2,000 characters whose vectors (random, of length 1) are in an embedding cache go through
`filters.encoders.vectors` and three heads, 4,096 documents a batch: keys of the texts, look-up, reading, float16 to float32,
heads. The encoder fails when it is asked. Making texts and cache is not counted. CPU seconds; opening the snapshot apart.

Workers: the same documents in one process and divided between two at the same time, after loading and compiling. What two
gain is the wall time of one over theirs; what threads that fight would cost is the sum of their CPU seconds.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curate.core.text.content import prefix_keys
from filters.encoders.cache import recipe_of
from filters.encoders.encoder import Encoded
from filters.encoders.shards import Rows, ShardWriter, shard_names
from filters.encoders.usem3 import Usem3
from filters.encoders.vectors import Vectors
from filters.heads.card import read_card, weights_path
from filters.heads.head import Head

CHARACTERS = 2000
BATCH = 4096
#: Hidden layers of a head: the shipped one's, FineWeb2-HQ's, JQL's.
HIDDEN: Mapping[str, tuple[int, ...]] = {"linear": (), "256": (256,), "1,000 (JQL)": (1000,)}


class Cached:
    """An encoder that must not be asked."""

    name, max_tokens, languages, libraries = "cached", 1, None, ()
    settings: Mapping[str, str] = {}

    def __init__(self, dimensions: int) -> None:
        self.dimensions = dimensions

    def files(self) -> Mapping[str, Path]:
        return {}

    def memory_gb(self) -> float:
        return 0.0

    def open(self) -> None:
        pass

    def encode(self, texts: pa.StringArray, max_characters: int) -> Encoded:
        raise AssertionError("the encoder was asked")


def texts_of(count: int) -> Iterator[pa.StringArray]:
    chance = np.random.default_rng(0)
    letters = chance.choice(list("abcdefghij klmnop"), CHARACTERS)
    rest = "".join(letters)
    for first in range(0, count, BATCH):
        yield pa.array([f"{number} {rest}" for number in range(first, min(first + BATCH, count))])


def heads_of(dimensions: int, hidden: tuple[int, ...]) -> list[Head]:
    chance = np.random.default_rng(1)
    card = read_card(weights_path("edu-usem3"))
    widths = (dimensions, *hidden, 1)
    heads = []
    for _ in range(3):
        layers = [
            ((chance.standard_normal((b, a)) / np.sqrt(a)).astype(np.float32), np.zeros(b, np.float32))
            for a, b in pairwise(widths)
        ]
        heads.append(Head(card.model_copy(update={"layers": widths}), layers))
    return heads


def fill(base: Path, dimensions: int, count: int) -> tuple[str, ...]:
    recipe = recipe_of(Cached(dimensions), CHARACTERS)
    writer = ShardWriter(recipe.folder(base), dimensions)
    chance = np.random.default_rng(2)
    for texts in texts_of(count):
        vectors = chance.standard_normal((len(texts), dimensions), np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        ones = np.ones(len(texts), np.int32)
        writer.append(
            Rows(prefix_keys(texts, CHARACTERS)[0], ones, ones.astype(np.bool_), vectors.astype(np.float16))
        )
    writer.commit()
    return shard_names(recipe.folder(base))


def rescore(count: int, dimensions: int, kinds: tuple[str, ...]) -> None:
    with tempfile.TemporaryDirectory() as place:
        base = Path(place)
        names = fill(base, dimensions, count)
        encoder = Cached(dimensions)
        recipe = recipe_of(encoder, CHARACTERS)
        before = time.process_time()
        vectors = Vectors(encoder, recipe, recipe.folder(base), names)
        opening = time.process_time() - before
        heads = {kind: heads_of(dimensions, HIDDEN[kind]) for kind in kinds}
        for each in heads.values():
            each[0].score(np.zeros((1, dimensions), np.float32))
        spent: Counter[str] = Counter()
        found: Counter[str] = Counter()
        vectors.begin()
        for texts in texts_of(count):
            start = time.process_time()
            encoded = vectors.encode(texts, found)
            read = time.process_time()
            spent["vectors"] += read - start
            for kind, three in heads.items():
                start = time.process_time()
                for head in three:
                    head.score(encoded.embeddings)
                spent[kind] += time.process_time() - start
        assert found == {"reused": count}, found
        print(f"\n{count:,} documents, {dimensions} values, {CHARACTERS:,} characters")
        print(f"| opening the snapshot | {opening:.2f} |")
        print(f"| keys, look-up, reading, conversion | {spent['vectors']:.2f} |")
        for kind in kinds:
            whole = opening + spent["vectors"] + spent[kind]
            print(f"| three heads, {kind} | {spent[kind]:.2f} | {whole:.2f} | {whole * 1e6 / count:.2f} |")


def encode_share(share: int, of: int, count: int, characters: int) -> None:
    """One worker: waits for a line, encodes its documents, says how long it took."""
    texts = pa.array([f"{number} {text}"[:characters] for number, text in _documents(count)][share::of])
    encoder = Usem3()
    encoder.open()
    encoder.encode(texts[:8], characters)
    print("ready", flush=True)
    sys.stdin.readline()
    before = time.process_time(), time.perf_counter()
    encoder.encode(texts, characters)
    print(json.dumps([time.process_time() - before[0], time.perf_counter() - before[1]]), flush=True)


def _documents(count: int) -> Iterator[tuple[int, str]]:
    import pyarrow.parquet as pq

    root = Path(__file__).parents[1]
    texts = pq.read_table(root / "data/sample/docs-00001.parquet", columns=["text"])["text"].to_pylist()
    return ((number, texts[number % len(texts)]) for number in range(count))


def workers(count: int, characters: int) -> None:
    script = str(Path(__file__).with_name("scoring.py"))
    measured: dict[int, Any] = {}
    for number in (1, 2, 1, 2):
        arguments = [sys.executable, script, "--count", str(count), "--characters", str(characters)]
        processes = [
            subprocess.Popen(
                [*arguments, "--share", f"{share}/{number}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for share in range(number)
        ]
        for process in processes:
            assert process.stdout is not None
            while process.stdout.readline().strip() != "ready":
                pass
        times = []
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in processes:
            assert process.stdout is not None
            times.append(json.loads(process.stdout.readline()))
            process.communicate()
        wall, cpu = max(t[1] for t in times), sum(t[0] for t in times)
        best = measured.get(number)
        measured[number] = (wall, cpu) if best is None or wall < best[0] else best
    for number, (wall, cpu) in measured.items():
        gain = measured[1][0] / wall
        print(f"| {number} | {wall:.2f} | {cpu:.2f} | {cpu / wall / number:.2f} | {gain:.2f} |")
