"""What a change makes run again, and what it leaves alone: first as `curate plan` foretells it, then as the run does it.

Reuse is per phase and unit. A changed step reruns its pass and what follows; a changed output reruns that output; how and
where the work is done changes nothing.
"""

from __future__ import annotations

import shutil
from typing import Any

import polars as pl
import pytest

from tests.corpus import rows, write_jsonl, write_parquet
from tests.e2e.cli import Place, Template
from tests.e2e.run_folder import attempts, done_records, published, strays

CONFIG = """
input:
  - {path: in/*.parquet}
  - {path: in/*.jsonl, name: lines, columns: {n: {field: n, type: int64}, kind: kind}}
language: kind
steps:
  - {select: n >= 2, as: late}
  - {select: n % 5 != 0, as: fifths}
publish:
  - {name: all, path: out/all}
  - {name: some, path: out/some, partition_by: language, shuffle: 3}
"""
PHASES = ["ingest", "pass1", "all.count", "all.write", "some.count", "some.exchange", "some.write"]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """A folder in which the job has run: three Parquet shards, one ingested."""
    place = Place(tmp_path_factory.mktemp("finished") / "work")
    for number, size in enumerate((12, 0, 30)):
        write_parquet(place / f"in/{number}.parquet", rows(f"p{number}", size))
    write_jsonl(place / "in/0.jsonl", rows("j0", 9))
    place.config(CONFIG)
    place.run().succeeded()
    return Template(place)


@pytest.fixture
def done(template: Template) -> Place:
    return template.restored()


def pending(plan: dict[str, dict[str, Any]]) -> dict[str, int | None]:
    """Phases with something to do → how many units."""
    assert [name for name in PHASES if name not in plan] == []
    return {name: phase["pending"] for name, phase in plan.items() if phase["pending"] != 0}


def test_a_finished_run_has_nothing_to_do(done: Place) -> None:
    before = _state(done)
    assert pending(done.plan()) == {}
    done.run().succeeded()
    assert _state(done) == before


@pytest.mark.parametrize("how", ["config", "--set"])
def test_a_changed_threshold_leaves_ingest_as_it_is(done: Place, how: str) -> None:
    before = attempts(done / "runs/job")
    override = ["--set", "steps.fifths.select=n % 4 != 0"] if how == "--set" else []
    if how == "config":
        done.config(CONFIG.replace("% 5", "% 4"))
    plan = done.plan(*override)
    assert plan["ingest"]["reused"] == 1
    assert {name for name, count in pending(plan).items() if count != 0} == set(PHASES) - {"ingest"}
    assert plan["pass1"]["pending"] == plan["pass1"]["units"] == 4
    done.run(*override).succeeded()
    after = attempts(done / "runs/job")
    same = {phase for phase, *_ in before.items() & after.items() for phase in phase[:1]}
    assert same == {"ingest"}
    assert done.report()["rows_kept"] == sum(
        n >= 2 and n % 4 != 0 for size in (12, 30, 9) for n in range(size)
    )
    assert strays(done / "runs/job", done / "out/all", done / "out/some") == []


def test_going_back_to_an_earlier_threshold_gives_the_earlier_bytes(done: Place) -> None:
    before = _state(done)[1]
    done.run("--set", "steps.fifths.select=n % 4 != 0").succeeded()
    assert _state(done)[1] != before
    done.run().succeeded()
    assert _state(done)[1] == before


