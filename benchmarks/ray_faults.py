"""Faults on a local Ray with several worker processes: 300 tasks and more, and the same bytes after at most one more run.

    python benchmarks/ray_faults.py [none worker task node] [--files 110] [--workers 3] [--scratch FOLDER]

    none     nothing happens
    worker   SIGKILL of a worker process at work
    task     the file of a unit is away: the run ends with that unit's error and exit 1, and is run again
    node     SIGKILL of the node's raylet, and with it of all workers: the run ends, and is run again

Each starts when a sixth of the first pass is done, and prints the exits, the seconds to each, and whether the output is byte
for byte that of a local run. A run that takes over ten minutes counts as hanging.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq

CONFIG = """
name: ray
language: lang
input: {{path: {root}/in/*.parquet}}
run_dir: {root}/{name}/run
steps:
  - {{use: filters.gopher_quality, as: gopher, mode: annotate}}
publish:
  - {{name: all, path: {root}/{name}/out, shuffle: 1}}
execution: {{workers: {workers}, retries: 2, ray: {{address: local, start_timeout: 120}}}}
"""
TEXT = "The quick brown fox of this document jumps over a lazy dog, and then it rests a while. " * 200
_HANGING = 600


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("faults", nargs="*", help="default: all")
    parser.add_argument("--files", type=int, default=110, help="three phases do one unit a file")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--scratch", type=Path)
    given = parser.parse_args()
    faults: dict[str, Callable[[Path], object]] = {
        "none": lambda root: None,
        "worker": lambda root: kill("ray::UnitWorker", 1),
        "task": lambda root: away(root, given.files - 1).rename(root / "kept.parquet"),
        "node": lambda root: kill("raylet", 1),
    }
    root = Path(tempfile.mkdtemp(prefix="cr-", dir=given.scratch))
    os.environ["RAY_TMPDIR"] = tempfile.mkdtemp(prefix="cr-", dir="/tmp")
    try:
        (root / "in").mkdir()
        for number in range(given.files):
            rows = [f"{number} {n} {TEXT}" for n in range(20)]
            table = pa.table({"id": [f"{number}-{n}" for n in range(20)], "text": rows, "lang": ["eng"] * 20})
            pq.write_table(table, root / "in" / f"{number:06d}.parquet")
        told = run(root, config(root, "local", given.workers))
        print(f"local: exit {told[0]} after {told[1]:.0f} s")
        for name in given.faults or faults:
            path = config(root, name, given.workers)
            shown = []
            code, seconds = run(root, path, "--on", "ray", fault=faults[name], enough=given.files // 6)
            shown.append(f"exit {code} after {seconds:.0f} s")
            if (root / "kept.parquet").exists():
                (root / "kept.parquet").rename(away(root, given.files - 1))
            if code:
                code, seconds = run(root, path, "--on", "ray")
                shown.append(f"again: exit {code} after {seconds:.0f} s")
            same = digests(root / name / "out") == digests(root / "local" / "out")
            print(f"{name}: {'; '.join(shown)}; {'the same bytes' if same else 'OTHER BYTES'}", flush=True)
    finally:
        shutil.rmtree(root)
        shutil.rmtree(os.environ["RAY_TMPDIR"], ignore_errors=True)


def config(root: Path, name: str, workers: int) -> Path:
    path = root / f"{name}.yaml"
    path.write_text(CONFIG.format(root=root, name=name, workers=workers))
    return path


def away(root: Path, number: int) -> Path:
    return root / "in" / f"{number:06d}.parquet"


def run(
    root: Path,
    path: Path,
    *options: str,
    fault: Callable[[Path], object] | None = None,
    enough: int = 0,
) -> tuple[int | str, float]:
    """Exit status and seconds of `curate run`. fault: what happens once `enough` units of the first pass are done."""
    began = time.monotonic()
    command = [sys.executable, "-m", "curate", "run", str(path), *options]
    with (root / "log").open("ab") as log:
        process = subprocess.Popen(command, cwd=root, stdout=log, stderr=log)
        done = root / path.stem / "run" / "done" / "pass1"
        while process.poll() is None:
            if time.monotonic() - began > _HANGING:
                process.kill()
                return "hangs", time.monotonic() - began
            if fault is not None and done.exists() and len(list(done.glob("[0-9]*.json"))) >= enough:
                fault(root)
                fault = None
            time.sleep(0.05)
    return process.returncode, time.monotonic() - began


def kill(name: str, number: int) -> None:
    """SIGKILL of processes of the Ray that this script has started, by their name."""
    own = [p for p in psutil.process_iter(["name", "environ"]) if name in (p.info["name"] or "")]
    mine = [p for p in own if (p.info["environ"] or {}).get("RAY_TMPDIR") == os.environ["RAY_TMPDIR"]]
    for process in mine[:number]:
        process.kill()


def digests(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*.parquet"))
    }


if __name__ == "__main__":
    main()
