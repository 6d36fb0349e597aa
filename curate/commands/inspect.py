"""`curate inspect`: look at documents of a run, or at a data file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from curate.views.documents import Documents
    from curate.views.inspection import Wanted


@click.command("inspect")
@click.argument("what", metavar="RUN|PATH")
@click.option(
    "--step", help="Documents that entered this step; with a fate, those to which it happened there."
)
@click.option("--dropped", "fate", flag_value="dropped", help="Documents that were dropped.")
@click.option("--kept", "fate", flag_value="kept", help="Documents that were kept.")
@click.option(
    "--quarantined", "fate", flag_value="quarantined", help="Records that could not be read or handled."
)
@click.option("--reason", help="Documents that failed this rule; of a bad record, part of why it is bad.")
@click.option("--language", help="Documents in this language, such as deu_Latn; und: none is known.")
@click.option("--n", "count", type=click.IntRange(1), default=10, show_default=True, help="How many to show.")
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Another seed, another sample."
)
@click.option("--columns", help="Show these columns only: id,lid__prob,text.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON, whole texts included.")
@click.pass_context
def command(
    context: click.Context,
    what: str,
    step: str | None,
    fate: str | None,
    reason: str | None,
    language: str | None,
    count: int,
    seed: int,
    columns: str | None,
    as_json: bool,
) -> None:
    """Look at a random sample of a run's documents, or at a data file.

    RUN is a run folder, a run's name, or its config file. PATH is a Parquet or JSON Lines file, or a
    published folder: its schema, rows, row groups and bytes of each column are shown, and how it was made.

    \b
    Example: curate inspect runs/web --dropped --step select --n 3
    """
    import json

    from curate.commands.find_run import find_run, is_run
    from curate.views.report_view import make_console

    path = Path(what)
    if path.exists() and not is_run(path) and path.suffix not in (".yaml", ".yml"):
        _only_for_runs(context)
        from curate.views.data_files import describe_data, show_data

        facts = describe_data(path)
        if as_json:
            click.echo(json.dumps(facts, indent=2, ensure_ascii=False))
        else:
            show_data(facts, make_console())
        return

    from curate.views.document_view import as_json_row, show_sample
    from curate.views.documents import Documents
    from curate.views.inspection import Wanted, reasons_of, sample
    from curate.views.run_state import read_run

    documents = Documents(read_run(find_run(what)))
    wanted = Wanted(fate, step, reason, language)  # type: ignore[arg-type]  # click.Choice has checked it
    chosen = _checked(documents, wanted, columns)
    found = sample(documents, wanted, count, seed)
    if as_json:
        rows = [as_json_row(d, chosen) for d in found.documents]
        click.echo(
            json.dumps({"found": found.found, "rows": rows}, indent=2, ensure_ascii=False, default=str)
        )
        return
    console = make_console()
    show_sample(found, chosen, what, console)
    if not found.found and reason is not None:
        known = reasons_of(documents, step)
        console.print(f"reasons for which documents were dropped: {', '.join(known) or 'none'}", markup=False)


def _only_for_runs(context: click.Context) -> None:
    """Options that ask about fates make no sense for a data file."""
    for parameter in context.command.params:
        given = context.get_parameter_source(parameter.name or "") is click.core.ParameterSource.COMMANDLINE
        if given and parameter.name not in ("what", "as_json"):
            name = parameter.opts[0] if parameter.name != "fate" else f"--{context.params['fate']}"
            raise click.UsageError(f"{name} is for runs; {context.params['what']} is a data file")


def _checked(documents: Documents, wanted: Wanted, columns: str | None) -> list[str] | None:
    """The columns to show, None for all; a usage error if a step, language or column is none."""
    from curate.core.columns import UNDETERMINED
    from curate.core.languages import is_language, suggest

    names = documents.step_names
    if wanted.step is not None and wanted.step not in names:
        raise click.BadParameter(_unknown("step", wanted.step, names), param_hint="--step")
    if wanted.language is not None and wanted.language != UNDETERMINED and not is_language(wanted.language):
        meant = suggest(wanted.language)
        hint = f"; did you mean '{meant}'?" if meant else ""
        raise click.BadParameter(f"'{wanted.language}' is not a language{hint}", param_hint="--language")
    if columns is None:
        return None
    known = [*documents.source.names, *(c for s in documents.plan.steps for c in s.writes)]
    chosen = [c.strip() for c in columns.split(",") if c.strip()]
    for column in chosen:
        if column not in known:
            raise click.BadParameter(_unknown("column", column, known), param_hint="--columns")
    return chosen


def _unknown(what: str, word: str, known: list[str]) -> str:
    from curate.core.suggest import did_you_mean, or_list

    near = did_you_mean(word, known)
    return f"there is no {what} '{word}'; " + (
        f"did you mean '{near}'?" if near else f"there is {or_list(known)}"
    )
