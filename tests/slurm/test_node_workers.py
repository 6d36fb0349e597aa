"""A task with several workers, without a cluster: what a node sees late, a worker that is killed, a warning."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from curate.config.execution import Slurm
from curate.core.errors import CurateError
from curate.core.layout import RunFolder
from curate.executors.slurm import client, element, lives, workers
from curate.executors.slurm.state import Settings, write_settings, write_tasks
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
    shutil.rmtree(folder.done_folder("pass1"), ignore_errors=True)
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


@pytest.mark.parametrize("ready", [False, True], ids=["at its start", "with a unit in hand"])
def test_a_task_whose_worker_is_killed_goes_back_to_the_queue(
    folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ready: bool
) -> None:
    write_settings(folder, Settings(Slurm(), 3, None))
    shutil.rmtree(folder.done_folder("pass1"), ignore_errors=True)
    start, died = subprocess.Popen, []
    life = "import os\n" + ('print(\'{"event": "ready"}\', flush=True); input()\n' if ready else "")

    def started(command: list[str], **given: object) -> object:
        died.append(command)
        return start([command[0], "-c", life + "os.kill(os.getpid(), 9)"], **given)

    monkeypatch.setattr(subprocess, "Popen", started)
    assert work(folder, "pass1", tmp_path) == 1
    assert len(died) == 1  # it is not tried again here

    requeued: list[str] = []
    monkeypatch.setattr(client, "restarts", lambda element: 0)
    monkeypatch.setattr(client, "requeue", requeued.append)
    monkeypatch.setattr(element, "_REQUEUED", 0.0)
    tasks = write_tasks(folder, "pass1", [[0]])
    assert element.ended(folder.root, tasks, 0, element.LATER, False) == 1
    monkeypatch.setattr(lives, "units_left", lambda *given: 0)
    assert (
        element.ended(folder.root, tasks, 0, element.LATER, False) == 1
    )  # Slurm would call it OUT_OF_MEMORY
    assert requeued == ["7_0", "7_0"]
    assert element.ended(folder.root, tasks, 0, element.LATER, True) == 0


def test_a_failing_unit_and_too_few_gpus_are_errors_of_the_task(
    folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with pytest.raises(CurateError, match="need 2 GPUs, and Slurm gave it 0") as caught:
        work(folder, "pass1", tmp_path, gpus=1)
    assert caught.value.problems[0].code == "E509"
    shutil.rmtree(folder.done_folder("pass1"), ignore_errors=True)
    shard = folder.root.parent.parent / "in/0.parquet"
    whole = shard.read_bytes()
    shard.write_bytes(b"PAR1 and nothing else")
    with pytest.raises(CurateError) as caught:
        work(folder, "pass1", tmp_path)
    assert "0.parquet" in str(caught.value.problems)
    shard.write_bytes(whole)
