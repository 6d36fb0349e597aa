"""Inputs that change: added files are taken in on request and disturb nothing; anything else stops the run.

The manifest is frozen when a run is first planned. `--update` appends new files with numbers of their own, so a known
document keeps its `doc`, its values and its verdict. A file that was rewritten or removed stops the run, also when that
happens while the run is at work.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from tests.corpus import rows, write_jsonl, write_parquet
from tests.e2e.cli import Fault, Place, Template
from tests.e2e.run_folder import attempts, done_records, published, strays

CONFIG = """
input:
  - {path: in/*.parquet, name: p}
  - {path: in/*.jsonl, name: lines, columns: {n: {field: n, type: int64}, kind: kind}}
steps:
  - {use: filters.gopher_quality, as: gopher, min_words: 20, min_stop_words: null}
  - {select: n % 5 != 0}
publish:
  - {name: all, path: out/all}
  - {name: mixed, path: out/mixed, shuffle: 1}
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """A folder in which the job has run."""
    place = Place(tmp_path_factory.mktemp("finished") / "work")
    for number, size in enumerate((12, 5, 30)):
        write_parquet(place / f"in/{number}.parquet", rows(f"p{number}", size))
    write_jsonl(place / "in/0.jsonl", rows("j0", 9))
    place.config(CONFIG)
    place.run().succeeded()
    return Template(place)


@pytest.fixture
def done(template: Template) -> Place:
    return template.restored()


def test_an_added_file_is_not_taken_in_silently(done: Place) -> None:
    before = attempts(done / "runs/job")
    write_parquet(done / "in/00.parquet", rows("new", 8))
    for command in ("run", "plan", "check"):
        result = done.curate(command, "job.yaml")
        result.failed_with("R301", exit_code=1)
        assert "p/00.parquet: new" in result.err
        assert "--update" in result.err
    assert attempts(done / "runs/job") == before
    assert done.curate("report", "job", "--json").json["rows_in"] == 56


def test_update_computes_the_new_units_only(done: Place) -> None:
    before, known = attempts(done / "runs/job"), _verdicts(done / "runs/job")
    write_parquet(done / "in/00.parquet", rows("new", 8))  # it sorts before the known ones
    write_jsonl(done / "in/1.jsonl", rows("j1", 4))
    plan = done.plan("--update")
    counts = {
        name: (plan[name]["reused"], plan[name]["pending"]) for name in ("ingest", "pass1", "all.count")
    }
    assert counts == {"ingest": (1, 1), "pass1": (4, 2), "all.count": (4, 2)}
    done.run("--update").succeeded()
    after = attempts(done / "runs/job")
    local = {key: attempt for key, attempt in before.items() if not key[0].endswith(".write")}
    assert local.items() <= after.items()
    assert len(done_records(done / "runs/job")["pass1"]) == 6
    now = _verdicts(done / "runs/job")
    assert now.filter(pl.col("doc").is_in(known["doc"].implode())).equals(known)
    assert now.height == known.height + 12
    assert strays(done / "runs/job", done / "out/all", done / "out/mixed") == []
    done.run().succeeded()  # the new files are known now
    assert attempts(done / "runs/job") == after


def _verdicts(run: Path) -> pl.DataFrame:
    """Everything the pass found out, of all documents."""
    paths = [run / record["outputs"]["overlay"]["path"] for record in done_records(run)["pass1"].values()]
    return pl.concat([pl.read_parquet(path) for path in paths]).sort("doc")


@pytest.mark.parametrize("update", [[], ["--update"]])
@pytest.mark.parametrize("change", ["rewritten", "same size", "removed"])
def test_a_changed_file_stops_the_run(done: Place, change: str, update: list[str]) -> None:
    before, path = {p: published(done / "out" / p) for p in ("all", "mixed")}, done / "in/1.parquet"
    said = {"rewritten": "was", "same size": "other content, same size", "removed": "gone"}[change]
    if change == "removed":
        path.unlink()
    elif change == "rewritten":
        write_parquet(path, rows("other", 7))
    else:
        data = bytearray(path.read_bytes())
        data[20] ^= 1
        path.write_bytes(data)
    for command in ("run", "plan"):
        result = done.curate(command, "job.yaml", *update)
        result.failed_with("R301", exit_code=1)
        assert f"p/1.parquet: {said}" in result.err
    assert {p: published(done / "out" / p) for p in ("all", "mixed")} == before


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["pass1", "all.count", "mixed.exchange"])
def test_an_input_rewritten_while_the_run_works_stops_it(done: Place, phase: str) -> None:
    """Rewritten right before a phase begins, by a file of the same size in rows: whatever reads it next must see that."""
    shutil.rmtree(done / "runs")
    shutil.rmtree(done / "out")
    write_parquet(done / "new.parquet", rows("other", 30))
    rewrite = f"cp {done / 'new.parquet'} {done / 'in/2.parquet'}"
    result = done.run(
        faults=[Fault("curate.running.run:run_phase", rewrite, rf"\b{phase}( |$)", by="parent")]
    )
    result.failed_with("R301", exit_code=1)
    assert "p/2.parquet" in result.err
    again = done.run()
    again.failed_with("R301", exit_code=1)
    assert "p/2.parquet" in again.err
    assert not list((done / "out/mixed").rglob("*.parquet"))


@pytest.mark.slow
def test_an_ingested_file_is_read_once(done: Place) -> None:
    """Rewriting it later does no harm to the run at work; the next run finds it."""
    shutil.rmtree(done / "runs")
    write_jsonl(done / "new.jsonl", rows("other", 9))
    rewrite = f"cp {done / 'new.jsonl'} {done / 'in/0.jsonl'}"
    before = {p: published(done / "out" / p) for p in ("all", "mixed")}
    done.run(
        faults=[Fault("curate.running.run:run_phase", rewrite, r"\bpass1( |$)", by="parent")]
    ).succeeded()
    assert {p: published(done / "out" / p) for p in ("all", "mixed")} == before
    done.run().failed_with("R301", exit_code=1)


def test_the_manifest_keeps_numbers_over_updates(done: Place) -> None:
    names = []
    for number in range(3):
        write_parquet(done / f"in/0{number}.parquet", rows(f"new{number}", 3))
        done.run("--update").succeeded()
        files = json.loads((done / "runs/job/manifest.json").read_text())["files"]
        assert [f["path"] for f in files][: len(names)] == names
        names = [f["path"] for f in files]
    assert names[4:] == ["p/00.parquet", "p/01.parquet", "p/02.parquet"]
