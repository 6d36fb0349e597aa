"""Files that cannot be read: truncated, empty, foreign, without a text.

What shows before work starts ends the command with status 2, the rest ends the run with status 1; both name the file and
say what to do. With `on_error: quarantine` the run goes on: the file is one record of the quarantine, or the part of it that
could not be read is, and everything else is published.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import zstandard

from tests.corpus import TEXTS, rows, write_jsonl, write_parquet
from tests.e2e.cli import Place

GOOD = 5

Maker = Callable[[Path], Path]


def _truncated_parquet(folder: Path) -> Path:
    path = write_parquet(folder / "bad.parquet", rows("cut", 200))
    path.write_bytes(path.read_bytes()[:-100])
    return path


def _damaged_page(folder: Path) -> Path:
    """The footer is whole, a page in the middle is not; good rows come before and after."""
    path = write_parquet(folder / "bad.parquet", rows("page", 300), row_group_size=100, use_dictionary=False)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = b"\xff" * 2000
    path.write_bytes(data)
    return path


def _empty_parquet(folder: Path) -> Path:
    path = folder / "bad.parquet"
    path.write_bytes(b"")
    return path


def _foreign_parquet(folder: Path) -> Path:
    path = folder / "bad.parquet"
    path.write_text("id,text\n1,not Parquet\n" * 50)
    return path


def _parquet_named_jsonl(folder: Path) -> Path:
    return write_parquet(folder / "bad.parquet", rows("named", 5)).rename(folder / "bad.jsonl")


def _truncated_gzip(folder: Path) -> Path:
    return _packed(folder, "bad.jsonl.gz", lambda data: gzip.compress(data)[:-2000])


def _truncated_zstd(folder: Path) -> Path:
    return _packed(folder, "bad.jsonl.zst", lambda data: zstandard.compress(data)[:-2000])


def _damaged_gzip(folder: Path) -> Path:
    def damage(data: bytes) -> bytes:
        packed = bytearray(gzip.compress(data))
        packed[len(packed) // 2] ^= 0xFF
        return bytes(packed)

    return _packed(folder, "bad.jsonl.gz", damage)


def _foreign_gzip(folder: Path) -> Path:
    """A picture with another name."""
    path = folder / "bad.jsonl.gz"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 50)
    return path


def _packed(folder: Path, name: str, pack: Callable[[bytes], bytes]) -> Path:
    plain = write_jsonl(folder / "plain", rows("packed", 400))
    (folder / name).write_bytes(pack(plain.read_bytes()))
    plain.unlink()
    return folder / name


def _prepare(place: Place, make: Maker, on_error: str) -> Path:
    """One bad file beside a good one. Returns the bad one."""
    (place / "in").mkdir()
    bad = make(place / "in")
    if bad.suffix == ".parquet":
        write_parquet(place / "in/good.parquet", rows("good", GOOD))
    else:
        write_jsonl(place / "in/good.jsonl", rows("good", GOOD))
    place.config(f"input: {{path: in, on_error: {on_error}}}\npublish:\n  - {{name: all, path: out/all}}\n")
    return bad


UP_FRONT = [_truncated_parquet, _empty_parquet, _foreign_parquet, _parquet_named_jsonl, _foreign_gzip]
AT_WORK = [_damaged_page, _truncated_gzip, _truncated_zstd, _damaged_gzip]


@pytest.mark.parametrize("make", UP_FRONT)
def test_a_bad_file_is_found_before_work_starts(place: Place, make: Maker) -> None:
    bad = _prepare(place, make, "fail")
    for command in ("check", "run"):
        result = place.curate(command, "job.yaml")
        result.failed_with("D401", exit_code=2)
        assert bad.name in result.err
    assert not (place / "runs").exists()
    assert not (place / "out").exists()


@pytest.mark.parametrize("make", AT_WORK)
def test_a_bad_file_ends_the_run(place: Place, make: Maker) -> None:
    bad = _prepare(place, make, "fail")
    result = place.run()
    result.failed_with("D401", exit_code=1)
    assert bad.name in result.err
    assert "on_error: quarantine" in result.err
    assert place.curate("status", "job", "--json").json["state"] == "failed"
    assert not list((place / "out").rglob("*.parquet"))


@pytest.mark.parametrize("make", UP_FRONT)
def test_a_bad_file_goes_to_the_quarantine(place: Place, make: Maker) -> None:
    bad = _prepare(place, make, "quarantine")
    place.run().succeeded()
    quarantine = _quarantine(place)
    assert set(quarantine["file"]) == {bad.name}
    if bad.suffix == ".parquet":
        assert quarantine["position"].to_list() == ["whole file"]
    assert quarantine["reason"][0]
    assert place.report()["rows_kept"] == len(_published(place))
    assert _published(place) == {row["id"] for row in rows("good", GOOD) if row["text"]}


@pytest.mark.parametrize("make", AT_WORK)
def test_what_can_be_read_of_a_bad_file_is_kept(place: Place, make: Maker) -> None:
    bad = _prepare(place, make, "quarantine")
    place.run().succeeded()
    quarantine, report = _quarantine(place), place.report()
    assert set(quarantine["file"]) == {bad.name}
    assert (quarantine["reason"].str.len_bytes() > 0).all()
    assert (quarantine["position"].str.contains(r"^(row \d+|line \d+, byte \d+)$")).all()
    assert (report["balanced"], report["quarantine"]["rows"]) == (True, len(quarantine))
    kept = _published(place)
    assert {row["id"] for row in rows("good", GOOD) if row["text"]} <= kept
    if make is _damaged_page:
        assert {"page-0", "page-299"} <= kept
        assert len(quarantine) <= 100
    else:
        assert "packed-0" in kept
    if make in (_truncated_gzip, _truncated_zstd):  # a damaged one may give garbage before it breaks
        assert len(quarantine) == 1


def _quarantine(place: Place) -> pl.DataFrame:
    return pl.concat(pl.read_parquet(path) for path in (place / "runs/job/quarantine").rglob("*.parquet"))


def _published(place: Place) -> set[str]:
    return {i for path in (place / "out/all").rglob("*.parquet") for i in pl.read_parquet(path)["id"]}


@pytest.mark.parametrize(
    "name", ["none.jsonl", "none.jsonl.gz", "packed.jsonl.gz", "packed.jsonl.zst", "none.parquet"]
)
def test_a_file_without_records_is_no_fault(place: Place, name: str) -> None:
    (place / "in").mkdir()
    content = {"packed.jsonl.gz": gzip.compress(b""), "packed.jsonl.zst": zstandard.compress(b"")}.get(
        name, b""
    )
    (place / "in" / name).write_bytes(content)
    if name == "none.parquet":
        write_parquet(place / "in" / name, [])
    place.config("input: {path: in}\npublish:\n  - {name: all, path: out/all}\n")
    place.run().succeeded()
    report = place.report()
    assert (report["state"], report["balanced"], report["rows_in"]) == ("done", True, 0)
    assert pl.read_parquet(place / "out/all/*.parquet").height == 0


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_a_missing_text_is_found_before_work_starts(place: Place, kind: str) -> None:
    records = [{"id": "1", "body": TEXTS["near one"]}]
    (place / "in").mkdir()
    if kind == "parquet":
        pl.DataFrame(records).write_parquet(place / "in/a.parquet")
    else:
        write_jsonl(place / "in/a.jsonl", records)
    place.config("input: {path: in}\npublish:\n  - {name: all, path: out/all}\n")
    result = place.run()
    result.failed_with("D402", exit_code=2)
    assert "columns: {text: body}" in result.err
    place.config("input: {path: in, columns: {text: body}}\npublish:\n  - {name: all, path: out/all}\n")
    place.run().succeeded()
    assert pl.read_parquet(place / "out/all/*.parquet")["text"].to_list() == [TEXTS["near one"]]


def test_a_text_that_is_a_list_is_found_before_work_starts(place: Place) -> None:
    (place / "in").mkdir()
    pl.DataFrame({"id": ["1"], "text": [["a", "b"]]}).write_parquet(place / "in/a.parquet")
    place.config("input: {path: in}\npublish:\n  - {name: all, path: out/all}\n")
    place.run().failed_with("D403", exit_code=2)
