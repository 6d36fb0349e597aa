"""`curate inspect`: samples of a run by fate, and descriptions of data files."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from curate.cli import cli
from curate.core.errors import CurateError

Invoke = Callable[..., Result]


@pytest.fixture
def inspect(curate: Invoke) -> Callable[..., dict[str, Any]]:
    def ask(*options: str) -> dict[str, Any]:
        return json.loads(curate("inspect", "tiny", "--json", "--n", "100", *options).output)

    return ask


Ask = Callable[..., dict[str, Any]]


def _ids(found: dict[str, Any]) -> set[str]:
    return {row["id"] for row in found["rows"]}


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        (["--dropped"], {"short/0", "short/1", "numbers", "empty", "null"}),
        (["--dropped", "--step", "gopher"], {"short/0", "short/1"}),
        (["--dropped", "--step", "read"], {"empty", "null"}),
        (["--dropped", "--step", "lid"], set()),
        (["--reason", "no_text"], {"empty", "null"}),
        (["--reason", "gopher_short_doc", "--step", "select"], {"short/0", "short/1"}),
        (["--reason", "gopher_short_doc", "--kept"], set()),
        (["--quarantined"], {"broken", "b.jsonl#1", "b.jsonl#2"}),
        (["--quarantined", "--step", "read"], {"broken", "b.jsonl#1", "b.jsonl#2"}),
        (["--quarantined", "--step", "gopher"], set()),
        (["--quarantined", "--reason", "invalid UTF-8"], {"broken", "b.jsonl#2"}),
        (["--language", "und"], {"empty", "null", "broken", "b.jsonl#1", "b.jsonl#2"}),
        (["--language", "deu_Latn"], {"german/0", "german/1", "german/2", "twin", "line/1"}),
    ],
)
def test_only_documents_that_qualify_are_shown(inspect: Ask, options: list[str], ids: set[str]) -> None:
    found = inspect(*options)
    assert _ids(found) == ids
    assert found["found"] == len(ids)


def test_fates_divide_the_run(inspect: Ask) -> None:
    assert [inspect(*fate)["found"] for fate in ([], ["--kept"], ["--dropped"], ["--quarantined"])] == [
        25,
        17,
        5,
        3,
    ]
    entered = [inspect("--step", step)["found"] for step in ("read", "lid", "select", "gopher")]
    kept = [inspect("--step", step, "--kept")["found"] for step in ("read", "lid", "select", "gopher")]
    assert (entered, kept) == ([25, 20, 20, 19], [20, 20, 19, 17])


def test_values_and_texts_come_with_the_rows(inspect: Ask) -> None:
    [row] = inspect("--dropped", "--step", "select")["rows"]
    assert (row["id"], row["state"], row["step"], row["reasons"]) == (
        "numbers",
        "dropped",
        "select",
        ["false"],
    )
    assert row["values"]["lid__prob"] < 0.5
    assert row["values"]["gopher__words_count"] is None
    assert row["values"]["text"].startswith("8 3 0 1")
    bad = next(r for r in inspect("--quarantined")["rows"] if r["id"] == "b.jsonl#1")
    assert bad["position"].startswith("line 2, byte ")
    assert bad["raw"].startswith('{"id": "cut"')


def test_the_sample_is_random_and_repeats_by_seed(curate: Invoke) -> None:
    def ids(seed: int) -> list[str]:
        found = json.loads(curate("inspect", "tiny", "--n", "4", "--seed", str(seed), "--json").output)
        assert found["found"] == 25
        return [row["id"] for row in found["rows"]]

    samples = [ids(seed) for seed in range(6)]
    assert samples == [ids(seed) for seed in range(6)]
    assert all(len(s) == 4 for s in samples)
    assert len({tuple(s) for s in samples}) > 3


def test_columns_that_are_asked_for(curate: Invoke, inspect: Ask) -> None:
    options = ("--columns", "id, lid__lang", "--language", "deu_Latn")
    assert all(row["values"].keys() == {"id", "lid__lang"} for row in inspect(*options)["rows"])
    text = curate("inspect", "tiny", *options).output
    assert "lid__lang  deu_Latn" in text
    assert "gopher__" not in text
    assert "Ausschuss" not in text


def test_people_get_blocks_and_the_next_command(curate: Invoke) -> None:
    text = curate("inspect", "tiny", "--dropped", "--step", "gopher", "--n", "1").output
    assert "dropped by gopher: gopher_short_doc" in text
    assert "1 of 2 documents" in text
    assert "curate explain tiny short/" in text
    assert not set("\x1b\x07\u202e") & set(curate("inspect", "tiny", "--n", "100").output)


def test_a_reason_that_never_occurs_is_answered_with_those_that_do(curate: Invoke) -> None:
    text = curate("inspect", "tiny", "--reason", "gopher_shrt_doc").output
    assert "0 of 0 documents" in text
    assert "gopher_short_doc, no_text" in text
    assert "no_text" not in curate("inspect", "tiny", "--reason", "x", "--step", "gopher").output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["tiny", "--step", "gofer"], "did you mean 'gopher'?"),
        (["tiny", "--language", "German"], "did you mean 'deu_Latn'?"),
        (["tiny", "--columns", "lid__lan"], "did you mean 'lid__lang'?"),
        (["tiny", "--columns", "zzz"], "there is doc, id, text"),
        (["tiny", "--n", "0"], "--n"),
        (["docs/a.parquet", "--dropped"], "--dropped is for runs"),
        (["docs/a.parquet", "--seed", "3"], "--seed is for runs"),
    ],
)
def test_misspelt_options_are_usage_errors(curate: Invoke, options: list[str], message: str) -> None:
    result = curate("inspect", *options)
    assert result.exit_code == 2
    assert message in result.output


def test_a_parquet_file(curate: Invoke, workdir: Path) -> None:
    facts = json.loads(curate("inspect", "docs/a.parquet", "--json").output)
    assert (facts["rows"], facts["files"], facts["row_groups"]["count"], facts["curate"]) == (20, 1, 3, None)
    assert [(c["name"], c["type"]) for c in facts["columns"]] == [("id", "string"), ("text", "string")]
    assert facts["bytes"] == (workdir / "docs" / "a.parquet").stat().st_size
    assert 0 < sum(c["bytes"] for c in facts["columns"]) < facts["bytes"]
    text = curate("inspect", "docs/a.parquet").output
    assert "parquet, 1 file, 20 rows" in text
    assert "3 row groups" in text


def test_a_published_folder_says_how_it_was_made(curate: Invoke) -> None:
    facts = json.loads(curate("inspect", "out/all", "--json").output)
    assert (facts["rows"], facts["files"]) == (17, 2)
    assert (facts["curate"]["config"]["name"], facts["curate"]["output"]["name"]) == ("tiny", "all")
    lang = next(c for c in facts["columns"] if c["name"] == "lid__lang")
    assert lang["metadata"]["curate.step"] == "lid.fasttext"
    assert "output all of tiny" in curate("inspect", "out/all").output


@pytest.mark.parametrize("packed", [False, True])
def test_a_json_lines_file(tmp_path: Path, packed: bool) -> None:
    data = b'{"id": 1, "text": "a"}\n\n{"id": 2, "text": null, "odd\\u001b": [1]}\n[1]\nno json\n'
    path = tmp_path / "x.jsonl"
    path.write_bytes(gzip.compress(data) if packed else data)
    facts = json.loads(_inspect(path, "--json"))
    assert (facts["format"], facts["rows"], facts["bad"], facts["fault"]) == ("jsonl", 4, 2, None)
    assert facts["keys"] == {"id": {"int": 2}, "text": {"str": 1, "null": 1}, "odd\x1b": {"list": 1}}
    text = _inspect(path)
    assert "2 of the first 4 lines are no JSON objects" in text
    assert "\x1b" not in text


def test_a_torn_file_says_so(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"id": 1}\n' * 5_000)[:-20])
    assert "cannot be read to its end" in _inspect(path)


def test_columns_of_nested_types_are_counted_whole(tmp_path: Path) -> None:
    nested = pa.array([[{"a": 1, "b": "x"}]] * 50)
    pq.write_table(pa.table({"n": nested, "m": pa.array(range(50))}), tmp_path / "x.parquet")
    facts = json.loads(_inspect(tmp_path / "x.parquet", "--json"))
    metadata = pq.read_metadata(tmp_path / "x.parquet").row_group(0)
    sizes = [metadata.column(i).total_compressed_size for i in range(metadata.num_columns)]
    assert [c["bytes"] for c in facts["columns"]] == [sum(sizes[:-1]), sizes[-1]]


def test_a_folder_without_data_and_a_damaged_file(tmp_path: Path) -> None:
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and then nothing")
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "bad.parquet", tmp_path / "empty"):
        with pytest.raises(CurateError, match="D401"):
            _inspect(path)


def _inspect(path: Path, *options: str) -> str:
    return CliRunner().invoke(cli, ["inspect", str(path), *options], catch_exceptions=False).output
