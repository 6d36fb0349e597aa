"""What state an input file is in, local or in a store (`curate.core.store`): size, stamp, edges, kind.

A file's state is its size, its stamp (mtime in ns, or the store's etag) and its edges: the SHA-256 of its first and last
64 KiB. A stamp alone says nothing, since copying a folder changes it; size and edges do.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from curate.core.errors import error
from curate.core.store import filesystem, is_url, reaching, read_whole, shown

#: Bytes hashed at either end of a file.
EDGE_BYTES: Final = 64 * 1024
Magic = Literal["parquet", "gzip", "zstd", "plain"]


@dataclass(frozen=True)
class State:
    """size in bytes; stamp: mtime in ns or etag; edges: hex SHA-256; head: the first 64 KiB."""

    size: int
    stamp: str
    edges: str
    head: bytes


def state(location: str, facts: Mapping[str, Any] | None = None) -> State:
    """Size, stamp and edges of a file as it is now. D401 if it is gone, E506 if it may not be read.

    facts: what a store's list has just said of it.
    """
    with reaching(location):
        return _url_state(location, facts) if is_url(location) else _local_state(location)


def _local_state(location: str) -> State:
    if not stat.S_ISREG(os.stat(location).st_mode):  # to open a pipe would wait for ever
        raise error("D401", f"{shown(location)} is no regular file", help="give a file", file=shown(location))
    with open(location, "rb", buffering=0) as file:
        facts = os.fstat(file.fileno())
        head = file.read(EDGE_BYTES)
        file.seek(max(facts.st_size - EDGE_BYTES, 0))
        tail = file.read(EDGE_BYTES)
    return State(facts.st_size, str(facts.st_mtime_ns), _edges(head, tail), head)


def _url_state(location: str, facts: Mapping[str, Any] | None) -> State:
    """By a single request if the file is small and was listed."""
    fs, path = filesystem(location)
    facts = facts or fs.info(path)
    if facts["size"] is None:
        raise error(
            "E506", f"{location}: the store does not tell its size", help="copy it first", file=location
        )
    size = int(facts["size"])
    if size <= 2 * EDGE_BYTES:
        whole = read_whole(fs, path) if size else b""
        head, tail = whole[:EDGE_BYTES], whole[-EDGE_BYTES:]
    else:
        head = fs.cat_file(path, start=0, end=EDGE_BYTES)
        tail = fs.cat_file(path, start=size - EDGE_BYTES, end=size)
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
