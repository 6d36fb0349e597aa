"""`curate status`: how far a run is, phase by phase, what stands in its outputs, and what to type next.

`build_status` makes what `--json` prints out of a `RunState`, `render` what people read. The entries of phases, jobs,
encoders and outputs are those of the report too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from curate.core.objects import Place
from curate.core.plan import OutputPlan
from curate.running.finish import read_published
from curate.views.run_state import RunState, State, read_run

if TYPE_CHECKING:
    from rich.console import Console

#: Exit status of `curate status`.
EXIT: Final[Mapping[State, int]] = {"done": 0, "failed": 1, "running": 3, "pending": 3}


def build_status(root: Place) -> dict[str, Any]:
    """`name state holder phases jobs encoders outputs quarantine failure queue`; the keys it shares with a report mean
    the same there.
    """
    run = read_run(root)
    return {
        "name": run.plan.name,
        "state": run.state,
        "holder": run.holder,
        "phases": phase_entries(run),
        "jobs": job_counts(run),
        "encoders": encoder_entries(run),
        "outputs": [output_entry(run, o) for o in run.plan.outputs],
        "quarantine": {"rows": quarantined_rows(run), "path": quarantine_path(run)},
        "failure": run.failure,
        "queue": run.queue,
    }


def phase_entries(run: RunState) -> list[dict[str, Any]]:
    """`name kind units done rows bytes quarantined` of each phase; units is null until rows have been
    counted.
    """
    entries = []
    for phase in run.phases:
        units, found = phase.units, phase.summary
        entries.append(
            {
                "name": phase.phase.name,
                "kind": phase.phase.kind,
                "units": units,
                "done": units if run.complete(phase) else found.done,
                "rows": found.rows,
                "bytes": found.bytes,
                "quarantined": found.quarantined,
            }
        )
    for entry, phase in zip(entries, run.phases, strict=True):
        if phase.phase.kind == "exchange" and not phase.summary.done and run.complete(phase):
            entry["rows"] = run.phase(f"{phase.phase.output}.write").summary.rows
    return entries


def job_counts(run: RunState) -> dict[str, dict[str, int]]:
    """Job → what its reduce phases counted so far, in the order in which they did: edges, candidates, clusters, …; and
    step → what it counted beside the ledger: texts encoded, found in a cache, …
    """
    found: dict[str, dict[str, int]] = {}
    for phase in run.phases:
        if phase.phase.kind == "reduce" and phase.phase.job is not None:
            counts = found.setdefault(phase.phase.job.name, {})
            for name, number in phase.summary.counts.items():
                counts[name] = counts.get(name, 0) + number
        elif phase.phase.kind == "pass":
            for step, numbers in phase.summary.counts.items():
                counts = found.setdefault(step, {})
                for name, number in numbers.items():
                    counts[name] = counts.get(name, 0) + number
    return found


def encoder_entries(run: RunState) -> list[dict[str, Any]]:
    """Of each encoder in each pass, over the units that are done: `phase encoder tokens busy_seconds seconds
    tokens_per_second busy_share`. The seconds are those of units, so rates are of one worker; null if no time passed."""
    entries = []
    for phase in run.passes:
        for name, work in phase.summary.encoders.items():
            tokens, busy, seconds = work["tokens"], work["busy_seconds"], work["seconds"]
            entries.append(
                {
                    "phase": phase.phase.name,
                    "encoder": name,
                    "tokens": tokens,
                    "busy_seconds": round(busy, 3),
                    "seconds": round(seconds, 3),
                    "tokens_per_second": round(tokens / seconds, 1) if seconds > 0 else None,
                    "busy_share": round(busy / seconds, 4) if seconds > 0 else None,
                }
            )
    return entries


def count_warnings(counts: Mapping[str, Mapping[str, int]]) -> list[dict[str, Any]]:
    """What the counts of jobs and steps warn of, as entries of a report's `warnings`."""
    return [*_cut(counts), *_not_cached(counts)]


def _not_cached(counts: Mapping[str, Mapping[str, int]]) -> list[dict[str, Any]]:
    """A warning for each step whose cache could not be written."""
    return [
        {
            "kind": "not_cached",
            "step": step,
            "reason": None,
            "option": "cache",
            "languages": {},
            "message": f"{step}: what was made of {numbers['not_cached']:,} texts could not be kept for other runs: the "
            "disk of the cache is full, or its folder may not be written",
            "help": "free some space, or name another folder with `cache:`",
        }
        for step, numbers in counts.items()
        if numbers.get("not_cached", 0)
    ]


def _cut(counts: Mapping[str, Mapping[str, int]]) -> list[dict[str, Any]]:
    """A warning for each job that did not compare all documents it should have, because a bucket was too large."""
    return [
        {
            "kind": "cut",
            "step": job,
            "reason": None,
            "option": "max_bucket",
            "languages": {},
            "message": f"{job}: {numbers['cut_buckets']:,} buckets were larger than `max_bucket` and were cut: "
            f"{numbers['cut_documents']:,} documents in them were not compared with the best, so duplicates may be left",
            "help": "raise `max_bucket`, or look for a text that stands in very many documents",
        }
        for job, numbers in counts.items()
        if numbers.get("cut_documents", 0)
    ]


