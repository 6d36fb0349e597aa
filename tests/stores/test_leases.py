"""Leases: who may work in a folder of a store, when holders die, stall and come back."""

from __future__ import annotations

import json
import select
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from curate.core import lease
from curate.core.commit import write_merged
from curate.core.errors import CurateError, error
from curate.core.layout import RunFolder
from curate.core.objects import ObjectPath
from curate.running.run import record_failure
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
        lease._acquire(folder, datetime.now(UTC), lease._body())
    assert bucket.keys() == ["run/lock/000004.json"]
    later = datetime.now(UTC) + timedelta(seconds=lease.STALE + 2)
    assert lease._acquire(folder, later, lease._body()).name == "000005.json"
    assert bucket.keys() == ["run/lock/000005.json"]


def test_of_several_who_follow_one_succeeds(bucket: Bucket) -> None:
    put(bucket, 4, lease._machine())
    folder = ObjectPath(f"{bucket.url}/run/lock")
    together = threading.Barrier(4)

    def follow(_: int) -> bool:
        together.wait()
        try:
            lease._acquire(folder, datetime.now(UTC), lease._body())
        except CurateError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(follow, range(4)))
    assert won.count(True) <= 1
    assert len(bucket.keys()) == won.count(True)


@pytest.mark.parametrize("ignored", [False, True], ids=["foreground", "background"])
def test_who_was_away_too_long_stops(ignored: bool, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where SIGINT is ignored, as in the background of a script, and while it waits for workers."""
    # Long enough for the other's two requests: the signal that ends the wait would end one of them too.
    monkeypatch.setattr(lease, "BEAT", 1.5)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if ignored else signal.getsignal(signal.SIGINT)
    folder = ObjectPath(f"{bucket.url}/run/lock")

    def lose() -> None:
        with lease.held(folder, datetime.now(UTC)):
            put(bucket, 2, "elsewhere")
            bucket.client.delete_object(Bucket=bucket.name, Key="run/lock/000001.json")
            select.select([], [], [], 30)

    began = time.monotonic()
    try:
        with pytest.raises(CurateError, match="R302"):
            lose()
        assert (signal.getsignal(signal.SIGINT) is signal.SIG_IGN) == ignored
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - began < 25
    assert bucket.keys() == ["run/lock/000002.json"], "the lease of another is left alone"


def test_a_number_that_began_again_is_not_ours(bucket: Bucket) -> None:
    """Another took over, ended and left the folder empty; a third began with the first number."""
    folder = ObjectPath(f"{bucket.url}/run/lock")
    run = RunFolder(folder.parent)

    def come_back() -> None:
        with lease.held(folder, datetime.now(UTC)):
            put(bucket, 1, "elsewhere")
            with pytest.raises(CurateError, match="R302"):
                write_merged(run, "pass1", {})
            record_failure(run, error("R310", "interrupted"))

    with pytest.raises(CurateError, match="R302"):
        come_back()
    assert bucket.keys() == ["run/lock/000001.json"]
    assert json.loads(bucket.read("run/lock/000001.json"))["machine"] == "elsewhere"
    assert lease._HELD == []


def test_it_gives_no_sign_of_life_for_another(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = ObjectPath(f"{bucket.url}/run/lock")
    monkeypatch.setattr(lease, "BEAT", 0.5)

    def come_back() -> None:
        with lease.held(folder, datetime.now(UTC)):
            put(bucket, 1, "elsewhere")
            select.select([], [], [], 30)

    with pytest.raises(CurateError, match="R302"):
        come_back()
    assert json.loads(bucket.read("run/lock/000001.json"))["machine"] == "elsewhere"


def test_who_lost_it_does_not_report_success(bucket: Bucket) -> None:
    folder = ObjectPath(f"{bucket.url}/run/lock")
    with pytest.raises(CurateError, match="R302"), lease.held(folder, datetime.now(UTC)):
        put(bucket, 1, "elsewhere")
