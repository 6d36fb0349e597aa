"""A run under datatrove's own executor: the same bytes, what is done stays done, errors come through."""

from __future__ import annotations

from pathlib import Path

import multiprocess
import pytest
from datatrove.executor import LocalPipelineExecutor

from curate.core.errors import CurateError
from curate.datatrove_step import Curate, stages
from curate.executors.slurm import advance
from tests.corpus import rows, write_parquet
from tests.e2e.cli import Place
from tests.e2e.run_folder import attempts, published

# What datatrove's processes are forked from: a third of a process's time here is spent on these.
multiprocess.set_forkserver_preload(["datatrove.executor", "curate.datatrove_step", "curate.running.task"])

CONFIG = """
name: same
run_dir: runs/OUT
input: {path: in/*.parquet}
language: kind
steps:
  - {select: n % 7 != 0, as: sevenths}
  - {use: dedup.exact}
publish:
  - {name: all, path: out/OUT, shard: 40KB, shuffle: 3}
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    place = Place(tmp_path / "work")
    for number, size in enumerate((40, 90, 3, 1)):
        write_parquet(place / f"in/{number}.parquet", rows(f"p{number}", size))
    monkeypatch.chdir(place.root)
    return place


def executed(steps: list[Curate], logs: Path, workers: int = 1) -> None:
    executor = None
    for number, step in enumerate(steps):
        executor = LocalPipelineExecutor(
            [step],
            tasks=step.tasks,
            workers=min(workers, step.tasks),
            depends=executor,
            logging_dir=str(logs / f"{number}"),
        )
    assert executor is not None
    executor.run()


def test_the_same_bytes_as_curate_run(place: Place) -> None:
    place.config(CONFIG.replace("OUT", "here"), "here.yaml")
    place.config(CONFIG.replace("OUT", "there"), "there.yaml")
    place.run("here.yaml").succeeded()
    steps = stages("there.yaml", tasks=3)
    assert [(s.phase, s.does, s.tasks) for s in steps[:4]] == [
        ("pass1", "work", 3),
        ("pass1", "end", 1),
        ("exact.group", "work", 3),
        ("exact.group", "end", 1),
    ]
    executed(steps, place / "logs", workers=2)
    assert published(place / "out/there") == published(place / "out/here")
    report = place.report("there")
    assert (report["state"], report["balanced"], report["failure"]) == ("done", True, None)
    # A finished run is left as it is, whoever runs it again.
    before = attempts(place / "runs/there")
    executed(stages("there.yaml", tasks=2), place / "logs2")
    place.run("there.yaml").succeeded()
    assert attempts(place / "runs/there") == before


def test_a_phase_does_not_end_without_its_units(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.config(CONFIG.replace("OUT", "there"), "there.yaml")
    steps = stages("there.yaml", tasks=2)
    list(steps[0].run(rank=0, world_size=2))
    late = [[0]]  # a unit that NFS shows later
    missing = advance._missing
    monkeypatch.setattr(advance, "_PAUSE", 0.0)
    monkeypatch.setattr(advance, "_missing", lambda *given: late.pop()[0] if late else missing(*given))
    monkeypatch.setattr(advance, "ATTRIBUTES", 0.0)
    with pytest.raises(CurateError, match="R306"):
        list(steps[1].run())
    assert late == []
    assert place.report("there")["state"] == "failed"
    list(steps[0].run(rank=1, world_size=2))
    list(steps[1].run())


def test_a_failing_unit_fails_its_rank_with_its_own_error(place: Place) -> None:
    place.config(CONFIG.replace("OUT", "there"), "there.yaml")
    steps = stages("there.yaml", tasks=1)
    (place / "in/1.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(CurateError) as caught:
        list(steps[0].run())
    assert "1.parquet" in str([p.context for p in caught.value.problems])


def test_documents_that_pass_through_stay(place: Place) -> None:
    place.config(CONFIG.replace("OUT", "there"), "there.yaml")
    first = stages("there.yaml", tasks=1)[0]
    assert list(first.run(iter(["a", "b"]))) == ["a", "b"]
