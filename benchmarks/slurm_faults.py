"""A real Slurm of four nodes and runs of hundreds of tasks, with one fault each: are the bytes those of a local run?

    scripts/slurm_cluster.sh up
    SLURM_CONF=/var/lib/curate-slurm/slurm.conf python benchmarks/slurm_faults.py [--tasks 306] [--only killed-node …]

Every case starts from nothing: tiny shards, one unit a task, `curate run --on slurm --wait`, the fault while tasks are at
work, and `curate run` again until it ends well. A line of the table is printed as each case ends:

    tasks   of the phase with the fault      runs    how often `curate run` was typed, 1 being the best
    nodes   share of the tasks on each CPU node (of the faultless case)      same    published bytes = those of the local run

Case `stores` has inputs, run folder and outputs in a store (moto's server on loopback), and an element cancelled.

Case `chunks` has 1,500 tasks, more than MaxArraySize (1,001), and compares when jobs began and ended by Slurm's clock: the
job between the phases must not begin before every task of both arrays has ended. Faults inside a task happen by
tests/e2e/injected, at one call of the function that does a unit; memory and time limits are Slurm's own. Exit 1 unless every
case ends in the bytes of the local run after at most two runs.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import logging
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

ROOT: Final = Path(__file__).resolve().parent.parent
CLUSTER: Final = Path(os.environ.get("SLURM_CONF", "/var/lib/curate-slurm/slurm.conf")).parent
CURATE: Final = str(Path(sys.executable).with_name("curate"))
CONFIG: Final = """
input: {path: in/*.parquet}
steps:
  - {select: n >= 2, as: young}
  - {select: kind != 'c', as: kinds}
publish:
  - {name: all, path: out, shard: 1MB}
execution: {retries: 2, slurm: {common: {memory: 400MB}, cpu: {partition: cpu, time: "10", warning: 30}}}
"""
UNIT: Final = "curate.running.task:Worker._unit"
CPU_NODES: Final = ("cpu1", "cpu2", "cpu3")


@dataclass(frozen=True)
class Case:
    """What goes wrong. inside: unit → a shell command in its task, once; outside: called once tasks are at work."""

    name: str
    inside: Mapping[int, str] = field(default_factory=dict)
    outside: Callable[[], None] | None = None
    config: str = CONFIG
    store: bool = False


def kill_daemon() -> None:
    """Slurm's daemon of a node dies; the tasks there live on."""
    os.kill(int((CLUSTER / "run/slurmd-cpu2.pid").read_text()), signal.SIGKILL)


def kill_node() -> None:
    """A node is gone at once: its slurmd, then its tasks and what watches over them; Slurm starts twins elsewhere."""
    kill_daemon()
    own = {b"SLURMD_NODENAME=cpu2", f"SLURM_CONF={CLUSTER}/slurm.conf".encode()}
    tasks = [
        int(p.parent.name) for p in Path("/proc").glob("[0-9]*/environ") if own <= {*_bytes(p).split(b"\0")}
    ]
    stats = [_bytes(Path(f"/proc/{pid}/stat")).rpartition(b")")[2].split() for pid in tasks]
    parents = {int(stat[1]) for stat in stats if stat}
    watching = [pid for pid in parents if _bytes(Path(f"/proc/{pid}/comm")).startswith(b"slurmstepd")]
    for pid in (*watching, *tasks):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (OSError, ProcessLookupError):
        return b""


def cancel_one() -> None:
    """Somebody cancels one element that is at work."""
    for line in ask("squeue", "-h", "-r", "-t", "RUNNING", "-o", "%F_%K %j").splitlines():
        element, name = line.split()
        if name.startswith("job.") and not element.endswith("N/A"):
            ask("scancel", element)
            return