def output_entry(run: RunState, output: OutputPlan) -> dict[str, Any]:
    """What stands in an output's folder. complete: it is all there, and what the plan asks for now."""
    files, complete = read_published(run.folder, output)
    partitions: dict[str, dict[str, int]] = {}
    for file in files if output.partition_by is not None else ():
        entry = partitions.setdefault(file.partition, {"rows": 0, "files": 0, "bytes": 0})
        entry["rows"] += file.rows
        entry["files"] += 1
        entry["bytes"] += file.bytes
    passages = passage_fates(run, output)
    return {
        "name": output.name,
        "unit": output.unit or "documents",
        "path": output.path,
        "rows": sum(f.rows for f in files),
        "files": len(files),
        "bytes": sum(f.bytes for f in files),
        "complete": complete and run.phase(f"{output.name}.write").complete,
        "partitions": dict(sorted(partitions.items())),
        "passages": passages,
    }


def passage_fates(run: RunState, output: OutputPlan) -> dict[str, Any] | None:
    """Of an output of passages, what became of those of the units that are counted: `documents cut dropped where published`,
    `dropped` by step; None for an output of documents."""
    if output.unit is None:
        return None
    total: dict[str, Any] = {"documents": 0, "cut": 0, "dropped": {}, "where": 0, "published": 0}
    for done in run.phase(f"{output.name}.count").done.values():
        found = done.facts["passages"]
        for key in ("documents", "cut", "where", "published"):
            total[key] += found[key]
        for step, count in found["dropped"].items():
            total["dropped"][step] = total["dropped"].get(step, 0) + count
    return total


def quarantined_rows(run: RunState) -> int:
    """Rows in the quarantine, over all phases."""
    return sum(p.summary.quarantined for p in run.phases)


def quarantine_path(run: RunState) -> str | None:
    """The folder with the bad records, if there are any."""
    return str(run.folder.root / "quarantine") if quarantined_rows(run) else None


def render(status: Mapping[str, Any], run: str, console: Console) -> None:
    """The state and a line for each phase, for people. run: how the user calls this run."""
    from rich.table import Table
    from rich.text import Text

    from curate.views.report_view import counts_text, encoder_text, plural

    console.print(Text(f"{status['name']}: {status['state']}", style="bold"))
    if status["holder"] is not None:
        console.print(Text(f"in use by {status['holder']}"))
    if (queue := status["queue"]) is not None:
        console.print(Text(_queue_line(queue)))
    table = Table(box=None, pad_edge=False)
    table.add_column("phase", overflow="fold")
    for heading in ("units", "rows", "quarantined"):
        table.add_column(heading, justify="right", overflow="fold")
    for phase in status["phases"]:
        units = "?" if phase["units"] is None else f"{phase['units']:,}"
        bad = f"{phase['quarantined']:,}" if phase["quarantined"] else ""
        table.add_row(Text(phase["name"]), f"{phase['done']:,} / {units}", f"{phase['rows']:,}", bad)
    console.print(table)
    for job, counts in status["jobs"].items():
        if counts:
            console.print(Text(f"{job}: {counts_text(counts)}"))
    for entry in status["encoders"]:
        console.print(Text(encoder_text(entry)))
    for warning in count_warnings(status["jobs"]):
        console.print(Text(f"warning: {warning['message']}", style="yellow"))
    for output in status["outputs"]:
        whole = "complete" if output["complete"] else "not complete"
        held = f"{plural(output['rows'], 'row')} in {plural(output['files'], 'file')}"
        console.print(Text(f"output {output['name']}: {whole}, {held}, {output['path']}"))
    if status["quarantine"]["rows"]:
        console.print(
            Text(f"quarantine: {status['quarantine']['rows']:,} rows, {status['quarantine']['path']}")
        )
    for problem in status["failure"] or ():
        console.print(Text(f"{problem['code']}: {problem['message']}", style="red"))
    console.print(Text(next_step(status, run)))


def _queue_line(queue: Mapping[str, Any]) -> str:
    """What Slurm's queue has of a run."""
    if queue["problem"] is not None:
        return f"Slurm's queue cannot be asked: {queue['problem']}"
    reasons = ", ".join(queue["reasons"])
    waiting = f"{queue['waiting']:,} waiting" + (f" ({reasons})" if reasons else "")
    phase = f", phase {queue['phase']}" if queue["phase"] is not None else ""
    return f"Slurm{phase}: {queue['working']:,} at work, {waiting}; jobs {', '.join(queue['jobs'])}"


def next_step(status: Mapping[str, Any], run: str) -> str:
    """What to type next."""
    if status["state"] == "done":
        return f"next: curate report {run}"
    if status["state"] == "running":
        return f"it is at work; ask again with: curate status {run}"
    return "next: curate run with its config continues, finished units are kept"
