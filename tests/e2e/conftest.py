"""A `place` of one's own for every test, and a `job` to kill."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cli import Place
from tests.e2e.killing import Job, Outputs
from tests.e2e.ray_nodes import Nodes


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
def job(place: Place, undisturbed: Outputs) -> Job:
    return Job(place, undisturbed)


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
