"""`filters.draw` against sorting in plain Python: the same documents for any cut into shards and batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.core.batch import DocBatch
from curate.core.errors import CurateError
from filters.draw import DrawConfig, DrawJob
from filters.sample import units
from tests.dedup.phases import batch_of, run_job

ROWS = st.lists(
    st.tuples(st.sampled_from(["deu_Latn", "eng_Latn", "und", None]), st.integers(0, 30)), max_size=40
)


def drawn(
    rows: list[tuple[str | None, int]], scratch: Path, cut: int, order: int, **options: Any
) -> list[bool]:
    """order: in which records arrive."""
    shards, docs = [], []
    for number, part in enumerate((rows[:cut], rows[cut:])):
        columns = {
            "id": pa.array([f"d{n}" for _, n in part], pa.string()),
            "lang": pa.array([language for language, _ in part], pa.string()),
        }
        batch = batch_of([""] * len(part), number << 32, **columns)
        shards.append(DocBatch(batch.record, language="lang"))
        docs += [number << 32 | row for row in range(len(part))]
    job = DrawJob(DrawConfig.model_validate(options))
    marks, _ = run_job(job, shards, scratch, seed=order)
    found = [marks[doc] for doc in docs]
    assert [m["reasons"] for m in found] == [[] if m["drawn"] else ["not_drawn"] for m in found]
    return [m["drawn"] for m in found]


@settings(max_examples=40)
@given(ROWS, st.integers(1, 8), st.integers(0, 40), st.integers(0, 5), st.sampled_from(["language", "lang"]))
def test_the_smallest_numbers_of_each_language_are_drawn(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str | None, int]],
    n: int,
    cut: int,
    seed: int,
    by: str,
) -> None:
    numbers = units(pa.array([f"d{n}" for _, n in rows], pa.string()), seed).tolist()
    keys = [language or "und" for language, _ in rows]
    wanted = set()
    for language in set(keys):
        members = [row for row, key in enumerate(keys) if key == language]
        wanted |= set(sorted(members, key=lambda row: (numbers[row], row))[:n])
    scratch = tmp_path_factory.mktemp("draw")
    found = drawn(rows, scratch, min(cut, len(rows)), seed + cut, n=n, seed=seed, by=by)
    assert {row for row, was in enumerate(found) if was} == wanted


def test_a_column_that_is_no_text_or_not_there_is_refused() -> None:
    schema = pa.schema([("n", pa.int64())])
    with pytest.raises(CurateError, match="C201"):
        DrawJob(DrawConfig(n=1)).check(schema, None)
    with pytest.raises(CurateError, match="C206"):
        DrawJob(DrawConfig(n=1, by="n")).check(schema, None)