EAT: Final = f"{sys.executable} -c 'import time; x = bytearray(b\"x\") * 900_000_000; time.sleep(30)'"  # more than --mem
SHORT: Final = CONFIG.replace('time: "10"', 'time: "2"')
CASES: Final = (
    Case("none"),
    Case("killed-node", outside=kill_node),
    Case("killed-slurmd", outside=kill_daemon),
    Case("cancelled-element", outside=cancel_one),
    Case("time-limit", {7: "sleep 900"}, config=SHORT),
    Case("out-of-memory", {9: EAT}),
    Case("failing-task", {11: "exit 7"}),
    Case("three-at-once", {7: "sleep 900", 9: EAT}, cancel_one, SHORT),  # for those in a hurry
    Case(
        "stores",
        outside=cancel_one,
        config=CONFIG.replace(": in/", ": s3://faults/in/").replace(": out", ": s3://faults/out")
        + "run_dir: s3://faults/runs/job\n",
        store=True,
    ),
)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--tasks", type=int, default=306)
    arguments.add_argument("--many", type=int, default=1500)
    arguments.add_argument("--only", nargs="*", choices=[*(case.name for case in CASES), "chunks"])
    given = arguments.parse_args()
    print(
        f"{'case':20}{'tasks':>6}{'runs':>5}{'wall s':>8}{'CPU s/task':>11}  same  nodes, exit codes and errors"
    )
    ok = True
    cases = {case.name: case for case in (*CASES, Case("chunks"))}
    for name in given.only or [name for name in cases if name != "three-at-once"]:
        ok &= run_case(cases[name], given.many if name == "chunks" else given.tasks)
    sys.exit(not ok)


def run_case(case: Case, tasks: int) -> bool:
    """Run a case to its end and print its line; whether it kept what is promised."""
    with tempfile.TemporaryDirectory(
        prefix="slurm-faults-", dir=os.environ.get("SHARED", "/var/tmp")
    ) as scratch:
        place = Path(scratch)
        expected = local_bytes(tasks)
        work = place / "work"
        make(work, tasks, case.config)
        bucket = Bucket(work) if case.store else None
        began = time.monotonic()
        codes: list[int] = []
        said: list[str] = []
        try:
            while not codes or (codes[-1] != 0 and len(codes) < 4):
                code, errors = follow(case, work, bucket, first=not codes)
                codes.append(code)
                said += errors
        finally:
            ask(str(ROOT / "scripts/slurm_cluster.sh"), "up")
        wall = time.monotonic() - began
        same = (published(work / "out") if bucket is None else bucket.published()) == expected
        if bucket is not None:
            bucket.server.stop()
        shares = nodes(work)
        notes = [f"{node} {shares[node] / max(1, sum(shares.values())):.0%}" for node in CPU_NODES]
        fine = same and len(codes) <= 2 and sum(shares.values()) >= tasks
        if case.name == "none":
            fine &= len(codes) == 1 and all(shares[n] >= 0.2 * tasks for n in CPU_NODES)
        if case.name == "chunks":
            early, arrays = order(work)
            fine &= early and arrays == 2
            notes.append(f"{arrays} arrays, dependent {'after all' if early else 'TOO EARLY'}")
        print(
            f"{case.name:20}{tasks:6}{len(codes):5}{wall:8.0f}{cpu_seconds(work):11.2f}  {'yes' if same else 'NO':4}  "
            f"{', '.join(notes)}; exit {codes}{''.join(f'; {line}' for line in said)}",
            flush=True,
        )
        return fine


