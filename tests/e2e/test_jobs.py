"""Jobs from end to end: a decision that needs all shards, in the middle of a run, on the smallest one there is.

`dedup.exact` stands for every job: its mapper ends one pass, its groups are a phase of their own, its marks begin the next
pass. The answer is computed here once more with dictionaries; tasks, workers, kills and added files must not change it.
"""

from __future__ import annotations

import random
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.core.columns import TEXT
from curate.running.joined import SIZE
from curate.running.passes import pass_columns
from curate.running.saved_run import load_run
from tests.e2e.cli import Fault, Place, Template
from tests.e2e.killing import KILL_GROUP, KILL_SELF
from tests.e2e.run_folder import attempts, done_records, published, strays

CONFIG = """
input: {path: in/*.parquet}
language: kind
steps:
  - {select: n != 5, as: early}
  - {use: dedup.exact, as: exact, keep: longest, partitions: 4, when: kind != 'rus_Cyrl'}
  - {select: n >= 1, as: late}
  - {use: dedup.exact, as: keyed, by: key, scope: [kind], keep: {column: n}, partitions: 2}
publish:
  - {name: all, path: out/all, shuffle: 1}
"""

SCHEMA = pa.schema(
    [("id", "string"), ("text", "string"), ("n", "int64"), ("kind", "string"), ("key", "string")]
)


def documents(seed: str, count: int) -> list[dict[str, object]]:
    """Rows with few different texts, so that most have twins, in this file and in others."""
    chance = random.Random(seed)
    words = ["brick", "moss", "lantern", "river"]
    return [
        {
            "id": f"{seed}/{row}",
            "text": (" " if chance.random() < 0.5 else "\n\t").join(
                chance.choices(words, k=chance.randint(0, 4))
            ),
            "n": chance.randrange(9),
            "kind": chance.choice(["eng_Latn", "rus_Cyrl", None]),
            "key": chance.choice(["a", "b", None, "c", "d", "e"]),
        }
        for row in range(count)
    ]


def write_inputs(folder: Path, names: str = "abcdef") -> None:
    for name in names:
        folder.mkdir(parents=True, exist_ok=True)
        table = pa.Table.from_pylist(documents(name, 150 if name != "c" else 0), SCHEMA)
        pq.write_table(table, folder / f"{name}.parquet")


def expected(names: str = "abcdef") -> dict[str, str | None]:
    """id → the step that drops it, or None, by dictionaries in the order of the documents."""
    alive = [row for name in names for row in documents(name, 150 if name != "c" else 0)]
    fate: dict[str, str | None] = {}

    def drop(step: str, gone: list[dict[str, object]]) -> None:
        for row in gone:
            fate[str(row["id"])] = step
            alive.remove(row)

    drop("read", [r for r in alive if not str(r["text"]).strip()])
    drop("early", [r for r in alive if r["n"] == 5])
    groups: dict[object, list[dict[str, object]]] = {}
    for row in alive:
        if row["kind"] == "eng_Latn":  # null is neither equal nor unequal: outside `when`
            groups.setdefault(" ".join(str(row["text"]).split()), []).append(row)
    # The longest in bytes survives, the first of equals.
    drop(
        "exact", [r for g in groups.values() for r in g if r is not max(g, key=lambda r: len(str(r["text"])))]
    )
    drop("late", [r for r in alive if r["n"] == 0])
    keyed: dict[object, list[dict[str, object]]] = {}
    for row in alive:
        if row["key"] is not None:
            keyed.setdefault((row["key"], row["kind"]), []).append(row)
    drop("keyed", [r for g in keyed.values() for r in g if r is not max(g, key=lambda r: int(str(r["n"])))])
    return fate | {str(row["id"]): None for row in alive}


def made(place: Place) -> Place:
    write_inputs(place / "in")
    place.config(CONFIG)
    return place


