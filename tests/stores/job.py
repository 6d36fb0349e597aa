"""A small job whose inputs, run folder and outputs may lie anywhere, and what a local run of it publishes."""

from __future__ import annotations

from pathlib import Path

from tests.corpus import rows, write_jsonl, write_parquet
from tests.e2e.cli import Place

CONFIG = """
name: job
input:
  - {path: HERE/in/*.parquet, name: p}
  - {path: HERE/in/*.jsonl, name: j, columns: {n: {field: n, type: int64}, kind: kind}, on_error: quarantine}
language: kind
steps:
  - {select: n % 7 != 0, as: sevenths}
  - {use: dedup.exact, as: exact}
publish:
  - {name: all, path: HERE/out/all, shard: 60KB, partition_by: language}
  - {name: some, path: HERE/out/some, where: n < 60, shard: 40KB, shuffle: 3}
"""
Outputs = dict[str, bytes]


def write_inputs(folder: Path, first: int, last: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, last):
        write_parquet(folder / f"{number}.parquet", rows(number * 30, 40))
        write_jsonl(folder / f"{number}.jsonl", rows(1000 + number * 30, 20))
        with (folder / f"{number}.jsonl").open("a") as file:
            file.write("{broken\n")


def configured(place: Place, here: str) -> None:
    run_dir = f"run_dir: {here}/runs/job\n" if "://" in here else ""
    place.config(CONFIG.replace("HERE", here) + run_dir)


def local(place: Place) -> Outputs:
    return {
        path.relative_to(place / "out").as_posix(): path.read_bytes()
        for path in sorted((place / "out").rglob("*"))
        if path.is_file()
    }
