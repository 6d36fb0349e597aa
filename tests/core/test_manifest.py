"""A document's number is given once, and a shard is known by what it holds, not by where it lies."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from curate.core.layout import RunFolder
from curate.core.manifest import (
    GROUPS,
    SHARD_BYTES,
    IngestUnit,
    InputSpec,
    Manifest,
    Shard,
    SourceFile,
    doc_id,
    row_of,
    shard_of,
)
from curate.core.plan import digest
from curate.planning.fingerprints import corpus_fingerprint, unit_fingerprints
from curate.planning.preview import uncut

FILES = (
    SourceFile(0, "de/a.parquet", "/data/de/a.parquet", "parquet", 1000, "17", "aa", rows=50),
    SourceFile(0, "with space\nand é.jsonl", "s3://b/x.jsonl", "jsonl", 2000, "etag", "bb"),
    SourceFile(1, "c.jsonl", "/data/c.jsonl", "jsonl", 10, "18", "cc", bad="cut off"),
)
SHARDS = (
    Shard(0, (0,), (0, 3), 0, 30, 999),
    Shard(1, (0,), (3, 5), 30, 20, 500),
    Shard(2, (1, 2), None, 0, None, 2010, ingest=0),
)
MANIFEST = Manifest(FILES, SHARDS, (IngestUnit(0, (1, 2), (2,)),))


def changed(**changes: object) -> Manifest:
    """The manifest with its first file changed."""
    return dataclasses.replace(MANIFEST, files=(dataclasses.replace(FILES[0], **changes), *FILES[1:]))  # type: ignore[arg-type]


def test_a_manifest_survives_its_json() -> None:
    assert Manifest.from_json(MANIFEST.to_json()) == MANIFEST
    assert MANIFEST.to_json().isascii()


@given(shard=st.integers(0, 2**31 - 1), row=st.integers(0, 2**32 - 1))
def test_shard_and_row_are_read_back_from_a_documents_number(shard: int, row: int) -> None:
    doc = doc_id(shard, row)
    assert (shard_of(doc), row_of(doc)) == (shard, row)
    assert int(np.int64(doc)) == doc


@given(pairs=st.lists(st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 2**32 - 1)), max_size=20))
def test_documents_are_ordered_by_shard_and_then_by_row(pairs: list[tuple[int, int]]) -> None:
    assert [doc_id(*pair) for pair in sorted(pairs)] == sorted(doc_id(*pair) for pair in pairs)


def test_moving_or_touching_a_file_changes_no_identity() -> None:
    moved = changed(location="/elsewhere/a.parquet", stamp="99", rows=None)
    assert [moved.shard_identity(n) for n in range(3)] == [MANIFEST.shard_identity(n) for n in range(3)]


def test_another_content_name_or_input_changes_the_identity_of_its_shards_only() -> None:
    for changes in ({"size": 1001}, {"edges": "ab"}, {"path": "b.parquet"}, {"input": 1}, {"bad": "cut off"}):
        other = changed(**changes)
        same = [other.shard_identity(n) == MANIFEST.shard_identity(n) for n in range(3)]
        assert same == [False, False, True], changes


def test_shards_of_one_file_differ() -> None:
    assert len({MANIFEST.shard_identity(n) for n in range(3)}) == 3


def test_a_file_added_at_the_end_changes_no_shard_before_it() -> None:
    more = Manifest(
        (*FILES, SourceFile(0, "z.parquet", "/data/z.parquet", "parquet", 5, "1", "dd", rows=1)),
        (*SHARDS, Shard(3, (3,), (0, 1), 0, 1, 5)),
        MANIFEST.ingest,
    )
    assert [more.shard_identity(n) for n in range(3)] == [MANIFEST.shard_identity(n) for n in range(3)]


def test_the_plan_names_what_cannot_be_cut() -> None:
    def file(path: str) -> SourceFile:
        return SourceFile(0, path, f"/in/{path}", "parquet", 1, "0", "0")

    shards = (
        Shard(0, (0,), (0, 4), 0, 9, SHARD_BYTES),
        Shard(1, (0,), (4, 5), 9, 9, 5 * SHARD_BYTES),
        *(Shard(2 + n, (1,), None, 0, None, SHARD_BYTES, ingest=0) for n in range(3)),
        Shard(5, (2,), None, 0, None, SHARD_BYTES, ingest=1),
    )
    units = (IngestUnit(0, (1,), (2, 3, 4)), IngestUnit(1, (2,), (5,)))
    found = uncut(Manifest((file("rows"), file("lines.gz"), file("small")), shards, units))
    assert [(entry["file"], entry["bytes"]) for entry in found] == [
        ("rows", 5 * SHARD_BYTES),
        ("lines.gz", 3 * SHARD_BYTES),
    ]


def test_a_run_of_shards_is_never_taken_for_the_shard_of_its_number() -> None:
    """An older folder has exchange files by shard; of 501 equal shards nearly every run is one shard, of another number."""
    plan: Any = SimpleNamespace(inputs=(InputSpec(None, ("*.parquet",), None, None, {}, {}, "fail"),))
    phase: Any = SimpleNamespace(kind="exchange", corpus=True, fingerprint="rows")
    for count in (GROUPS, GROUPS + 1):
        manifest = Manifest(FILES[:1], tuple(Shard(n, (0,), (n, n + 1), n, 1, 7) for n in range(count)), ())
        corpus = corpus_fingerprint(plan, manifest)
        older = [digest("rows", corpus, shard) for shard in range(count)]
        found = unit_fingerprints(plan, manifest, phase, RunFolder(Path("/nowhere")))
        assert found is not None
        same = [unit for unit, fingerprint in found.items() if fingerprint in older]
        assert same == [u for u, group in enumerate(manifest.groups) if group == range(u, u + 1)]
        assert (len(same) == count) == (count <= GROUPS)
