"""Slurm: the same plan as array jobs, one phase after the other, with nobody waiting on the machine that submitted.

    curate run web.yaml --on slurm
      launch    checks the config and asks Slurm whether it would take such jobs; holds the run's lock, then:
      advance   ends the phases that are done, finds the first one with units pending, and submits
                  an array job    one element a task, a task some of exactly the pending units      (`element`)
                  an advance job  afterok on every chunk of the array; it calls `advance` in turn   (`element`)
                until nothing is pending and every output is published

So each phase is planned when the one before it has ended, from its done-files: the number of units may depend on earlier
output, and the machine that submitted may go away. What stands in the run folder beside the usual (`layout`):

    slurm/settings.json            which jobs, on which cluster (`notice`); for advance jobs the config's execution section
                                   and number of tasks
    slurm/<phase>-<token>.json     {"phase": name, "tasks": [[unit, …], …]}, written before its array is submitted
    slurm/submission.json          the phase at work: its tasks' file, its array jobs, its advance job
    slurm/<phase>.sh               the batch script, as it was submitted
    slurm/failed/<phase>-<token>-<task>.json    the error of a task, in words; once there is one, no further task starts
    slurm/tries/<phase>-<token>-<task>.json     how often a task went back to the queue
    logs/slurm/<phase>.<job>_<index>.log

Of a run folder in a store these are files below the directory in which it was submitted; `slurm/jobs.json` of the store says
where (`notice`).

The done-files are the truth and the queue only says who is at work: every job of a run has one name, by which it is found,
so no job id needs to be known to anyone, none is asked for after it has left the queue, and no accounting is needed.
"""
