"""Arguments that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

config_argument = click.argument("config", type=click.Path(path_type=Path))
overrides_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY.PATH=VALUE",
    help="Change a value of the config; may be repeated.",
)
run_dir_option = click.option(
    "--run-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="The run folder; default: runs/<name>.",
)
update_option = click.option(
    "--update",
    is_flag=True,
    help="Take in files that were added to the input; known ones keep their numbers.",
)
