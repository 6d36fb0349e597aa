"""A `place` of one's own for every test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.cli import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "work").mkdir()
    return Place(tmp_path / "work")
