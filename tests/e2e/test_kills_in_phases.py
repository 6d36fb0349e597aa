"""SIGKILL in every kind of phase, at the moments that matter: while a unit is worked on, after its outputs are written,
between writing and committing, and right after the commit. Then the run is started again and must end as if nothing had
happened: the same bytes, no finished unit done again, no debris.

A worker that is killed is replaced by the run itself. When the parent or the whole group is killed the user starts the run
again.
"""

from __future__ import annotations

import pytest

from tests.e2e.cli import Fault
from tests.e2e.killing import KILL_GROUP, KILL_PARENT, KILL_SELF, Job

COMMIT = "curate.core.commit:write_done"
PHASES = ("ingest", "pass1", "all.count", "all.write", "some.exchange", "some.write")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_kills_leave_no_trace(job: Job) -> None:
    """One run that is killed three times in each of its phases, and goes on each time."""
    allowed: dict[str, int] = {}
    for phase in PHASES:
        named = rf"^{phase} "  # of write_done(folder, phase, done)
        done_file = rf"done/{phase}/\d"  # of os.link(temporary, final)
        counters = rf"counters/{phase}/"  # the last output that describe(folder, path) is asked about
        before = job.in_flight
        job.killed(
            Fault(COMMIT, KILL_SELF, named, call=1),
            Fault(COMMIT, KILL_SELF, named, call=3),
            Fault(COMMIT, KILL_PARENT, named, call=2, when="after"),
        )
        job.killed(Fault("os:link", KILL_GROUP, done_file, call=2))
        job.killed(
            Fault("os:link", KILL_SELF, done_file, call=1, when="after"),
            Fault("curate.core.commit:describe", KILL_PARENT, counters, call=2, when="after", by="worker"),
        )
        allowed[phase] = job.in_flight - before
    job.finished()
    again = job.done_again()
    assert all(count <= allowed.get(phase, 0) for phase, count in again.items()), (again, allowed)


@pytest.mark.slow
def test_one_run_survives_a_killed_worker_in_every_phase(job: Job) -> None:
    """No second `curate run`: the parent replaces each worker."""
    early = [
        Fault("curate.running.task:Worker._work", KILL_SELF, rf"^{phase} 1 ", call=1) for phase in PHASES
    ]
    late = [Fault(COMMIT, KILL_SELF, rf"^{phase} ", call=2, when="after") for phase in PHASES]
    job.finished(*early, *late)


@pytest.mark.parametrize("phase", ["pass1", "some.write"])
def test_a_unit_that_always_kills_its_worker_ends_the_run(job: Job, phase: str) -> None:
    result = job.run(Fault("curate.running.task:Worker._work", KILL_SELF, rf"^{phase} 2 ", call=0), workers=1)
    result.failed_with("R304", exit_code=1)
    assert "SIGKILL, 3 times on the same unit" in result.err
    assert f"phase {phase}" in result.err
    assert "unit 2" in result.err
    if phase == "pass1":
        assert "file p/2.parquet" in result.err
    status = job.place.curate("status", "job", "--json")
    assert (status.code, status.json["state"]) == (1, "failed")
    job.in_flight += 2
    job.finished(workers=1)
