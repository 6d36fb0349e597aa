"""Phases of a plan: steps fused into passes, jobs between them, outputs as count, exchange and write; each with its
fingerprint.

A job cuts the pass: its mapper works at the end of the pass before, its reduce phases follow, and its marks are the first
step of the pass after. From its first reduce phase on, every unit depends on the whole input. A reduce phase that makes
a folder for other runs, such as an index, comes after the check of the job's ceilings.

A fingerprint is a digest of what the phase does and of every phase before it. Workers, tasks and times are in none,
nor are paths: of a file that a step reads its name and checksum count, of an index that one writes that there is one. The
card's title and licence are not either, because the card is written anew whenever its text changes. What only a job's
reduce phases look at is not in the pass that ends with its mapper (`Job.mapping`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, NamedTuple

from curate import __version__
from curate.config.load import Loaded
from curate.core.exchange import FORMAT
from curate.core.manifest import Manifest
from curate.core.plan import OutputPlan, Phase, PhaseKind, StepPlan, digest
from curate.core.stage import Resources
from curate.planning.exchange_memory import exchange_memory

#: Raised when the meaning of what a kind of phase writes changes.
_VERSIONS: Final = {"ingest": 1, "pass": 1, "reduce": 2, "check": 1, "count": 1, "exchange": 1, "write": 1}


def provenance(loaded: Loaded, steps: Sequence[StepPlan]) -> dict[str, Any]:
    """The config as it goes into published metadata: what decides the content, without paths and execution."""
    modes = {s.name: s.mode for s in loaded.config.steps}
    return {
        "name": loaded.config.name,
        "words": loaded.config.words,
        "steps": [
            {"use": s.use, "as": s.name, "when": s.when, "mode": modes[s.name], **s.portable_options}
            for s in steps
        ],
    }


class PlannedReduce(NamedTuple):
    """A reduce phase of a job. makes, follows_mode, passing: as in `curate.core.stage.Reduce`."""

    name: str
    units: int
    makes: str | None
    follows_mode: bool
    passing: bool


@dataclass(frozen=True)
class PlannedStep:
    """A step with what it needs. mapping: what decides a job's records (`Job.mapping`). checked: whether a job's ceilings
    are looked at before its marks drop anything. units: what a unit of a reduce phase needs."""

    plan: StepPlan
    needs: Resources
    partitions: int = 0
    reduces: tuple[PlannedReduce, ...] = ()
    checked: bool = False
    mapping: Mapping[str, Any] | None = None
    units: Resources | None = None


def phases(
    manifest: Manifest,
    steps: Sequence[PlannedStep],
    outputs: Sequence[OutputPlan],
    language: str | None,
    words: str,
    config: Mapping[str, Any],
) -> tuple[Phase, ...]:
    """Phases in order, each with the fingerprint of what it does and of everything before it."""
    planned: list[Phase] = []
    upstream = digest("ingest", _VERSIONS["ingest"])
    if manifest.ingest:
        planned.append(Phase("ingest", "ingest", upstream))
    corpus, source = False, None
    for number, group in enumerate(_fused(steps), start=1):
        job = group.job
        parts: list[Any] = [s.identity() for s in group.steps]
        if job is not None:
            parts.append(["mapper", job.plan.maps(job.mapping), job.partitions])
        upstream = digest("pass", _VERSIONS["pass"], upstream, language, words, parts)
        planned.append(
            Phase(
                f"pass{number}",
                "pass",
                upstream if job is None else _filed(upstream),
                tuple(group.steps),
                resources=asdict(group.needs),
                corpus=corpus,
                job=job.plan if job is not None else None,
                partitions=job.partitions if job is not None else 0,
                source=source,
            )
        )
        source = None
        if job is not None:
            source, corpus = f"pass{number}", True
            for reduce in job.reduces:
                if reduce.makes is None:
                    upstream = _reduced(job.plan, reduce, upstream)
                    planned.append(_reduce(job, reduce, upstream, source))
                    source = planned[-1].name
            if job.checked:
                planned.append(
                    Phase(
                        f"{job.plan.name}.check",
                        "check",
                        digest("check", _VERSIONS["check"], upstream, language),
                        corpus=True,
                        job=job.plan,
                        source=source,
                    )
                )
            # What a job makes for others is made once its ceilings have let it pass; no later phase depends on it.
            for reduce in job.reduces:
                if reduce.makes is not None:
                    made = _reduced(job.plan, reduce, upstream)
                    planned.append(_reduce(job, reduce, made, source))
    for output in outputs:
        counted = digest("count", _VERSIONS["count"], upstream, output.selection())
        spread = digest(
            "exchange", _VERSIONS["exchange"], upstream, language, output.selection(), output.arrangement()
        )
        written = digest(
            "write",
            _VERSIONS["write"],
            spread,
            __version__,
            config,
            output.provenance(),
            output.licence,
            output.title,
        )
        parts_of_output: tuple[tuple[PhaseKind, str], ...] = (
            ("count", counted),
            ("exchange", _filed(spread)),
            ("write", written),
        )
        sending, writing = exchange_memory(manifest, output)
        memory = {"exchange": sending, "write": writing}
        for kind, fingerprint in parts_of_output:
            if kind != "exchange" or output.exchanged:
                whole = corpus or kind != "count"
                needs = {"memory_gb": round(memory[kind] / 1e9, 3)} if memory.get(kind) else {}
                name = f"{output.name}.{kind}"
                planned.append(
                    Phase(name, kind, fingerprint, output=output.name, resources=needs, corpus=whole)
                )
    return tuple(planned)


def _reduced(job: StepPlan, reduce: PlannedReduce, upstream: str) -> str:
    mode = [job.filters] if reduce.follows_mode else []
    return digest("reduce", _VERSIONS["reduce"], upstream, job.decides(), reduce.name, reduce.units, *mode)


def _reduce(job: PlannedStep, reduce: PlannedReduce, fingerprint: str, source: str) -> Phase:
    return Phase(
        f"{job.plan.name}.{reduce.name}",
        "reduce",
        _filed(fingerprint),
        resources=asdict(job.units or job.needs),
        corpus=True,
        job=job.plan,
        partitions=reduce.units,
        source=source,
        makes=reduce.makes,
        passing=reduce.passing,
    )


def _filed(fingerprint: str) -> str:
    """Of a phase that writes exchange files: a new format of theirs makes it write anew, and no phase that reads them."""
    return digest(fingerprint, "exchange", FORMAT)


@dataclass
class _Group:
    """The steps of one pass, and the job whose mapper ends it."""

    steps: list[StepPlan]
    needs: Resources
    job: PlannedStep | None = None


def _fused(steps: Sequence[PlannedStep]) -> list[_Group]:
    """Neighbouring steps with the same number of GPUs in one pass; without steps, one pass that only reads.

    A pass needs the memory of all its steps together.
    """
    groups: list[_Group] = []
    for step in steps:
        if step.plan.kind == "job":
            if not groups or groups[-1].job is not None:
                groups.append(_Group([], Resources(memory_gb=0)))
            before = groups[-1]
            before.job = step
            before.needs = _together(before.needs, step.needs)
            groups.append(_Group([step.plan], Resources(memory_gb=step.needs.memory_gb)))
        elif groups and groups[-1].job is None and groups[-1].needs.gpus == step.needs.gpus:
            groups[-1].steps.append(step.plan)
            groups[-1].needs = _together(groups[-1].needs, step.needs)
        else:
            groups.append(_Group([step.plan], step.needs))
    return groups or [_Group([], Resources(memory_gb=0))]


def _together(one: Resources, other: Resources) -> Resources:
    return Resources(one.memory_gb + other.memory_gb, max(one.gpus, other.gpus))
