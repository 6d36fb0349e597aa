"""Configs are written as text; problems are compared as `line:column code message`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from curate.config.load import Loaded, load
from curate.core.errors import CurateError, Problem

Faults = Callable[..., list[str]]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str | bytes], Path]:
    """Write `web.yaml`."""

    def put(content: str | bytes) -> Path:
        path = tmp_path / "web.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return put


@pytest.fixture
def read(write: Callable[[str | bytes], Path]) -> Callable[..., Loaded]:
    """Load a config given as text."""
    return lambda text, *overrides: load(write(text), overrides)


@pytest.fixture
def problems(read: Callable[..., Loaded]) -> Callable[..., list[Problem]]:
    """What is wrong with a config given as text; empty if nothing is."""

    def found(text: str | bytes, *overrides: str) -> list[Problem]:
        try:
            read(text, *overrides)
        except CurateError as fault:
            return list(fault.problems)
        return []

    return found


@pytest.fixture
def faults(problems: Callable[..., list[Problem]]) -> Faults:
    """The same as `line:column code 'marked' message`."""

    def described(text: str | bytes, *overrides: str) -> list[str]:
        lines = []
        for problem in problems(text, *overrides):
            at = problem.position
            place = f"{at.line}:{at.column}" if at else "-"
            marked = at.text[at.column - 1 : at.column - 1 + at.length] if at else ""
            lines.append(f"{place} {problem.code} [{marked}] {problem.message}")
        return lines

    return described
