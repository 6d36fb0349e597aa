"""`curate ner`: gold corpora into one schema, and scores against them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from filters.ner.bio import Scheme
    from filters.ner.export import By
    from filters.ner.gold import Imported
    from filters.ner.splits import Group

_COLUMN = click.IntRange(1)
_SHARE = click.FloatRange(0, 1)


@click.group("ner", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Work with annotated text: named entities.

    \b
    Example: curate ner import gold/*.conll --language deu_Latn --output gold
    """


@command.command("import")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(path_type=Path))
@click.option(
    "--output", required=True, type=click.Path(path_type=Path), help="A folder; two Parquet files go there."
)
@click.option("--names", metavar="PATTERN", help="What the files' names say: '{source}-{language}-{split}'.")
@click.option("--language", help="Of all files; without a script (deu) the one they are written in is added.")
@click.option("--split", help="Of all files: train, dev, test or another name.")
@click.option("--source", help="The corpus; default: each file's name.")
@click.option("--token-column", type=_COLUMN, help="Column of the tokens, from 1; default: found.")
@click.option("--tag-column", type=_COLUMN, help="Column of the tags, from 1; default: found.")
@click.option(
    "--scheme",
    type=click.Choice(["bio", "iob1", "bioes"]),
    help="Of the tags; default: found, for each file.",
)
@click.option(
    "--types",
    type=click.Path(dir_okay=False, path_type=Path),
    help="More labels: lines of label, tab, standard type.",
)
@click.option("--force", is_flag=True, help="Replace what an earlier import wrote.")
def import_command(
    paths: tuple[Path, ...],
    output: Path,
    names: str | None,
    language: str | None,
    split: str | None,
    source: str | None,
    token_column: int | None,
    tag_column: int | None,
    scheme: Scheme | None,
    types: Path | None,
    force: bool,
) -> None:
    """Read gold corpora into one schema.

    PATH is a file of tagged tokens (CoNLL, UNER, MasakhaNER, NorNE; plain or compressed) or a folder of such. Tags are
    checked and repaired; repairs.parquet in the folder has a row for each line that was.

    \b
    Example: curate ner import gold/*.tsv --names '{source}-{language}-{split}' --output gold
    Example: curate ner import train.conll --language nob --split train --output norne
    """
    from curate.core.errors import error
    from filters.ner.gold import REPAIRS_FILE, SENTENCES_FILE, Import, import_gold, name_pattern
    from filters.ner.types import type_map

    if names is not None:
        try:
            name_pattern(names)
        except ValueError as cause:
            raise click.BadParameter(str(cause), param_hint="--names") from cause
    files = _files(paths)
    _check_exists(types, "--types")
    if any((output / name).exists() for name in (SENTENCES_FILE, REPAIRS_FILE)) and not force:
        raise error(
            "C205", f"{output} holds an import already", help="choose another --output, or give --force"
        )
    request = Import(
        files,
        output,
        type_map() if types is None else type_map().with_file(types),
        names,
        language,
        split,
        source,
        None if token_column is None else token_column - 1,
        None if tag_column is None else tag_column - 1,
        scheme,
    )
    found = import_gold(request, _show_file)
    _show_total(found, output)


def _files(paths: tuple[Path, ...]) -> list[Path]:
    """The files, and those in the folders, by name."""
    files: list[Path] = []
    for path in paths:
        _check_exists(path, "PATH")
        inside = sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
        if not inside:
            raise click.BadParameter(f"there are no files in '{path}'", param_hint="PATH")
        files += inside
    return files


def _check_exists(path: Path | None, parameter: str) -> None:
    if path is not None and not path.exists():
        raise click.BadParameter(f"there is no '{path}'", param_hint=parameter)


def _show_file(facts: Imported) -> None:
    counts = f"{facts.sentences:,} sentences, {facts.tokens:,} tokens, {facts.entities:,} entities"
    click.echo(
        f"{facts.path}: {facts.language}, {counts}, {facts.repairs:,} repairs ({facts.layout}; {facts.scheme})"
    )


