"""Leases: one process at a time in a folder of a store, where there are no file locks.

    <folder>/000007.json = {"holder": "process 4711 on node3", "started": …}

A holder has the object with the highest number, created exclusively, and writes it again every `BEAT` seconds; its age, by
the store's own clock, says whether he is alive. One who finds an object older than `STALE` seconds, or of a process of this
machine that is gone, creates the next number: of several who do, one succeeds. He then removes the older ones, and a holder
who comes back from a long stall sees that his is gone, or is another's, and stops (R302). So a killed run can be continued
at once where it was killed, and after `STALE` seconds elsewhere.

A lease keeps two runs apart; it is not what makes results safe. Done-files are exclusive, and outputs have names of their
own for each attempt, so even two runs at once could not mix their files.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, cast

from curate.core.errors import CurateError, error
from curate.core.objects import ObjectPath, Place, create_exclusively, put_whole, remove

#: Seconds between signs of life, and without one until a holder counts as gone.
BEAT: Final = 15.0
STALE: Final = 75.0


def probe(folder: ObjectPath, *, exclusive: bool) -> datetime | None:
    """Write an object, twice if exclusive creation is asked for, and remove it: what a run needs to be allowed to do.

    Returns the store's clock, if it tells. E506 if it refuses, E511 if it lets a second one take the place of the first.
    """
    place = folder / f".curate-probe-{os.urandom(6).hex()}"
    written = False
    with bucket_there(folder):
        try:
            if exclusive and not _creates_once(place):
                raise error(
                    "E511",
                    f"the store of {folder} does not create objects exclusively: two workers could both finish one unit",
                    help="put the run folder (`run_dir:`) on a local or shared folder; outputs and inputs may stay there",
                )
            if not exclusive:
                put_whole(place, b"1")
            written = True
            with place._asked() as (fs, path), suppress(NotImplementedError):
                now = fs.modified(path)
                return now if isinstance(now, datetime) else None
        finally:
            with nullcontext() if written else suppress(CurateError, FileNotFoundError):
                place.unlink(missing_ok=True)
    return None


def _creates_once(place: ObjectPath) -> bool:
    try:
        return create_exclusively(place, b"1") and not create_exclusively(place, b"2")
    except (TypeError, NotImplementedError, CurateError) as cause:
        if isinstance(cause, CurateError) and not isinstance(
            cause.__cause__, TypeError | NotImplementedError
        ):
            raise
        return False


@contextmanager
def bucket_there(folder: ObjectPath) -> Iterator[None]:
    """E506 instead of a FileNotFoundError: an object can be written anywhere but where there is no bucket."""
    try:
        yield
    except FileNotFoundError as cause:
        raise error(
            "E506",
            f"the store has no place for {folder}: {cause.strerror or cause}",
            help="create the bucket, or correct its name",
            file=str(folder),
        ) from cause


def holder(folder: ObjectPath) -> str | None:
    """Who holds the folder, by this machine's clock; None if nobody does."""
    last = max(folder.glob("*.json"), default=None)
    if last is None:
        return None
    raw, age = _look(last, datetime.now().astimezone())
    return None if raw is None or _is_gone(raw, age) else str(raw["holder"])


@dataclass(frozen=True)
class _Lease:
    """One that this process holds. body: what only its own object says."""

    folder: ObjectPath
    own: ObjectPath
    body: bytes
    lost: threading.Event

    def stands(self) -> bool:
        """Whether the object is ours: numbers begin again when a folder was left, so that its name does not say it."""
        if not self.lost.is_set():
            try:
                if self.own.read_bytes() == self.body:
                    return True
            except FileNotFoundError:
                pass
            self.lost.set()
        return False

    def taken(self) -> CurateError:
        return _taken(self.folder, "another process, after this one gave no sign of life")


#: What this process holds; a run holds its folder and its outputs.
_HELD: Final[list[_Lease]] = []


