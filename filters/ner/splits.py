"""Train, dev and test parts by host and document, never by passage.

In: for each passage the host of its address and the name of its document, either of which may be missing. Out: `train`,
`dev` or `test` for each.

Passages of one document are alike in names, topic and style, and so are pages of one host: a part that shares either with
the training part measures memory. Passages that share a host or a document are one group, and so are groups that share one;
a group goes to one part as a whole. A passage with neither is a group of its own.

A group's place in [0, 1) is the XXH3 hash, with the seed, of the smallest host in it, or of its smallest document if it has
no host. Places below `test` are the test part, those below `test + dev` the dev part. So the parts do not depend on the
order of the rows; a larger `dev` leaves the test part as it is; and a step that sees one document at a time
(`filters.ner_split`) finds the same test documents, wherever a document has one host.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple
from urllib.parse import urlsplit

import xxhash

TRAIN, DEV, TEST = "train", "dev", "test"
PARTS: Final = (TRAIN, DEV, TEST)
_SPACE: Final = 2.0**64
_WORLD_WIDE: Final = "www."
#: The part of an address that names the host, for `re` and RE2 alike.
AUTHORITY: Final = r"^(?:(?:[A-Za-z][A-Za-z0-9+.\-]*:)?//)?(?P<authority>[^/?#]*)"


#: What holds together: pages of a host and passages of a document, or the latter alone.
Group = Literal["host", "document"]


class Shares(NamedTuple):
    """How much of the groups goes to the dev and the test part: each from 0, together at most 1."""

    dev: float = 0.0
    test: float = 0.0


def host_of(url: str | None) -> str | None:
    """The host of an address, without `www.`, port and case; None if there is none."""
    found = re.match(AUTHORITY, url or "")
    try:
        host = urlsplit(f"//{found['authority']}").hostname if found else None
    except ValueError:  # such as an unfinished IPv6 address
        return None
    return (host or "").rstrip(".").removeprefix(_WORLD_WIDE) or None


def group_key(host: str | None, document: str | None) -> str | None:
    """What a group of one host or one document is hashed by; None if both are missing."""
    if host is not None:
        return f"host {host}"
    return None if document is None else f"document {document}"


def part_of(key: str, shares: Shares, seed: int) -> str:
    """The part of a group."""
    place = xxhash.xxh3_64_intdigest(key.encode("utf-8", "surrogatepass"), seed) / _SPACE
    if place < shares.test:
        return TEST
    return DEV if place < shares.test + shares.dev else TRAIN


def assign(
    hosts: Sequence[str | None], documents: Sequence[str | None], shares: Shares, seed: int
) -> list[str]:
    """The part of each row: str[rows]."""
    parents: dict[str, str] = {}

    def root(key: str) -> str:
        while parents[key] != key:
            parents[key] = parents[parents[key]]
            key = parents[key]
        return key

    rows = []
    for row, (host, document) in enumerate(zip(hosts, documents, strict=True)):
        keys = [key for key in (group_key(host, None), group_key(None, document)) if key is not None]
        keys = keys or [f"row {row}"]
        for key in keys:
            parents.setdefault(key, key)
        ends = sorted({root(key) for key in keys}, key=_rank)
        for other in ends[1:]:
            parents[other] = ends[0]  # hosts before documents, then the smallest: the root is what is hashed
        rows.append(keys[0])
    return [part_of(root(key), shares, seed) for key in rows]


def _rank(key: str) -> tuple[bool, str]:
    return not key.startswith("host "), key
