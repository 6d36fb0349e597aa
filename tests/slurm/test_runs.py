"""A run on a real Slurm gives the bytes of a run on one machine, whatever happens to its jobs on the way.

Faults happen inside the jobs, at exact moments (`tests/e2e/injected`): the environment of the submission goes with them.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.corpus import rows, write_parquet
from tests.e2e.cli import Fault, Place, Result
from tests.e2e.run_folder import attempts, done_records, published, strays, tasks
from tests.slurm.cluster import MAX_ARRAY, Cluster

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

CONFIG = """
input: {path: in/*.parquet}
language: kind
steps:
  - {select: n >= 2, as: young}
  - {use: filters.gopher_quality, as: gopher, min_stop_words: null}
publish:
  - {name: all, path: out/all, shard: 100KB}
execution: {retries: 2, slurm: {common: {memory: 600MB, args: [--nice=0]}, cpu: {partition: cpu, time: "10"}}}
"""
SHUFFLED = CONFIG.replace("shard: 100KB", "shard: 100KB, partition_by: language, shuffle: 3")
UNIT = "curate.running.task:Worker._unit"
#: The element that is at work, as Slurm calls it.
SELF = "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"


def place_with(root: Path, config: str, shards: int) -> Place:
    place = Place(root)
    place.config(config)
    for number in range(shards):
        write_parquet(place / f"in/{number:03d}.parquet", rows(f"s{number}", 20 + 9 * number))
    return place


def reference(root: Path, config: str, shards: int) -> dict[str, str]:
    """What the local run publishes."""
    place = place_with(root, config, shards)
    place.run().succeeded()
    return published(place / "out/all")


def on_slurm(place: Place, *arguments: str, faults: tuple[Fault, ...] = ()) -> Result:
    return place.curate("run", "job.yaml", "--on", "slurm", *arguments, faults=faults)


def submission(place: Place) -> Any:
    return json.loads((place / "runs/job/slurm/submission.json").read_text())


def jobs_on(cluster: Cluster, place: Place) -> set[str]:
    name = re.search(r"--job-name=(\S+)", next((place / "runs/job/slurm").glob("*.sh")).read_text())
    assert name is not None
    return set(cluster.ask("squeue", "-h", f"--name={name[1]}", "-o", "%F").split())


@pytest.mark.timeout(300)
def test_the_bytes_of_a_local_run_and_nothing_twice(cluster: Cluster, tmp_path: Path) -> None:
    expected = reference(tmp_path / "local", SHUFFLED, 7)
    place = place_with(tmp_path / "work", SHUFFLED, 7)
    units = tmp_path / "units.txt"
    gate = tmp_path / "gate"
    slow = Fault(UNIT, f"until [ -e {gate} ]; do sleep 0.1; done", matching="pass1", call=0, by="worker")
    log = Fault(UNIT, f"log {units}", call=0, by="worker")
    on_slurm(place, "--tasks", str(MAX_ARRAY + 1), faults=(slow, log)).succeeded()
    queued = jobs_on(cluster, place)
    arrays = [array["job"] for array in submission(place)["arrays"]]
    assert queued == {*arrays, submission(place)["advance"]}
    assert len(arrays) == 2  # MaxArraySize limits the index: one more task than that, one more array
    waits_for = cluster.ask("squeue", "-h", "-o", "%E", "-j", submission(place)["advance"])
    assert all(f"afterok:{job}" in waits_for for job in arrays)

    status = place.curate("status", "job", "--json")
    assert (status.code, status.json["state"], status.json["queue"]["phase"]) == (3, "running", "pass1")
    assert status.json["queue"]["jobs"] == sorted(queued, key=int)
    place.run().failed_with("R302", exit_code=1)
    on_slurm(place, "--set", "steps.young.select=n > 2").failed_with("R302", exit_code=1)

    elsewhere = place.curate("status", "../work/runs/job", "--json")  # by whatever name the folder is called
    assert elsewhere.json["queue"]["jobs"] == sorted(queued, key=int)

    lost = submission(place)["advance"]
    cluster.ask("scancel", lost)  # the job that would go on: another takes its place
    on_slurm(
        place, faults=(log,)
    ).succeeded()  # joins: what is queued goes on, nothing is submitted beside it
    assert jobs_on(cluster, place) == {*arrays, submission(place)["advance"]}
    assert submission(place)["advance"] != lost
    gate.touch()
    joined = on_slurm(place, "--wait")
    joined.succeeded()
    assert "the books balance" in joined.out
    assert published(place / "out/all") == expected
    assert strays_of(place) == []
    assert set(tasks(place / "runs/job", "pass1")) == {0, 1, 2, 3}
    done_once = sorted(units.read_text().split("\n"))
    assert (
        len(done_once) == len(set(done_once)) == 1 + len(attempts(place / "runs/job")) + 7
    )  # exchange records are gone

    on_slurm(place, "--wait").succeeded()
    assert len(units.read_text().split("\n")) == len(done_once)  # nothing is pending, nothing was submitted


def strays_of(place: Place) -> list[str]:
    return [path for path in strays(place / "runs/job", place / "out/all") if "/slurm/" not in path]


@pytest.mark.timeout(300)
def test_killed_warned_and_a_lost_node_end_in_the_same_bytes(cluster: Cluster, tmp_path: Path) -> None:
    expected = reference(tmp_path / "local", CONFIG, 6)
    place = place_with(tmp_path / "work", CONFIG, 6)
    # the node goes: its daemon, then what watches over the element, the element's shell and the element
    parent = "$(ps -o ppid= -p {})".format
    lost = f"S=$PPID; B={parent('$S')}; W={parent('$B')}; D=$(cat {cluster.root}/run/slurmd-$SLURMD_NODENAME.pid)"
    faults = (
        Fault(UNIT, "kill SIGKILL SELF", matching=r"^pass1 0 ", by="worker"),
        Fault(UNIT, f"scancel --batch --signal=USR1 {SELF}; sleep 1", matching=r"^pass1 1 ", by="worker"),
        Fault(UNIT, f"{lost}; kill -KILL $D $W $B $S", matching=r"^pass1 2 ", by="worker"),
    )
    try:
        result = on_slurm(place, "--tasks", "3", "--wait", faults=faults)
    finally:
        cluster.script("up")
    result.succeeded()
    assert published(place / "out/all") == expected
    assert strays_of(place) == []
    logs = {path.name: path.read_text() for path in (place / "runs/job/logs/slurm").glob("pass1.*")}
    killed, warned = (
        next(t for t in logs.values() if words in t) for words in ("killed by SIGKILL", "near: the unit")
    )
    assert killed.count("pass1, task 0 of 3") == 2  # both lives of the element stand in one log
    assert "units go back to the queue" in killed
    assert re.search(r"the time limit was near: \d units? go back", warned)


@pytest.mark.timeout(300)
def test_a_cancelled_task_and_a_failing_one_cost_one_more_run(cluster: Cluster, tmp_path: Path) -> None:
    expected = reference(tmp_path / "local", CONFIG, 3)
    place = place_with(tmp_path / "work", CONFIG, 3)
    cancelled = Fault(UNIT, f"scancel {SELF}; sleep 60", matching=r"^pass1 2 ", by="worker")
    ended = on_slurm(place, "--wait", faults=(cancelled,))
    ended.failed_with("R321", exit_code=3)
    assert "1 task is not done (1 cancelled)" in ended.err
    assert list(done_records(place / "runs/job")) == ["pass1"]  # the next phase did not begin
    logs = place.curate("logs", "job", "--failed")
    assert [line[:28] for line in logs.out.splitlines() if line.startswith("==")] == [
        "== pass1, task 0 (units 2), "
    ]
    assert "CANCELLED" in logs.out
    before = attempts(place / "runs/job")

    failing = Fault(UNIT, "exit 7", matching=r"^pass1 2 ", by="worker")
    failed = on_slurm(place, "--wait", faults=(failing,))
    failed.failed_with("R303", exit_code=1)
    assert "returned non-zero exit status 7" in failed.err
    assert submission(place)["arrays"][0]["count"] == 1  # exactly the unit that was missing
    status = place.curate("status", "job")
    assert status.code == 1
    assert "R303: CalledProcessError" in status.out
    assert "exit status 7" in place.curate("logs", "job", "--failed").out

    on_slurm(place, "--wait").succeeded()
    assert published(place / "out/all") == expected
    assert before.items() <= attempts(place / "runs/job").items()
