"""`curate cancel`: take a run out of Slurm's queue."""

from __future__ import annotations

import click


@click.command("cancel")
@click.argument("run")
def command(run: str) -> None:
    """Cancel the jobs of a run that are in Slurm's queue, those at work too.

    RUN is a run folder, a run's name, or its config file. Finished units are kept: `curate run --on slurm` submits what is
    missing. A run on this machine or on Ray ends with Ctrl-C, or SIGTERM, of its own command, which is named here.

    \b
    Example: curate cancel runs/web
    """
    import shutil
    import time

    from curate.commands.find_run import find_run
    from curate.core.layout import RunFolder
    from curate.executors.slurm import client
    from curate.executors.slurm.follow import jobs_of
    from curate.running.locks import holder

    folder = RunFolder(find_run(run))
    at_work = holder(folder)
    queued = jobs_of(folder) if at_work is None or shutil.which("squeue") else []
    if not queued:
        end = f"; {at_work} works on it: end that with Ctrl-C, or `kill`" if at_work else ""
        click.echo(f"nothing of it is in Slurm's queue{end}")
        return
    until = time.monotonic() + 60
    while (left := jobs_of(folder)) and time.monotonic() < until:
        client.cancel(e.job for e in left if e.state != "COMPLETING")  # a phase may just have followed
        time.sleep(0.5)
    jobs = "1 job is" if len(queued) == 1 else f"{len(queued):,} jobs are"
    click.echo(f"{jobs} cancelled" + (f", {len(left):,} still end" if left else ""))