@pytest.fixture
def job(place: Place) -> Place:
    return made(place)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """A run that nothing happened to."""
    place = made(Place(tmp_path_factory.mktemp("finished") / "work"))
    place.run("--tasks", "3", workers=2).succeeded()
    return Template(place)


@pytest.fixture
def done(finished: Template) -> Place:
    return finished.restored()


def kept(place: Place) -> set[str]:
    return set(pl.read_parquet(place / "out/all/**/*.parquet")["id"])


def test_the_answer_is_that_of_dictionaries(done: Place) -> None:
    fates = expected()
    assert kept(done) == {name for name, step in fates.items() if step is None}
    report = done.report()
    assert report["balanced"]
    dropped = {step["step"]: step["rows_dropped"] for step in report["steps"]}
    for step in ("read", "early", "exact", "late", "keyed"):
        assert dropped[step] == sum(1 for other in fates.values() if other == step), step
    assert strays(done / "runs/job", done / "out/all") == []


def test_every_removal_names_a_twin_that_survived(done: Place) -> None:
    marks = pl.read_parquet(done / "runs/job/overlays/pass2/*.parquet", include_file_paths="file")
    seen = marks.filter(pl.col("exact__cluster").is_not_null())
    alive = set(seen.filter(pl.col("exact__keep"))["doc"])
    removed = seen.filter(~pl.col("exact__keep"))
    assert len(removed) > 50
    assert set(removed["exact__survivor"]) <= alive
    assert removed["drop"].unique().to_list() == ["exact"]
    assert removed["exact__reasons"].to_list() == [["duplicate"]] * len(removed)
    sizes = seen.group_by("exact__cluster").agg(
        pl.len(), pl.col("exact__cluster_size").unique(), pl.col("doc").min()
    )
    for cluster, count, said, smallest in sizes.rows():
        assert (said, smallest) == ([count], cluster)
    outside = marks.filter(pl.col("exact__keep").is_null())
    assert len(outside) > 100  # other languages than the `when`'s: no mark at all
    assert outside["exact__cluster_size"].null_count() == len(outside)


@pytest.mark.slow
@pytest.mark.parametrize(("tasks", "workers"), [(1, 1), (7, 2)])
def test_equal_bytes_for_any_tasks_and_workers(job: Place, done: Place, tasks: int, workers: int) -> None:
    job.run("--tasks", str(tasks), workers=workers).succeeded()
    assert published(job / "out/all") == published(done / "out/all")


@pytest.mark.slow
def test_kills_in_every_phase_of_a_job(job: Place, done: Place) -> None:
    """In each the whole run, then a worker of the run that goes on, which ends with the kill in the phase after."""
    phases = ["pass1", "exact.group", "pass2", "keyed.group", "pass3"]
    before: dict[tuple[str, int, str], str] = {}
    for last, phase in zip([None, *phases], [*phases, None], strict=True):
        worker = [Fault("curate.core.commit:write_done", KILL_SELF, rf"^{last} ", call=1)] if last else []
        group = [Fault("os:link", KILL_GROUP, rf"done/{phase}/\d", call=2)] if phase else []
        result = job.run(faults=[*worker, *group], workers=2)
        assert result.code < 0 if phase else result.code == 0, (phase, result.err)
        after = attempts(job / "runs/job")
        assert {k: v for k, v in before.items() if k in after} == {k: after[k] for k in before if k in after}
        before = after
    assert published(job / "out/all") == published(done / "out/all")
    assert strays(job / "runs/job", job / "out/all") == []


def test_an_added_file_costs_only_its_own_mapping(done: Place) -> None:
    before = attempts(done / "runs/job")
    write_inputs(done / "in", "g")
    done.run("--update").succeeded()
    after = attempts(done / "runs/job")
    mapped = {key: value for key, value in before.items() if key[0] == "pass1"}
    assert {key: after[key] for key in mapped} == mapped
    assert len(done_records(done / "runs/job")["pass1"]) == 7
    assert kept(done) == {name for name, step in expected("abcdefg").items() if step is None}


