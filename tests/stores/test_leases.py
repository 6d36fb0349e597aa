"""Leases: who may work in a folder of a store, when holders die, stall and come back."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from curate.core import lease
from curate.core.errors import CurateError
from curate.core.objects import ObjectPath
from tests.stores.server import Bucket

pytestmark = pytest.mark.s3


def put(bucket: Bucket, number: int, machine: str) -> None:
    raw = {"holder": f"process 1 on {machine}", "machine": machine, "process": 1 << 30, "started": "1"}
    bucket.put(f"run/lock/{number:06d}.json", json.dumps(raw).encode())


def test_a_dead_process_of_this_machine_is_followed_at_once(bucket: Bucket) -> None:
    put(bucket, 4, lease._machine())
    folder = ObjectPath(f"{bucket.url}/run/lock")
    assert lease.holder(folder) is None
    with lease.held(folder, datetime.now(UTC)):
        assert bucket.keys() == ["run/lock/000005.json"]
        assert "process" in (lease.holder(folder) or "")
    assert bucket.keys() == []


def test_one_of_another_machine_when_it_gives_no_sign_of_life(bucket: Bucket) -> None:
    put(bucket, 4, "elsewhere")
    folder = ObjectPath(f"{bucket.url}/run/lock")
    assert lease.holder(folder) == "process 1 on elsewhere"
    with pytest.raises(CurateError, match=r"R302.*/run is in use by process 1 on elsewhere"):
        lease._acquire(folder, datetime.now(UTC))
    assert bucket.keys() == ["run/lock/000004.json"]
    assert (
        lease._acquire(folder, datetime.now(UTC) + timedelta(seconds=lease.STALE + 2)).name == "000005.json"
    )
    assert bucket.keys() == ["run/lock/000005.json"]


def test_of_several_who_follow_one_succeeds(bucket: Bucket) -> None:
    put(bucket, 4, lease._machine())
    folder = ObjectPath(f"{bucket.url}/run/lock")
    together = threading.Barrier(4)

    def follow(_: int) -> bool:
        together.wait()
        try:
            lease._acquire(folder, datetime.now(UTC))
        except CurateError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(follow, range(4)))
    assert won.count(True) <= 1
    assert len(bucket.keys()) == won.count(True)


def test_who_was_away_too_long_stops(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "BEAT", 0.1)
    folder = ObjectPath(f"{bucket.url}/run/lock")

    def lose() -> None:
        with lease.held(folder, datetime.now(UTC)):
            put(bucket, 2, "elsewhere")
            bucket.client.delete_object(Bucket=bucket.name, Key="run/lock/000001.json")
            for _ in range(600):
                time.sleep(0.05)

    with pytest.raises(CurateError, match="R302"):
        lose()
    assert bucket.keys() == ["run/lock/000002.json"], "the lease of another is left alone"
