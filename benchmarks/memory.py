"""Resident memory of a worker on shards that break other readers: a row group of 1 GB, a document of 60 MB.

    python benchmarks/memory.py

runs language identification, the Gopher rules and a shuffled publish on each with one worker, and prints the largest
resident set of the worker process, sampled every 20 ms, beside what a worker needs at rest (interpreter, Arrow, kernels,
the model). The rule is under 1 GB beside models.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CONFIG = """
name: memory
input: {{path: {source}}}
steps:
  - {{use: lid.fasttext, as: lid}}
  - {{use: filters.gopher_quality, as: gopher, mode: annotate}}
publish:
  - {{name: out, path: {target}, partition_by: language, shuffle: 1}}
"""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--megabytes", type=int, default=1000)
    arguments.add_argument("--sample", type=Path, default=Path("data/sample"))
    given = arguments.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        small = write_documents(root / "small.parquet", ["A few words, to see what a worker needs at rest."])
        group = write_row_group(root / "group.parquet", given.sample, given.megabytes)
        long = write_documents(root / "long.parquet", ["word and another word, " * 2_608_696, "short"])
        rest = run(root, small)
        print(f"{'input':34}{'peak MB':>9}{'over rest':>11}{'seconds':>9}")
        for name, path in (("at rest", small), ("one row group", group), ("one 60 MB document", long)):
            start = time.monotonic()
            peak = run(root, path)
            print(f"{name:34}{peak / 1e6:9.0f}{(peak - rest) / 1e6:11.0f}{time.monotonic() - start:9.1f}")


def write_documents(path: Path, texts: list[str]) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"id": [str(i) for i in range(len(texts))], "text": texts}), path)
    return path


def write_row_group(path: Path, sample: Path, megabytes: int) -> Path:
    """The sample's documents repeated until one row group holds that many MB of text."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(sorted(sample.glob("*.parquet")), columns=["id", "text"])
    copies = round(megabytes * 1e6 / table.column("text").nbytes)
    with pq.ParquetWriter(path, table.schema, compression="zstd") as writer:
        writer.write_table(pa.concat_tables([table] * copies), row_group_size=len(table) * copies)
    return path


def run(root: Path, source: Path) -> int:
    """Largest resident set of the worker, bytes."""
    config, target, folder = (
        root / "memory.yaml",
        root / f"out-{source.stem}",
        root / f"run-{source.stem}-{time.time()}",
    )
    config.write_text(CONFIG.format(source=source, target=target))
    command = [sys.executable, "-m", "curate", "run", str(config), "--run-dir", str(folder), "--workers", "1"]
    command += ["--set", f"publish.0.path={target}-{time.time()}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        peak = max(peak, *(resident(child) for child in workers(process.pid)), 0)
        time.sleep(0.02)
    if process.returncode:
        raise SystemExit(f"curate run ended with status {process.returncode}")
    return peak


def workers(parent: int) -> list[int]:
    """Worker processes of a run, found through /proc."""
    try:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    except FileNotFoundError:
        return []
    found = []
    for child in map(int, children):
        try:
            if b"curate.executors.worker" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(child)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def resident(process: int) -> int:
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
