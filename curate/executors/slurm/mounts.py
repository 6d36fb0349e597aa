"""Which file systems show late what another machine wrote: those that keep attributes and listings for a while.

NFS keeps them for up to a minute (acregmax, acdirmax). Local file systems have nobody else who writes, and Lustre, GPFS,
CephFS and BeeGFS are coherent or a second late at most.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

_LATE: Final = frozenset(("nfs", "nfs4", "cifs", "smb3"))


def shows_late(path: Path) -> bool:
    """Whether a folder lies on such a file system; True where the system does not say."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return True
    kind = kind_of(os.path.realpath(path), mounts)
    return kind is None or kind in _LATE or kind.startswith("fuse.")


def kind_of(path: str, mounts: str) -> str | None:
    """The type of the file system that an absolute path lies on. mounts: as in `/proc/self/mountinfo` (proc(5))."""
    found, longest = None, -1
    for line in mounts.splitlines():
        mounted, _, source = line.partition(" - ")
        fields = mounted.split(" ")
        if len(fields) < 5 or not source:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), fields[4]).rstrip("/")
        if (path + "/").startswith(point + "/") and len(point) >= longest:  # the later one hides the earlier
            found, longest = source.split(" ")[0], len(point)
    return found
