"""`curate train`: a head from labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console


@click.command("train")
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--labels", metavar="PATH", help="Read these files in place of the recipe's; columns stay.")
@click.option(
    "--output", type=click.Path(path_type=Path), help="Folder of the head in place of the recipe's."
)
@click.option("--force", is_flag=True, help="Replace a head of the same name.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def command(recipe: Path, labels: str | None, output: Path | None, force: bool, as_json: bool) -> None:
    """Train a head: from labels to a file that `filters.quality` scores with.

    RECIPE is a YAML file; docs/teach.md has its keys. The figures are of documents that were not trained on.

    \b
    Example: curate train configs/heads/edu.yaml --labels edu_scored_eng.jsonl.zst
    """
    import json
    from importlib import import_module

    from curate.config import yaml_source
    from curate.config.validation import in_order, validate
    from curate.core.errors import CurateError, error
    from curate.views.report_view import make_console

    source = yaml_source.read(recipe)
    model = import_module("filters.heads.training.recipe").Recipe
    found, problems = validate(model, source.data, source, (), owner="a recipe of a head")
    problems = [*source.problems, *problems]
    if problems or found is None:
        raise CurateError(in_order(problems, source.file))
    if labels is not None:
        entries = tuple(entry.model_copy(update={"path": labels}) for entry in found.labels[:1])
        found = found.model_copy(update={"labels": entries})
    if output is not None:
        found = found.model_copy(update={"output": str(output)})
    target = Path(found.output).expanduser() / f"{found.name}.safetensors"
    if target.exists() and not force:
        raise error("C205", f"{target} is there already", help="choose another --output, or give --force")
    facts = import_module("filters.heads.training.train").train(found).to_dict()
    if as_json:
        click.echo(json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        _show(facts, make_console())


def _show(facts: dict[str, Any], console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    metrics = facts["metrics"]
    spread = f"{_number(metrics.get('spearman_mean'))} ± {_number(metrics.get('spearman_deviation'))}"
    how = f"{metrics['folds']:g} folds, {metrics['seeds']:g} seeds"
    console.print(Text(f"{facts['documents']:,} documents; Spearman {spread} ({how})", style="bold"))
    for why, rows in facts["left_out"].items():
        console.print(Text(f"left out: {rows:,} {why}"))
    if "f1_at_threshold" in metrics:
        f1 = f"F1 {metrics['f1_at_threshold']:.3f} at {metrics['threshold']:g}"
        console.print(Text(f"{f1}, which {metrics['positives']:,.0f} labels reach"))
    table = Table(box=None, pad_edge=False)
    for heading in ("labels", "Spearman"):
        table.add_column(heading, justify="right")
    for count, value in facts["curve"].items():
        table.add_row(f"{count:,}", _number(value))
    console.print(table)
    if facts["languages"]:
        table = Table(box=None, pad_edge=False)
        table.add_column("language")
        for heading in ("documents", "Spearman", "95 % interval"):
            table.add_column(heading, justify="right")
        for language, one in facts["languages"].items():
            between = "–" if one["low"] is None else f"{one['low']:.3f} to {one['high']:.3f}"
            table.add_row(Text(language), f"{one['documents']:,}", _number(one["spearman"]), between)
        console.print(table)
    console.print(Text(f"wrote {facts['head']}"))
    console.print(Text(f"next: {{use: filters.quality, as: mine, head: {facts['head']}}} in a config"))


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
