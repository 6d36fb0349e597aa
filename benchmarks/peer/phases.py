"""A whole `curate run` with the seconds of each phase as JSON on the last line, which the command shows rounded.

    python -m benchmarks.peer.phases rules.yaml RUN_DIR --threads 2

Seconds of a phase are the clock's, from its beginning in the parent to its end: the start of the worker is in the first one.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from curate.core.plan import Phase
from curate.running import driver
from curate.running.progress import Progress

SECONDS: dict[str, float] = {}


class Clocked(Progress):
    """Notes when phases begin and end."""

    def phase_started(self, phase: Phase, units: int, done: int, size: int) -> None:
        SECONDS[phase.name] = -time.perf_counter()
        super().phase_started(phase, units, done, size)

    def phase_finished(self, phase: Phase) -> None:
        SECONDS[phase.name] += time.perf_counter()
        super().phase_finished(phase)


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--threads", type=int, required=True)
def main(config: Path, run_dir: Path, threads: int) -> None:
    from curate.planning.session import Request

    driver.Progress = Clocked  # type: ignore[misc]
    driver.run_config(Request(config, (), run_dir, False, False), workers=1, threads=threads, tasks=None)
    print(json.dumps(SECONDS))


if __name__ == "__main__":
    main()
