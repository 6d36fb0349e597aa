"""`filters.top` takes the best under its quotas, whatever the batches: a greedy choice in plain Python must agree."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from curate.core.batch import DocBatch
from curate.core.stage import Context, ReduceUnit
from filters import top
from filters.top import STAGE, TopConfig

URLS = [
    "https://a.example/1",
    "http://A.example:80/2",
    "https://b.example",
    None,
    "nonsense",
    "https://u@b.example/x?y",
]
rows_of = st.lists(
    st.tuples(
        st.sampled_from(["deu_Latn", "eng_Latn", None]),
        st.sampled_from([None, 0.0, 1.0, 1.5, 2.0, 2.5, float("nan")]),
        st.integers(0, 4),
        st.sampled_from(URLS),
    ),
    max_size=40,
)
quotas = st.none() | st.integers(1, 3)


def host(url: str | None) -> str | None:
    return urlsplit(url).hostname if url is not None and "://" in url else None


def greedy(rows: list[Any], config: TopConfig) -> dict[int, int]:
    """Number → rank."""
    order = [i for i, row in enumerate(rows) if row[1] is not None and row[1] == row[1]]
    order = [i for i in order if config.floor is None or rows[i][1] >= config.floor]
    found: dict[int, int] = {}
    used: dict[Any, int] = {}
    for i in sorted(order, key=lambda i: (-rows[i][1], i)):
        language, _, document, url = rows[i]
        # Where hosts count, a document is one for each of its hosts.
        one = (language, document, host(url) if config.per_host is not None else None)
        where = [(language, "all", config.k), (one, "doc", config.per_document)]
        if host(url) is not None:
            where.append(((language, host(url)), "host", config.per_host))
        wanted = [((key, kind), quota) for key, kind, quota in where if quota is not None]
        if all(used.get(key, 0) < quota for key, quota in wanted):
            for key, _ in wanted:
                used[key] = used.get(key, 0) + 1
            found[i] = used[language, "all"]
    return found


def batch(rows: list[Any], first: int) -> DocBatch:
    columns = list(zip(*rows, strict=True)) if rows else [[], [], [], []]
    record = pa.RecordBatch.from_pydict(
        {
            "doc": pa.array(range(first, first + len(rows)), pa.int64()),
            "lang": pa.array(columns[0], pa.string()),
            "value": pa.array(columns[1], pa.float32()),
            "source_doc": pa.array(columns[2], pa.int64()),
            "url": pa.array(columns[3], pa.string()),
        }
    )
    return DocBatch(record, language="lang")


def chosen(rows: list[Any], config: TopConfig, size: int) -> tuple[dict[int, int], dict[str, int]]:
    """What the job says, with batches of that size, and what it counted."""
    job = STAGE(config)
    partitions = 4
    mapper = job.mapper(partitions)
    parts: list[list[pa.RecordBatch]] = [[] for _ in range(partitions)]
    for first in range(0, max(len(rows), 1), size):
        made = mapper.emit(batch(rows[first : first + size], first))
        for number in range(partitions):
            parts[number].append(made.records.filter(pa.array(made.partitions == number)))
    counts: dict[str, int] = {}

    def count(name: str, number: int) -> None:
        counts[name] = counts.get(name, 0) + number

    unit = ReduceUnit(0, [0], len(rows), lambda shard: iter(()), count)
    context = Context(models=None, scratch=None, unit=unit)  # type: ignore[arg-type]  # it looks at neither
    [reduce] = job.reduces(partitions)
    found: dict[int, int] = {}
    for records in parts:
        for record, shards in reduce.reduce(iter(records), context):
            assert np.array_equal(shards, record.column("doc").to_numpy() >> 32)
            found |= dict(
                zip(record.column("doc").to_pylist(), record.column("rank").to_pylist(), strict=True)
            )
    return found, counts


@given(rows_of, quotas, quotas, st.sampled_from([None, 1.5]), st.integers(1, 5), st.integers(1, 9))
def test_the_choice_is_the_greedy_one(
    rows: list[Any], per_document: int | None, per_host: int | None, floor: float | None, k: int, size: int
) -> None:
    config = TopConfig(by="value", k=k, per_document=per_document, per_host=per_host, floor=floor)
    buffer, top._BUFFER = top._BUFFER, 3  # best of the best so far and of what came since
    try:
        found, counts = chosen(rows, config, size)
    finally:
        top._BUFFER = buffer
    assert found == greedy(rows, config)
    assert counts.get("kept", 0) == len(found)
    assert counts.get("candidates", 0) == len(rows)
    languages = {row[0] or "und" for row in rows}
    short = {name.removeprefix("short_"): n for name, n in counts.items() if name.startswith("short_")}
    held = {name: sum((rows[i][0] or "und") == name for i in found) for name in languages}
    assert short == {name: k - n for name, n in held.items() if n < k}


def test_ties_are_drawn_by_lot_with_a_seed() -> None:
    rows = [("deu_Latn", 1.0, n, None) for n in range(200)]
    one, _ = chosen(rows, TopConfig(by="value", k=20, seed=1), 50)
    again, _ = chosen(rows, TopConfig(by="value", k=20, seed=1), 7)
    other, _ = chosen(rows, TopConfig(by="value", k=20, seed=2), 50)
    assert one == again
    assert set(one) != set(other) != set(range(20))


def test_the_report_says_what_a_smaller_pool_would_have_held() -> None:
    """Of two languages, pools of 20 and of 8: the best by value stand at these places."""
    places = {"deu_Latn": [2, 3, 9, 20], "eng_Latn": [1, 2, 8]}
    rows, ranks = [], []
    for language, best in places.items():
        for place in range(1, 21 if language == "deu_Latn" else 9):
            rows.append((language, 2.0 if place in best else 0.0, place, None))
            ranks.append(place)
    given = batch(rows, 0).append({"pool__rank": pa.array(ranks, pa.int32())})
    counts = Counter[str]()
    job = STAGE(TopConfig(by="value", k=9, floor=1.0, pool="pool__rank"))
    assert "pool__rank" in job.reads()
    masks = [np.arange(28) < 5, np.arange(28) >= 5]
    records = [job.mapper(1).emit(given.filter(mask)).records for mask in masks]
    unit = ReduceUnit(0, [0], 28, lambda _: iter(()), lambda name, n: counts.update({name: n}))
    context = Context(models=Path(), scratch=Path(), unit=unit)
    assert sum(len(found) for found, _ in job.reduces(1)[0].reduce(iter(records), context)) == 7
    assert {name: counts[f"kept_of_pool_{name}"] for name in (10, 25, 50)} == {10: 1, 25: 4, 50: 5}
