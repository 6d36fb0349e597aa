"""Faults on a Ray with several worker processes: 300 tasks and more, and the same bytes after at most one more run.

    python benchmarks/ray_faults.py [FAULT …] [--files 110] [--workers 3] [--scratch FOLDER]

    none     nothing happens
    worker   SIGKILL of a worker process at work
    task     the file of a unit is away: the run ends with that unit's error and exit 1, and is run again
    node     SIGKILL of the raylet of the second of two nodes, and with it of all workers there
    head     SIGKILL of the raylet beside which the run was started: the run ends, and is run again
    cancel   Ctrl-C (SIGINT to the command's process group), and run again
    time     SIGSTOP of a worker, with a limit to what a unit may take (`unit_timeout`)
    memory   Ray's memory monitor finds the node too full and kills every worker, and run again
    limit    a worker may have no more memory than it has (RLIMIT_AS), and run again
    adds     a cluster without a CPU, whose autoscaler (Ray's own, with processes for nodes) adds three nodes
    s3       inputs, run folder and output in a bucket of moto's S3 server; a worker is killed

A fault strikes when a sixth of the first pass is done. Printed are the exits, the seconds to each, the error, how many
actors there were, and whether the output is byte for byte that of a local run. A run of over ten minutes counts as hanging.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq

CONFIG = """
name: ray
language: lang
input: {{path: {inputs}/*.parquet}}
run_dir: {place}/run
steps:
  - {{use: filters.gopher_quality, as: gopher, mode: annotate}}
publish:
  - {{name: all, path: {place}/out, shuffle: 1}}
execution: {{workers: {workers}, retries: 2, ray: {{address: local, start_timeout: 120}}}}
"""
TEXT = "The quick brown fox of this document jumps over a lazy dog, and then it rests a while. " * 200
BUCKET = "curate"
_HANGING = 600


@dataclass
class Try:
    """What a fault may use. pid: of the command, 0 before it is started. port: of a cluster that was started for it."""

    root: Path
    name: str
    files: int
    workers: int
    pid: int = 0
    port: int = 0

    @property
    def place(self) -> str:
        return f"s3://{BUCKET}/{self.name}" if self.name == "s3" else str(self.root / self.name)

    @property
    def config(self) -> Path:
        return self.root / f"{self.name}.yaml"

    @property
    def run_folder(self) -> Path:
        return self.root / self.name / "run"

    def last_file(self) -> Path:
        return self.root / "in" / f"{self.files - 1:06d}.parquet"


@dataclass(frozen=True)
class Fault:
    """strike: what happens. before: the run starts. after: it has ended. where: a cluster that is there beforehand."""

    strike: Callable[[Try], object] | None = None
    before: Callable[[Try], object] | None = None
    after: Callable[[Try], object] | None = None
    where: str = ""
    options: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


FAULTS = {
    "none": Fault(),
    "worker": Fault(lambda t: kill("ray::UnitWorker", signal.SIGKILL)),
    "task": Fault(
        before=lambda t: t.last_file().rename(t.root / "kept.parquet"),
        after=lambda t: (t.root / "kept.parquet").rename(t.last_file()),
    ),
    "node": Fault(lambda t: kill("raylet", signal.SIGKILL, which=1), where="two nodes"),
    "head": Fault(lambda t: kill("raylet", signal.SIGKILL), where="two nodes"),
    "cancel": Fault(lambda t: os.killpg(t.pid, signal.SIGINT)),
    "time": Fault(
        lambda t: kill("ray::UnitWorker", signal.SIGSTOP), options=("execution.ray.unit_timeout=20",)
    ),
    "memory": Fault(
        environment={"RAY_memory_usage_threshold": "0.001", "RAY_memory_monitor_refresh_ms": "500"}
    ),
    "limit": Fault(lambda t: limit("ray::UnitWorker")),
    "adds": Fault(where="none yet", options=("execution.ray.adds={nodes: 3, cpus: 1, memory: 2GB}",)),
    "s3": Fault(lambda t: kill("ray::UnitWorker", signal.SIGKILL)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("faults", nargs="*", help=f"default: all of {', '.join(FAULTS)}")
    parser.add_argument("--files", type=int, default=110, help="three phases do one unit a file")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--scratch", type=Path)
    given = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="cr-", dir=given.scratch))
    os.environ["RAY_TMPDIR"] = tempfile.mkdtemp(prefix="cr-", dir="/tmp")
    os.environ["RAY_AUTH_MODE"] = "disabled"
    try:
        (root / "in").mkdir()
        for number in range(given.files):
            rows = [f"{number} {n} {TEXT}" for n in range(20)]
            table = pa.table({"id": [f"{number}-{n}" for n in range(20)], "text": rows, "lang": ["eng"] * 20})
            pq.write_table(table, root / "in" / f"{number:06d}.parquet")
        local = Try(root, "local", given.files, given.workers)
        print(f"local: {run(local, Fault())}", flush=True)
        for name in given.faults or FAULTS:
            attempt(
                Try(root, name, given.files, given.workers), FAULTS[name], digests(root / "local" / "out")
            )
    finally:
        kill("", signal.SIGKILL, which=None)
        shutil.rmtree(root)
        shutil.rmtree(os.environ["RAY_TMPDIR"], ignore_errors=True)


def attempt(given: Try, fault: Fault, expected: dict[str, str]) -> None:
    """Run with the fault, again if that did not end well, and say how it went."""
    with ExitStack() as there:
        if given.name == "s3":
            there.enter_context(store(given))
        if fault.where:
            given.port = there.enter_context(cluster(given, fault.where))
        if fault.before is not None:
            fault.before(given)
        on_ray = ("--on", "ray")
        shown = [run(given, fault, *on_ray)]
        if fault.after is not None:
            fault.after(given)
        if not shown[0].startswith("exit 0"):
            given.port = 0  # what is left of a cluster is not asked for more
            shown.append(f"again: {run(given, Fault(), *on_ray)}")
        if given.name == "s3":
            fetched = given.root / "fetched"
            client().get(f"{BUCKET}/{given.name}/out/", str(fetched), recursive=True)
            found = digests(fetched)
        else:
            found = digests(given.root / given.name / "out")
    shown.append("the same bytes" if found == expected else "OTHER BYTES")
    print(f"{given.name}: {'; '.join(shown)}", flush=True)


def run(given: Try, fault: Fault, *options: str) -> str:
    """How a `curate run` ends, and after how many seconds. The fault strikes once a sixth of the first pass is done."""
    inputs = f"s3://{BUCKET}/in" if given.name == "s3" else given.root / "in"
    given.config.write_text(CONFIG.format(inputs=inputs, place=given.place, workers=given.workers))
    address = f"127.0.0.1:{given.port}" if given.port else "local"
    settings = [f"execution.ray.address={address}", *fault.options] if options else []
    command = [sys.executable, "-m", "curate", "run", str(given.config), *options]
    command += [part for setting in settings for part in ("--set", setting)]
    began, strike = time.monotonic(), fault.strike
    said = given.root / f"{given.name}.log"
    with said.open("ab") as log:
        start = said.stat().st_size
        process = subprocess.Popen(
            command,
            cwd=given.root,
            stdout=log,
            stderr=log,
            env={**os.environ, **fault.environment},
            start_new_session=True,
        )
        given.pid = process.pid
        while process.poll() is None:
            if time.monotonic() - began > _HANGING:
                process.kill()
                return f"HANGS: no end after {_HANGING} s"
            if strike is not None and finished(given) >= given.files // 6:
                strike(given)
                strike = None
            time.sleep(0.5 if given.name == "s3" else 0.05)
    seconds = time.monotonic() - began
    text = said.read_bytes()[start:].decode(errors="replace")
    errors = re.findall(r"error\[(\w+)\]: ([^\n]{0,140})", text)
    why = "".join(f" ({code} {message})" for code, message in errors[:1])
    again = len(re.findall(r"again", text))
    return f"exit {process.returncode} after {seconds:.0f} s{why}{f', {again} retried' if again else ''}{places(given)}"


def finished(given: Try) -> int:
    """Units of the first pass that have a done-file."""
    if given.name == "s3":
        fs = client()
        fs.invalidate_cache()
        found = (
            fs.ls(f"{BUCKET}/s3/run/done/pass1", detail=False) if fs.exists(f"{BUCKET}/s3/run/done") else []
        )
        return len(found)
    done = given.run_folder / "done" / "pass1"
    return len(list(done.glob("[0-9]*.json"))) if done.exists() else 0


def places(given: Try) -> str:
    """Processes that have a log in the run folder, by what started them."""
    logs = given.run_folder / "logs"
    found = Counter(p.name.split("-")[1] for p in logs.glob("worker-*.log")) if logs.exists() else Counter()
    return f", {found['ray']} actors" if found["ray"] else ""


def mine(name: str) -> list[psutil.Process]:
    """Processes of the Ray that this script has started, by a part of their name, oldest first."""
    found = [
        p for p in psutil.process_iter(["name", "environ", "create_time"]) if name in (p.info["name"] or "")
    ]
    own = [p for p in found if (p.info["environ"] or {}).get("RAY_TMPDIR") == os.environ["RAY_TMPDIR"]]
    return sorted((p for p in own if p.pid != os.getpid()), key=lambda p: p.info["create_time"])


def kill(name: str, number: signal.Signals, which: int | None = 0) -> None:
    """Send a signal to one of these processes; which: None for all."""
    found = mine(name)
    for process in found if which is None else found[which : which + 1]:
        process.send_signal(number)


def limit(name: str) -> None:
    """The oldest of these processes gets no more memory from now on."""
    for process in mine(name)[:1]:
        process.rlimit(psutil.RLIMIT_AS, (process.memory_info().vms,) * 2)


@contextmanager
def cluster(given: Try, kind: str) -> Iterator[int]:
    """A Ray with two nodes, or with none that may work and an autoscaler. The port of its head."""
    port = free_port()
    environment = {**os.environ, "AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_FAKE_CLUSTER": "1"}
    ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
    head = ["--head", f"--port={port}", "--node-ip-address=127.0.0.1", "--include-dashboard=false"]
    commands = [[*ray, *head, "--num-cpus=2"]]
    if kind == "two nodes":
        commands.append([*ray, f"--address=127.0.0.1:{port}", "--node-ip-address=127.0.0.1", "--num-cpus=2"])
    else:
        scaling = given.root / "scaling.json"
        scaling.write_text(json.dumps(autoscaling(port)))
        commands = [[*ray, *head, "--num-cpus=0", f"--autoscaling-config={scaling}"]]
    try:
        for command in commands:
            with (given.root / "cluster.log").open("ab") as log:
                subprocess.Popen(
                    command, cwd=given.root, env=environment, stdout=log, stderr=log, start_new_session=True
                )
            until_listening(port)
        time.sleep(10)
        yield port
    finally:
        kill("", signal.SIGKILL, which=None)


def autoscaling(port: int) -> dict[str, object]:
    """The config of Ray's autoscaler for nodes that are processes of this machine."""
    node = {"CPU": 1, "memory": 2_000_000_000, "object_store_memory": 100_000_000}
    types = {
        "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "small": {"resources": node, "node_config": {}, "min_workers": 0, "max_workers": 3},
    }
    provider = {"type": "fake_multinode", "gcs_address": f"127.0.0.1:{port}"}
    return {
        "cluster_name": "fake",
        "max_workers": 3,
        "provider": {**provider, "disable_node_updaters": True, "disable_launch_config_check": True},
        "available_node_types": types,
        "head_node_type": "ray.head.default",
        "upscaling_speed": 5,
        "idle_timeout_minutes": 1,
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until_listening(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            time.sleep(0.2)
    raise SystemExit(f"nothing listens on port {port}")


@contextmanager
def store(given: Try) -> Iterator[None]:
    """A bucket with the inputs, in a server that lives as long as this."""
    port = free_port()
    os.environ.update(
        AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}",
        AWS_ACCESS_KEY_ID="tester",
        AWS_SECRET_ACCESS_KEY="tester",
        AWS_DEFAULT_REGION="us-east-1",
        AWS_EC2_METADATA_DISABLED="true",
    )
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until_listening(port)
        client().mkdir(BUCKET)
        client().put(f"{given.root}/in/", f"{BUCKET}/in/", recursive=True)
        yield
    finally:
        server.kill()
        server.wait()


def client():  # type: ignore[no-untyped-def]  # s3fs is untyped
    import s3fs

    return s3fs.S3FileSystem()


def digests(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*.parquet"))
    }


if __name__ == "__main__":
    main()
