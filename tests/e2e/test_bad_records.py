"""Records that are no documents, and documents that are strange: the rest of the file goes on.

A bad record goes to the quarantine with its file, its position and the reason, whatever `on_error` says; a document without
text is dropped by the reader as `no_text`; everything else is published byte for byte as it came.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.corpus import DOCUMENTS, TEXTS
from tests.e2e.cli import Place

CONFIG = "input: {path: in}\npublish:\n  - {name: all, path: out/all}\n"
BLANK = {"blank", "empty"}


def _ran(place: Place) -> tuple[pl.DataFrame, pl.DataFrame | None, dict[str, Any]]:
    """What is published, what is in the quarantine, the report."""
    place.config(CONFIG)
    place.run().succeeded()
    bad = [pl.read_parquet(path) for path in (place / "runs/job/quarantine").rglob("*.parquet")]
    report = place.report()
    assert (report["state"], report["balanced"]) == ("done", True)
    return pl.read_parquet(place / "out/all/*.parquet"), pl.concat(bad) if bad else None, report


def _bytes_column(values: list[bytes], kind: pa.DataType) -> pa.Array:
    """Any bytes as strings: nothing checks them."""
    return (
        pa.array(values, pa.binary())
        .cast(pa.large_binary() if kind == pa.large_string() else pa.binary())
        .view(kind)
    )


#: Runs a command and tells the largest resident set of its processes, in bytes; in a process of its own, because the
#: system keeps the figure for all children that a process has ever had.
_MEASURED = (
    sys.executable,
    "-c",
    "import resource, subprocess, sys; code = subprocess.run(sys.argv[1:]).returncode; "
    "print('largest:', resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024, file=sys.stderr); sys.exit(code)",
)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary()], ids=str)
def test_invalid_utf8_in_parquet(place: Place, kind: pa.DataType) -> None:
    (place / "in").mkdir()
    names = list(DOCUMENTS)
    column = _bytes_column(list(DOCUMENTS.values()), kind)
    pq.write_table(pa.table({"id": names, "text": column}), place / "in/corpus.parquet", row_group_size=5)
    published, bad, report = _ran(place)
    assert dict(published.select("id", "text").rows()) == {n: t for n, t in TEXTS.items() if n not in BLANK}
    row = names.index("not utf-8")
    assert bad is not None
    assert bad.select("doc", "file", "position").rows() == [(row, "corpus.parquet", f"row {row}")]
    assert "invalid UTF-8" in bad["reason"][0]
    assert bad["raw"][0] == DOCUMENTS["not utf-8"]
    assert report["steps"][0]["dropped"] == {"no_text": 2}
    assert report["quarantine"]["rows"] == 1


def test_bad_lines_in_the_middle_of_jsonl(place: Place) -> None:
    good = [
        json.dumps({"id": name, "text": text}, ensure_ascii=False).encode() for name, text in TEXTS.items()
    ]
    broken = {
        b'{"id": "x", "text": "no end': "broken JSON",
        b'["no", "object"]': "not a JSON object",
        b'{"id": "x", "text": "\xff\xfe"}': "invalid UTF-8 at byte 21",
        b'{"id": "x", "text": 7}': "'text' is a number",
        b'{"id": "x", "text": "\\ud800 alone"}': "lone surrogate",
        b'{"id": "x"} {"id": "y"}': "broken JSON",
        b"\0\0\0\0": "broken JSON",
        b'{"id": ' + b"[" * 100_000: "nested",
    }
    lines, places = [], []
    for number, line in enumerate(good):
        lines.append(line)
        if number < len(broken):
            places.append(
                (
                    f"line {len(lines) + 1}, byte {sum(len(x) + 1 for x in lines)}",
                    list(broken.values())[number],
                )
            )
            lines.append(list(broken)[number])
    (place / "in").mkdir()
    (place / "in/corpus.jsonl").write_bytes(b"\n".join(lines) + b"\n \n\n")
    published, bad, report = _ran(place)
    assert dict(published.select("id", "text").rows()) == {n: t for n, t in TEXTS.items() if n not in BLANK}
    assert bad is not None
    assert bad["position"].to_list() == [position for position, _ in places]
    assert set(bad["file"]) == {"corpus.jsonl"}
    for said, (_, expected) in zip(bad["reason"], places, strict=True):
        assert expected in said
    assert report["rows_in"] == len(lines)


def test_documents_without_text_are_dropped_by_the_reader(place: Place) -> None:
    texts = [None, "", " ", "\n\t\u3000\u2028\u00a0", "x", "\0", "\u200b"]
    (place / "in").mkdir()
    pl.DataFrame({"id": [f"p{n}" for n in range(7)], "text": texts}).write_parquet(place / "in/a.parquet")
    lines = [{"id": f"j{n}", "text": text} for n, text in enumerate(texts)] + [{"id": "j7"}]
    (place / "in/b.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    published, bad, report = _ran(place)
    assert dict(published.select("id", "text").rows()) == {
        f"{k}{n}": texts[n] for k in "pj" for n in (4, 5, 6)
    }
    assert bad is None
    assert report["steps"][0]["dropped"] == {"no_text": 9}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_a_text_of_60_mb_goes_through_every_step(place: Place, kind: str) -> None:
    """Beside small ones, through language identification and rules, and no process needs 1 GB."""
    paragraph = TEXTS["near one"] + "\n"
    big = paragraph * (60_000_000 // len(paragraph) + 1)
    frame = pl.DataFrame(
        {"id": ["small", "big", "last"], "text": [TEXTS["exact one"], big, TEXTS["near two"]]}
    )
    (place / "in").mkdir()
    if kind == "parquet":
        frame.write_parquet(place / "in/a.parquet")
    else:
        frame.write_ndjson(place / "in/a.jsonl")
    place.config(
        "input: {path: in}\n"
        "steps:\n"
        "  - {use: lid.fasttext, as: lid}\n"
        "  - {use: filters.gopher_quality, as: gopher, max_words: null}\n"
        "publish:\n  - {name: all, path: out/all, shuffle: 1}\n"
    )
    result = place.curate("run", "job.yaml", prefix=_MEASURED)
    assert result.code == 0, result.err
    published = pl.read_parquet(place / "out/all/*.parquet").sort("id")
    assert published["id"].to_list() == ["big", "last", "small"]
    assert published["text"].str.len_bytes().to_list()[0] == len(big)
    largest = int(result.err.rpartition("largest: ")[2])
    assert 50_000_000 < largest < 1e9


def test_ids_missing_and_given_twice(place: Place) -> None:
    """A missing id becomes `path#row`; a repeated one is allowed, and `explain` shows all that have it."""
    (place / "in/sub").mkdir(parents=True)
    texts = [TEXTS["near one"], TEXTS["near two"], TEXTS["exact one"]]
    pl.DataFrame({"id": ["twice", None, "twice"], "text": texts}).write_parquet(place / "in/sub/a.parquet")
    pl.DataFrame({"text": texts}).write_parquet(place / "in/sub/b.parquet")
    (place / "in/c.jsonl").write_text(
        json.dumps({"text": texts[0]}) + "\n" + json.dumps({"id": 12, "text": texts[1]}) + "\n"
    )
    published, _, _ = _ran(place)
    expected = [
        "12",
        "c.jsonl#0",
        "sub/a.parquet#1",
        "twice",
        "twice",
        *(f"sub/b.parquet#{n}" for n in range(3)),
    ]
    assert sorted(published["id"]) == sorted(expected)
    lives = place.curate("explain", "job", "twice", "--json").json
    assert sorted(life["text"] for life in lives) == sorted([texts[0], texts[2]])


def test_every_row_carries_what_it_came_with(place: Place) -> None:
    """Columns that nobody asked for travel along; what JSON Lines do not declare is in `extra`."""
    (place / "in").mkdir()
    nested = {"id": ["1"], "text": ["a b"], "meta": [{"tags": ["x", None], "n": 3}], "score": [1.5]}
    pl.DataFrame(nested).write_parquet(place / "in/a.parquet")
    (place / "in/b.jsonl").write_text('{"id": "2", "text": "c\\u0000d", "more": {"k": [1, null]}}\n')
    published, _, _ = _ran(place)
    first, second = published.sort("id").rows(named=True)
    assert (first["meta"], first["score"]) == ({"tags": ["x", None], "n": 3}, 1.5)
    assert (second["text"], json.loads(second["extra"])) == ("c\0d", {"more": {"k": [1, None]}})
