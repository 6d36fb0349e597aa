"""What tests of `curate.core` share."""

from __future__ import annotations

import os

import pytest


@pytest.fixture
def unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting for the disk: what a killed process leaves does not depend on it, as what a power cut leaves would."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
