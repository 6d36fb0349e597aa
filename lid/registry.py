"""The language identification models that have a name, and how a name or a path becomes a file.

| name | labels | trained on | notes |
|---|---|---|---|
| lid.176.ftz | 176 | Wikipedia, Tatoeba, SETimes | shipped with the package; the default |
| lid.176.bin | 176 | the same | the model that lid.176.ftz compresses; a little better on short texts |
| glotlid-v3 | 2,102 | GlotLID-C | what FineWeb-2 uses (arXiv 2310.16248) |
| openlid-v2 | 189 | OpenLID | what HPLT 3 uses (Burchell et al. 2023); wants its own cleaning |
| openlid-v3 | 194 | OpenLID, GlotLID-C, Wikipedia | adds `zxx_Zxxx`, no language; wants its own cleaning |

SHA-256 is stated where the file was seen: both lid.176 files also have the MD5 that fastText publishes. The
others are pinned when they are first pulled (`curate.core.models`). A path to a file of one's own works
wherever a name does; a file that has a registered model's file name is cleaned for like that model.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from curate.core.errors import error
from curate.core.models import Model, require
from curate.core.suggest import did_you_mean, or_list

DEFAULT: Final = "lid.176.ftz"


@dataclass(frozen=True)
class LidModel(Model):
    """openlid_cleaning: the model expects text cleaned as in training (`lid.openlid`)."""

    openlid_cleaning: bool = False


_FASTTEXT: Final = "https://dl.fbaipublicfiles.com/fasttext/supervised-models"

MODELS: Final[dict[str, LidModel]] = {
    model.name: model
    for model in (
        LidModel(
            name="lid.176.ftz",
            file="lid.176.ftz",
            address=f"{_FASTTEXT}/lid.176.ftz",
            size=938_013,
            sha256="8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83",
            licence="CC-BY-SA-3.0",
            about="176 languages",
            shipped=Path(__file__).parent / "models",
        ),
        LidModel(
            name="lid.176.bin",
            file="lid.176.bin",
            address=f"{_FASTTEXT}/lid.176.bin",
            size=131_266_198,
            sha256="7e69ec5451bc261cc7844e49e4792a85d7f09c06789ec800fc4a44aec362764e",
            licence="CC-BY-SA-3.0",
            about="176 languages",
        ),
        LidModel(
            name="glotlid-v3",
            file="glotlid-v3.bin",
            address="https://huggingface.co/cis-lmu/glotlid/resolve/main/model_v3.bin",
            size=None,
            sha256=None,
            licence="Apache-2.0",
            about="2102 languages and scripts",
        ),
        LidModel(
            name="openlid-v2",
            file="openlid-v2.bin",
            address="https://zenodo.org/records/15056559/files/openlid_v2_180325.bin",
            size=None,
            sha256=None,
            licence="GPL-3.0",
            about="189 languages and scripts",
            openlid_cleaning=True,
        ),
        LidModel(
            name="openlid-v3",
            file="openlid-v3.bin",
            address="https://zenodo.org/records/17601701/files/openlid-v3.bin",
            size=None,
            sha256=None,
            licence="GPL-3.0",
            about="194 languages and scripts",
            openlid_cleaning=True,
        ),
    )
}


def resolve(name_or_path: str, models_dir: Path) -> Path:
    """The file of a registered model, verified, or of a path.

    C207 if there is neither; E504 if the model is known and not there; E505 if the file is not the model.
    """
    model = MODELS.get(name_or_path)
    if model is not None:
        return require(model, models_dir)
    path = local_path(name_or_path)
    if path.is_file():
        return path
    close = did_you_mean(name_or_path, MODELS)
    raise error(
        "C207",
        f"'{name_or_path}' is neither a model nor a file",
        help=f"did you mean '{close}'?" if close else f"name {or_list(MODELS)}, or give a path",
    )


def local_path(text: str) -> Path:
    """A path as a config writes it: `$VAR` and `~` are expanded."""
    return Path(os.path.expandvars(text)).expanduser()


def described(name_or_path: str) -> LidModel | None:
    """What is known of a model by its name, or by the file name of a path."""
    if name_or_path in MODELS:
        return MODELS[name_or_path]
    return next((model for model in MODELS.values() if model.file == Path(name_or_path).name), None)
