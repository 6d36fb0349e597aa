"""`publisher`: a folder in which runs publish."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.publish.publishing import Publisher


@pytest.fixture
def publisher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Publisher:
    return Publisher(tmp_path, monkeypatch)
