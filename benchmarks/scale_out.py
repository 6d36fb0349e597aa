"""What a cluster costs beside the work: CPU seconds of a unit, of a task's start, of submitting, of asking, of waiting.

    python benchmarks/scale_out.py [units start submit status wait skew] [--scratch FOLDER]

Slurm's commands are stubs that record their calls: what is measured is this side of them. The real scheduler's part is in
`benchmarks/slurm_faults.py`. Aims: a unit in a warm process under .05 s of CPU, a task's start under 2 s, 2,000 pending
tasks planned and submitted in under 30 s, `curate status` on 100,000 finished units under 2 s, and no busy polling.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

import pyarrow as pa
import pyarrow.parquet as pq

from curate.core.commit import Done, Output, write_atomically, write_merged
from curate.core.layout import RunFolder
from curate.core.manifest import Manifest
from curate.core.plan import Plan
from curate.planning.fingerprints import corpus_fingerprint, unit_fingerprints
from curate.planning.session import Request, prepare
from curate.running.run import close_phase, lay_out, open_phase
from curate.running.summaries import write_summary
from curate.running.task import Worker

TEXT = "These are the words of a document that is here only because a unit needs one to work on. " * 4
CONFIG = """
name: scale
language: lang
input: {{path: {root}/in/*.parquet}}
run_dir: {root}/run
steps:
  - {{use: filters.gopher_quality, as: gopher, mode: annotate}}
publish:
  - {{name: all, path: {root}/out, shuffle: 1}}
execution: {{workers: 1, slurm: {{common: {{time: "10:00"}}}}}}
"""
STUBS = {
    "sbatch": 'case "$*" in *--test-only*) exit 0;; esac\n'
    'cat > /dev/null; n=$(($(cat "$STUBS/count" 2>/dev/null || echo 0) + 1)); echo $n > "$STUBS/count"; echo $n',
    "squeue": '[ -s "$STUBS/count" ] && echo "1|0|PENDING|Resources|"; exit 0',
    "scontrol": 'echo "MaxArraySize = 1001"',
    "scancel": "exit 0",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", help="default: all")
    parser.add_argument("--scratch", type=Path)
    given = parser.parse_args()
    parts: dict[str, Callable[[Path], None]] = {
        "units": units,
        "start": start,
        "submit": submit,
        "status": status,
        "wait": wait,
        "skew": skew,
    }
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"
    )
    for name in given.parts or parts:
        root = Path(tempfile.mkdtemp(prefix="curate-scale-", dir=given.scratch))
        try:
            parts[name](root)
        finally:
            shutil.rmtree(root)


def planned(root: Path, files: int, text: str = TEXT) -> tuple[Plan, Manifest, RunFolder]:
    """A run folder with a plan for this many files of one document each."""
    (root / "in").mkdir(parents=True)
    for number in range(files):
        table = pa.table({"id": [f"d{number}"], "text": [f"{number} {text}"], "lang": ["eng_Latn"]})
        pq.write_table(table, root / "in" / f"{number:06d}.parquet")
    (root / "scale.yaml").write_text(CONFIG.format(root=root))
    compiled = prepare(Request(root / "scale.yaml")).compiled
    folder = RunFolder(root / "run")
    folder.root.mkdir()
    return compiled.plan, compiled.manifest, folder


def units(root: Path) -> None:
    """CPU of a unit of every phase in one warm process: a document each, so that all of it is overhead."""
    plan, manifest, folder = planned(root, 400)
    lay_out(plan, manifest, folder)
    worker = Worker(folder.root)
    for phase in plan.phases:
        work = open_phase(plan, manifest, folder, phase)
        pending = sorted(work.pending)
        before = time.process_time()
        worker.run(phase.name, pending[:1], 0, lambda rows, size: None)
        first = time.process_time() - before
        before = time.process_time()
        worker.run(phase.name, pending[1:], 0, lambda rows, size: None)
        each = (time.process_time() - before) / max(1, len(pending) - 1)
        before = time.process_time()
        close_phase(plan, manifest, folder, phase, worked=True)
        end = time.process_time() - before
        print(
            f"{phase.name:14}{len(pending):5} units: first {first:6.3f} s of CPU, each other "
            f"{each * 1000:6.2f} ms, end of the phase {end:.2f} s"
        )
    files = max(
        sum(1 for p in (folder.root / kind).rglob("*") if p.is_file()) for kind in ("overlays", "done")
    )
    print(f"files of a finished phase at most {files}")
    worker.close()


def start(root: Path) -> None:
    """CPU of a process that starts, reads the plan and does one unit, with kernels compiled before."""
    plan, manifest, folder = planned(root, 12)
    lay_out(plan, manifest, folder)
    code = (
        "import sys, pathlib; from curate.kernels import use_kernel_cache; use_kernel_cache()\n"
        "from curate.running.task import Worker\n"
        "worker = Worker(pathlib.Path(sys.argv[1])); worker.run('pass1', [int(sys.argv[2])], 0, lambda r, s: None)"
    )
    spent = [cpu([sys.executable, "-c", code, str(folder.root), str(unit)]) for unit in range(8)]
    bare = [cpu([sys.executable, "-c", "import pyarrow, numba, pydantic"]) for _ in range(3)]
    print(
        f"a task of one unit: {median(spent[1:]):.2f} s of CPU (of these {median(bare):.2f} to import libraries)"
    )


def submit(root: Path) -> None:
    """2,000 pending tasks: planned from their files and given to a stub of sbatch."""
    planned(root, 2000)
    shutil.rmtree(root / "run")
    environment = stubs(root)
    before, began = children(), time.monotonic()
    command = [sys.executable, "-m", "curate", "run", str(root / "scale.yaml"), "--on", "slurm"]
    done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=False)
    spent = children() - before
    jobs = (root / "stubs" / "count").read_text().strip()
    print(
        f"2,000 tasks submitted in {time.monotonic() - began:.1f} s, {spent:.1f} s of CPU (kernels too, if they were "
        f"not compiled); {jobs} jobs; exit {done.returncode}"
    )
    if done.returncode not in (0, 3):
        print(done.stderr)


def status(root: Path) -> None:
    """`curate status` on a run whose pass has 100,000 finished units, and without its summary."""
    plan, manifest, folder = planned(root, 1)
    file, shard, number = manifest.files[0], manifest.shards[0], 100_000
    files = tuple(replace(file, path=f"{n:06d}.parquet", edges=f"{n:064x}") for n in range(number))
    shards = tuple(replace(shard, number=n, files=(n,)) for n in range(number))
    manifest = Manifest(files, shards, ())
    write_atomically(folder.plan, plan.to_json())
    write_atomically(folder.manifest, manifest.to_json())
    phase = plan.phase("pass1")
    prints = unit_fingerprints(plan, manifest, phase, folder) or {}
    pack, counters = folder.root / "overlays/pass1/overlay-000.a.pack", folder.all_counters("pass1", "a")
    for path, size in ((pack, 100 * number), (counters, 10)):
        path.parent.mkdir(parents=True)
        path.write_bytes(bytes(size))
    told = Output(folder.relative(counters), 10, "0" * 32)
    records = {
        n: Done(
            n,
            prints[n],
            0,
            f"{n:012x}",
            1000,
            110,
            {"overlay": Output(folder.relative(pack), 100, "0" * 32, 100 * n), "counters": told},
            {"rewritten": 0, "quarantined": 0},
        )
        for n in range(number)
    }
    folder.done_folder("pass1").mkdir(parents=True)
    write_merged(folder, "pass1", records)
    write_summary(folder, manifest, phase, records, corpus_fingerprint(plan, manifest))
    command = [sys.executable, "-m", "curate", "status", str(folder.root)]
    quick = cpu(command)
    folder.summary("pass1").unlink()
    print(f"status of 100,000 finished units: {quick:.2f} s of CPU; by their records {cpu(command):.2f} s")


def wait(root: Path) -> None:
    """What `--wait` costs in 30 s in which nothing happens."""
    planned(root, 3)
    shutil.rmtree(root / "run")
    command = [sys.executable, "-m", "curate", "run", str(root / "scale.yaml"), "--on", "slurm", "--wait"]
    process = subprocess.Popen(
        command, env=stubs(root), cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 300
    while not (root / "stubs" / "count").exists() and time.monotonic() < deadline:
        time.sleep(0.5)
    time.sleep(5)
    before = idle(process.pid)
    time.sleep(30)
    after = idle(process.pid)
    process.terminate()
    process.wait()
    own, asked, woken = (b - a for a, b in zip(before, after, strict=True))
    print(
        f"--wait for 30 s: {own:.2f} s of CPU, {asked:.2f} s in squeue's stub, {woken:.0f} voluntary switches of all threads"
    )


def skew(root: Path) -> None:
    """One language with 40 % of the bytes, one file 500 times the median: the longest task of each phase by its bytes."""
    from tests.runtime.test_skew import report  # the law is a test; here it is shown

    for line in report(root):
        print(line)


def idle(pid: int) -> tuple[float, float, float]:
    """CPU seconds of a process, of its children that have ended, and voluntary switches of its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    switches = sum(
        int(line.split()[1])
        for task in Path(f"/proc/{pid}/task").iterdir()
        for line in (task / "status").read_text().splitlines()
        if line.startswith("voluntary")
    )
    own, asked = (int(fields[11]) + int(fields[12])) / ticks, (int(fields[13]) + int(fields[14])) / ticks
    return own, asked, switches


def stubs(root: Path) -> dict[str, str]:
    """An environment in which Slurm's commands are stubs."""
    folder = root / "stubs"
    folder.mkdir()
    for name, body in STUBS.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "STUBS": str(folder)}


def children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def cpu(command: Sequence[str]) -> float:
    before = children()
    code = subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode
    assert code in (0, 3), f"{command} ended with {code}, so its time says nothing"
    return children() - before


if __name__ == "__main__":
    main()
