"""`curate thresholds`: bounds by language from what a run has measured."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from curate.views.documents import Documents


@click.command("thresholds")
@click.argument("run")
@click.option(
    "--method",
    type=click.Choice(["quantile", "meanstd", "tail10"]),
    default="quantile",
    show_default=True,
    help="Drop the share that is dropped in the reference language; keep the distance from the mean in standard "
    "deviations; or drop a tenth by each rule.",
)
@click.option("--reference", metavar="RUN", help="A run over a reference corpus; default: RUN itself.")
@click.option(
    "--reference-language",
    default="eng_Latn",
    show_default=True,
    metavar="LANGUAGE",
    help="The language whose bounds are carried over.",
)
@click.option(
    "--tail",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.1,
    show_default=True,
    help="Share of documents that each rule drops by tail10.",
)
@click.option(
    "--min-docs",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    help="Languages with fewer documents are left out.",
)
@click.option("--languages", metavar="A,B", help="Only these languages.")
@click.option("--options", metavar="A,B", help="Only the bounds that these options of the filters hold.")
@click.option(
    "--stop-words",
    is_flag=True,
    help="List each language's stop words too, counted in the texts of the reference corpus.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Write them: a folder of files by language, or one file if it ends in .yaml.",
)
@click.option("--force", is_flag=True, help="Replace files that something else wrote.")
@click.option(
    "--quantiles",
    is_flag=True,
    help="Show what ten thresholds on each score would keep, in documents and bytes, instead of bounds.",
)
@click.option(
    "--columns", metavar="A,B", help="With --quantiles: these columns; default: all whose name ends in score."
)
@click.option("--all", "everything", is_flag=True, help="Show every language.")
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
def command(
    run: str,
    method: str,
    reference: str | None,
    reference_language: str,
    tail: float,
    min_docs: int,
    languages: str | None,
    options: str | None,
    stop_words: bool,
    output: Path | None,
    force: bool,
    quantiles: bool,
    columns: str | None,
    everything: bool,
    as_json: bool,
) -> None:
    """Derive bounds for every language, and show what each rule would drop.

    The rules' bounds, and that of the language's probability, are derived from what the run has measured; nothing is
    computed anew and nothing dropped. With --output they are written as files that `thresholds:` of the rule filters
    reads.

    With --quantiles it previews thresholds on scores: what each would keep of the documents that have one, dropped since
    or not.

    RUN is a run folder, a run's name, or its config file. Unfinished runs are taken as far as they are.

    \b
    Example: curate thresholds runs/web --output thresholds
    Example: curate thresholds runs/web --method tail10 --reference runs/wiki
    Example: curate thresholds runs/web --reference runs/wiki --stop-words --output thresholds
    Example: curate thresholds runs/web --quantiles
    """
    import json

    from curate.commands.find_run import find_run
    from curate.thresholds.derive import Request, derive
    from curate.thresholds.files import write_thresholds
    from curate.thresholds.view import render
    from curate.views.documents import Documents
    from curate.views.run_state import read_run

    documents = Documents(read_run(find_run(run)))
    codes = tuple(_language(code, "--languages") for code in _listed(languages))
    if quantiles:
        _only_scores()
        _preview(documents, _listed(columns), codes, min_docs, everything, as_json)
        return
    if columns is not None:
        raise click.UsageError("--columns goes with --quantiles")
    corpus = Documents(read_run(find_run(reference))) if reference is not None else None
    request = Request(
        method=method,  # type: ignore[arg-type]  # click.Choice has checked it
        reference_language=_language(reference_language, "--reference-language"),
        tail=tail,
        min_docs=min_docs,
        languages=codes,
        options=_options(documents, _listed(options)),
        stop_words=stop_words,
    )
    table = derive(documents, request, corpus)
    for code in request.languages:
        if code not in table["languages"]:
            raise click.BadParameter(f"the run has no documents in '{code}'", param_hint="--languages")
    if as_json:
        click.echo(json.dumps(table, indent=2, ensure_ascii=False))
    else:
        from curate.views.report_view import make_console

        render(table, make_console(), everything=everything)
        click.echo()
    if output is None:
        if not as_json and table["values"]:
            click.echo(
                f"next: curate thresholds {run} … --output thresholds, and `thresholds: thresholds` in the filter"
            )
        return
    if not table["values"]:
        raise click.UsageError("nothing was derived, so there is nothing to write")
    written, others = write_thresholds(table, output, force=force)
    click.echo(
        f"wrote {_many(written)} in {output}" if output.suffix == "" else f"wrote {output}", err=as_json
    )
    if others:
        click.echo(f"{_many(others)} of other languages stay as they were", err=as_json)


def _only_scores() -> None:
    """A usage error for options that say how bounds are derived."""
    context = click.get_current_context()
    others = ("method", "reference", "reference_language", "tail", "options", "stop_words", "output", "force")
    for name in others:
        if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
            raise click.UsageError(f"--{name.replace('_', '-')} does not go with --quantiles")


def _preview(
    documents: Documents,
    columns: list[str],
    languages: tuple[str, ...],
    min_docs: int,
    everything: bool,
    as_json: bool,
) -> None:
    """What thresholds on scores would keep."""
    import json

    from curate.thresholds.shares import score_columns, shares
    from curate.thresholds.shares_view import render_shares
    from curate.views.report_view import make_console

    wanted = frozenset(languages) if languages else None
    table = shares(documents, score_columns(documents, columns), min_docs=min_docs, languages=wanted)
    if as_json:
        click.echo(json.dumps(table, indent=2, ensure_ascii=False))
    else:
        render_shares(table, make_console(), everything=everything)


def _listed(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def _language(code: str, option: str) -> str:
    from curate.core.languages import is_language, suggest

    if not is_language(code):
        meant = suggest(code)
        hint = f"; did you mean '{meant}'?" if meant else ""
        raise click.BadParameter(f"'{code}' is not a language{hint}", param_hint=option)
    return code


def _options(documents: Documents, wanted: Iterable[str]) -> tuple[str, ...]:
    """The options asked for; a usage error if no rule of the run has one."""
    from curate.core.suggest import did_you_mean, or_list
    from curate.thresholds.rules import LANGUAGE_SCORE, filters_of

    filters = filters_of(documents.plan) if wanted else []
    names = [name for f in filters for side in f.sides() for name in (side.option, f.key(side))]
    known = {LANGUAGE_SCORE, *(name.partition(".")[0] for name in names if name)}
    for option in wanted:
        if option not in known:
            near = did_you_mean(option, known)
            hint = f"did you mean '{near}'?" if near else f"there is {or_list(sorted(known))}"
            raise click.BadParameter(f"no rule has the option '{option}'; {hint}", param_hint="--options")
    return tuple(wanted)


def _many(files: list[Path]) -> str:
    return f"{len(files):,} file" + "s" * (len(files) != 1)
