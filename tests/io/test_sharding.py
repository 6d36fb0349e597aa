"""How files are cut into shards."""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path

import pytest

from curate.core.manifest import Manifest
from curate.io import sharding
from tests.io.inputs import input_spec, plan, write_parquet


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sharding, "SHARD_BYTES", 1000)
    return 1000


def test_row_groups_are_packed_up_to_the_size(tmp_path: Path, small_shards: int) -> None:
    texts = ["x" * 100] * 10 + ["y" * 3000] + ["z" * 100] * 9
    path = write_parquet(tmp_path / "a.parquet", {"text": texts}, row_group_size=1, use_dictionary=False)
    manifest = plan(input_spec(path))
    groups = [shard.row_groups for shard in manifest.shards]
    assert groups[0][0] == 0
    assert groups[-1][1] == 20
    assert all(before[1] == after[0] for before, after in itertools.pairwise(groups))
    assert (10, 11) in groups
    assert all(shard.bytes <= small_shards or shard.rows == 1 for shard in manifest.shards)
    assert [shard.first_row for shard in manifest.shards] == [group[0] for group in groups]
    assert [shard.number for shard in manifest.shards] == list(range(len(groups)))


def test_a_shard_never_spans_two_parquet_files(tmp_path: Path) -> None:
    for name in "ab":
        write_parquet(tmp_path / f"{name}.parquet", {"text": [name]})
    assert [shard.files for shard in plan(input_spec(tmp_path)).shards] == [(0,), (1,)]


@pytest.mark.parametrize("rows", [0, 1])
def test_a_parquet_file_has_at_least_one_shard(tmp_path: Path, rows: int) -> None:
    path = write_parquet(tmp_path / "a.parquet", {"text": ["x"] * rows})
    manifest = plan(input_spec(path))
    assert [(shard.rows, shard.files) for shard in manifest.shards] == [(rows, (0,))]


def test_small_jsonl_files_share_a_shard_and_parquet_between_them_does_not_matter(
    tmp_path: Path, small_shards: int
) -> None:
    for i in range(5):
        (tmp_path / f"{i}.jsonl").write_bytes(b" " * 400)
        write_parquet(tmp_path / f"{i}.parquet", {"text": ["x"]})
    manifest = plan(input_spec(tmp_path))
    units = [[manifest.files[i].path for i in unit.files] for unit in manifest.ingest]
    assert units == [["0.jsonl", "1.jsonl"], ["2.jsonl", "3.jsonl"], ["4.jsonl"]]
    assert all(len(unit.shards) == 1 for unit in manifest.ingest)
    assert [manifest.shards[unit.shards[0]].ingest for unit in manifest.ingest] == [0, 1, 2]


def test_two_inputs_never_share_a_shard(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.jsonl").write_text('{"text": "x"}\n')
    manifest = plan(input_spec(tmp_path / "a.jsonl"), input_spec(tmp_path / "b.jsonl"))
    assert [unit.files for unit in manifest.ingest] == [(0,), (1,)]


def test_a_giant_file_has_a_unit_of_its_own_with_many_shards(tmp_path: Path, small_shards: int) -> None:
    (tmp_path / "a.jsonl").write_bytes(b" " * 10)
    (tmp_path / "b.jsonl").write_bytes(b" " * 2500)
    (tmp_path / "c.jsonl").write_bytes(b" " * 10)
    manifest = plan(input_spec(tmp_path))
    assert sorted((unit.files, len(unit.shards)) for unit in manifest.ingest) == [((0, 2), 1), ((1,), 3)]


def test_compressed_files_count_four_times_whatever_their_name(tmp_path: Path, small_shards: int) -> None:
    (tmp_path / "a.jsonl").write_bytes(gzip.compress(bytes(300_000)))
    size = (tmp_path / "a.jsonl").stat().st_size
    manifest = plan(input_spec(tmp_path))
    assert len(manifest.shards) == -(-4 * size // small_shards)


def test_manifests_are_equal_when_the_files_are(tmp_path: Path) -> None:
    for i in range(40):
        write_parquet(tmp_path / f"{i % 7}/{i}.parquet", {"text": [str(i)] * i})
    manifest = plan(input_spec(tmp_path))
    assert plan(input_spec(tmp_path)) == manifest
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert [file.path for file in manifest.files] == sorted(file.path for file in manifest.files)


def test_a_file_that_is_bad_has_one_shard_of_one_record(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"")
    write_parquet(tmp_path / "b.parquet", {"text": ["x"]})
    manifest = plan(input_spec(tmp_path, on_error="quarantine"))
    assert "empty" in (manifest.files[0].bad or "")
    assert [(shard.files, shard.rows) for shard in manifest.shards] == [((0,), 1), ((1,), 1)]
