"""A phase of five units in a run folder, what a worker does to finish them, and a kill at each of its calls.

Kills are simulated at every call that changes the folder (`link`, `replace`, `unlink`), just before and just after it: what
a killed process leaves is what the calls before had done.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from curate.core.commit import Done, describe, finished, write_done
from curate.core.compaction import read_counters
from curate.core.layout import RunFolder
from curate.core.packs import Stretch, StretchFile

PHASE = "pass1"
UNITS = 5
RIGHT = {unit: f"{unit}" * 20 for unit in range(UNITS)}


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the product catches it."""


def attempt_at(folder: RunFolder, unit: int, attempt: str, fingerprint: str | None = None) -> Done:
    """What a worker does before it commits: outputs under the attempt's own names."""
    overlay = folder.overlay(PHASE, unit, attempt)
    counters = folder.counters(PHASE, unit, attempt)
    for path in (overlay, counters):
        path.parent.mkdir(parents=True, exist_ok=True)
    overlay.write_bytes(f"overlay of {unit} by {attempt}".encode())
    counters.write_text(json.dumps({"steps": [], "unit": unit, "by": attempt}), encoding="utf-8")
    outputs = {"overlay": describe(folder, overlay), "counters": describe(folder, counters)}
    return Done(unit, fingerprint or RIGHT[unit], 0, attempt, 7, 100, outputs, {"quarantined": 0})


def all_units_done(folder: RunFolder) -> dict[int, Done]:
    for unit in range(UNITS):
        assert write_done(folder, PHASE, attempt_at(folder, unit, f"a{unit}"))
    return finished(folder, PHASE, RIGHT)


def files_below(folder: RunFolder) -> set[str]:
    return {str(p.relative_to(folder.root)) for p in folder.root.rglob("*") if p.is_file()}


def counters_of(folder: RunFolder, records: dict[int, Done]) -> dict[int, object]:
    return {unit: counters["unit"] for unit, counters in read_counters(folder, PHASE, records)}


def overlays_of(folder: RunFolder, records: dict[int, Done]) -> dict[int, bytes]:
    """What the records say the overlays hold."""
    found = {}
    for unit, done in records.items():
        place = done.outputs["overlay"].place(folder)
        with StretchFile(place) if isinstance(place, Stretch) else place.open("rb") as file:
            found[unit] = file.read()
    return found


def counting(monkeypatch: pytest.MonkeyPatch, kill_at: int | None, *, after: bool) -> list[str]:
    """Count the calls that change the folder, and stop at call number `kill_at`."""
    calls: list[str] = []

    def watch(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **options: object) -> object:
            calls.append(name)
            if kill_at is not None and len(calls) > kill_at:
                raise Killed(name)
            if kill_at == len(calls) and not after:
                raise Killed(name)
            result = real(*args, **options)
            if kill_at == len(calls):
                raise Killed(name)
            return result

        return call

    monkeypatch.setattr(os, "link", watch("link", os.link))
    monkeypatch.setattr(Path, "replace", watch("replace", Path.replace))
    monkeypatch.setattr(Path, "unlink", watch("unlink", Path.unlink))
    return calls


def every_kill(
    tmp_path: Path, before: Callable[[RunFolder], object], work: Callable[[RunFolder], object]
) -> Iterator[RunFolder]:
    """The folder after `before`, and after `work` was killed at each of its calls in turn."""
    with pytest.MonkeyPatch.context() as patch:
        whole = RunFolder(tmp_path / "whole")
        before(whole)
        calls = counting(patch, None, after=False)
        work(whole)
        total = len(calls)
    assert total > 0
    for at in range(1, total + 1):
        for after in (False, True):
            folder = RunFolder(tmp_path / f"killed-{at}-{after}")
            before(folder)
            with pytest.MonkeyPatch.context() as patch:
                counting(patch, at, after=after)
                with pytest.raises(Killed):
                    work(folder)
            yield folder
