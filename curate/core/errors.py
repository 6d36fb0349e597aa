"""Every error of `curate` is a list of problems: a code, a sentence, a place and one thing to do next.

The code's family says what kind of fault it is and which exit status the command ends with:

    C1  the text of the config          C2  what the config asks for        exit 2
    D4  data and E5 environment, found before work starts                    exit 2
    R3  the run; D4 and E5 while it works                                    exit 1

`curate.core.catalogue` is the only list of codes.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Position:
    """A place in a text file: `line` and `column` count from 1; `length` characters are marked."""

    file: str
    line: int
    column: int
    length: int = 1
    text: str = ""


@dataclass(frozen=True)
class Problem:
    """One fault. `context` names where a run-time fault happened: phase, unit, file, row."""

    code: str
    message: str
    help: str = ""
    position: Position | None = None
    context: Mapping[str, object] = field(default_factory=dict)


class CurateError(Exception):
    """One or more problems that end the command. `exit_code` is 2 before work starts and 1 while it works."""

    def __init__(self, problems: Iterable[Problem], *, exit_code: int | None = None) -> None:
        self.problems = tuple(problems)
        self.exit_code = exit_code if exit_code is not None else _exit_code(self.problems)
        super().__init__("; ".join(f"{p.code}: {p.message}" for p in self.problems))


def _exit_code(problems: tuple[Problem, ...]) -> int:
    return 1 if any(p.code.startswith("R") for p in problems) else 2


def error(
    code: str,
    message: str,
    *,
    help: str = "",
    position: Position | None = None,
    exit_code: int | None = None,
    **context: object,
) -> CurateError:
    """A `CurateError` with one problem: `raise error("D401", "…", help="…", file=path)`."""
    return CurateError([Problem(code, message, help, position, context)], exit_code=exit_code)


def system_error(cause: OSError) -> CurateError:
    """An operating system error in words a user can act on."""
    where = f" ({cause.filename})" if cause.filename else ""
    if cause.errno in (errno.ENOSPC, errno.EDQUOT):
        return error(
            "E501", f"no space left on the device{where}", help="free some space and run again: it continues"
        )
    if cause.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return error(
            "E506", f"not allowed: {cause.strerror}{where}", help="change the permissions and run again"
        )
    if cause.errno in (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG):
        help = "choose another path, or move away what stands there"
        return error("E506", f"the path cannot be used: {cause.strerror}{where}", help=help)
    return error("R303", f"{cause.strerror or cause}{where}", help="run again: finished units are kept")


def is_gone(cause: BaseException) -> bool:
    """Whether a file was not there: it was removed, or moved into a pack, after somebody had read where it is."""
    return isinstance(cause, FileNotFoundError) or (
        isinstance(cause, CurateError)
        and cause.problems[0].code in ("R306", "D401")
        and isinstance(cause.__cause__, FileNotFoundError)
    )
