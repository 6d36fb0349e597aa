"""`curate thresholds` and the finished runs that it looks at."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from curate import stages
from curate.cli import cli
from tests.thresholds.measured_runs import Invoke, finished_runs


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the finished runs `main`, `wiki` (a reference corpus) and `plain`. Tests only read it."""
    return finished_runs(tmp_path_factory.mktemp("thresholds"))


@pytest.fixture
def curate(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Invoke]:
    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(place / "packages")
    stages._outside.cache_clear()
    yield lambda *arguments: CliRunner().invoke(cli, ["thresholds", *arguments], catch_exceptions=False)
    stages._outside.cache_clear()


@pytest.fixture
def table(curate: Invoke) -> Callable[..., dict[str, Any]]:
    def read(*arguments: str) -> dict[str, Any]:
        shown: dict[str, Any] = json.loads(curate(*arguments, "--json").stdout)
        return shown

    return read
