"""`curate task`: what a scheduler calls."""

from __future__ import annotations

import sys

import click


@click.command()
@click.argument("run")
@click.option("--phase", required=True, help="The phase, as `curate plan` names it.")
@click.option("--task", "index", type=click.IntRange(min=0), required=True, help="The task's number, from 0.")
@click.option(
    "--tasks", type=click.IntRange(min=1), required=True, help="How many tasks the phase is divided into."
)
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Threads to use.")
def command(run: str, phase: str, index: int, tasks: int, threads: int) -> None:
    """Do one task of a phase that has been planned in a run folder.

    Units that are done are left alone, so a task can be repeated. The phases before it must be done.

    \b
    Example: curate task runs/web --phase pass1 --task 0 --tasks 4
    """
    from curate.commands.find_run import find_run
    from curate.core.errors import error
    from curate.running.task import Worker

    worker = Worker(find_run(run), threads=threads)
    try:
        names = [p.name for p in worker.plan.phases]
        if phase not in names:
            raise error(
                "R307", f"there is no phase '{phase}'", help=f"phases: {', '.join(names)}", exit_code=2
            )
        if index >= tasks:
            raise error(
                "R307", f"there is no task {index} of {tasks}", help="tasks count from 0", exit_code=2
            )
        pending = worker.task_units(phase, index, tasks)
        committed = worker.run(phase, pending, index, lambda *_: None)
        rows = sum(d.rows for d in committed)
        click.echo(f"{phase} task {index} of {tasks}: {len(committed)} units done, {rows:,} rows", err=True)
    finally:
        worker.close()
    sys.exit(0)
