"""A run that was interrupted goes on with the snapshots of caches that it began with.

While it worked its units committed to the cache what they made. A new snapshot would have that, and so a unit that is done
after an interruption might find what it would have made without one. So a pass of which nothing has changed since the last
plan keeps its snapshot, as long as all of it is still there; a changed step, new files or `--force` look anew.
"""

from __future__ import annotations

from dataclasses import replace

from curate.core.layout import RunFolder
from curate.core.plan import Phase
from curate.planning.earlier import earlier_plan


def with_snapshots_of(phases: tuple[Phase, ...], folder: RunFolder) -> tuple[Phase, ...]:
    """The phases with the snapshots that the plan in the run folder has for them. The run's input must be the same."""
    before = earlier_plan(folder)
    if before is None:
        return phases
    known = {phase.fingerprint: phase for phase in before.passes}
    return tuple(
        _kept(phase, known[phase.fingerprint]) if phase.fingerprint in known else phase for phase in phases
    )


def _kept(phase: Phase, before: Phase) -> Phase:
    steps = zip(phase.steps, before.steps, strict=True)
    return replace(
        phase,
        steps=tuple(
            replace(new, snapshot=old.snapshot)
            if set(old.snapshot) <= set(new.snapshot) and old.options == new.options
            else new
            for new, old in steps
        ),
    )
