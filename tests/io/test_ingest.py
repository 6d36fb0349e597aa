"""JSON Lines become Parquet: every record, or a bad record with its place."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import zstandard

from curate.core.errors import CurateError
from curate.core.manifest import doc_id, row_of
from curate.io import ingest, lines, sharding, text_blocks
from curate.io.ingest import ingest_unit
from tests.io.inputs import Read, input_spec, plan

Reader = Callable[..., Read]


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=3).compress(data)


def records(count: int, start: int = 0) -> bytes:
    return b"".join(b'{"id": "%d", "text": "text of %d"}\n' % (i, i) for i in range(start, start + count))


def test_columns_are_taken_apart_and_the_rest_is_kept_exactly(tmp_path: Path, read: Reader) -> None:
    (tmp_path / "a.jsonl").write_text(
        '{"text":"a","id":1.50,"url":"u","s":3,"t":["x",null],"big":12345678901234567890123,'
        ' "f": 1.0e5, "o": { "k" : "\\u00e9\\ud83d\\ude00" }, "é\\n": null}\n'
        '{"text":null}\n'
    )
    columns = {"score": ("s", "float64"), "tags": ("t", "list<string>")}
    result = read(input_spec(tmp_path, columns=columns, constants={"licence": "MIT"}))
    first, second = result.rows
    assert (first["text"], first["id"], first["url"], first["licence"]) == ("a", "1.50", "u", "MIT")
    assert (first["score"], first["tags"]) == (3.0, ["x", None])
    assert first["extra"] == (
        '{"big":12345678901234567890123,"f":1.0e5,"o":{ "k" : "\\u00e9\\ud83d\\ude00" },"é\\n":null}'
    )
    assert (second["id"], second["text"], second["extra"]) == ("a.jsonl#1", None, None)


def test_string_columns_take_other_values_as_their_json(tmp_path: Path, read: Reader) -> None:
    (tmp_path / "a.jsonl").write_text('{"text":"a","id":7,"source":{"n":[1]},"date":20240101,"url":true}\n')
    row = read(input_spec(tmp_path)).rows[0]
    assert (row["id"], row["source"], row["date"], row["url"]) == ("7", '{"n":[1]}', "20240101", "true")


def test_a_renamed_field_is_the_text(tmp_path: Path, read: Reader) -> None:
    (tmp_path / "a.jsonl").write_text('{"body":"a","text":"not this"}\n')
    row = read(input_spec(tmp_path, columns={"text": "body"})).rows[0]
    assert (row["text"], row["extra"]) == ("a", '{"text":"not this"}')


@pytest.mark.parametrize(
    ("escaped", "text"),
    [
        (r"\"\\\/\b\f\n\r\t", '"\\/\b\f\n\r\t'),
        (r"\u0000", "\0"),
        (r"\u00e9\u20AC\ud83D\uDE00", "é€😀"),
        ("é€😀", "é€😀"),
        ("", ""),
        (r"\u007f\u0080\u07ff\u0800\uffff", "\x7f\x80\u07ff\u0800\uffff"),
    ],
)
def test_escapes_mean_what_json_says(tmp_path: Path, read: Reader, escaped: str, text: str) -> None:
    (tmp_path / "a.jsonl").write_text(f'{{"text": "{escaped}"}}\n')
    assert read(input_spec(tmp_path)).column("text") == [text]
    assert json.loads(f'"{escaped}"') == text


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text": "x"', "broken JSON"),
        (b'{"text": "x"} y', "broken JSON"),
        (b'{"text": "x", "n": NaN}', "broken JSON"),
        (b'{"text": "\x01"}', "broken JSON"),
        (b'{"text": "a\xffb"}', "invalid UTF-8 at byte 11"),
        (b'{"text": "x", "k\xc3": 1}', "invalid UTF-8"),
        (b'["text"]', "not a JSON object"),
        (b"7", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'{"text": 7}', "'text' is a number"),
        (b'{"text": ["x"]}', "'text' is a list"),
        (b'{"text": {"x": 1}}', "'text' is an object"),
        (b'{"text": true}', "'text' is true"),
        (b'{"text": "\\ud800"}', r"lone surrogate \\ud800"),
        (b'{"text": "\\ud800 and more text after it"}', r"lone surrogate \\ud800"),
        (b'{"text": "\\udc00"}', r"lone surrogate \\udc00"),
        (b'{"text": "x", "o": {"k": "\\udc00"}}', "lone surrogate"),
        (b'{"text": "x", "n": 1.5}', "'n' is not int64: 1.5"),
        (b'{"text": "x", "n": "1"}', "'n' is not int64"),
        (b'{"text": "x", "n": 9223372036854775808}', "'n' is not int64"),
        (b'{"text": "x", "o": ' + b"[" * 9999 + b"]" * 9999 + b"}", "nested too deeply"),
    ],
)
def test_a_bad_line_costs_itself_and_is_kept_with_its_place(
    tmp_path: Path, read: Reader, line: bytes, reason: str
) -> None:
    before = b'{"text": "one"}\n \n{"text": "two", "n": 2}\n'
    (tmp_path / "a.jsonl").write_bytes(before + line + b'\n{"text": "three", "n": null}\n')
    result = read(input_spec(tmp_path, columns={"n": ("n", "int64")}))
    assert [(row["doc"], row["id"], row["text"]) for row in result.rows] == [
        (0, "a.jsonl#0", "one"),
        (1, "a.jsonl#1", "two"),
        (3, "a.jsonl#3", "three"),
    ]
    (bad,) = result.bad
    assert (bad.doc, bad.row, bad.file) == (2, 2, "a.jsonl")
    assert bad.position == f"line 4, byte {len(before)}"
    assert bad.raw == line[:4096]
    assert reason.replace("\\\\", "\\") in bad.reason


def test_one_bad_byte_on_line_1500_costs_one_document(tmp_path: Path, read: Reader) -> None:
    data = records(3000).replace(b"text of 1499", b"text \xff 1499")
    (tmp_path / "a.jsonl").write_bytes(data)
    result = read(input_spec(tmp_path))
    assert len(result.rows) == 2999
    assert result.bad[0].position == f"line 1500, byte {len(records(1499))}"
    assert result.ingested[0].shards[0].records == 3000


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        (b"", []),
        (b"\n \n\t\r\n", []),
        (b'{"text":"a"}', ["a"]),
        (b'\xef\xbb\xbf{"text":"a"}\n{"text":"b"}', ["a", "b"]),
        (b'{"text":"a"}\r\n\r\n{"text":"b"}\r\n', ["a", "b"]),
        (b'{"text":"a"}\n\n   \n{"text":"b"}\n\n', ["a", "b"]),
        (b'  {"text":"a"}  \n', ["a"]),
        (b'{"text":"a\xe2\x80\xa8\xc2\x85b"}\n', ["a\u2028\x85b"]),
        (b'{"text":"a","text":"b"}\n', ["b"]),
    ],
)
def test_lines_end_at_newlines_and_blank_ones_are_no_records(
    tmp_path: Path, read: Reader, content: bytes, texts: list[str]
) -> None:
    (tmp_path / "a.jsonl").write_bytes(content)
    result = read(input_spec(tmp_path))
    assert (result.column("text"), result.bad) == (texts, [])
    assert result.ingested[0].shards[0].records == len(texts)


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst"])
def test_members_and_frames_are_read_to_the_last_whatever_the_name(
    tmp_path: Path, read: Reader, pack: Callable[[bytes], bytes], name: str
) -> None:
    (tmp_path / name).write_bytes(b"".join(pack(records(500, start)) for start in range(0, 5000, 500)))
    assert read(input_spec(tmp_path)).column("id") == [str(i) for i in range(5000)]


def test_padding_and_skippable_frames_are_no_text(tmp_path: Path, read: Reader) -> None:
    skippable = b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"
    (tmp_path / "a.gz").write_bytes(gzip.compress(records(1)) + bytes(600))
    (tmp_path / "b.zst").write_bytes(skippable + zstd(records(1, 1)) + skippable)
    (tmp_path / "c.zst").write_bytes(zstd(b"") + zstd(records(1, 2)))
    assert read(input_spec(tmp_path / "*")).column("id") == ["0", "1", "2"]


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_a_torn_file_gives_all_records_before_the_break(
    tmp_path: Path, read: Reader, pack: Callable[[bytes], bytes]
) -> None:
    whole = pack(records(3000)) + pack(records(200_000, 3000))
    (tmp_path / "a.jsonl").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "b.jsonl").write_bytes(records(1))
    with pytest.raises(CurateError, match=r"D401: a\.jsonl .* cut short at byte \d+") as caught:
        read(input_spec(tmp_path))
    assert caught.value.exit_code == 1
    result = read(input_spec(tmp_path, on_error="quarantine"))
    (bad,) = result.bad
    good = result.column("id")
    assert len(good) > 30_000
    assert good == [str(i) for i in range(len(good) - 1)] + ["0"]
    assert bad.row == len(good) - 1
    assert bad.position.startswith(f"line {len(good)}, byte ")
    assert [row_of(doc) for doc in result.column("doc")] == [*range(len(good) - 1), len(good)]


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_damaged_data_is_torn_where_it_breaks(
    tmp_path: Path, read: Reader, pack: Callable[[bytes], bytes]
) -> None:
    whole = bytearray(pack(records(100_000)))
    whole[len(whole) // 2 : len(whole) // 2 + 2000] = b"\xff" * 2000
    (tmp_path / "a.jsonl").write_bytes(whole)
    with pytest.raises(CurateError, match=r"D401: .*damaged"):
        read(input_spec(tmp_path))
    result = read(input_spec(tmp_path, on_error="quarantine"))
    assert len(result.rows) > 20_000
    assert "damaged" in result.bad[-1].reason


def test_parquet_named_as_jsonl_is_d401(tmp_path: Path, read: Reader) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"PAR1....PAR1")
    (tmp_path / "b.jsonl").write_bytes(records(1))
    with pytest.raises(CurateError, match=r"D401: .*a\.jsonl is named as JSON Lines and is a Parquet file"):
        read(input_spec(tmp_path))
    result = read(input_spec(tmp_path, on_error="quarantine"))
    assert [(bad.doc, bad.file) for bad in result.bad] == [(0, "a.jsonl")]
    assert [(row["doc"], row["id"]) for row in result.rows] == [(1, "0")]


def test_small_files_share_a_shard_and_count_their_own_rows(tmp_path: Path, read: Reader) -> None:
    for name in "abc":
        (tmp_path / f"{name}.jsonl").write_bytes(b'{"text": "x"}\n5\n{"text": "y"}\n')
    result = read(input_spec(tmp_path))
    assert result.column("id") == [f"{name}.jsonl#{row}" for name in "abc" for row in (0, 2)]
    assert result.column("doc") == [0, 2, 3, 5, 6, 8]
    assert result.ingested[0].shards[0].file_starts == (0, 3, 6)
    assert [(bad.doc, bad.row, bad.file) for bad in result.bad] == [
        (1, 1, "a.jsonl"),
        (4, 1, "b.jsonl"),
        (7, 1, "c.jsonl"),
    ]


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_blocks, "STEP_BYTES", 8192)
    monkeypatch.setattr(text_blocks, "BLOCK_BYTES", 20_000)
    monkeypatch.setattr(sharding, "SHARD_BYTES", 30_000)
    monkeypatch.setattr(ingest, "ROW_GROUP_BYTES", 50_000)


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd])
def test_a_giant_file_is_cut_and_nothing_is_lost_at_the_cuts(
    tmp_path: Path, read: Reader, pack: Callable[[bytes], bytes]
) -> None:
    long = b'{"id": "long", "text": "' + b"x" * 300_000 + b'"}\n'
    data = records(9000) + long + records(9000, 9000)
    (tmp_path / "a.jsonl").write_bytes(pack(data))
    result = read(input_spec(tmp_path))
    ids = [str(i) for i in range(9000)] + ["long"] + [str(i) for i in range(9000, 18000)]
    assert len(result.manifest.shards) > 2
    assert result.column("id") == ids
    docs = result.column("doc")
    per_shard = [shard.records for shard in result.ingested[0].shards]
    assert docs == [doc_id(shard, row) for shard, count in enumerate(per_shard) for row in range(count)]
    if pack is bytes:
        assert all(per_shard[:2])


@pytest.mark.usefixtures("small_steps")
def test_shards_without_records_are_written_too(tmp_path: Path, read: Reader) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"id": "1", "text": "' + b"x" * 900_000 + b'"}\n')
    result = read(input_spec(tmp_path))
    assert [shard.records for shard in result.ingested[0].shards] == [1] + [0] * 30
    assert result.column("id") == ["1"]


@pytest.mark.usefixtures("small_steps")
def test_equal_input_gives_equal_bytes_and_the_counts_are_true(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(zstd(records(20_000) + b"bad\n" + records(20_000)))
    specs = [input_spec(tmp_path)]
    manifest = plan(*specs)
    written = []
    for run in ("one", "two"):
        (tmp_path / run).mkdir()
        targets = {shard: str(tmp_path / run / str(shard)) for shard in manifest.ingest[0].shards}
        done = ingest_unit(manifest, specs, 0, targets, quarantine=lambda bad: None)
        written.append([Path(target).read_bytes() for target in targets.values()])
        for shard in done.shards:
            table = pq.read_table(targets[shard.shard])
            assert shard.good == table.num_rows
            assert shard.text_bytes == sum(len(text.encode()) for text in table["text"].to_pylist())
            assert shard.bytes == Path(targets[shard.shard]).stat().st_size
    assert written[0] == written[1]
    assert sum(shard.records - shard.good for shard in done.shards) == 1


def test_ingest_writes_to_stores(tmp_path: Path, memory: Any) -> None:
    (tmp_path / "a.jsonl").write_bytes(records(10))
    specs = [input_spec(tmp_path)]
    manifest = plan(*specs)
    done = ingest_unit(manifest, specs, 0, {0: "memory://run/0.parquet"}, quarantine=lambda bad: None)
    assert done.shards[0].bytes == memory.size("/run/0.parquet")
    with memory.open("/run/0.parquet") as file:
        assert pq.read_table(file).num_rows == 10


def test_a_changed_file_is_not_ingested(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(records(10))
    specs = [input_spec(tmp_path)]
    manifest = plan(*specs)
    (tmp_path / "a.jsonl").write_bytes(records(11))
    with pytest.raises(CurateError, match=r"R301: a\.jsonl was"):
        ingest_unit(manifest, specs, 0, {0: str(tmp_path / "out")}, quarantine=lambda bad: None)


@pytest.mark.parametrize("end", [b"\n", b""])
def test_a_line_without_end_is_bad_and_not_held(
    tmp_path: Path, read: Reader, monkeypatch: pytest.MonkeyPatch, end: bytes
) -> None:
    monkeypatch.setattr(text_blocks, "STEP_BYTES", 8192)
    monkeypatch.setattr(lines, "LINE_BYTES", 50_000)
    giant = b'{"id": "giant", "text": "' + b"x" * 500_000 + b'"}'
    after = records(50, 50) if end else b""
    (tmp_path / "a.jsonl").write_bytes(records(50) + giant + end + after)
    result = read(input_spec(tmp_path))
    assert result.column("id") == [str(i) for i in range(100 if end else 50)]
    (bad,) = result.bad
    assert (bad.row, bad.position) == (50, f"line 51, byte {len(records(50))}")
    assert len(bad.raw) >= 1024
    assert giant.startswith(bad.raw)
    assert "a line of more than" in bad.reason
