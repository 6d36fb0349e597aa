"""`curate heads`: heads from published checkpoints, in the form that scoring steps read."""

from __future__ import annotations

from pathlib import Path

import click


@click.group("heads", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Make heads of published checkpoints, and look at them.

    \b
    Example: curate heads import jql-edu-heads
    """


@command.command("import")
@click.argument("file", metavar="FILE")
@click.argument("out", required=False, type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--encoder",
    metavar="MODEL",
    help="The encoder that the head was made for: a name that `curate models` lists, or its folder. Its checksum goes on "
    "the card, and no other is accepted.",
)
@click.option("--force", is_flag=True, help="Replace heads of the same name.")
def import_command(file: str, out: Path | None, encoder: str | None, force: bool) -> None:
    """Turn JQL's or FineWeb-Edu's checkpoints into heads: FILE.safetensors and its card.

    FILE is a checkpoint (.ckpt, .pt, .bin, .safetensors), or jql-edu-heads or fineweb-edu-classifier once `curate models
    pull` has fetched them. OUT is the folder for the heads; without it they are put beside the checkpoint. A pickle that
    holds more than weights is refused.

    \b
    Example: curate heads import jql-edu-heads
    Example: curate heads import edu-gemma-snowflake-balanced.ckpt heads/
    """
    from curate.core.errors import error
    from curate.core.models import models_folder, require
    from filters.heads.checkpoints import imported
    from filters.heads.head import write_head
    from filters.registry import FINEWEB_EDU_HEAD, JQL_HEADS, MODELS

    paths = [Path(file)]
    if file in (JQL_HEADS, FINEWEB_EDU_HEAD) and not paths[0].exists():
        require(MODELS[file], models_folder())
        paths = [part.path(models_folder()) for part in MODELS[file].parts()]
    name, checksum = _encoder(encoder) if encoder is not None else (None, "")
    for path in paths:
        layers, card = imported(path, name, checksum)
        if file == FINEWEB_EDU_HEAD:  # its file is called `model`
            card = card.model_copy(update={"name": file})
        folder = out if out is not None else path.parent
        if path.resolve() == (folder / f"{card.name}.safetensors").resolve():
            raise click.UsageError(f"the head would overwrite {path}: give OUT, another folder")
        if (folder / f"{card.name}.safetensors").exists() and not force:
            raise error(
                "C205",
                f"{folder / card.name}.safetensors is there already",
                help="choose another OUT, or give --force",
                exit_code=2,
            )
        written = write_head(layers, card, folder)
        click.echo(f"{written}: for {card.encoder.name}, {' -> '.join(map(str, card.layers))}")


def _encoder(model: str) -> tuple[str, str]:
    """The name of an encoder and the checksum of its files."""
    from filters.encoders.encoder import checksum
    from filters.encoders.options import PackedOptions, make_encoder

    # Nothing is encoded: as few tokens as there can be suit every model.
    found = make_encoder(PackedOptions.model_validate({"use": "packed", "model": model, "max_tokens": 4}))
    return found.name, checksum(found.files())
