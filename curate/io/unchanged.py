"""Is a file still the one that the manifest names? Asked whenever a shard is opened."""

from __future__ import annotations

from curate.core.errors import CurateError, error
from curate.core.manifest import SourceFile
from curate.io.storage import state


def require_unchanged(file: SourceFile) -> None:
    """Raises R301 if the file is gone, or its size or its edges differ. A new mtime alone is no change."""
    try:
        now = state(file.location)
    except CurateError as fault:
        raise error(
            "R301", f"{file.path} was planned and cannot be read now: {fault}", help=_HELP, file=file.path
        ) from fault
    if now.size != file.size:
        raise error(
            "R301",
            f"{file.path} was {file.size} bytes when planned and is {now.size} now",
            help=_HELP,
            file=file.path,
        )
    if now.edges != file.edges:
        raise error("R301", f"{file.path} has other content than when planned", help=_HELP, file=file.path)


_HELP = "put the file back, or start anew with `--force`"
