"""What stands in a run folder and in the output folders, read without the code under test.

`done_records` are the JSON records of `done/`; `published` the bytes of an output; `strays` every file that nothing vouches
for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

#: Files of a run folder that are no unit's output.
_FIXED: Final = ("manifest.json", "plan.json", "lock")

Record = dict[str, Any]


def done_records(run: Path) -> dict[str, dict[int, Record]]:
    """phase → unit → its done record, merged or single."""
    found: dict[str, dict[int, Record]] = {}
    for phase in sorted((run / "done").iterdir()) if (run / "done").exists() else ():
        records = json.loads((phase / "all.json").read_text()) if (phase / "all.json").exists() else []
        records += [json.loads(path.read_text()) for path in phase.glob("[0-9]*.json")]
        found[phase.name] = {record["unit"]: record for record in records}
    return found


def attempts(run: Path) -> dict[tuple[str, int, str], str]:
    """(phase, unit, fingerprint) → the attempt whose outputs count."""
    return {
        (phase, unit, record["fingerprint"]): record["attempt"]
        for phase, records in done_records(run).items()
        for unit, record in records.items()
    }


def tasks(run: Path, phase: str) -> dict[int, int]:
    """task → rows that it worked on."""
    rows: dict[int, int] = {}
    for record in done_records(run)[phase].values():
        rows[record["task"]] = rows.get(record["task"], 0) + record["rows"]
    return rows


def published(output: Path) -> dict[str, str]:
    """Name below the output's folder → digest, of everything a user sees there."""
    return {
        path.relative_to(output).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(output.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(output).parts)
    }


def strays(run: Path, *outputs: Path) -> list[str]:
    """Files of a finished run that no record vouches for: debris of attempts, staging, temporary names."""
    return [
        str(path) for path in (*_run_strays(run), *(p for output in outputs for p in _output_strays(output)))
    ]


def _run_strays(run: Path) -> Iterator[Path]:
    vouched = {run / name for name in _FIXED}
    for phase, records in done_records(run).items():
        vouched |= {run / "done" / phase / name for name in ("all.json", "summary.json")}
        for record in records.values():
            vouched |= {run / output["path"] for output in record["outputs"].values()}
            vouched.add(run / "done" / phase / f"{record['unit']:06d}-{record['fingerprint'][:16]}.json")
    names = [output["name"] for output in json.loads((run / "plan.json").read_text())["outputs"]]
    for name in names:
        vouched.add(run / "published" / f"{name}.json")
        vouched |= set((run / "layout").glob(f"{name}-*.json"))
    for path in sorted(run.rglob("*")):
        below = path.relative_to(run).parts
        if path.is_file() and path not in vouched and below[0] not in ("logs", "cache"):
            yield path
    if (run / "exchange").exists():  # the records of jobs stay, for a run that takes in more files
        yield from (p for p in (run / "exchange").iterdir() if not vouched & set(p.iterdir()))
    layouts = list((run / "layout").glob("*.json"))
    if len(layouts) > len(names):
        yield from layouts


def _output_strays(output: Path) -> Iterator[Path]:
    marked = {output / name for name, _ in json.loads((output / ".curate.json").read_text())["files"]}
    for path in sorted(output.rglob("*")):
        if (path.is_file() and path not in marked and path.name not in ("README.md", ".curate.json")) or (
            path.is_dir() and not any(path.iterdir())
        ):
            yield path
