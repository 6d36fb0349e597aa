"""The command line. Each command is a module of `curate.commands`, imported when it is asked for and not before, so that
`curate --help` answers at once.

Exit status: 0 done, 1 failed, 2 usage or configuration, 3 tasks pending.
"""

from __future__ import annotations

import io
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

import click

from curate import __version__

if TYPE_CHECKING:
    from curate.core.errors import CurateError

#: Command → (module that ends in `command`, one line for the overview).
COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("curate.commands.run", "Run a config: read, filter, publish. Run it again to continue."),
    "check": ("curate.commands.check", "Find every fault of a config before any work starts."),
    "plan": ("curate.commands.plan", "Show what a run would do, and what it would reuse."),
    "calibrate": ("curate.commands.calibrate", "Measure what phases cost here, for the estimates of `plan`."),
    "status": ("curate.commands.status", "Show how far a run is."),
    "cancel": ("curate.commands.cancel", "Take a run out of Slurm's queue."),
    "logs": ("curate.commands.logs", "Show the last lines of the logs of a run's tasks."),
    "report": ("curate.commands.report", "Show what a run kept and dropped, by step, reason and language."),
    "inspect": ("curate.commands.inspect", "Look at documents of a run, or at a data file."),
    "explain": (
        "curate.commands.explain",
        "Tell one document's life: values, verdicts, by how much it missed.",
    ),
    "thresholds": (
        "curate.commands.thresholds",
        "Derive bounds by language, and show what each rule would drop.",
    ),
    "dedup": ("curate.commands.dedup", "Look at what a deduplication compared; derive weights."),
    "annotate": ("curate.commands.annotate", "Make labels: documents drawn and judged by language models."),
    "train": ("curate.commands.train", "Train a head on labels: what `filters.quality` scores with."),
    "evaluate": ("curate.commands.evaluate", "Measure heads and teachers against labels, and each other."),
    "stages": ("curate.commands.stages", "List the steps, or describe one."),
    "schema": ("curate.commands.schema", "Print the config's JSON Schema, for editors."),
    "ner": ("filters.ner.commands", "Named entities: read gold corpora, score predictions."),
    "heads": ("filters.heads.commands", "Heads: make them of published checkpoints."),
    "models": ("curate.models_cli", "List and fetch models."),
    "task": ("curate.commands.task", "Do one task of a run; for schedulers."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported on use."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        from curate.kernels import use_kernel_cache

        use_kernel_cache()  # numba reads where its cache is when it is imported
        module = import_module(COMMANDS[name][0])
        command: click.Command = module.models if name == "models" else module.command
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in COMMANDS:
            from curate.core.suggest import did_you_mean

            close = did_you_mean(name, COMMANDS)
            hint = f" Did you mean '{close}'?" if close else ""
            context.fail(f"there is no command '{name}'.{hint}")
        return super().resolve_command(context, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="curate")
def cli() -> None:
    """Make training data: raw multilingual text in, pretraining shards and NER datasets out.

    \b
    Example: curate run configs/web.yaml
    """


def main() -> None:
    """Run the command line; every expected error is shown as a diagnostic, never as a traceback."""
    from curate.core.errors import CurateError, system_error

    if sys.stdout is None:  # closed by the shell: `curate run … >&-`
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # open until the process ends
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # whatever a document holds can be shown
    try:
        cli(standalone_mode=True)
    except CurateError as cause:
        _fail(cause)
    except OSError as cause:
        _fail(system_error(cause))


def _fail(cause: CurateError) -> NoReturn:
    from curate.diagnostics import show

    show(cause)
    sys.exit(cause.exit_code)


if __name__ == "__main__":
    main()
