"""`curate models`: list, fetch and find the models that steps load by name.

Models are listed by registries, one in each package that loads some; a registry is a module with a dict
`MODELS` of `curate.core.models.Model` by name. They are imported by name when a command runs, so that `curate
--help` stays light.
"""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol

import click

from curate.core.errors import CurateError, Problem, error
from curate.core.models import Model, models_folder, pull, require
from curate.core.suggest import did_you_mean, or_list

#: How the names of configs end.
CONFIGS: Final = (".yaml", ".yml")
#: Codes of errors that say of a step's model that it is missing, is another one, cannot be used, or that nobody knows it.
UNUSABLE: Final = frozenset(("E504", "E505", "E507", "C207"))
REGISTRIES: Final = ("lid.registry", "filters.registry")


class _Progress(Protocol):
    def __call__(self, done: int, total: int | None) -> None: ...


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def models() -> None:
    """List, fetch and find models.

    They are kept in $CURATE_MODELS, else in ~/.cache/curate/models.

    \b
    Example: curate models list
    """


@models.command("list")
def list_command() -> None:
    """Show every model: its name, what it knows, its size and licence, and whether it is here.

    \b
    Example: curate models list
    """
    folder = models_folder()
    rows = [("NAME", "KNOWS", "SIZE", "LICENCE", "HERE")]
    for model in registered().values():
        rows.append((model.name, model.about, _size(model, folder), model.licence, _presence(model, folder)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@models.command("pull")
@click.argument("names", nargs=-1, required=True, metavar="NAME|CONFIG...")
@click.option(
    "--from",
    "source",
    type=click.Path(exists=True, path_type=Path),
    help="Take the model from this file, or folder of files, instead of the network (one NAME).",
)
def pull_command(names: tuple[str, ...], source: Path | None) -> None:
    """Fetch models into the models folder and check them.

    A model that is here and whole is not fetched again. CONFIG, a file that ends in .yaml, stands for the models that its
    steps need: fetch them before tasks run where there is no network.

    \b
    Example: curate models pull lid.176.ftz
    Example: curate models pull configs/web.yaml
    Example: curate models pull lid.176.bin --from ~/lid.176.bin
    """
    if source is not None and len(names) > 1:
        raise click.UsageError("--from takes one NAME")
    folder = models_folder()
    configs = [Path(name) for name in names if Path(name).suffix in CONFIGS]
    if configs and source is not None:
        raise click.UsageError("--from takes one NAME")
    for model in [find(name) for name in names if Path(name).suffix not in CONFIGS]:
        _pull(model, folder, source)
    fetched: set[str] = set()
    for config in configs:
        missing, faults = _missing(config, folder)
        while missing - fetched:  # one fault of a step may hide another
            for name in sorted(missing - fetched):
                _pull(find(name), folder, None)
            fetched |= missing
            missing, faults = _missing(config, folder)
        if faults:
            raise CurateError(faults)
        click.echo(f"every model that {config} needs is in {folder}")


def _pull(wanted: Model, folder: Path, source: Path | None) -> None:
    for model in wanted.parts():
        if model.path(folder).is_file():
            click.echo(f"{model.name} is here: {require(replace(model, others=()), folder)}")
            continue
        copy = source / Path(model.file).name if source is not None and source.is_dir() else source
        with _progress(Path(model.file).name) as progress:
            checksum = pull(model, folder, source=copy, progress=progress)
        click.echo(f"{model.name}: {model.path(folder)}")
        if model.sha256 is None:
            click.echo(f"  SHA-256 {checksum}, from now on the only one accepted")


def _missing(config: Path, folder: Path) -> tuple[set[str], list[Problem]]:
    """Names of models that steps of a config need and that are not in the folder, and what keeps steps from their models:
    also what has to come in another way, is damaged, or is no model at all.
    """
    from curate.config.load import load
    from curate.core.stage import Context, Selector

    known = registered()
    loaded = load(config)
    missing: set[str] = set()
    faults: list[Problem] = []
    with tempfile.TemporaryDirectory() as scratch:
        context = Context(models=folder, scratch=Path(scratch), words=loaded.config.words)
        for step in loaded.config.steps:
            instance = step.stage(step.options)
            try:
                if not isinstance(instance, Selector):
                    instance.artifacts(context)
            except CurateError as cause:
                named = {str(p.context.get("model")) for p in cause.problems} & known.keys()
                missing |= named
                place = loaded.source.value(step.path)
                faults += [
                    replace(p, position=p.position or place) for p in cause.problems if p.code in UNUSABLE
                ]
    return missing, faults


@models.command("path")
@click.argument("name")
def path_command(name: str) -> None:
    """Print where a model lies.

    \b
    Example: curate models path lid.176.ftz
    """
    click.echo(require(find(name), models_folder()))


def registered() -> dict[str, Model]:
    """Every model of every registry, by name."""
    found: dict[str, Model] = {}
    for module in REGISTRIES:
        registry: Mapping[str, Model] = importlib.import_module(module).MODELS
        found.update(registry)
    return found


def find(name: str) -> Model:
    """The model of that name; C207 if there is none."""
    known = registered()
    if name not in known:
        close = did_you_mean(name, known)
        raise error(
            "C207",
            f"there is no model '{name}'",
            help=f"did you mean '{close}'?" if close else f"models are {or_list(known)}",
        )
    return known[name]


def _size(model: Model, folder: Path) -> str:
    paths = [(part.path(folder), part.size) for part in model.parts()]
    sizes = [path.stat().st_size if path.is_file() else size for path, size in paths]
    known = [size for size in sizes if size is not None]
    return "?" if len(known) < len(sizes) else f"{sum(known) / 1e6:,.1f} MB"


def _presence(model: Model, folder: Path) -> str:
    if model.shipped is not None:
        return "shipped"
    return "yes" if all(part.path(folder).is_file() for part in model.parts()) else "no"


@contextmanager
def _progress(name: str) -> Iterator[_Progress]:
    """A bar on standard error while a model arrives."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
