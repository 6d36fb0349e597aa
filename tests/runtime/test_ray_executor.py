"""Decisions of the Ray executor that a real cluster seldom brings about, with a pretended Ray."""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from curate.config.execution import RayCluster
from curate.core.errors import CurateError
from curate.executors import ray_cluster
from curate.executors.ray import RayExecutor, _Actor, _Job


def test_a_worker_whose_unit_is_done_is_not_too_late() -> None:
    """What it has told and nobody has heard yet is heard first."""
    executor = RayExecutor(Path(), workers=2, threads=1, retries=0, config=RayCluster(unit_timeout=5))
    executor._ray = SimpleNamespace(
        wait=lambda events, timeout: ([e for e in events if e.told], []),
        get=lambda message: message,
        exceptions=None,
    )
    progress = {"event": "progress", "rows": 1, "bytes": 1, "work": []}
    long_ago = time.monotonic() - 6

    def at_work(unit: int, since: float, *told: dict[str, Any]) -> _Actor:
        return _Actor(None, Told(told), ready=True, unit=unit, since=since)

    done = at_work(0, long_ago, progress, {"event": "done", "unit": 0})
    late = at_work(1, long_ago, progress)
    early = at_work(2, time.monotonic())
    executor._actors = [done, late, early]
    heard: list[object] = []
    listener = SimpleNamespace(progress=lambda *said: heard.append("progress"), unit_done=heard.append)
    overdue = executor._overdue(_Job("pass1", deque(), listener, lambda unit: {}))
    assert overdue == [late]
    assert heard == ["progress", 0, "progress"]
    assert done.unit is None


class Told:
    """Messages of an actor, as Ray hands them out."""

    def __init__(self, told: tuple[dict[str, Any], ...]) -> None:
        self.told = deque(told)

    def __next__(self) -> dict[str, Any]:
        return self.told.popleft()


def test_a_head_that_is_away_for_a_moment_ends_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    node = {"Alive": True, "Resources": {"CPU": 4.0}}
    ray = SimpleNamespace(
        get_runtime_context=lambda: SimpleNamespace(gcs_address="head:6379"), nodes=lambda: [node]
    )
    refused = [ConnectionRefusedError(111, "Connection refused")] * 3

    def reach(address: str) -> None:
        if refused:
            raise refused.pop()

    monkeypatch.setattr(ray_cluster, "_reach", reach)
    monkeypatch.setattr(ray_cluster, "_PAUSE", 0.0)
    cluster = ray_cluster.Cluster(ray, None)
    cluster.require("pass1")
    assert refused == []
    monkeypatch.setattr(ray_cluster, "_AGAIN", -1.0)
    refused.append(ConnectionRefusedError(111, "Connection refused"))
    with pytest.raises(CurateError, match="head at head:6379 does not answer"):
        cluster.require("pass1")