def _show_total(found: list[Imported], output: Path) -> None:
    from collections import Counter

    labels, unknown = Counter[str](), Counter[str]()
    for facts in found:
        labels += facts.labels
        unknown += facts.unknown
    sentences, repairs = sum(f.sentences for f in found), sum(f.repairs for f in found)
    click.echo(
        f"{len(found):,} files, {sentences:,} sentences in {output}; {repairs:,} lines in repairs.parquet"
    )
    click.echo("entities: " + ", ".join(f"{label} {count:,}" for label, count in labels.most_common()))
    if unknown:
        listed = ", ".join(f"{label} {count:,}" for label, count in unknown.most_common())
        click.echo(f"without a standard type (--types adds some): {listed}")


@command.command("score")
@click.argument("gold", type=click.Path(path_type=Path))
@click.argument("pred", type=click.Path(path_type=Path))
@click.option(
    "--by",
    type=click.Choice(["core", "standard", "label"]),
    default="core",
    show_default=True,
    help="Types to compare: PER LOC ORG MISC, the standard types, or the labels as they are.",
)
@click.option(
    "--types",
    type=click.Path(dir_okay=False, path_type=Path),
    help="More labels: lines of label, tab, standard type.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the scores as JSON.")
def score_command(gold: Path, pred: Path, by: str, types: Path | None, as_json: bool) -> None:
    """Score predicted spans against gold ones.

    GOLD and PRED are folders that `curate ner import` or a run wrote, or Parquet files with `text` and `spans` (start,
    end, label; in code points). Sentences are paired by their text. Strict scores are those of seqeval; relaxed ones count
    spans that overlap.

    \b
    Example: curate ner score gold predicted
    Example: curate ner score gold predicted.parquet --by label --json
    """
    import json

    from filters.ner.score import read_annotated, score
    from filters.ner.score_view import render
    from filters.ner.types import type_map

    for path, parameter in ((gold, "GOLD"), (pred, "PRED"), (types, "--types")):
        _check_exists(path, parameter)
    known = type_map() if types is None else type_map().with_file(types)
    scores = score(read_annotated(gold), read_annotated(pred), by, known).to_dict()  # type: ignore[arg-type]
    click.echo(json.dumps(scores, indent=2, ensure_ascii=False) if as_json else render(scores))


