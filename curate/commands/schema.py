"""`curate schema`: the config's JSON Schema."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("schema")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write it to this file instead.")
def command(out: Path | None) -> None:
    """Print the config's JSON Schema, with the options of every installed step.

    An editor that knows it completes keys and marks mistakes. Put this on the config's first line:

    \b
      # yaml-language-server: $schema=schema.json

    \b
    Example: curate schema --out schema.json
    """
    import json

    from curate.config.json_schema import config_schema
    from curate.stages import names

    text = json.dumps(config_schema(names()), indent=2, ensure_ascii=False) + "\n"
    if out is None:
        click.echo(text, nl=False)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")
    click.echo(f"wrote {out}", err=True)
