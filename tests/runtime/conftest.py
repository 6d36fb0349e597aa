"""`project`: documents and a config in a folder of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runtime.project import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)
