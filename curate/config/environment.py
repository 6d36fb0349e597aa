"""Environment variables in path-like values: `$TMPDIR/x`, `${DATA}`, `${DATA:-data}`; `$$` is a dollar sign.

A config keeps them as written. They are expanded where the path is used, because a worker's `$TMPDIR` is
not the submitter's.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Final

from curate.core.errors import error

_VARIABLE: Final = re.compile(
    r"""\$(?: (?P<escaped>\$)
          | (?P<bare>[A-Za-z_][A-Za-z0-9_]*)
          | \{(?P<braced>[A-Za-z_][A-Za-z0-9_]*) (?: :-(?P<default>[^}]*) )?\} )""",
    re.VERBOSE | re.ASCII,
)


def expand(value: str, environ: Mapping[str, str]) -> str:
    """`value` with its variables and a leading `~` put in; C109 names one that is not set and has no default.

    An empty variable counts as set for `$VAR`, and as not set for `${VAR:-default}`, as in a shell.
    """

    def put_in(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "$"
        name = match["bare"] or match["braced"]
        if match["default"] is not None:
            return environ.get(name) or expand(match["default"], environ)
        if name not in environ:
            raise error(
                "C109",
                f"the environment variable {name} is not set (in '{value}')",
                help=f"export {name}=…, or give a default: ${{{name}:-…}}",
            )
        return environ[name]

    expanded = _VARIABLE.sub(put_in, value)
    return os.path.expanduser(expanded) if expanded.startswith("~") else expanded


def unset(value: str, environ: Mapping[str, str]) -> Iterator[tuple[str, int, int]]:
    """Variables of `value` that `expand` would miss: name, offset, length."""
    for match in _VARIABLE.finditer(value):
        name = match["bare"] or match["braced"]
        if name and match["default"] is not None and not environ.get(name):
            yield from (
                (inner, match.start(), match.end() - match.start())
                for inner, _, _ in unset(match["default"], environ)
            )
        elif name and match["default"] is None and name not in environ:
            yield name, match.start(), match.end() - match.start()
