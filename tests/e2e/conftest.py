"""A `place` of one's own for every test, and a `job` to kill."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.cli import Place
from tests.e2e.killing import Job, Outputs


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
