"""A small job with every kind of phase, and what must hold after each kill of it.

`Job` runs the same config again and again with faults, and after every try compares the done records: a unit that was done
stays the attempt's that did it, and no more units are worked on twice than were in flight when something was killed.
"""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path
from typing import Final

from tests.corpus import rows, write_jsonl, write_parquet
from tests.e2e.cli import Fault, Place, Result
from tests.e2e.run_folder import attempts, published, strays

Outputs = dict[str, dict[str, str]]

KILL_SELF: Final = "kill SIGKILL SELF"
KILL_PARENT: Final = "kill SIGKILL PARENT"
KILL_GROUP: Final = "kill SIGKILL GROUP"

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
  - {name: all, path: out/all, shard: 60KB}
  - {name: some, path: out/some, where: n < 60, partition_by: language, shard: 40KB, shuffle: 3}
"""


class Job:
    """One job in its own folder, and what it has done so far. undisturbed: the outputs that a run without faults has."""

    def __init__(self, place: Place, undisturbed: Outputs | None = None, *options: str) -> None:
        """options: of every `curate run`."""
        self.place = place
        self.options = options
        self.undisturbed = undisturbed
        self.run_folder = place / "runs/job"
        self.log = place.root.parent / "units.txt"
        self.in_flight = 0
        self.replaced: str | tuple[str, ...] = (
            ".exchange"  # phases whose records may go: their rows are published, or of an earlier config
        )
        write_inputs(place / "in")
        place.config(CONFIG)

    def run(self, *faults: Fault, workers: int = 2) -> Result:
        """Try once; nothing that was done before may be done again."""
        before = attempts(self.run_folder)
        log = Fault("curate.running.task:Worker._unit", f"log {self.log}", call=0)
        result = self.place.run("job.yaml", *self.options, faults=[log, *faults], workers=workers)
        now = attempts(self.run_folder)
        gone = {phase for phase, *_ in before.keys() - now.keys()}
        assert all(phase.endswith(self.replaced) for phase in gone), f"records of {gone} are lost"
        again = [key for key in before.keys() & now.keys() if before[key] != now[key]]
        assert again == [], "these were done and have been done again"
        self.in_flight += len(faults) + (workers if result.code else 0)
        return result

    def killed(self, *faults: Fault, workers: int = 2) -> None:
        """Try once, with a fault that kills the run itself."""
        result = self.run(*faults, workers=workers)
        assert result.code == -signal.SIGKILL, (result.code, result.err)

    def finished(self, *faults: Fault, workers: int = 2) -> None:
        """Try once more: now the run ends well, as if nothing had happened."""
        self.run(*faults, workers=workers).succeeded()
        assert self.outputs() == self.undisturbed
        assert strays(self.run_folder, *(self.place / "out" / name for name in OUTPUTS)) == []
        report = self.place.report()
        assert (report["state"], report["balanced"], report["failure"]) == ("done", True, None)
        assert self.done_again().total() <= self.in_flight, "more was done twice than was in flight"
        assert list(self.place.scratch.iterdir()) == []

    def done_again(self) -> Counter[str]:
        """phase → how often one of its units was worked on once more."""
        units = Counter(" ".join(line.split()[:3]) for line in self.log.read_text().splitlines())
        again: Counter[str] = Counter()
        for unit, times in units.items():
            again[unit.split()[0]] += times - 1
        return again

    def outputs(self) -> Outputs:
        return {name: published(self.place / "out" / name) for name in OUTPUTS}


def write_inputs(folder: Path) -> None:
    for number, size in enumerate((40, 0, 90, 3, 20, 1)):
        write_parquet(folder / f"{number}.parquet", rows(f"p{number}", size))
    for number in range(5):
        write_jsonl(folder / f"{number}.jsonl", rows(f"j{number}", 15 * number), broken=number % 2)