def cpu_seconds(work: Path) -> float:
    """Median CPU seconds of a task, which its log tells at the end."""
    logs = logs_of(work).glob("pass1.*.log")
    told = [
        float(t) for p in logs for t in re.findall(r"^done, ([0-9.]+) s of CPU", p.read_text(), re.MULTILINE)
    ]
    return sorted(told)[len(told) // 2] if told else 0.0


def logs_of(work: Path) -> Path:
    """Logs of tasks; of a run folder in a store they stand beside it, in a folder with a longer name."""
    return next((work / "runs").glob("job*")) / "logs/slurm"


class Bucket:
    """An S3 server on loopback and a bucket with the inputs; in the environment of what is started from now on."""

    def __init__(self, work: Path) -> None:
        import boto3
        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self.server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self.server.start()
        host, port = self.server.get_host_and_port()
        os.environ |= {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_DEFAULT_REGION": "us-east-1"}
        os.environ |= {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none"}
        self._client = boto3.client("s3")
        self._client.create_bucket(Bucket="faults")
        for path in (work / "in").iterdir():
            self._client.upload_file(str(path), "faults", f"in/{path.name}")

    def keys(self, prefix: str) -> list[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket="faults", Prefix=prefix)
        return [found["Key"] for page in pages for found in page.get("Contents", ())]

    def published(self) -> dict[str, str]:
        """As of a folder."""
        objects = {key: self._client.get_object(Bucket="faults", Key=key) for key in self.keys("out/")}
        return {
            key.removeprefix("out/"): hashlib.sha256(found["Body"].read()).hexdigest()
            for key, found in objects.items()
        }


def follow(case: Case, work: Path, bucket: Bucket | None, *, first: bool) -> tuple[int, list[str]]:
    """`curate run --on slurm --wait`, with the fault in the first run; its exit status and the codes of its errors."""
    variables = dict(os.environ)
    if first and case.inside:
        faults = [
            {
                "at": UNIT,
                "when": "before",
                "matching": rf"^pass1 {unit} ",
                "call": 1,
                "by": "worker",
                "do": command,
            }
            | {"count": str(work.parent / f"struck-{unit}")}
            for unit, command in case.inside.items()
        ]
        variables |= {
            "PYTHONPATH": str(ROOT / "tests/e2e/injected"),
            "CURATE_TEST_FAULTS": json.dumps(faults),
        }
    process = subprocess.Popen(
        [CURATE, "run", "job.yaml", "--on", "slurm", "--wait"],
        cwd=work,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    if first and case.outside is not None:
        while process.poll() is None and finished(work, bucket) < len(list((work / "in").iterdir())) // 10:
            time.sleep(0.5)
        case.outside()
    _out, err = process.communicate()
    return process.returncode, re.findall(r"^error\[\w+\].*", err, re.MULTILINE)


def finished(work: Path, bucket: Bucket | None) -> int:
    """Units of the first phase that are done."""
    if bucket is not None:
        return len(bucket.keys("runs/job/done/pass1/"))
    return len(list((work / "runs/job/done/pass1").glob("[0-9]*.json")))


def make(place: Path, tasks: int, config: str) -> None:
    """One tiny Parquet file a task."""
    (place / "in").mkdir(parents=True)
    (place / "job.yaml").write_text(config, encoding="utf-8")
    chance = random.Random(0)
    for number in range(tasks):
        kinds = [chance.choice("abc") for _ in range(4)]
        texts = [f"{chance.random()} words of document {row} in file {number}" for row in range(4)]
        table = pa.table(
            {"id": [f"{number}-{r}" for r in range(4)], "text": texts, "kind": kinds, "n": range(4)}
        )
        pq.write_table(table, place / f"in/{number:05d}.parquet")


@functools.cache
def local_bytes(tasks: int) -> dict[str, str]:
    """What the local run of the same shards publishes."""
    with tempfile.TemporaryDirectory(prefix="slurm-faults-", dir="/var/tmp") as scratch:
        place = Path(scratch) / "local"
        make(place, tasks, CONFIG)
        subprocess.run([CURATE, "run", "job.yaml"], cwd=place, check=True, capture_output=True)
        return published(place / "out")


def published(out: Path) -> dict[str, str]:
    """File → SHA-256 of its bytes."""
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


def nodes(work: Path) -> Mapping[str, int]:
    """How many lives of tasks each node has seen, by the tasks' logs."""
    logs = logs_of(work).glob("pass1.*.log")
    return Counter(
        re.findall(r"^pass1, task \d+ of \d+ on (\w+)", "\n".join(p.read_text() for p in logs), re.MULTILINE)
    )


def order(work: Path) -> tuple[bool, int]:
    """Whether the job after the phase began when every task had ended, by Slurm's clock; and how many arrays there were."""
    names = {path.name.split(".")[1].split("_")[0] for path in logs_of(work).glob("pass1.*.log")}
    after = next(logs_of(work).glob("after-pass1.*.log")).name.split(".")[1]
    ends = [t for name in names for t in times(name, "EndTime")]
    return len(ends) > 1001 and times(after, "StartTime")[0] >= max(ends), len(names)


def times(job: str, field: str) -> list[str]:
    return re.findall(rf"\b{field}=(\S+)", ask("scontrol", "show", "job", job))


def ask(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    main()
