"""A task with several workers, without a cluster: what a node sees late, a worker that is killed, a warning."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from curate.config.execution import Slurm
from curate.core.errors import CurateError
from curate.core.layout import RunFolder
from curate.executors.slurm import workers
from curate.executors.slurm.state import Settings, write_settings
from curate.kernels import kernel_environment
from curate.running.task import ATTRIBUTES
from tests.corpus import rows, write_parquet
from tests.e2e.cli import Place

CONFIG = """
input: {path: in/*.parquet}
steps:
  - {select: n >= 1, as: young}
publish:
  - {name: all, path: out/all}
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A finished run of three shards."""
    place = Place(tmp_path_factory.mktemp("work"))
    place.config(CONFIG)
    for number in range(3):
        write_parquet(place / f"in/{number}.parquet", rows(f"s{number}", 3))
    place.curate("run", "job.yaml").succeeded()
    write_settings(RunFolder(place / "runs/job"), Settings(Slurm(), 0, None))
    return place


@pytest.fixture
def folder(finished: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunFolder]:
    """The run, as an element of an array sees it."""
    for name, value in {
        **kernel_environment(),
        "SLURM_ARRAY_JOB_ID": "7",
        "SLURM_ARRAY_TASK_ID": "0",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(finished.root)
    return RunFolder(finished / "runs/job")


def work(folder: RunFolder, phase: str, scratch: Path, stop: bool = False, gpus: int = 0) -> int:
    return workers.work_together(
        folder.root, phase, [0], workers=2, threads=1, gpus=gpus, scratch=scratch, stop=lambda: stop
    )


def test_the_layout_may_come_late(folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look, late = workers.unit_fingerprints, [None]
    monkeypatch.setattr(workers, "unit_fingerprints", lambda *given: late.pop() if late else look(*given))
    monkeypatch.setattr(workers, "_PAUSE", 0.0)
    assert work(folder, "all.write", tmp_path) == 0
    monkeypatch.setattr(workers, "unit_fingerprints", lambda *given: None)
    monkeypatch.setattr(workers, "ATTRIBUTES", 0.0)
    with pytest.raises(CurateError, match="have not been counted yet"):
        work(folder, "all.write", tmp_path)


def test_workers_wait_for_what_other_nodes_wrote(
    folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for done in folder.done_folder("pass1").iterdir():
        done.unlink()
    start, commands = subprocess.Popen, []

    def started(command: list[str], **given: object) -> object:
        commands.append(command)
        return start(command, **given)

    monkeypatch.setattr(subprocess, "Popen", started)
    assert work(folder, "pass1", tmp_path, stop=True) == 1
    assert commands == []  # after the warning nothing is begun
    assert work(folder, "pass1", tmp_path) == 0
    (command,) = commands
    assert command[command.index("--patience") + 1] == str(ATTRIBUTES)
