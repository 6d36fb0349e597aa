"""The card of a head: a JSON file beside its weights that says what it was made for, from what, and how good it is.

    edu-usem3.safetensors   the weights (`filters.heads.head`)
    edu-usem3.json          the card

A head makes sense for one encoder alone, with the weights that it was trained on. The card names it and its checksum
(`filters.encoders.encoder.checksum`), and a head is refused for any other.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from curate.core.errors import error
from curate.core.suggest import did_you_mean, or_list
from filters.encoders.encoder import MOST_CHARACTERS, Settings
from filters.heads.outputs import Output

SHIPPED: Final = Path(__file__).parent / "shipped"

Positive = Annotated[int, Field(ge=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TrainedOn(_Part):
    """The encoder of a head, and how many characters of each text it was shown.

    checksum: empty if nobody had the encoder at hand; then its name alone must fit. settings: what decides its vectors
    beside its files (`Encoder.settings`), as far as it is known.
    """

    name: str
    checksum: str
    settings: dict[str, str | int | bool] = Field(default_factory=dict)
    max_characters: Annotated[int, Field(ge=1, le=MOST_CHARACTERS)]


class Labels(_Part):
    """What the head predicts: in words, and the range of the labels (a score may lie outside)."""

    about: str
    minimum: float
    maximum: float


class Card(_Part):
    """A head's card. layers: widths from the encoder's to 1. activation: between them. metrics: by name. weights_sha256: of
    the file beside it.

    output: what becomes of the last layer's values (`filters.heads.outputs`); classes: the label of each, if it is `mean`.
    """

    format: Literal[1]
    name: str
    about: str
    encoder: TrainedOn
    layers: tuple[Positive, ...] = Field(min_length=2)
    activation: Literal["relu", "tanh"] = "relu"
    labels: Labels
    output: Output = "linear"
    classes: tuple[float, ...] = ()
    metrics: dict[str, float]
    data: str
    recipe: str
    licence: str
    weights_sha256: str

    def to_json(self) -> str:
        return json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"


def shipped() -> list[str]:
    """Names of the heads that come with curate."""
    return sorted(path.stem for path in SHIPPED.glob("*.safetensors"))


def weights_path(head: str) -> Path:
    """Where a head's weights lie: a shipped one by name, any other by the path of its file.

    C207 if there is neither.
    """
    path = SHIPPED / f"{head}.safetensors"
    if "/" not in head and path.is_file():
        return path
    if head.endswith(".safetensors"):
        path = Path(head).expanduser()
        if path.is_file():
            return path
        raise error("C207", f"there is no head at {path}", help="give the path of a .safetensors file")
    near = did_you_mean(head, shipped())
    raise error(
        "C207",
        f"there is no head '{head}'",
        help=f"did you mean '{near}'?"
        if near
        else f"use {or_list(shipped())}, or the path of a .safetensors file",
    )


def card_path(weights: Path) -> Path:
    return weights.with_suffix(".json")


def read_card(weights: Path) -> Card:
    """The card beside a head's weights; E507 if it is not there or is none."""
    path = card_path(weights)
    try:
        return Card.model_validate_json(path.read_bytes(), strict=True)
    except OSError as cause:
        raise error(
            "E507",
            f"the head {weights} has no card: {path.name} cannot be read ({cause.strerror})",
            help="put the JSON card that was made with it beside it",
            file=str(path),
        ) from cause
    except ValidationError as cause:
        first = cause.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise error(
            "E507",
            f"{path} is not the card of a head: {place}: {first['msg']}",
            help="make the head anew, or correct its card",
            file=str(path),
        ) from cause


def check_encoder(card: Card, name: str, found: str, settings: Settings = MappingProxyType({})) -> None:
    """E508 unless the head was trained on the encoder of that checksum (of that name, if its card has none) and, as far as
    both say them, these settings. `dtype` is only rounding: a head trained in float32 serves in bfloat16."""
    wanted = card.encoder
    same = wanted.checksum == found if wanted.checksum else wanted.name == name
    other = sorted(
        key
        for key in (wanted.settings.keys() & settings.keys()) - {"dtype"}
        if wanted.settings[key] != settings[key]
    )
    if same and not other:
        return
    if same:
        key = other[0]
        raise error(
            "E508",
            f"the head '{card.name}' was made for {wanted.name} with {key} {wanted.settings[key]!r}, not {settings[key]!r}",
            help=f"set `{key}: {json.dumps(wanted.settings[key])}` in `encoder:`",
        )
    made_for = f"{wanted.name} ({wanted.checksum[:12] or 'of any checksum'})"
    raise error(
        "E508",
        f"the head '{card.name}' was made for the encoder {made_for}, not for {name} ({found[:12]})",
        help=f"use the encoder {wanted.name}, or train a head for {name}"
        if wanted.name != name
        else f"install the version of {name} that the head was trained on, or train it anew",
    )
