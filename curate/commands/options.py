"""Arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from curate.core.objects import Place


class _Folder(click.ParamType["Place"]):
    """A local folder, or a URL of a store."""

    name = "directory"

    def convert(self, value: object, param: click.Parameter | None, context: click.Context | None) -> Place:
        from curate.core.objects import as_place

        place = as_place(str(value))
        if isinstance(place, Path) and place.is_file():
            self.fail(f"Directory '{value}' is a file.", param, context)
        return place


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
    type=_Folder(),
    help="The run folder, local or a URL such as s3://bucket/runs/web; default: runs/<name>.",
)
update_option = click.option(
    "--update",
    is_flag=True,
    help="Take in files that were added to the input; known ones keep their numbers.",
)
