"""The keys of the first records of a JSON Lines file: is the text called something else?"""

from __future__ import annotations

from typing import Final

import msgspec

from curate.core.store import open_binary
from curate.io.lines import read_runs
from curate.io.text_blocks import read_blocks

#: Records that are looked at.
RECORDS: Final = 100


def first_keys(location: str) -> tuple[list[str], int]:
    """Keys that the first 100 records have, in order of appearance, and how many records there were to look at."""
    keys: dict[str, None] = {}
    lines = 0
    with open_binary(location) as file:
        run = next(read_runs(read_blocks(file), lambda position: 0), None)
    for line in run.data.split(b"\n", RECORDS)[:RECORDS] if run is not None and not run.fault else ():
        lines += bool(line.strip())
        try:
            keys.update(dict.fromkeys(msgspec.json.decode(line, type=dict[str, msgspec.Raw])))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue
    return list(keys), lines
