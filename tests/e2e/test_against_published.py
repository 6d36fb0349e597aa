"""New documents held against published ones, from end to end: a run writes an index, another one reads and grows it."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.core.commit import checksum_of
from curate.core.errors import CurateError
from curate.running.task import Worker
from curate.views.documents import Documents
from curate.views.run_state import read_run
from tests.e2e.cli import Fault, Place, Result, Template
from tests.e2e.killing import KILL_GROUP
from tests.e2e.run_folder import published, strays

CONFIG = """
name: {name}
input: {{path: in/{name}/*.parquet}}
steps:
  - {{use: dedup.exact, as: exact, {exact}index: index/{name}-exact}}
  - {{use: dedup.minhash, as: near, {near}index: index/{name}-near, threshold: 0.8, partitions: 2}}
publish:
  - {{name: all, path: out/{name}}}
"""

WORDS = [
    a + b for a in ("bal", "ker", "mon", "tis", "vur", "zel") for b in ("an", "eb", "ic", "od", "uf", "yl")
]


def text(seed: int, changes: int = 0) -> str:
    chance = random.Random(seed)
    words = chance.choices(WORDS, k=150)
    for n in range(changes):
        words[40 * n + 20] = "changed"
    return f"Page {seed}\n" + " ".join(words)


def write(folder: Path, texts: dict[str, str]) -> None:
    folder.mkdir(parents=True)
    rows = [{"id": name, "text": text} for name, text in texts.items()]
    for number, part in enumerate((rows[::2], rows[1::2])):
        schema = pa.schema([("id", pa.string()), ("text", pa.string())])
        pq.write_table(pa.Table.from_pylist(part, schema), folder / f"{number}.parquet")


def config(place: Place, name: str, exact: str = "", near: str = "") -> str:
    options = {
        kind: f"against: [{path}], " if path else "" for kind, path in (("exact", exact), ("near", near))
    }
    return place.config(CONFIG.format(name=name, **options), f"{name}.yaml")


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """Two years, of which one has run: the other has copies of the first, nearly equal pages, and pages of its own."""
    place = Place(tmp_path_factory.mktemp("against") / "work")
    write(place / "in/old", {f"old/{n}": text(n) for n in range(30)} | {"old/again": text(3)})
    place.run(config(place, "old")).succeeded()
    new = {f"copy/{n}": text(n).replace(" ", "  ") for n in range(5)}
    new |= {f"near/{n}": text(n, changes=1) for n in range(10, 15)}
    new |= {f"own/{n}": text(100 + n) for n in range(8)} | {"own/again": text(104, changes=1)}
    write(place / "in/new", new)
    config(place, "new", "index/old-exact", "runs/old")
    return Template(place, "old")


@pytest.fixture(scope="module")
def both(old: Template) -> Template:
    """The same place after the second year has run too."""
    place = old.restored()
    place.run("new.yaml", workers=2).succeeded()
    return Template(place, "both")


@pytest.fixture
def grown(old: Template) -> Place:
    """After the first year."""
    return old.restored()


@pytest.fixture
def done(both: Template) -> Place:
    """After both."""
    return both.restored()


def kept(place: Place, name: str) -> set[str]:
    return set(pl.read_parquet(place / f"out/{name}/**/*.parquet")["id"])


def test_what_is_published_stays_and_what_is_like_it_goes(old: Template, both: Template) -> None:
    grown = old.restored()
    before = published(grown / "out/old") | published(grown / "index")
    assert not list((grown / "index").glob("new-*"))
    both.restored()
    assert kept(grown, "new") == {f"own/{n}" for n in range(8)}
    assert before.items() <= (published(grown / "out/old") | published(grown / "index")).items()
    report = grown.report("new")
    assert report["balanced"]
    assert {s["step"]: s["rows_dropped"] for s in report["steps"]} == {"read": 0, "exact": 5, "near": 6}
    write(grown / "in/third", {"x": text(102, changes=1), "y": text(12), "z": text(300), "w": text(300)})
    grown.run(config(grown, "third", "runs/new", "index/new-near"), workers=2).succeeded()
    assert kept(grown, "third") == {"z"}


def test_explain_shows_a_published_survivor(done: Place) -> None:
    (life,) = done.curate("explain", "new", "near/12", "--json").json
    step = next(s for s in life["steps"] if s["step"] == "near")
    twin = next(t for t in step["twins"] if t["role"] == "survivor")
    assert (twin["id"], twin["first_line"], twin["published"]["run"]) == ("old/12", "Page 12", "old")
    assert step["first_line"] == "Page 12"
    assert twin["doc"] < 0
    assert twin["similarity"] >= 0.8
    (alone,) = Documents(read_run(done / "runs/new")).fetch([twin["doc"]])
    assert (alone.id, alone.text) == (f"published#{twin['doc']}", None)
    # Its number in the run that published it leads back to it.
    (older,) = done.curate("explain", "old", f"doc:{twin['published']['doc']}", "--json").json
    assert (older["id"], older["state"]) == ("old/12", "kept")
    shown = done.curate("explain", "new", "near/12")
    assert (
        f"published by old as doc:{twin['published']['doc']}, in the index {done / 'index/old-near'}"
        in shown.out
    )
    (done / "index/old-near").rename(done / "index/gone")
    shown = done.curate("explain", "new", "near/12")
    assert "of an index that cannot be read" in shown.out
    assert shown.code == 0


def test_another_index_in_the_place_of_the_published_one_is_refused(done: Place) -> None:
    """It has other documents under the same numbers."""
    (done / "index/old-near").rename(done / "index/gone")
    shutil.copytree(done / "index/new-near", done / "index/old-near")
    pairs = ("dedup", "pairs", "new", "--step", "near")
    for command in (("explain", "new", "near/12"), pairs, (*pairs, "--id", "near/12")):
        shown = done.curate(*command)
        shown.failed_with("R301", exit_code=1)
        found, known = [checksum_of(done / f"index/{name}/index.json") for name in ("new-near", "gone")]
        assert (
            f"index/old-near is another index than when the run was planned: it has the checksum {found}"
            in shown.err
        )
        assert f"the run knows {known}" in shown.err.replace("\n", " ")


def test_published_twins_are_named_where_pairs_are_shown(grown: Place) -> None:
    far = {f"far/{n}": text(n, changes=4) for n in range(20, 25)}
    more = pa.table(
        {"id": [*far, "own/3"], "text": [*far.values(), text(501)]}
    )  # an id that is there already
    pq.write_table(more, grown / "in/new/2.parquet")
    result = grown.run("new.yaml", "--set", "steps.exact.max_removed_frac=0.1")
    result.failed_with("R311", exit_code=1)
    assert "5 of 25 documents (20.0 %) would be removed" in result.err
    assert not (grown / "index/new-exact").exists()
    assert "would go for old/" in result.err
    shown = (grown / "runs/new/ceilings/exact.txt").read_text()
    assert shown.count("survivor old/") == 5
    grown.run("new.yaml").succeeded()
    found = grown.curate("dedup", "pairs", "new", "--step", "near", "--id", "near/12", "--json").json
    (life,) = found["documents"]
    assert [(link["id"], link["first_line"]) for link in life["chain"]] == [("old/12", "Page 12")]
    assert life["survivor"] == life["chain"][0]["doc"] < 0
    assert {d["id"]: d["keep"] for pair in found["pairs"] for d in pair["documents"]} == {
        "near/12": False,
        "old/12": True,
    }
    assert [life["state"] for life in grown.curate("explain", "new", "own/3", "--json").json] == ["kept"] * 2
    every = grown.curate("dedup", "pairs", "new", "--step", "near", "--limit", "1000", "--json").json["pairs"]
    rejected = [pair["documents"] for pair in every if pair["verdict"] == "rejected"]
    held = [(one["id"], other["id"], other["first_line"]) for one, other in rejected if other["doc"] < 0]
    assert len(held) > 1
    assert all(0.6 < pair["similarity"] < 0.8 for pair in every if pair["verdict"] == "rejected")
    assert all((old, line) == (one.replace("far", "old"), f"Page {one[4:]}") for one, old, line in held)


def test_another_index_makes_the_job_new_and_nothing_else_does(done: Place) -> None:
    assert all(phase["pending"] == 0 for phase in done.plan("new.yaml").values())
    (done / "elsewhere").mkdir()
    (done / "index/old-exact").rename(done / "elsewhere/old-exact")
    config(done, "new", "elsewhere/old-exact", "runs/old")
    assert all(phase["pending"] == 0 for phase in done.plan("new.yaml").values())
    config(done, "new", "index/new-exact", "runs/old")
    text = (done / "new.yaml").read_text().replace("index: index/new-", "index: index/newer-")
    done.config(text, "new.yaml")
    plan = done.plan("new.yaml")
    assert plan["exact.group"]["pending"] > 0
    assert plan["pass1"]["pending"] == 0
    # Put in place of the one that the plan names, it is not read by a worker of that plan.
    shutil.copytree(done / "index/new-exact", done / "index/old-exact")
    worker = Worker(done / "runs/new", scratch=done.scratch)
    with pytest.raises(CurateError, match="than when the run was planned") as caught:
        worker.run("exact.group", [0], 0, lambda *_: None)
    worker.close()
    assert caught.value.exit_code == 1


#: Options, and the first phase that another value makes new. `pass1` ends with the mapper of `exact`, `pass2` of `near`.
CHANGES = [
    ("near.cluster=star", "near.link"),
    ("near.min_similarity=0.7", "near.link"),
    ("near.max_bucket=5", "near.link"),
    ("near.threshold=0.7", "pass2"),
    ("near.words=4", "pass2"),
    ("near.characters=4", "pass2"),
    ("near.verify=exact", "pass2"),
    ("near.scope=[id]", "pass2"),
    ("near.keep=longest", "pass2"),
    ("near.partitions=4", "pass2"),
    ("near.against=[index/old-near]", "pass2"),  # records have ranks then
    ("near.index=null", "pass2"),
    ("near.when=id != 'x'", "pass2"),
    ("near.rehydrate=fineweb2", "pass3"),
    ("near.mode=annotate", "pass3"),
    ("near.max_removed_frac=0.9", None),
    ("exact.against=[index/old-exact]", "exact.group"),
    ("exact.mode=annotate", "pass2"),
    ("exact.keep=longest", "pass1"),
    ("exact.by=id", "pass1"),
    ("exact.normalise=none", "pass1"),
    ("exact.scope=[id]", "pass1"),
    ("exact.index=null", "pass1"),
]


def test_an_option_makes_new_what_looks_at_it(place: Place) -> None:
    write(place / "in/old", {f"old/{n}": text(n % 8) for n in range(10)})
    place.run(config(place, "old"), "--set=steps.exact.max_removed_frac=1").succeeded()
    elsewhere = [f"--set=steps.{step}.index=index/next-{step}" for step in ("exact", "near")]
    indexes = {"exact.index", "near.index"}

    def pending(*changes: str) -> list[str]:
        plan = place.plan("old.yaml", *elsewhere, *(f"--set=steps.{change}" for change in changes))
        return [name for name, phase in plan.items() if phase["pending"]]

    assert set(pending()) == indexes  # another place
    found = {change: next((n for n in pending(change) if n not in indexes), None) for change, _ in CHANGES}
    assert found == dict(CHANGES)
    for step in ("exact", "near"):
        result = place.curate("check", "old.yaml", f"--set=steps.{step}.mode=annotate")
        assert f"index/old-{step} is what this run made before" in result.err


def test_an_index_that_is_gone_is_written_again(done: Place) -> None:
    (done / "index/new-near").rename(done / "index/moved")
    plan = done.plan("new.yaml")
    assert [name for name, phase in plan.items() if phase["pending"]] == ["near.index"]
    done.run("new.yaml").succeeded()
    found = published(done / "index")
    names = {name for name in found if name.startswith("moved/")}
    assert len(names) == 5
    assert all(found[name] == found[name.replace("moved", "new-near")] for name in names)
    next((done / "index/new-near").glob("segment-*/keys.parquet")).unlink()
    assert "not whole" in _refused(done.run("new.yaml"))


def _refused(result: Result) -> str:
    result.failed_with("R312", exit_code=1)
    return result.err


def test_a_place_that_cannot_be_used_stops_a_run_before_work(done: Place) -> None:
    attempts = published(done / "runs/new")
    more = pa.table({"id": ["more"], "text": [text(400)]})
    pq.write_table(more, done / "in/new/9.parquet")
    result = done.run("new.yaml", "--update")
    result.failed_with("R312", "R312", exit_code=1)
    assert "index/new-near is what this run made before its inputs or options changed" in result.err
    assert published(done / "runs/new") == attempts
    result = done.curate("check", "new.yaml", "--update", "--set", "steps.exact.index=index/old-near")
    assert "index/old-near is there already, as the index of another run" in result.err
    twice = [f"--set=steps.{step}.index=index/both" for step in ("exact", "near")]
    done.curate("check", "new.yaml", "--update", *twice).failed_with("C202", exit_code=2)
    names = [f"--set=steps.{step}.index=index/next-{step}" for step in ("exact", "near")]
    done.run("new.yaml", "--update", *names).succeeded()
    assert kept(done, "new") == {f"own/{n}" for n in range(8)} | {"more"}


def test_the_index_of_a_run_elsewhere_is_that_one(grown: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another project's run folder, and a folder here with the name that the index has over there."""
    write(grown / "other/in/old", {"other/1": text(100), "other/2": text(200)})
    other = Place(grown / "other")
    other.run(config(other, "old")).succeeded()
    config(grown, "new", "", "other/runs/old")
    grown.run("new.yaml").succeeded()
    step = grown.curate("explain", "new", "own/0", "--json").json[0]["steps"][-1]
    assert [t["id"] for t in step["twins"] if t["role"] == "survivor"] == ["other/1"]
    config(grown, "new", "", "$ELSEWHERE/index/old-near")
    grown.curate("check", "new.yaml").failed_with("C109", exit_code=2)
    found = grown.curate("check", "new.yaml", environment={"ELSEWHERE": str(other.root)})
    found.succeeded()
    # By its own folder it is the same index as by the run that wrote it.
    config(grown, "new", "", "other/index/old-near")
    assert all(phase["pending"] == 0 for phase in grown.plan("new.yaml").values())


def test_an_index_that_does_not_fit_is_refused_before_work(grown: Place) -> None:
    config(grown, "new", "index/old-near", "nowhere")
    result = grown.curate("check", "new.yaml")
    result.failed_with("C209", "C209", exit_code=2)
    assert "is an index of dedup.minhash, and this step is dedup.exact" in result.err
    assert "nowhere is no index" in result.err


def test_a_second_run_does_not_overwrite_an_index(grown: Place) -> None:
    before = published(grown / "index")
    text = (grown / "new.yaml").read_text()
    grown.config(text.replace("index: index/new-near", "index: index/old-exact"), "new.yaml")
    result = grown.run("new.yaml")
    result.failed_with("R312", exit_code=1)
    assert before.items() <= published(grown / "index").items()
    grown.config(text, "new.yaml")
    grown.run("new.yaml").succeeded()
    assert kept(grown, "new") == {f"own/{n}" for n in range(8)}


@pytest.mark.slow
def test_kills_while_an_index_is_written(tmp_path: Path, grown: Place) -> None:
    moments = [
        Fault("dedup.export:_sorted_keys", KILL_GROUP),
        Fault("dedup.export:_settle", KILL_GROUP),
        Fault("dedup.export:_settle", KILL_GROUP, when="after"),
        Fault("os:link", KILL_GROUP, r"done/near.index/\d"),
    ]
    for moment in moments:
        assert grown.run("new.yaml", faults=[moment]).code < 0
    grown.run("new.yaml").succeeded()
    assert kept(grown, "new") == {f"own/{n}" for n in range(8)}
    assert [p.name for p in (grown / "index").iterdir() if p.name.startswith(".")] == []
    assert strays(grown / "runs/new", grown / "out/new") == []
    found = {name: digest for name, digest in published(grown / "index").items() if name.startswith("new-")}
    (grown / "index/new-exact").rename(grown / "first-exact")
    (grown / "index/new-near").rename(grown / "first-near")
    grown.run("new.yaml", "--force").succeeded()
    again = {name: digest for name, digest in published(grown / "index").items() if name.startswith("new-")}
    assert again == found
