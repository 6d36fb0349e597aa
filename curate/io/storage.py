"""Where bytes lie: local files and fsspec URLs, behind four questions (what is there, which state, first
bytes, open it).

A `location` is an absolute local path or an fsspec URL (`s3://bucket/a.parquet`, `memory://a.jsonl`). A local
name need not be UTF-8: it is held with surrogate escapes, as `os.fsdecode` gives it. `file://` URLs become
local paths at once.

A file's state is its size, its stamp (mtime in ns, or the store's etag) and its edges: the SHA-256 of its
first and last 64 KiB. A stamp alone says nothing, since copying a folder changes it; size and edges do.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, Literal, TypeVar, cast
from urllib.parse import unquote, urlsplit

import fsspec

from curate.core.errors import CurateError, error

#: Bytes hashed at either end of a file.
EDGE_BYTES: Final = 64 * 1024
#: Footers and edges are many small reads that wait for a disk or a network.
READ_THREADS: Final = 16

Magic = Literal["parquet", "gzip", "zstd", "plain"]

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class State:
    """size in bytes; stamp: mtime in ns or etag; edges: hex SHA-256; head: the first 64 KiB."""

    size: int
    stamp: str
    edges: str
    head: bytes


def is_url(path: str) -> bool:
    return "://" in path


def local_or_url(path: str) -> str:
    """The location of a path as a user writes it: absolute if local, `file://` taken off."""
    if path.startswith("file://"):
        path = unquote(urlsplit(path).path)
    return path if is_url(path) else os.path.abspath(path)


def shown(path: str) -> str:
    r"""A path that can be printed and stored as UTF-8: bytes that are not UTF-8 become `\xff`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def filesystem(url: str) -> tuple[Any, str]:
    """The fsspec file system of a URL and the path in it. E506 if its package is not installed."""
    try:
        fs, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as fault:
        raise error(
            "E506", f"cannot reach {url}: {fault}", help="install the package for this store", file=url
        ) from fault
    return fs, path


@contextlib.contextmanager
def reaching(location: str) -> Iterator[None]:
    """Turns what goes wrong with a file or a store into D401 or E506."""
    try:
        yield
    except CurateError:
        raise
    except OSError as fault:
        raise unreadable(location, fault) from fault
    except Exception as fault:
        if not is_url(location):
            raise
        # Stores raise their libraries' own errors (no credentials, no network).
        message = f"{location} cannot be reached: {type(fault).__name__}: {fault}"
        raise error("E506", message, help="check the network and the credentials", file=location) from fault


def open_binary(location: str) -> BinaryIO:
    """Opens for reading, without read-ahead in stores: the readers here ask for what they need."""
    with reaching(location):
        if is_url(location):
            fs, path = filesystem(location)
            return cast(BinaryIO, fs.open(path, "rb", cache_type="none"))
        return open(location, "rb")


def create_binary(location: str) -> BinaryIO:
    """Opens for writing, replacing what is there."""
    if is_url(location):
        fs, path = filesystem(location)
        return cast(BinaryIO, fs.open(path, "wb"))
    return open(location, "wb")


def unreadable(location: str, fault: OSError) -> CurateError:
    """The error for a file that cannot be opened: D401 if it is not there, E506 if it may not be read."""
    name = shown(location)
    if isinstance(fault, FileNotFoundError):
        if not is_url(location) and os.path.islink(location):
            target = shown(os.readlink(location))
            return error(
                "D401",
                f"{name} is a link to {target}, which does not exist",
                help="repair or remove the link",
                file=name,
            )
        return error("D401", f"{name} does not exist", help="check the path", file=name)
    if isinstance(fault, PermissionError):
        return error(
            "E506",
            f"{name} may not be read: permission denied",
            help=f"give read access, such as `chmod a+r`: {name}",
            file=name,
        )
    return error(
        "E506",
        f"{name} cannot be read: {fault.strerror or fault}",
        help="check the disk or the store",
        file=name,
    )


def state(location: str) -> State:
    """Size, stamp and edges of a file as it is now. D401 if it is gone, E506 if it may not be read."""
    with reaching(location):
        return _url_state(location) if is_url(location) else _local_state(location)


def _local_state(location: str) -> State:
    if not stat.S_ISREG(os.stat(location).st_mode):  # to open a pipe would wait for ever
        raise error("D401", f"{shown(location)} is no regular file", help="give a file", file=shown(location))
    with open(location, "rb", buffering=0) as file:
        facts = os.fstat(file.fileno())
        head = file.read(EDGE_BYTES)
        file.seek(max(facts.st_size - EDGE_BYTES, 0))
        tail = file.read(EDGE_BYTES)
    return State(facts.st_size, str(facts.st_mtime_ns), _edges(head, tail), head)


def _url_state(location: str) -> State:
    fs, path = filesystem(location)
    fs.invalidate_cache(fs._parent(path))  # listings are remembered, and the file may have changed since
    facts = fs.info(path)
    if facts["size"] is None:
        raise error(
            "E506", f"{location}: the store does not tell its size", help="copy it first", file=location
        )
    size = int(facts["size"])
    head = fs.cat_file(path, start=0, end=min(size, EDGE_BYTES)) if size else b""
    tail = fs.cat_file(path, start=max(size - EDGE_BYTES, 0), end=size) if size else b""
    stamps = (
        facts.get(key)
        for key in ("ETag", "etag", "mtime", "LastModified", "last_modified", "updated", "created")
    )
    stamp = next((str(value) for value in stamps if value), "")
    return State(size, stamp, _edges(head, tail), head)


def _edges(head: bytes, tail: bytes) -> str:
    return hashlib.sha256(head + tail).hexdigest()


def magic(head: bytes) -> Magic:
    """What a file is, from its first bytes, whatever its name says. zstd's skippable frames count as zstd."""
    if head.startswith((b"PAR1", b"PARE")):
        return "parquet"
    if head.startswith(b"\x1f\x8b"):
        return "gzip"
    if head.startswith(b"\x28\xb5\x2f\xfd") or (head[1:4] == b"\x2a\x4d\x18" and 0x50 <= head[0] <= 0x5F):
        return "zstd"
    return "plain"


def each(function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """`function` of every item, in order, in threads; the `CurateError`s of all items are raised as one."""

    def attempt(item: T) -> R | CurateError:
        try:
            return function(item)
        except CurateError as fault:
            return fault

    with ThreadPoolExecutor(max_workers=READ_THREADS) as pool:
        outcomes = list(pool.map(attempt, items))
    raise_all(outcome for outcome in outcomes if isinstance(outcome, CurateError))
    return cast("list[R]", outcomes)


def raise_all(faults: Iterable[CurateError]) -> None:
    """Raises the problems of all faults as one error; returns if there are none."""
    problems = [problem for fault in faults for problem in fault.problems]
    if problems:
        raise CurateError(problems)