@pytest.mark.parametrize(
    ("change", "again"),
    [
        (("shuffle: 3", "shuffle: 4"), {"some.exchange", "some.write"}),
        (("path: out/all", "path: out/all, where: n < 9"), {"all.count", "all.write"}),
        (("path: out/all", "path: out/all, title: All of it"), {"all.write"}),
        (("path: out/all", "path: out/all, columns: [id, text]"), {"all.write"}),
    ],
)
def test_a_changed_output_leaves_the_passes_and_other_outputs(
    done: Place, change: tuple[str, str], again: set[str]
) -> None:
    before = attempts(done / "runs/job")
    done.config(CONFIG.replace(*change))
    assert set(pending(done.plan())) == again
    done.run().succeeded()
    after = attempts(done / "runs/job")
    done_again = {phase for phase, *_ in after.keys() - before.keys()}
    assert done_again == {phase for phase in again if not phase.endswith(".exchange")}
    assert pending(done.plan()) == {}
    assert strays(done / "runs/job", done / "out/all", done / "out/some") == []


def test_a_new_output_is_all_that_runs(done: Place) -> None:
    before = _state(done)
    done.config(CONFIG + "  - {name: more, path: out/more, where: n > 20}\n")
    assert {name.split(".")[0] for name in pending(done.plan())} == {"more"}
    done.run().succeeded()
    after = _state(done)
    assert before[0].items() <= after[0].items()
    assert {name: after[1][name] for name in before[1]} == before[1]
    assert pl.read_parquet(done / "out/more/*.parquet").height == 8


def test_how_the_work_is_done_changes_nothing(done: Place) -> None:
    before = _state(done)
    done.config(CONFIG + "execution: {workers: 2, threads: 1, retries: 5, memory: 8GB, local_tmp: $TMPDIR}\n")
    assert pending(done.plan()) == {}
    done.run("--tasks", "3", workers=2).succeeded()
    assert _state(done) == before


def test_a_moved_run_folder_goes_on(done: Place) -> None:
    before = _state(done)
    shutil.move(done / "runs/job", done / "elsewhere")
    assert pending(done.plan("--run-dir", "elsewhere")) == {}
    done.run("--run-dir", "elsewhere").succeeded()
    shutil.move(done / "elsewhere", done / "runs/job")
    assert _state(done) == before


def test_a_moved_output_is_published_anew_from_the_same_passes(done: Place) -> None:
    before = _state(done)
    done.config(CONFIG.replace("path: out/all", "path: elsewhere/all"))
    assert set(pending(done.plan())) == {"all.write"}
    done.run().succeeded()
    assert published(done / "elsewhere/all") == before[1]["all"]


def test_inputs_that_were_moved_are_known_again(done: Place) -> None:
    before = _state(done)
    (done / "in").rename(done / "moved here")
    done.config(CONFIG.replace("path: in/", "path: moved here/"))
    for path in (done / "moved here").iterdir():
        path.touch()
    assert pending(done.plan()) == {}
    done.run().succeeded()
    assert _state(done) == before


@pytest.mark.parametrize(
    "lost", ["published", "staged card", "overlay", "done-files", "ingested", "counters"]
)
def test_what_was_deleted_is_made_again(done: Place, lost: str) -> None:
    before, run = _state(done), done / "runs/job"
    file = {
        "published": sorted((done / "out/some").rglob("*.parquet"))[0],
        "staged card": done / "out/all/README.md",
        "overlay": run / done_records(run)["pass1"][2]["outputs"]["overlay"]["path"],
        "ingested": next((run / "ingested").iterdir()),
        "counters": next((run / "counters/pass1").iterdir()),
        "done-files": run / "done/pass1/all.json",
    }[lost]
    file.unlink()
    done.run().succeeded()
    assert _state(done)[1] == before[1]
    assert strays(run, done / "out/all", done / "out/some") == []
    report = done.report()
    assert (report["state"], report["balanced"]) == ("done", True)


def test_force_starts_anew(done: Place) -> None:
    before = _state(done)
    done.run("--force").succeeded()
    after = _state(done)
    assert (set(after[0].values()) & set(before[0].values()), after[1]) == (set(), before[1])


def _state(place: Place) -> tuple[dict[tuple[str, int, str], str], dict[str, dict[str, str]]]:
    """Whose work counts, and what is published."""
    return attempts(place / "runs/job"), {p.name: published(p) for p in sorted((place / "out").iterdir())}
