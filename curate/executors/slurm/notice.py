"""What says that Slurm works in a run folder, to whoever comes to it from anywhere: which jobs, of which cluster.

It stands in the folder itself: `slurm/settings.json` has it where the folder is local. Of a folder in a store the job
scripts, tasks and logs are files below the directory in which the run was submitted, so there it is an object:

    slurm/jobs.json    {"name": of all jobs, "inode": null, "cluster": …, "host": …, "directory": …}

It is written before the first job is submitted and removed when the run is done. In a copy of the folder it says nothing, or
the copy would share its jobs with the original.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from curate.core.layout import RunFolder
from curate.core.objects import Place, remove_tree


@dataclass(frozen=True)
class Notice:
    """name: of all jobs of the run; cluster: as Slurm calls itself, empty if it has no name; host and directory: where the
    run was submitted, in which its jobs work; inode: of `slurm/`, by which a local folder is told from its copies.
    """

    name: str
    cluster: str
    host: str
    directory: str
    inode: int | None


def place(folder: RunFolder) -> Path:
    """`slurm/` of a run folder: files, which of a folder in a store stand beside it."""
    return folder.beside / "slurm"


def mark(folder: RunFolder) -> Place:
    """The file or object without which nobody asks Slurm's queue for the run."""
    if isinstance(folder.root, Path):
        return place(folder) / "settings.json"
    return folder.root / "slurm" / "jobs.json"


def was_submitted(folder: RunFolder) -> bool:
    """Whether jobs of the run may be in the queue: from before the first is submitted until the run is done."""
    return mark(folder).exists()


def read_notice(folder: RunFolder) -> Notice | None:
    """What was noted when the run was submitted; None if it was not, or the note is damaged or another folder's."""
    with suppress(FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        raw = json.loads(mark(folder).read_text(encoding="utf-8"))
        if isinstance(folder.root, Path):
            notice = Notice(**raw["job"])
            return notice if notice.inode == place(folder).stat().st_ino else None
        notice = Notice(**raw)
        return notice if notice.name == _own_name(folder) and os.path.isabs(notice.directory) else None
    return None


def notice_of(folder: RunFolder, cluster: str) -> Notice:
    """What is noted of a run that is submitted now; what stands there already stays."""
    known = read_notice(folder)
    if known is not None:
        return known
    inode = place(folder).stat().st_ino if isinstance(folder.root, Path) else None
    return Notice(job_name(folder), cluster, os.uname().nodename, os.getcwd(), inode)


def as_json(notice: Notice) -> dict[str, object]:
    return asdict(notice)


def as_submitted(folder: RunFolder) -> RunFolder:
    """The folder with its files where its jobs have them, whatever the working directory is now."""
    if isinstance(folder.root, Path):
        return folder
    notice = read_notice(folder)
    return folder if notice is None else replace(folder, directory=Path(notice.directory))


def job_name(folder: RunFolder) -> str:
    """The name of all jobs of a run: like its folder's, and unlike any other folder's. `squeue` divides names at commas.

    Once a run in a local folder was submitted it is what was noted: a path may be another one on each node (/home,
    /export/home).
    """
    notice = read_notice(folder) if isinstance(folder.root, Path) else None
    return notice.name if notice is not None else _own_name(folder)


def _own_name(folder: RunFolder) -> str:
    local = isinstance(folder.root, Path)  # one run, by whichever link one comes to it
    root = os.path.realpath(str(folder.root)) if local else str(folder.root)
    label = re.sub(r"[^A-Za-z0-9._-]", "_", folder.root.name[:40])
    return f"{label}.{hashlib.sha256(root.encode()).hexdigest()[:10]}"


def forget_queue(folder: RunFolder) -> None:
    """Remove all that a run on Slurm has noted: nothing of it is in the queue any more."""
    if not isinstance(folder.root, Path):
        with suppress(OSError):  # it may be somebody else's, and counts for nothing without the object
            remove_tree(place(as_submitted(folder)))
        remove_tree(folder.root / "slurm")
    remove_tree(place(folder))