@command.command("export")
@click.argument("gold", type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "kind",
    type=click.Choice(["bio", "gliner", "spacy", "datasets"]),
    default="bio",
    show_default=True,
    help="A token and its tag a line; GLiNER's JSON Lines; spaCy's DocBin; or a folder for `datasets`.",
)
@click.option(
    "--by",
    type=click.Choice(["label", "translation", "standard", "core"]),
    default="label",
    show_default=True,
    help="What stands as label; `datasets` keeps all of them.",
)
@click.option(
    "--types",
    type=click.Path(dir_okay=False, path_type=Path),
    help="More labels: lines of label, tab, standard type; without it, types are those that the spans have.",
)
@click.option("--language", help="Only texts in this language: deu_Latn.")
@click.option("--sentences", is_flag=True, help="Cut texts into sentences.")
@click.option("--dev", type=_SHARE, help="Share of hosts and documents for dev; OUTPUT is then a folder.")
@click.option("--test", type=_SHARE, help="Share of hosts and documents for test; OUTPUT is then a folder.")
@click.option(
    "--group",
    type=click.Choice(["host", "document"]),
    default="host",
    show_default=True,
    help="What stays together: pages of a host; or, where there are few hosts, passages of a document alone.",
)
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=1, show_default=True, help="Of the parts.")
@click.option("--title", help="Of the dataset card; default: the folder's name.")
@click.option("--licence", help="That the dataset card states: cc-by-4.0.")
@click.option("--force", is_flag=True, help="Replace an earlier export.")
def export_command(
    gold: Path,
    output: Path,
    kind: str,
    by: By,
    types: Path | None,
    language: str | None,
    sentences: bool,
    dev: float | None,
    test: float | None,
    group: Group,
    seed: int,
    title: str | None,
    licence: str | None,
    force: bool,
) -> None:
    """Write annotated texts for training.

    GOLD is a folder that `curate ner import` or a run wrote, or a Parquet file with `text`, `tokens` and `spans`. Parts are
    by host and document: no two have a page of one host, or a passage of one document, in common. What cannot be written in
    the format is counted.

    \b
    Example: curate ner export gold train.bio
    Example: curate ner export gold train.jsonl --format gliner --by standard
    Example: curate ner export out/ner/annotated spacy --format spacy --by core --dev 0.1 --test 0.1
    Example: curate ner export out/ner/annotated dataset --format datasets --dev 0.1 --test 0.1
    """
    import pyarrow.compute as pc

    from curate.core.errors import error
    from filters.ner.export import LABELS_CHANGED, read_tokens
    from filters.ner.export_parts import Request, export_datasets, export_file, export_parts
    from filters.ner.splits import Shares
    from filters.ner.types import type_map

    _check_exists(gold, "GOLD")
    _check_exists(types, "--types")
    if kind == "datasets" and by != "label":
        raise click.BadParameter("`datasets` has all kinds of labels; leave it out", param_hint="--by")
    if (dev or 0) + (test or 0) > 1:
        raise click.BadParameter(f"{dev} and {test} are together more than 1", param_hint="--dev, --test")
    if output.exists() and not force:
        raise error("C205", f"{output} is there already", help="choose another OUTPUT, or give --force")
    if output.is_dir() and kind != "datasets" and dev is None and test is None:
        raise error(
            "C205", f"{output} is a folder", help="give OUTPUT a file's name, or shares by --dev and --test"
        )
    table = read_tokens(gold)
    if language is not None:
        found = (
            sorted(set(table["language"].to_pylist()) - {None}) if "language" in table.column_names else []
        )
        if language not in found:
            raise click.BadParameter(
                f"there is no '{language}' in {gold}; its languages: {', '.join(found) or 'none'}",
                param_hint="--language",
            )
        table = table.filter(pc.equal(table["language"], language))
    shares = None if dev is None and test is None else Shares(dev or 0.0, test or 0.0)
    known = type_map() if types is None else type_map().with_file(types)
    named = title or output.name
    request = Request(
        by,
        known,
        shares,
        seed,
        sentences,
        named,
        licence,
        group,
        anew=types is not None,
    )
    if kind == "datasets":
        done = export_datasets(table, output, request)
    elif shares is None:
        done = export_file(table, output, kind, request)  # type: ignore[arg-type]
    else:
        done = export_parts(table, output, kind, request)  # type: ignore[arg-type]
    counts = done.counts
    changed = counts.pop(LABELS_CHANGED, 0)
    click.echo(f"{counts.pop('sentences', 0):,} sentences and {counts.pop('spans', 0):,} spans in {output}")
    if done.parts:
        click.echo("parts: " + ", ".join(f"{part} {rows:,}" for part, rows in sorted(done.parts.items())))
    for part, share in (("dev", dev), ("test", test)):
        if share and not done.parts.get(part):
            click.echo(f"{part} is empty: hosts are few or large; try --group document, or another --seed")
    if done.alone:
        click.echo(
            f"{done.alone:,} texts have neither `url` nor a document (`source_doc`, `document`, `id` of a passage): each "
            "went to a part of its own, so texts of one document may be in several parts"
        )
    if changed:
        click.echo(f"in {changed:,} labels whitespace became one space")
    for reason, count in sorted(counts.items()):
        click.echo(f"left out: {count:,} {reason.replace('_', ' ')}")


@command.command("rejects")
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="A Parquet file for all of them."
)
@click.option("--force", is_flag=True, help="Replace the file.")
def rejects_command(path: Path, output: Path | None, force: bool) -> None:
    """Show what teachers said that has no place.

    PATH is what a run published with the column `ner__rejects`: mentions that are not in the text, overlap a better span,
    have no label and so on. They are counted by teacher and reason; --output has a row for each.

    \b
    Example: curate ner rejects out/ner/rejects
    Example: curate ner rejects out/ner/rejects --output rejects.parquet
    """
    import pyarrow.parquet as pq

    from curate.core.errors import error
    from filters.ner.rejects import counts_of, read_rejects

    _check_exists(path, "PATH")
    if output is not None and output.exists() and not force:
        raise error("C205", f"{output} is there already", help="choose another --output, or give --force")
    table = read_rejects(path)
    for teacher, reason, example, count in counts_of(table):
        click.echo(f"{teacher}: {count:,} {reason}, such as {example[:60]!r}")
    click.echo(f"{len(table):,} mentions without a span")
    if output is not None:
        part = output.with_name(output.name + ".part")
        pq.write_table(table, part, compression="zstd")
        part.replace(output)
