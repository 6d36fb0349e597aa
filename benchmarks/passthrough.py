"""What the runner costs when no step does anything: read → no steps → publish, against pyarrow alone.

Floor: the file must be read once and written once. Reading zstd Parquet runs at about 800 MB/s a core and writing zstd-3 at
about 170, so a GB of text costs about 7 CPU-seconds whatever is done in between. The runner reads it twice more than that
(the first pass judges every row and writes an overlay; the exchange moves it), each at reading or memory speed.

    python benchmarks/passthrough.py --megabytes 300

prints CPU seconds (user + system, whole processes, children included) of pyarrow and of `curate run`, in one run, in turn,
and their ratios: without and with a global shuffle. Both sides write zstd level 3 with row groups of the same size.
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
from pathlib import Path

BASELINE = """
import sys
import pyarrow.parquet as pq
source, target = sys.argv[1:]
table = pq.read_table(source, use_threads=False)
table = table.combine_chunks()
rows = max(1, int(len(table) * 32 * 1024 * 1024 / table.column("text").nbytes))
pq.write_table(table, target, compression="zstd", compression_level=3, row_group_size=rows)
"""

CONFIG = """
name: passthrough
input: {{path: {source}}}
publish:
  - {{name: out, path: {target}{shuffle}}}
"""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--megabytes", type=int, default=300)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--workers", type=int, default=1)
    arguments.add_argument("--sample", type=Path, default=Path("data/sample"))
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        measure(Path(scratch), given.sample, given.megabytes, given.rounds, given.workers)


def measure(scratch: Path, sample: Path, megabytes: int, rounds: int, workers: int) -> None:
    source = scratch / "in" / "docs.parquet"
    size = build(sample, source, megabytes)
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions()}")
    print(f"{size / 1e6:.0f} MB of text in one Parquet file of {source.stat().st_size / 1e6:.0f} MB")
    script = scratch / "baseline.py"
    script.write_text(BASELINE)
    times: dict[str, list[float]] = {"pyarrow": [], "curate": [], "curate shuffled": []}
    for _ in range(rounds):
        target = scratch / "baseline.parquet"
        times["pyarrow"].append(cpu([sys.executable, str(script), str(source), str(target)]))
        target.unlink()
        times["curate"].append(curate(scratch, source, "", workers))
        times["curate shuffled"].append(curate(scratch, source, ", shuffle: 1", workers))
    print(f"{'':18}{'CPU s':>8}{'MB/s':>8}{'ratio':>8}   (median of {rounds})")
    base = sorted(times["pyarrow"])[rounds // 2]
    for name, seconds in times.items():
        median = sorted(seconds)[rounds // 2]
        ratios = sorted(s / b for s, b in zip(seconds, times["pyarrow"], strict=True))
        print(f"{name:18}{median:8.2f}{size / 1e6 / median:8.0f}{ratios[rounds // 2]:8.2f}")
    print(f"floor: {base:.2f} CPU s, what pyarrow needs to read and write it once")


def build(sample: Path, target: Path, megabytes: int) -> int:
    """One Parquet file of the sample's documents repeated, each copy with its own ids, in row groups of about 64 MB."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = pq.read_table(sorted(sample.glob("*.parquet")))
    copies = max(1, round(megabytes * 1e6 / table.column("text").nbytes))
    target.parent.mkdir(parents=True)
    writer: pq.ParquetWriter | None = None
    for first in range(0, copies, 3):
        parts = []
        for copy in range(first, min(copies, first + 3)):
            ids = pc.binary_join_element_wise(table.column("id"), f"#{copy}", "")
            parts.append(table.set_column(table.schema.get_field_index("id"), "id", ids))
        group = pa.concat_tables(parts).combine_chunks()
        writer = writer or pq.ParquetWriter(target, group.schema, compression="zstd")
        writer.write_table(group, row_group_size=len(group))
    assert writer is not None
    writer.close()
    return int(copies * table.column("text").nbytes)


def curate(scratch: Path, source: Path, shuffle: str, workers: int) -> float:
    """CPU seconds of a whole `curate run`, from nothing."""
    target, config, folder = scratch / "out", scratch / "passthrough.yaml", scratch / "run"
    for path in (target, folder):
        if path.exists():
            shutil.rmtree(path)
    config.write_text(CONFIG.format(source=source, target=target, shuffle=shuffle))
    command = [sys.executable, "-m", "curate", "run", str(config), "--run-dir", str(folder)]
    return cpu([*command, "--workers", str(workers)])


def cpu(command: list[str]) -> float:
    """User and system seconds of a command and all its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def versions() -> str:
    from importlib.metadata import version

    return ", ".join(f"{name} {version(name)}" for name in ("pyarrow", "numpy"))


if __name__ == "__main__":
    main()
