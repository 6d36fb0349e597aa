"""How long a user waits: `curate --help`, and a whole run of one document (so the first batch, at most).

    python benchmarks/startup.py

prints wall and CPU seconds, median of several runs, with a warm kernel cache (one run before fills it), and the heavy
modules that `--help` imports (there should be none).
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
from pathlib import Path

HEAVY = ("pyarrow", "numpy", "numba", "polars", "pydantic", "rich", "fasttext")
CONFIG = """
name: one
input: {path: one.jsonl}
steps:
  - {use: lid.fasttext, as: lid}
  - {use: filters.gopher_quality, as: gopher, mode: annotate}
publish:
  - {name: out, path: out, partition_by: language, shuffle: 1}
"""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--rounds", type=int, default=7)
    rounds = arguments.parse_args().rounds
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        (root / "one.jsonl").write_text(
            '{"id": "a", "text": "A few words of English, in a sentence or two."}\n'
        )
        (root / "one.yaml").write_text(CONFIG)
        print(f"{'':26}{'wall s':>8}{'CPU s':>8}   (median of {rounds})")
        show("curate --help", rounds, lambda: timed(["--help"], root))
        run_once(root)
        show("curate run, one document", rounds, lambda: run_once(root))
    found = [m for m in HEAVY if m in imported()]
    print(f"heavy modules that --help imports: {', '.join(found) or 'none'}")


def show(name: str, rounds: int, measure: object) -> None:
    assert callable(measure)
    times = [measure() for _ in range(rounds)]
    wall, cpu = (sorted(t[i] for t in times)[rounds // 2] for i in (0, 1))
    print(f"{name:26}{wall:8.2f}{cpu:8.2f}")


def run_once(root: Path) -> tuple[float, float]:
    for name in ("runs", "out"):
        shutil.rmtree(root / name, ignore_errors=True)
    return timed(["run", "one.yaml", "--workers", "1"], root)


def timed(arguments: list[str], folder: Path) -> tuple[float, float]:
    """Wall and CPU seconds of a curate command, children included."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [sys.executable, "-m", "curate", *arguments]
    subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def imported() -> set[str]:
    """Modules that `curate --help` imports."""
    command = [sys.executable, "-X", "importtime", "-m", "curate", "--help"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stderr.splitlines()
    return {line.rsplit("|", 1)[1].strip().split(".")[0] for line in lines if line.count("|") == 2}


if __name__ == "__main__":
    main()
