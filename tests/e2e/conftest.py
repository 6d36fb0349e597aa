"""A `place` of one's own for every test, and a `job` to kill."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.cli import Place
from tests.e2e.killing import Job, Outputs
from tests.e2e.ray_nodes import Nodes

_MEMORY: Final = Path("/dev/shm")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "work")


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Outputs:
    """The outputs of a job that nothing happened to."""
    job = Job(Place(tmp_path_factory.mktemp("undisturbed") / "work"))
    job.run(workers=1).succeeded()
    return job.outputs()


@pytest.fixture
def memory_path(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where that has room, else `tmp_path`: every unit of a run waits for the disk, and what a killed one
    leaves does not depend on it."""
    if not (_MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > 4 * 2**30):
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(prefix="curate-e2e-", dir=_MEMORY))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)  # a process that a test has killed may still be going


@pytest.fixture
def job(memory_path: Path, undisturbed: Outputs) -> Job:
    return Job(Place(memory_path / "work"), undisturbed)


@pytest.fixture
def ray_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where the Rays of a test keep their files. Their sockets need a path of less than 107 bytes."""
    folder = tempfile.mkdtemp(prefix="cr-", dir="/tmp")
    monkeypatch.setenv("RAY_TMPDIR", folder)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def nodes(tmp_path: Path, ray_folder: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nodes]:
    """A cluster whose nodes the test starts, in a folder of their own."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    cluster = Nodes(elsewhere)
    yield cluster
    cluster.stop()
