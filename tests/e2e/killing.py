"""A small job with every kind of phase, and what must hold after each kill of it.

`Job` runs the same config again and again with faults, and after every try compares the done records: a unit that was done
stays the attempt's that did it, and no more units are worked on twice than were in flight when something was killed.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.corpus import rows, write_jsonl, write_parquet
from tests.e2e.cli import Fault, Place, Result
from tests.e2e.run_folder import attempts, done_records, published, strays

KILL_WORKER: Final = "kill -KILL $SELF"
KILL_PARENT: Final = "kill -KILL $PARENT; sleep 1"
KILL_SELF: Final = "kill -KILL $SELF"
KILL_GROUP: Final = "kill -KILL -- -$GROUP"

OUTPUTS: Final = ("all", "some")
CONFIG: Final = """
input:
  - {path: in/*.parquet, name: p}
  - {path: in/0.jsonl, name: j0, columns: {n: {field: n, type: int64}, kind: kind}, on_error: quarantine}
  - {path: in/1.jsonl, name: j1, columns: {n: {field: n, type: int64}, kind: kind}, on_error: quarantine}
  - {path: in/2.jsonl, name: j2, columns: {n: {field: n, type: int64}, kind: kind}, on_error: quarantine}
  - {path: in/3.jsonl, name: j3, columns: {n: {field: n, type: int64}, kind: kind}, on_error: quarantine}
  - {path: in/4.jsonl, name: j4, columns: {n: {field: n, type: int64}, kind: kind}, on_error: quarantine}
language: kind
steps:
  - {select: n >= 3, as: late}
  - {select: n % 7 != 0, as: sevenths}
publish:
  - {name: all, path: out/all, shard: 20KB}
  - {name: some, path: out/some, where: n < 60, partition_by: language, shard: 10KB, shuffle: 3}
"""
#: Units of the phases that read shards; how many files are written depends on the rows.
SHARDS: Final = 11


class Job:
    """One job in its own folder, and what it has done so far."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.run_folder = place / "runs/job"
        self.log = place.root.parent / "units.txt"
        self.at_risk = 0
        write_inputs(place / "in")
        place.config(CONFIG)

    def run(self, *faults: Fault, workers: int = 2) -> Result:
        """Try once; nothing that was done before may be done again."""
        before = attempts(self.run_folder)
        started = Fault("curate.task:Worker._unit", f"echo $WORDS >> {self.log}", call=0)
        result = self.place.run(faults=[started, *faults], workers=workers)
        now = attempts(self.run_folder)
        kept = {key: attempt for key, attempt in before.items() if key in now}
        assert kept == {key: now[key] for key in kept}, "a unit that was done was done again"
        gone = {phase for phase, _ in before.keys() - now.keys()}
        assert all(phase.endswith(".exchange") for phase in gone), f"records of {gone} are lost"
        self.at_risk += workers * sum(fault.by != "parent" for fault in faults) + workers * (result.code != 0)
        return result

    def stopped(self, *faults: Fault, workers: int = 2) -> None:
        """Try once, with a fault that ends the run itself."""
        result = self.run(*faults, workers=workers)
        assert result.code == -signal.SIGKILL, (result.code, result.err)

    def finished(self, *faults: Fault, workers: int = 2) -> None:
        """Try once more: now the run ends well, as if nothing had happened."""
        result = self.run(*faults, workers=workers)
        result.succeeded()
        assert self.outputs() == self.undisturbed
        assert strays(self.run_folder, *(self.place / "out" / name for name in OUTPUTS)) == []
        assert list(self.place.scratch.iterdir()) == []
        report = self.place.report()
        assert (report["state"], report["balanced"], report["failure"]) == ("done", True, None)
        started = self.log.read_text().splitlines()
        assert len(started) - len(set(started)) <= self.at_risk

    undisturbed: dict[str, dict[str, str]]

    def outputs(self) -> dict[str, dict[str, str]]:
        return {name: published(self.place / "out" / name) for name in OUTPUTS}


def write_inputs(folder: Path) -> None:
    for number, size in enumerate((40, 0, 90, 3, 20, 1)):
        write_parquet(folder / f"{number}.parquet", rows(f"p{number}", size))
    for number in range(5):
        write_jsonl(folder / f"{number}.jsonl", rows(f"j{number}", 15 * number), broken=number % 2)


def units_of(job: Job, phase: str) -> Sequence[int]:
    return sorted(done_records(job.run_folder).get(phase, {}))
