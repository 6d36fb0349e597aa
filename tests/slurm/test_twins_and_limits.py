"""What Slurm does seldom, without a cluster: twins that come too late, limits on submitted jobs, a Slurm that is not here.

The scheduler is a few shell scripts here, which know no more than a limit and what was submitted.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from curate.config.execution import Slurm
from curate.core.commit import read_done
from curate.core.errors import CurateError, error
from curate.core.layout import RunFolder
from curate.core.manifest import Manifest
from curate.core.plan import Plan
from curate.executors.slurm import advance, client, element, follow, lives, notice, state
from curate.executors.slurm.mounts import kind_of
from curate.executors.slurm.state import write_tasks
from curate.kernels import kernel_environment
from curate.running.run import close_phase
from curate.running.saved_run import load_run
from curate.running.task import Worker
from tests.corpus import rows, write_parquet
from tests.e2e.cli import Place

CONFIG = """
input: {path: in/*.parquet}
steps:
  - {select: n >= 1, as: young}
publish:
  - {name: all, path: out/all}
"""
#: Fake commands: sbatch takes arrays of at most 4 elements, or none at all.
COMMANDS = {
    "sbatch": """
script=$(cat)
case " $* " in *" --test-only "*) exit 0;; esac
last=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' <<<"$script")
if [ "${last:-0}" -ge 4 ]; then
    echo 'sbatch: error: QOSMaxSubmitJobPerUserLimit' >&2
    echo 'sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit)' >&2
    exit 1
fi
echo "${last:-job}" >>submitted
wc -l <submitted
""",
    "squeue": "exit 0",
    "scancel": 'echo "$@" >>cancelled',
    "scontrol": "echo 'MaxArraySize            = 3'",
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A run of nine shards beside a fake Slurm."""
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, text in COMMANDS.items():
        (commands / name).write_text(f"#!/bin/bash\n{text}\n")
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    place = Place(tmp_path / "work")
    place.config(CONFIG)
    for number in range(9):
        write_parquet(place / f"in/{number}.parquet", rows(f"s{number}", 3))
    return place


def test_where_few_jobs_may_be_submitted_tasks_have_more_units(place: Place) -> None:
    (place.root.parent / "bin/scontrol").write_text("#!/bin/bash\necho 'MaxArraySize = 1001'\n")
    submitted = place.curate("run", "job.yaml", "--on", "slurm")
    submitted.succeeded()
    assert "QOSMaxSubmitJobPerUserLimit" in submitted.err
    assert (place / "submitted").read_text() == "3\njob\n"  # 9 tasks, then 4
    settings = json.loads((place / "runs/job/slurm/submission.json").read_text())
    tasks = json.loads((place / f"runs/job/slurm/{settings['tasks']}").read_text())["tasks"]
    assert sorted(unit for task in tasks for unit in task) == list(range(9))
    assert len(tasks) == 4
    assert len(list((place / "runs/job/slurm").glob("*-*.json"))) == 1

    # the queue is empty: the next run takes what is pending; one that is to work here asks the queue as well
    (place.root.parent / "bin/squeue").unlink()
    (place.root.parent / "bin/sbatch").unlink()
    found = {"PATH": ":".join(p for p in os.environ["PATH"].split(":") if not (Path(p) / "squeue").exists())}
    refused = place.curate("run", "job.yaml", environment=found)
    refused.failed_with("R302", exit_code=1)
    assert "slurm/settings.json" in refused.err
    (place / "runs/job/slurm/settings.json").unlink()
    place.curate("run", "job.yaml", environment=found).succeeded()
    place.curate("run", "job.yaml", "--on", "slurm", environment=found).failed_with("E521", exit_code=2)


def test_what_a_late_twin_does_changes_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in kernel_environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(place.root)
    place.curate("run", "job.yaml", "--on", "slurm", "--tasks", "1").succeeded()
    folder = RunFolder(place / "runs/job")
    plan = Plan.from_json(folder.plan.read_text())
    manifest = Manifest.from_json(folder.manifest.read_text())
    twin, first = Worker(folder.root), Worker(folder.root)
    try:
        twin.run("pass1", [], 0, lambda *_: None)  # it has begun, and its node is given up
        assert len(first.run("pass1", range(9), 0, lambda *_: None)) == 9
        close_phase(plan, manifest, folder, plan.phase("pass1"), worked=True)
        before = {path: path.stat().st_mtime_ns for path in folder.root.rglob("*") if path.is_file()}
        counts = read_done(folder, "pass1")
        assert twin.run("pass1", [4], 0, lambda *_: None) == []
    finally:
        twin.close()
        first.close()
    assert read_done(folder, "pass1") == counts
    assert before == {path: path.stat().st_mtime_ns for path in folder.root.rglob("*") if path.is_file()}

    (folder.root / "slurm/failed").mkdir(exist_ok=True)
    tasks = write_tasks(folder, "pass1", [[4]])
    lost = error("R303", "FileNotFoundError: what it was writing was swept away")
    write_back = element._fail(folder, tasks, "pass1", 0, lost)
    assert (write_back, list((folder.root / "slurm/failed").iterdir())) == (0, [])
    assert element._fail(folder, "pass1-gone.json", "pass1", 0, lost) == 1
    assert not (place / "cancelled").exists()
    assert element.ended(folder.root, tasks, 0, 137, False) == 0  # nothing of it is left to do
    assert element.ended(folder.root, "pass1-gone.json", 0, 137, False) == 1


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[RunFolder, str]:
    """A task of a unit that is pending, in a run folder that has no more than that, and its element."""
    folder = RunFolder(tmp_path)
    state.write_settings(folder, state.Settings(Slurm(), 3, None))
    name = write_tasks(folder, "pass1", [[0]])
    for variable, value in {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "0"}.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr(element, "_PAUSE", 0.0)
    monkeypatch.setattr(element, "_REQUEUED", 0.0)
    monkeypatch.setattr(lives, "units_left", lambda *given: 1)
    monkeypatch.setattr(client, "cancel_waiting", lambda name: None)
    monkeypatch.setattr(client, "restarts", lambda element: 0)
    return folder, name


def test_a_task_waits_for_a_controller_to_go_back_to_the_queue(
    task: tuple[RunFolder, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, name = task
    silent, asked = error("E522", "the scheduler does not answer: connect failure", help="x"), []

    def requeue(element: str) -> None:
        asked.append(element)
        if len(asked) < 3:
            raise silent

    monkeypatch.setattr(client, "requeue", requeue)
    assert element.ended(folder.root, name, 0, 137, False) == 1
    assert (asked, state.read_failures(folder)) == (["7_0"] * 3, [])
    monkeypatch.setattr(element, "_RESTART", 0.0)
    asked.clear()
    assert element.ended(folder.root, name, 0, 137, False) == 1
    assert [p["code"] for p in state.read_failures(folder)] == ["E522"]


def test_a_failure_is_noted_where_its_task_cannot_be_looked_at(
    task: tuple[RunFolder, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(*given: object) -> int:
        raise OSError(5, "Input/output error")

    folder, name = task
    monkeypatch.setattr(lives, "units_left", unreadable)
    assert element._fail(folder, name, "pass1", 0, error("R303", "Fault: of a step")) == 1
    assert [p["message"] for p in state.read_failures(folder)] == ["Fault: of a step"]


def test_whatever_stops_the_job_between_phases_is_noted(
    task: tuple[RunFolder, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def faulty(*given: object) -> str:
        raise ZeroDivisionError("a fault of ours")

    monkeypatch.setattr(element, "_go_on", faulty)
    assert element._advance(task[0].root, "pass1", False) == 1
    with pytest.raises(CurateError, match="ZeroDivisionError: a fault of ours"):
        raise follow.why_ended(task[0])


@pytest.mark.parametrize("again", [False, True])
def test_what_nodes_wrote_last_is_waited_for(
    place: Place, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    place.curate("run", "job.yaml", "--on", "slurm").succeeded()
    monkeypatch.chdir(place.root)
    folder = RunFolder(place / "runs/job")
    plan, manifest = load_run(folder.root)
    unseen = [4, 4]

    def missing(*given: object) -> int | None:
        return unseen.pop() if unseen else None

    monkeypatch.setattr(advance, "_PAUSE", 0.0)
    monkeypatch.setattr(advance, "_missing", missing)
    advance.await_phases(plan, manifest, folder, "pass1", all_done=not again)
    assert unseen == []
    monkeypatch.setattr(advance, "ATTRIBUTES", 0.0)
    monkeypatch.setattr(advance, "_missing", lambda *given: 4)
    monkeypatch.setenv("SLURM_JOB_ID", state.read_submission(folder).advance)
    if again:
        assert element._go_on(folder, "pass1", True) == "next: pass1"
        return
    with pytest.raises(CurateError, match="pass1 ended without unit 4"):
        element._go_on(folder, "pass1", False)


def test_who_joins_may_change_what_later_jobs_ask_for(place: Place) -> None:
    place.curate("run", "job.yaml", "--on", "slurm", "--tasks", "4").succeeded()
    folder = RunFolder(place / "runs/job")
    arrays = [array.job for array in state.read_submission(folder).arrays]
    shown = "".join(f"echo '{job}|0|RUNNING|None|n1'\n" for job in arrays)
    shown += f"echo '{state.read_submission(folder).advance}|N/A|PENDING|Dependency|'\n"
    (place.root.parent / "bin/squeue").write_text(f"#!/bin/bash\n{shown}")
    name, before = notice.job_name(folder), state.read_submission(folder)
    place.config(CONFIG + "execution: {retries: 7, slurm: {cpu: {time: 9:00:00}}}\n")
    place.curate("run", "job.yaml", "--on", "slurm").succeeded()
    settings = state.read_settings(folder)
    assert (settings.retries, settings.tasks, settings.slurm.section("cpu").time) == (7, 4, "9:00:00")
    assert (notice.job_name(folder), state.read_submission(folder)) == (name, before)


def test_chunks_that_were_taken_are_given_back_where_one_is_refused(place: Place) -> None:
    """MaxArraySize is 3, and the second chunk of 9 tasks is one too many for a QOS."""
    (place.root.parent / "bin/sbatch").write_text(
        "#!/bin/bash\n"
        + COMMANDS["sbatch"]
        .replace('"${last:-0}" -ge 4', "-e submitted -a ! -e struck")
        .replace("echo 's", "touch struck; echo 's")
    )
    place.curate("run", "job.yaml", "--on", "slurm").succeeded()
    assert (place / "submitted").read_text().split() == [
        "2",
        "2",
        "0",
        "job",
    ]  # of 9 tasks one chunk, of 4 two
    assert (place / "cancelled").read_text() == "--quiet 1\n"
    arrays = state.read_submission(RunFolder(place / "runs/job")).arrays
    assert [(a.job, a.first, a.count) for a in arrays] == [("2", 0, 3), ("3", 3, 1)]


def test_a_job_between_phases_goes_on_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a second life after its node was lost: what the first one submitted and did not note is taken out of the queue."""
    place.curate("run", "job.yaml", "--on", "slurm").succeeded()
    folder = RunFolder(place / "runs/job")
    own = state.read_submission(folder).advance
    monkeypatch.chdir(place.root)
    queued, told = [f"{own}|N/A|RUNNING|None|n1", "91|0|PENDING|Priority|", "92|N/A|PENDING|Dependency|"], []

    def called(command: list[str], **given: object) -> str:
        told.append(command[0])
        if command[0] == "scancel":
            assert sorted(command[2:]) == ["91", "92"]
            del queued[1:]
        return "\n".join(queued)

    monkeypatch.setattr(client, "_call", called)
    monkeypatch.setattr(follow.time, "sleep", lambda seconds: None)
    monkeypatch.setenv("SLURM_JOB_ID", own)
    assert not element._went_on(folder, "pass1")
    assert told == ["squeue", "scancel", "squeue"]
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    assert element._went_on(folder, "pass1")
    assert element._go_on(folder, "pass1", False) == "the run went on without this job"
    queued.append("93|0|RUNNING|None|n1")
    monkeypatch.setattr(follow, "_CLEARING", -1.0)
    with pytest.raises(CurateError, match="jobs 93 were cancelled and do not end"):
        follow.clear_queue(folder, but=own)


@pytest.mark.parametrize("late", [False, True])
def test_who_submits_anew_waits_for_what_tasks_wrote_last(
    place: Place, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    """Of a task that failed only where files are seen late, and only for a minute after its end."""
    place.curate("run", "job.yaml", "--on", "slurm", "--tasks", "3").succeeded()
    folder = RunFolder(place / "runs/job")
    submission = state.read_submission(folder)
    well, failed, cancelled = state.read_tasks(folder, submission.tasks)[1]
    ends = [("COMPLETED", 900.0), ("FAILED", 990.0), ("CANCELLED", 930.0)]
    known = [
        client.Element(submission.arrays[0].job, index, name, "None", "n1", end)
        for index, (name, end) in enumerate(ends)
    ]
    clock = SimpleNamespace(now=1000.0)
    looks: list[set[int]] = [{*well}, {*well, *failed}]

    def seen(*given: object) -> dict[int, None]:
        return dict.fromkeys(looks.pop(0) if looks else ())

    def sleep(seconds: float) -> None:
        clock.now += seconds

    monkeypatch.setattr(client, "queue", lambda name, ended: known)
    monkeypatch.setattr(advance, "shows_late", lambda path: late)
    monkeypatch.setattr(advance, "finished_units", seen)
    timer = SimpleNamespace(time=lambda: clock.now, monotonic=lambda: clock.now, sleep=sleep)
    monkeypatch.setattr(advance, "time", timer)
    advance.await_ended(folder)
    assert len(looks) == (0 if late else 1)  # those of the third task need not be waited for any more
    assert clock.now == (1003.0 if late else 1000.0)
    looks[:] = [{*well, *cancelled}] * 99
    clock.now = 1000.0
    advance.await_ended(folder)
    assert clock.now == (990.0 + advance.ATTRIBUTES if late else 1000.0)
    looks.clear()
    clock.now = 1000.0
    advance.await_ended(folder)
    assert clock.now == 1000.0 + advance.ATTRIBUTES  # what ended well must come
    clock.now = 1000.0
    plan, manifest = load_run(folder.root)
    others = replace(plan, phases=tuple(p for p in plan.phases if p.name != "pass1"))
    monkeypatch.setattr(advance, "load_run", lambda root: (others, manifest))
    advance.await_ended(folder)
    known.clear()
    advance.await_ended(folder)
    assert clock.now == 1000.0


def test_where_files_may_be_seen_late() -> None:
    mounts = (
        "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
        "30 22 0:40 / /data rw shared:7 - nfs4 server:/data rw,vers=4.2\n"
        "31 22 0:41 / /data/two\\040words rw - lustre a@tcp:/b rw\n"
        "32 22 0:42 / /over rw - nfs a:/b rw\n33 22 0:43 / /over rw - tmpfs none rw\n"
    )
    cases = {
        "/data": "nfs4",
        "/data/x": "nfs4",
        "/database": "ext4",
        "/data/two words/x": "lustre",
        "/over/x": "tmpfs",
    }
    assert {path: kind_of(path, mounts) for path in cases} == cases
    assert kind_of("/x", "") is None


def test_the_end_of_a_task_is_read_from_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "7|0|FAILED|NonZeroExitCode|n1|2026-11-22T02:03:04\n7|1|CANCELLED|None||N/A\n"
    monkeypatch.setattr(client, "_call", lambda command: lines)
    first, second = client.queue("job", ended=True)
    assert first.end == datetime(2026, 11, 22, 2, 3, 4).timestamp()
    assert second.end is None


def test_what_takes_milliseconds_needs_no_folder_of_the_nodes(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.config(CONFIG + "execution: {local_tmp: /not/on/this/machine}\n")
    place.curate("run", "job.yaml", "--on", "slurm").succeeded()
    for name, value in kernel_environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(place.root)
    folder = RunFolder(place / "runs/job")
    worker = Worker(folder.root, scratch=place.root)
    try:
        worker.run("pass1", range(9), 0, lambda *_: None)
    finally:
        worker.close()
    again = place.curate("run", "job.yaml", "--on", "slurm")
    again.succeeded()  # counting is done here, and what follows is submitted
    assert "phase all.exchange" in again.err or "phase all.write" in again.err


def test_a_run_may_end_between_two_looks_at_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder(tmp_path)
    state.write_submission(folder, state.Submission("pass1", "pass1-0.json", (), "7"))
    path = tmp_path / "slurm/submission.json"
    read = Path.read_text

    def ended_before(read_now: Path, encoding: str) -> str:
        read_now.unlink()
        return read(read_now, encoding)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_text", ended_before)
        assert state.read_submission(folder) is None
    path.write_text("{")
    with pytest.raises(CurateError) as caught:
        state.read_submission(folder)
    assert caught.value.problems[0].code == "R306"


def test_lives_that_ended_unheard_are_counted(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.curate("run", "job.yaml", "--on", "slurm", "--tasks", "1").succeeded()
    folder = RunFolder(place / "runs/job")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "9")
    lives.count_lost_lives(folder, "pass1-0.json", "pass1", 0, [0, 1])
    assert lives.idle_ends(folder, "pass1-0.json", 0, 2, 2) == 1  # and goes back itself: life 10
    monkeypatch.setenv("SLURM_RESTART_COUNT", "10")
    lives.count_lost_lives(folder, "pass1-0.json", "pass1", 0, [0, 1])
    monkeypatch.setenv("SLURM_RESTART_COUNT", "12")
    with pytest.raises(Exception, match=re.escape("pre-empted, 11 times on the same unit")):
        lives.count_lost_lives(folder, "pass1-0.json", "pass1", 0, [0, 1])
