"""`curate dedup`: look at what a deduplication found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

    from curate.core.plan import StepPlan
    from curate.views.documents import Documents


@click.group("dedup")
def command() -> None:
    """Look at what a deduplication found, and derive weights from it.

    \b
    Example: curate dedup pairs runs/web
    """


@command.command("pairs")
@click.argument("run")
@click.option("--step", help="The deduplication, if the run has several.")
@click.option(
    "--doc", type=click.IntRange(0), help="Pairs of the document with this number, and its cluster."
)
@click.option("--id", "wanted", help="Pairs of the documents with this id, and their clusters.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="How many to show.")
@click.option("--min", "minimum", type=click.FloatRange(0, 1), help="Only pairs at least as similar.")
@click.option("--max", "maximum", type=click.FloatRange(0, 1), help="Only pairs at most as similar.")
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
def pairs(
    run: str,
    step: str | None,
    doc: int | None,
    wanted: str | None,
    limit: int,
    minimum: float | None,
    maximum: float | None,
    as_json: bool,
) -> None:
    """Show pairs of documents that were compared, and why one of them went.

    A pair is verified or rejected by its similarity, restarred if it was found among rejected ones, believed with
    `verify: none`, equal in `dedup.exact`. Of one document its cluster is shown too, and the chain of pairs that leads to
    its survivor.

    RUN is a run folder, a run's name, or its config file. Runs that a ceiling stopped can be asked too.

    \b
    Example: curate dedup pairs runs/web --max 0.75 --limit 10
    """
    import json

    from curate.commands.find_run import find_run
    from curate.views.documents import Documents
    from curate.views.pairs import Pairs, Wanted
    from curate.views.report_view import make_console
    from curate.views.run_state import read_run

    documents = Documents(read_run(find_run(run)))
    docs = _docs(documents, doc, wanted)
    found = Pairs(documents, _step(documents, step)).show(Wanted(docs, limit, minimum, maximum))
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        _show(found, make_console())


@command.command("weights")
@click.argument("run")
@click.option("--step", help="The deduplication, if the run has several.")
@click.option("--most", type=click.IntRange(2), default=10, show_default=True, help="The greatest weight.")
@click.option(
    "--min-docs",
    type=click.IntRange(1),
    default=1_000,
    show_default=True,
    help="Survivors that a class of cluster sizes needs; with fewer it joins the next smaller one.",
)
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
def weights(run: str, step: str | None, most: int, min_docs: int, as_json: bool) -> None:
    """Derive weights for `rehydrate:` from what the filters after a deduplication removed.

    Survivors of clusters of a size to which the filters object less than to all together get a greater weight.

    RUN is a run folder, a run's name, or its config file, and finished.

    \b
    Example: curate dedup weights runs/web --min-docs 100
    """
    import json

    from curate.commands.find_run import find_run
    from curate.views.documents import Documents
    from curate.views.run_state import read_run
    from curate.views.weights import weights_table

    documents = Documents(read_run(find_run(run)))
    chosen = _step(documents, step)
    if not all(phase.complete for phase in documents.run.passes):
        raise click.UsageError("the run is not finished: its filters have not seen every document")
    table = weights_table(documents, chosen, most=most, minimum=min_docs)
    if as_json:
        click.echo(json.dumps(table, indent=2))
        return
    for row in table["classes"]:
        share = 100 * row["removed"] / max(1, row["documents"])
        click.echo(
            f"clusters from {row['sizes_from']:>5,}: {row['removed']:,} of {row['documents']:,} survivors removed later "
            f"({share:.1f} %), weight {row['weight']}"
        )
    pairs = ", ".join(f"{size}: {weight}" for size, weight in table["rehydrate"].items())
    click.echo(f"rehydrate: {{{pairs}}}")


def _step(documents: Documents, name: str | None) -> StepPlan:
    from curate.core.suggest import or_list
    from curate.views.pairs import deduplications

    known = {s.name: s for s in deduplications(documents)}
    if not known:
        raise click.UsageError("this run has no deduplication")
    if name is None and len(known) > 1:
        raise click.UsageError(f"say which deduplication: --step {or_list(list(known))}")
    if name is not None and name not in known:
        raise click.BadParameter(f"'{name}' is none; there is {or_list(list(known))}", param_hint="--step")
    return known[name] if name is not None else next(iter(known.values()))


def _docs(documents: Documents, doc: int | None, wanted: str | None) -> tuple[int, ...] | None:
    from curate.core.errors import error

    if doc is None and wanted is None:
        return None
    if doc is not None and wanted is not None:
        raise click.UsageError("give either --doc or --id")
    found = documents.find(wanted) if wanted is not None else [doc] if documents.exists(doc or 0) else []
    if not found:
        what = f"has the id '{wanted}'" if wanted is not None else f"is doc:{doc}"
        raise error("R308", f"no document of this run {what}", help="`curate inspect` shows ids and numbers")
    return tuple(int(number) for number in found if number is not None)


def _show(found: Mapping[str, Any], console: Console) -> None:
    from rich.text import Text

    from curate.views.report_view import plural

    for life in found["documents"]:
        _show_life(life, console)
    for pair in found["pairs"]:
        facts = [pair["verdict"]]
        if pair["similarity"] is not None:
            facts.append(f"similarity {pair['similarity']:.3f}")
        if pair["shared_bands"] is not None:
            facts.append(plural(pair["shared_bands"], "shared band"))
        if pair["same_cluster"]:
            facts.append(f"cluster {pair['cluster']}")
        console.print(Text(", ".join(facts), style="bold"))
        for document in pair["documents"]:
            console.print(Text(_line(document)))
    console.print(Text(f"{len(found['pairs']):,} of {plural(found['found'], 'pair')} of {found['step']}"))
    if found["pending"] is not None:
        console.print(Text(f"{found['pending']} is not finished; ask again when it is"))


def _show_life(life: Mapping[str, Any], console: Console) -> None:
    from rich.text import Text

    from curate.views.report_view import plural

    console.print(Text(_line(life["document"]), style="bold"))
    if life["cluster"] is None:
        console.print(Text("  is in no cluster"))
        return
    console.print(Text(f"  is in cluster {life['cluster']} of {plural(life['cluster_size'], 'document')}"))
    if life["chain"]:
        console.print(Text("  came to its survivor by"))
    for link in life["chain"]:
        alike = (
            f"similarity {link['similarity']:.3f}" if link["similarity"] is not None else "equal or believed"
        )
        console.print(Text(f"    {alike:<18}{_line(link)}"))
    console.print(Text("  its cluster"))
    for member in life["members"]:
        console.print(Text(f"  {_line(member)}"))
    left = life["cluster_size"] - len(life["members"])
    if left > 0:
        console.print(Text(f"    and {left:,} more"))
    console.print()


def _line(document: Mapping[str, Any]) -> str:
    """`  kept     id (source web, eng_Latn): the first line`."""
    from curate.views.documents import excerpt

    fate = {True: "kept", False: "removed", None: "?"}[document["keep"]]
    source = f"source {excerpt(document['source'], 40)}, " if document["source"] else ""
    about = f"{source}{document['language']}, doc:{document['doc']}"
    return f"  {fate:<8} {excerpt(document['id'], 100)} ({about}): {excerpt(document['first_line'], 100)}"
