"""`execution:` of a config: this machine, Slurm's jobs, a Ray cluster. Nothing here changes a byte of the output."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from curate.config.entry import Entry, PathText, Size, fault

#: Seconds before the time limit at which a task is warned, unless the config says.
WARNING: Final = 120

#: Options of sbatch that a run decides itself.
_OWN_OPTIONS: Final = frozenset(
    (
        *("array", "chdir", "dependency", "error", "export", "job-name", "kill-on-invalid-dep", "open-mode"),
        *("output", "parsable", "requeue", "signal", "test-only", "wait", "wrap"),
    )
)


class SlurmJobs(Entry):
    """What the jobs of a run ask Slurm for. What is left out is asked for as the cluster's own default."""

    account: PathText | None = Field(None, description="The account to charge.")
    qos: PathText | None = Field(None, description="The quality of service.")
    partition: PathText | None = Field(None, description="The partition, or several with commas.")
    constraint: PathText | None = Field(None, description="Features that a node must have.")
    gres: PathText | None = Field(
        None, description="Generic resources of each task; for steps that need GPUs gpu:<number> by default."
    )
    time: Annotated[str, Field(pattern=r"^(\d+-)?\d+(:\d{1,2}){0,2}$")] | None = Field(
        None, description="Time limit of a task, as sbatch takes it: minutes, h:m:s or days-h:m:s."
    )
    memory: Size | None = Field(
        None,
        description="Memory of a task; by default 1 GB and what the steps of the phase need, for each of its workers. "
        "The job between two phases has one CPU's part of it, if that is more than it needs.",
    )
    cpus: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        None,
        description="CPUs of a task, or of each of its workers, which works with as many threads; 1 by default.",
    )
    workers: Annotated[int, Field(ge=1, le=256)] | None = Field(
        None,
        description="Processes of a task, 1 by default. In phases with GPUs each has its own: `workers: 4` takes a node of "
        "four GPUs as a whole. CPUs, memory and GPUs are asked for all of them together.",
    )
    units_per_task: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="Units of a task, such as shards; by default one for each of its workers. More make fewer tasks, which "
        "start less often.",
    )
    max_tasks: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="Into how many tasks a phase is divided at most. Set it where a limit on submitted jobs applies.",
    )
    max_running: Annotated[int, Field(ge=1)] | None = Field(
        None, description="How many tasks of a phase run at the same time at most."
    )
    warning: Annotated[int, Field(ge=30, le=3600)] | None = Field(
        None,
        description="Seconds before the time limit at which a task takes no further unit and goes back to the queue; "
        "120 by default.",
    )
    setup: tuple[PathText, ...] = Field(
        (), description="Lines of shell that prepare a task, such as modules to load."
    )
    container: tuple[PathText, ...] = Field(
        (),
        description="The words of a command that runs a task's work in a container; the interpreter follows.",
    )
    python: PathText | None = Field(
        None,
        description="The interpreter of the tasks, in the container if there is one; by default the one that submits.",
    )
    args: tuple[Annotated[str, Field(pattern="^--[a-z]")], ...] = Field(
        (), description="Further options of sbatch, as `--name=value`."
    )

    @field_validator("args")
    @classmethod
    def _not_ours(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for option in value:
            if option[2:].partition("=")[0] in _OWN_OPTIONS:
                raise fault(
                    "C102", f"{option.partition('=')[0]} is decided by the run", "remove it from args"
                )
        return value

    def over(self, common: SlurmJobs) -> SlurmJobs:
        """These with what `common` says where they say nothing; its setup lines and args come first."""
        given = {**common.model_dump(exclude_none=True), **self.model_dump(exclude_none=True)}
        given |= {"setup": common.setup + self.setup, "args": common.args + self.args}
        given["container"] = self.container or common.container
        return SlurmJobs.model_validate(given)


def _seconds(limit: str | None) -> int | None:
    """A time limit as sbatch takes it: minutes, m:s, h:m:s, d-h, d-h:m or d-h:m:s; 0 is none."""
    if limit is None:
        return None
    days, dash, rest = limit.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    units = (3600, 60, 1) if dash or len(parts) == 3 else (60, 1)
    return int(days or 0) * 86_400 + sum(part * unit for part, unit in zip(parts, units, strict=False))


class Slurm(Entry):
    """How `curate run --on slurm` asks for its jobs."""

    common: SlurmJobs = Field(
        default_factory=lambda: SlurmJobs.model_validate({}), description="What holds for every job."
    )
    cpu: SlurmJobs = Field(
        default_factory=lambda: SlurmJobs.model_validate({}),
        description="What holds beside it for phases without GPUs, and for the small jobs between phases.",
    )
    gpu: SlurmJobs = Field(
        default_factory=lambda: SlurmJobs.model_validate({}),
        description="What holds beside it for phases whose steps need GPUs.",
    )

    @model_validator(mode="after")
    def _time_to_warn(self) -> Self:
        for jobs in (self.cpu.over(self.common), self.gpu.over(self.common)):
            limit, warning = _seconds(jobs.time), jobs.warning or WARNING
            if limit and limit <= warning:
                raise fault(
                    "C102",
                    f"the time limit {jobs.time} is {limit} s, and tasks are warned {warning} s before it",
                    "raise `time`, or lower `warning`",
                )
        return self

    def section(self, name: Literal["cpu", "gpu"]) -> SlurmJobs:
        """Everything that holds for the jobs of one kind."""
        return (self.gpu if name == "gpu" else self.cpu).over(self.common)


class RayNodes(Entry):
    """Nodes that a Ray cluster adds on demand, as its autoscaler is configured."""

    nodes: int = Field(ge=1, le=100_000, description="How many at most.")
    cpus: int = Field(ge=1, le=4096, description="CPUs of each.")
    gpus: int = Field(0, ge=0, le=64, description="GPUs of each.")
    memory: Size = Field(description="Memory of each that Ray gives out, such as 200GB.")


class RayCluster(Entry):
    """Where `--on ray` works."""

    address: str | None = Field(
        None,
        min_length=1,
        description="Address of the cluster, `local` for one that lives as long as the run; by default $RAY_ADDRESS, "
        "else one that runs on this machine, else `local`.",
    )
    start_timeout: float = Field(
        600.0,
        gt=0,
        description="Seconds to wait for a first worker where the cluster is busy, or has yet to add a node for it.",
    )
    unit_timeout: float | None = Field(
        None,
        gt=0,
        description="Seconds that a worker may be at one unit; then it is ended, and the unit tried again, `retries` times. "
        "Its first unit of a phase includes the loading of models. By default there is no limit.",
    )
    adds: RayNodes | None = Field(
        None,
        description="Nodes that the cluster's autoscaler adds when they are asked for; without it only nodes that are there "
        "count.",
    )


class Execution(Entry):
    """How a run uses the machine; nothing here changes a byte of the output."""

    workers: Literal["auto"] | Annotated[int, Field(ge=1, le=4096)] = Field(
        "auto", description="Processes that work at once; auto: as many as cores and memory allow."
    )
    threads: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        None,
        description="Threads of each process, which go through the batches of a shard; by default 1 where all workers have "
        "shards, and where fewer are left, as many as fill the cores and memory holds.",
    )
    local_tmp: PathText | None = Field(
        None, description="A fast local folder for scratch files, such as $TMPDIR."
    )
    retries: Annotated[int, Field(ge=0, le=100)] = Field(
        2, description="How often a failed task is tried again."
    )
    memory: Size | None = Field(None, description="Memory that all workers together may use, such as 16GB.")
    max_files: Annotated[int, Field(ge=1)] = Field(
        1_000_000,
        description="Files that the run folder may come to hold; a run that needs more does not start.",
    )
    slurm: Slurm = Field(
        default_factory=lambda: Slurm.model_validate({}),
        description="The jobs of `curate run --on slurm`: common, cpu and gpu.",
    )
    ray: RayCluster = Field(
        default_factory=lambda: RayCluster.model_validate({}), description="The cluster of `--on ray`."
    )

    @field_validator("workers", mode="before")
    @classmethod
    def _workers(cls, value: Any) -> Any:
        if value == "auto" or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        raise fault("C102", "workers is `auto` or a number of processes")