@contextmanager
def held(folder: ObjectPath, now: datetime | None) -> Iterator[None]:
    """Hold a folder of leases; R302 if somebody else does, or takes it over while we were away. now: the store's clock."""
    body = _body()
    own = _acquire(folder, now or datetime.now().astimezone(), body)
    mine = _Lease(folder, own, body, threading.Event())
    ended = threading.Event()
    beat = threading.Thread(target=_beat, args=(mine, ended), name="curate-lease", daemon=True)
    _HELD.append(mine)
    try:
        with _interruptible():
            beat.start()
            try:
                yield
            finally:
                ended.set()
                beat.join()
                with suppress(CurateError):  # then it is stale in a minute
                    if mine.stands():
                        mine.own.unlink(missing_ok=True)
        if mine.lost.is_set():
            raise mine.taken()
    except (KeyboardInterrupt, CurateError, OSError) as cause:
        if mine.lost.is_set():
            raise mine.taken() from cause
        raise
    finally:
        _HELD.remove(mine)


def confirm(folder: Place) -> None:
    """R302 if this process held the folder and another took it over; to be asked before others' records are removed."""
    for mine in _HELD:
        if mine.folder == folder and not mine.stands():
            raise mine.taken()


def is_lost(folder: Place) -> bool:
    """Whether this process held the folder and knows that another took it over."""
    return any(mine.folder == folder and mine.lost.is_set() for mine in _HELD)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGINT stop the main thread when a lease is lost, also where it is ignored, as in the background of a script."""
    if threading.current_thread() is not threading.main_thread() or (
        signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
    ):
        yield
        return

    def stop(*_: object) -> None:
        if any(mine.lost.is_set() for mine in _HELD):
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _acquire(folder: ObjectPath, now: datetime, body: bytes) -> ObjectPath:
    for _ in range(3):
        seen = set(folder.glob("*.json"))
        last = max(seen, default=None)
        number = 1
        if last is not None:
            raw, age = _look(last, now)
            if raw is None:
                continue  # released at this moment
            if not _is_gone(raw, age):
                raise _taken(folder, str(raw["holder"]))
            number = int(last.name.partition(".")[0]) + 1
        own = folder / f"{number:06d}.json"
        if not create_exclusively(own, body):
            continue
        if set(folder.glob("*.json")) - seen - {own}:  # somebody else began with another number
            own.unlink(missing_ok=True)
            raise _taken(folder, "another process")
        remove(seen)
        return own
    raise _taken(folder, "another process")


def _taken(folder: ObjectPath, by: str) -> CurateError:
    return error(
        "R302",
        f"{folder.parent} is in use by {by}",
        help=f"wait for it, or give this run a place of its own; one that was killed elsewhere counts for {STALE:.0f} s",
    )


def _look(place: ObjectPath, now: datetime) -> tuple[dict[str, Any] | None, float]:
    """What a lease says, and its age in seconds."""
    try:
        raw = json.loads(place.read_bytes())
        with place._asked() as (fs, path):
            written = fs.modified(path)
    except FileNotFoundError:
        return None, 0.0
    except ValueError:
        raw, written = {"holder": "another process"}, now
    return raw, (now - written.astimezone(now.tzinfo)).total_seconds()


def _is_gone(raw: dict[str, Any], age: float) -> bool:
    """Whether the holder is dead: without a sign of life, or a process of this machine that is not there any more."""
    if age > STALE:
        return True
    if raw.get("machine") != _machine():
        return False
    return _started(int(raw["process"])) != raw["started"]


def _body() -> bytes:
    raw = {
        "holder": f"process {os.getpid()} on {os.uname().nodename}",
        "machine": _machine(),
        "process": os.getpid(),
        "started": _started(os.getpid()),
        "lease": os.urandom(
            8
        ).hex(),  # no two leases are the same bytes, by which `create_exclusively` knows its own
    }
    return json.dumps(raw).encode()


def _machine() -> str:
    """Processes that are numbered together: of one boot of one machine or container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{os.uname().nodename} {boot} {os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return f"{os.uname().nodename} {os.getpid()}"


def _started(process: int) -> str | None:
    """When a process began, in ticks since boot; None if it is not there."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return fields[19] if fields[0] != "Z" else None


def _beat(mine: _Lease, ended: threading.Event) -> None:
    """Give signs of life until the lease ends; when it was taken over, interrupt the main thread."""
    while not ended.wait(BEAT):
        try:
            if max(mine.folder.glob("*.json"), default=None) != mine.own or not mine.stands():
                mine.lost.set()
                signal.pthread_kill(cast("int", threading.main_thread().ident), signal.SIGINT)
                return
            put_whole(mine.own, mine.body)
        except CurateError:
            continue  # the store is away; if it stays so, the run's own requests say it