def test_a_run_that_is_done_does_nothing(done: Place) -> None:
    before = attempts(done / "runs/job")
    assert all(p["pending"] == 0 for p in done.plan().values())
    done.run().succeeded()
    assert attempts(done / "runs/job") == before


def test_marks_that_nobody_reads_texts_beside_need_none(done: Place) -> None:
    """The pass of marks and selectors takes sizes from the overlay before it: the same bytes as with texts."""
    plan, manifest = load_run(done / "runs/job")
    wanted = {phase.name: pass_columns(plan, phase) for phase in plan.passes}
    assert TEXT in wanted["pass1"]
    assert SIZE in wanted["pass2"]
    assert SIZE in wanted["pass3"]
    assert not any(TEXT in wanted[name] for name in ("pass2", "pass3"))
    sizes = {
        f"{seed}/{n}": len(str(row["text"])) for seed in "abdef" for n, row in enumerate(documents(seed, 150))
    }
    of_shard = [Path(manifest.files[shard.files[0]].path).stem for shard in manifest.shards]
    marks = pl.read_parquet(done / "runs/job/overlays/pass2/*.parquet")
    for doc, size in marks.select("doc", "text_bytes").rows():
        assert size == sizes[f"{of_shard[doc >> 32]}/{doc & 0xFFFFFFFF}"]
    assert len(marks) > 100


def test_a_truncated_exchange_file_is_made_again(job: Place) -> None:
    assert job.run(faults=[Fault("os:link", KILL_GROUP, r"done/exact.group/\d", call=1)]).code < 0
    victim = next((job / "runs/job/exchange/pass1").iterdir())
    victim.write_bytes(victim.read_bytes()[:-100])
    job.run().succeeded()
    assert kept(job) == {name for name, step in expected().items() if step is None}


@pytest.mark.parametrize(
    ("stopped", "damaged"),
    [("exact.group", "pass1"), ("pass2", "exact.group"), ("all.write", "all.exchange")],
)
def test_a_flipped_bit_on_the_way_is_found(job: Place, stopped: str, damaged: str) -> None:
    """Of a length as before, so that only its digest can tell; the run says which file to remove, and then goes on."""
    assert job.run(faults=[Fault("os:link", KILL_GROUP, rf"done/{stopped}/\d", call=1)]).code < 0
    outputs = [record["outputs"]["rows"] for record in done_records(job / "runs/job")[damaged].values()]
    victim = max((job / "runs/job" / output["path"] for output in outputs), key=lambda p: p.stat().st_size)
    whole = bytearray(victim.read_bytes())
    whole[len(whole) // 3] ^= 4
    victim.write_bytes(whole)
    result = job.run()
    result.failed_with("R306", exit_code=1)
    assert str(victim) in result.err
    victim.unlink()
    job.run().succeeded()
    assert kept(job) == {name for name, step in expected().items() if step is None}


def test_explain_shows_the_survivor_of_a_removed_document(done: Place) -> None:
    removed = next(name for name, step in sorted(expected().items()) if step == "exact")
    result = done.curate("explain", "job", removed, "--json")
    result.succeeded()
    (life,) = result.json
    step = next(s for s in life["steps"] if s["step"] == "exact")
    (twin,) = step["twins"]
    assert (step["verdict"], step["reasons"], twin["role"]) == ("dropped", ["duplicate"], "survivor")
    assert expected()[twin["id"]] != "exact"
    assert " ".join(life["text"].split()) == " ".join(job_text(twin["id"]).split())
    assert twin["first_line"] == job_text(twin["id"]).split("\n")[0].strip()
    shown = done.curate("explain", "job", removed)
    assert f"survivor {twin['id']}" in shown.out


def job_text(name: str) -> str:
    folder = name.partition("/")[0]
    return next(str(r["text"]) for r in documents(folder, 150) if r["id"] == name)
