"""A run whose finished phases are packed goes on as if they were not: everything that reads overlays, records, ingested
shards and quarantine finds them in their packs, and what runs later gives the same bytes.
"""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from curate.core import packs
from curate.core.compaction import compact
from curate.core.layout import RunFolder
from curate.planning.fingerprints import finished_units
from curate.planning.session import Request, prepare
from curate.running.locks import locked
from curate.running.run import close_phase, lay_out, open_phase
from curate.running.saved_run import load_run
from curate.running.task import Worker
from curate.views.documents import Documents
from curate.views.run_state import read_run
from curate.views.status import build_status
from tests.corpus import rows, write_jsonl, write_parquet
from tests.e2e.cli import Place, Template
from tests.e2e.run_folder import attempts, published, strays

INPUTS = "".join(
    f"  - {{path: in/{n}.jsonl, name: j{n}, on_error: quarantine, columns: {{n: {{field: n, type: int64}}, kind: kind}}}}\n"
    for n in range(3)
)
CONFIG = f"""
input:
  - {{path: in/*.parquet}}
{INPUTS}language: kind
steps:
  - {{select: n >= 2, as: late}}
  - {{use: filters.gopher_quality, as: gopher, mode: annotate}}
  - {{use: dedup.minhash, as: near, verify: exact, partitions: 3}}
  - {{select: n % 5 != 0, as: fifths}}
publish:
  - {{name: all, path: out/all, partition_by: language, shuffle: 3}}
"""
QUESTIONS = (
    ("report", "job", "--json"),
    ("explain", "job", "doc:7", "--json"),
    ("dedup", "pairs", "job", "--json"),
    ("inspect", "job", "--quarantined", "--json"),
    ("inspect", "job", "--dropped", "--step", "fifths", "--n", "20", "--json"),
    ("dedup", "weights", "job", "--json"),
    ("thresholds", "job", "--json"),
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    place = Place(tmp_path_factory.mktemp("packs") / "work")
    for number, size in enumerate((12, 0, 30)):
        write_parquet(place / f"in/{number}.parquet", rows(f"p{number % 2}", size))
        write_jsonl(place / f"in/{number}.jsonl", rows(f"j{number}", 9), broken=1)
    place.config(CONFIG)
    place.run().succeeded()
    return Template(place)


def pack_all(root: Path) -> int:
    """Pack every phase of a finished run as if a pack were two files; how many packs there are."""
    folder = RunFolder(root)
    plan, manifest = load_run(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packs, "ROLE_FILES", 1)
        patch.setattr(packs, "PACKS", 2)
        patch.setattr(packs, "PACK_BYTES", 1)
        for phase in plan.phases:
            compact(folder, phase.name, finished_units(plan, manifest, phase, folder))
    return len(list(root.rglob("*.pack")))


def test_the_exchange_of_an_output_is_not_copied_into_packs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path / "work")
    for number in range(3):
        write_parquet(place / f"in/{number}.parquet", rows("p0", 5))
    config = place.config("input: {path: in/*.parquet}\npublish: [{name: all, path: out/all, shuffle: 3}]\n")
    monkeypatch.chdir(place.root)
    monkeypatch.setattr(packs, "ROLE_FILES", 1)
    session = prepare(Request(place / config))
    plan, manifest, folder = session.compiled.plan, session.compiled.manifest, session.folder
    with ExitStack() as held:
        held.enter_context(locked(folder))
        lay_out(plan, manifest, folder)
        worker = held.enter_context(closing(Worker(folder.root)))
        for phase in plan.phases:
            units = sorted(open_phase(plan, manifest, folder, phase).pending)
            list(worker.run(phase.name, units, 0, lambda *_: None))
            close_phase(plan, manifest, folder, phase, worked=True)
            if phase.kind == "exchange":
                break
    kinds = [path.suffix for path in (tmp_path / "work/runs/job/exchange/all.exchange").iterdir()]
    assert kinds == [".arrow"] * 3


def answers(place: Place) -> list[Any]:
    return [place._shown(*question) for question in QUESTIONS]


def test_views_see_in_packs_what_they_saw_in_files(template: Template) -> None:
    place = template.restored()
    before, records = answers(place), attempts(place / "runs/job")
    documents = Documents(read_run(place / "runs/job"))  # opened before, and asked once more after

    def seen() -> list[Any]:
        shards = documents.readable_shards()
        return [(documents.records(s), [b.to_pydict() for b in documents.batches(s, ["id"])]) for s in shards]

    held = seen()
    assert pack_all(place / "runs/job") >= 10
    for kind in ("overlays", "ingested", "quarantine", "exchange"):
        left = [p.suffix for p in (place / "runs/job" / kind).rglob("*") if p.is_file()]
        assert set(left) <= {".pack", *([".arrow"] if kind == "exchange" else [])}, kind
    assert answers(place) == before
    assert seen() == held
    assert attempts(place / "runs/job") == records
    assert strays(place / "runs/job", place / "out/all") == []
    assert not any(phase["pending"] for phase in place.plan().values())


def test_status_by_summaries_is_status_by_records(template: Template) -> None:
    root = template.restored() / "runs/job"
    summaries = list(root.glob("done/*/summary.json"))
    assert {path.parent.name for path in summaries} >= {"ingest", "pass1", "pass2", "all.count"}
    by_summary = build_status(root)
    for path in summaries:
        path.rename(path.with_suffix(".kept"))
    assert build_status(root) == by_summary
    for path in summaries:
        path.with_suffix(".kept").rename(path)
    (longer, gone, *_) = sorted((root / "overlays/pass2").iterdir())
    longer.write_bytes(longer.read_bytes() + b"x")
    for number in (1, 2):
        if number == 2:
            gone.unlink()
        (phase,) = [p for p in build_status(root)["phases"] if p["name"] == "pass2"]
        assert phase["done"] == phase["units"] - number


def test_a_run_goes_on_from_packs_to_the_same_bytes(template: Template) -> None:
    """New files, a changed step behind the deduplication, another output: all of them read what is in packs."""
    found = []
    for packed in (False, True):
        place = template.restored()
        if packed:
            pack_all(place / "runs/job")
        kept = {p: p.stat().st_mtime_ns for p in (place / "runs/job/overlays/pass1").iterdir()}
        write_parquet(place / "in/3.parquet", rows("p0", 17))
        place.config(CONFIG.replace("n % 5", "n % 4") + "  - {name: more, path: out/more}\n")
        place.run("--update").succeeded()
        assert kept.items() <= {p: p.stat().st_mtime_ns for p in kept if p.exists()}.items()
        assert strays(place / "runs/job", place / "out/all", place / "out/more") == []
        found.append((published(place / "out/all"), published(place / "out/more"), answers(place)[:1]))
    assert found[0] == found[1]
    assert len(found[0][0]) > 1
