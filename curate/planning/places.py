"""Folders outside the run folder that phases make, such as an index, looked at before work starts.

What a phase makes never changes, so a run whose inputs or options changed would do all its work and then find the place
taken (R312). Here it stops before: if the records say that this run made what stands there, in an earlier state. What
another run put there, the step itself sees (`Job.artifacts`). A folder that an attempt made which was killed before its
record was written passes: the phase compares it with what it makes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from curate.core.commit import read_done, still_made
from curate.core.errors import CurateError, error
from curate.core.layout import RunFolder
from curate.core.manifest import Manifest
from curate.core.plan import Phase, Plan
from curate.planning.fingerprints import finished_units


def place_faults(plan: Plan, manifest: Manifest, folder: RunFolder) -> Iterator[tuple[str, CurateError]]:
    """Name of a step, and why it cannot make its folder: C202 if another step makes it, R312 if it is outdated."""
    makers: dict[str, str] = {}
    for phase in plan.phases:
        if phase.makes is None or phase.job is None:
            continue
        name, place = phase.job.name, Path(phase.makes)
        first = makers.setdefault(os.path.realpath(place), name)
        if first != name:
            yield (
                name,
                error("C202", f"the step '{first}' writes to {place} too", help="name a folder of its own"),
            )
        elif _outdated(plan, manifest, folder, phase, place):
            yield (
                name,
                error(
                    "R312",
                    f"{place} is what this run made before its inputs or options changed",
                    help=f"name a new folder, such as {place.name}-2, for which nothing else is done anew; or remove this "
                    "one, if no run is held against it",
                ),
            )


def _outdated(plan: Plan, manifest: Manifest, folder: RunFolder, phase: Phase, place: Path) -> bool:
    """Whether records that no longer count say that the phase made what stands there."""
    known = read_done(folder, phase.name)
    if not known or finished_units(plan, manifest, phase, folder):
        return False
    return any(still_made(folder, place, done) for records in known.values() for done in records)
