"""`step`: every step on disk, opened once for all tests that ask for it."""

from __future__ import annotations

import pytest

from curate.running.contract import AnyStep
from tests.conformance.cases import Case, cases, opened


@pytest.fixture(scope="session", params=cases(), ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


@pytest.fixture(scope="session")
def step(case: Case, tmp_path_factory: pytest.TempPathFactory) -> AnyStep:
    return opened(case, tmp_path_factory.mktemp("scratch"))
