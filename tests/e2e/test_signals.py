"""Ctrl-C and SIGTERM: the run says how to continue, ends with status 3, leaves no process behind, and goes on when it is
started again. What was finished stays finished.
"""

from __future__ import annotations

import pytest

from tests.e2e.cli import Fault
from tests.e2e.killing import Job

IN_A_PASS = ("curate.running.task:Worker._work", r"^pass1 [0-9]+ ", 3)
IN_A_WRITE = ("curate.core.commit:write_done", "^some.write ", 2)
STAGED = r"/\.some\.[^/]*staging/"


@pytest.mark.slow
@pytest.mark.parametrize(("signal", "moment"), [("SIGINT", IN_A_PASS), ("SIGTERM", IN_A_WRITE)])
def test_a_signal_to_the_parent_while_workers_work(
    job: Job, signal: str, moment: tuple[str, str, int]
) -> None:
    at, matching, call = moment
    _interrupted(job, Fault(at, f"kill {signal} PARENT", matching, call))
    job.finished()


@pytest.mark.slow
def test_signals_to_the_whole_group_one_after_the_other(job: Job) -> None:
    """As a terminal sends Ctrl-C, and a batch system SIGTERM."""
    at, matching, call = IN_A_PASS
    _interrupted(job, Fault(at, "kill SIGINT GROUP", matching, call))
    _interrupted(job, Fault(at, "kill SIGTERM GROUP", matching, call))
    job.finished()


@pytest.mark.slow
def test_a_signal_while_files_are_moved_into_place(job: Job) -> None:
    _interrupted(job, Fault("pathlib:Path.replace", "kill SIGINT SELF", STAGED, 3, by="parent"))
    _interrupted(
        job, Fault("pathlib:Path.replace", "kill SIGTERM SELF", "out/some/README.md", 1, by="parent")
    )
    job.finished()


def test_a_signal_before_the_work_starts(job: Job) -> None:
    _interrupted(
        job, Fault("curate.planning.session:compile_run", "kill SIGINT SELF", by="parent"), told=False
    )
    job.finished()


def _interrupted(job: Job, fault: Fault, *, told: bool = True) -> None:
    """told: whether the run folder knows of it."""
    result = job.run(fault)
    result.failed_with("R310", exit_code=3)
    assert "curate run job.yaml" in result.err
    if told:
        status = job.place.curate("status", "job", "--json")
        assert (status.code, status.json["state"]) == (3, "pending")
