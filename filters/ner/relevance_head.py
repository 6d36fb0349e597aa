"""The head of `filters.ner_relevance`: how rich in names a passage is, from its embedding and its surface.

    raw    = embedding · e + surface · s             raw of a language that the encoder does not know: surface · a
    score  = 1 + 3 σ(slope (raw − centre))           1 to 4, as FiNERweb rates (arXiv 2512.13884)
    prob   = σ(a (raw − centre) + b)                 P(score ≥ 3): that the passage is in the best third of its language

surface is float64[rows, len(SURFACE)] of `shares`. centre is the language's, else its script's, else the default: languages
have other shares of capitals, so a score says where a passage stands among those of its language, not between languages.

    ner-usem3.safetensors   embedding float32[dimensions] (e), surface float32[2] (s), alone float32[2] (a; left out: s)
    ner-usem3.json          the card: centres, slopes, what it was trained on and how good it is

Sums run in order, in float64, so a score depends on nothing but its passage.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, ValidationError

from curate.core.errors import CurateError, error
from curate.core.suggest import did_you_mean, or_list
from filters.heads.card import TrainedOn
from filters.ner.surface import COUNTS, Int32s

SHIPPED: Final = Path(__file__).parent / "shipped"
#: Columns of the surface: the share of all tokens.
SURFACE: Final = ("capitalised", "distinct")
DEFAULT: Final = "default"

Float32s = npt.NDArray[np.float32]
Float64s = npt.NDArray[np.float64]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Scale(_Part):
    """From raw values to scores. centres: by language, script or `default`."""

    centres: dict[str, float]
    slope: float
    prob_slope: float
    prob_offset: float

    def centre(self, language: str | None) -> float:
        script = (language or "").partition("_")[2]
        for name in (language, script):
            if name in self.centres:
                return self.centres[name]
        return self.centres[DEFAULT]


class NerCard(_Part):
    """A head's card. scale: with the embedding; alone: where the encoder does not know the language. held_out: corpus and
    language → Spearman's correlation with entity density and macro F1 at the median, trained without the language."""

    format: Literal[1]
    name: str
    about: str
    encoder: TrainedOn
    surface: tuple[str, ...]
    scale: Scale
    alone: Scale
    labels: str
    held_out: dict[str, tuple[float, float]]
    metrics: dict[str, float]
    data: str
    recipe: str
    licence: str
    weights_sha256: str

    def to_json(self) -> str:
        return json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"


class Scores(NamedTuple):
    """score, prob: float32[rows]."""

    score: npt.NDArray[np.float32]
    prob: npt.NDArray[np.float32]


class NerHead:
    """Weights and card; `score` applies it. embedding: float32[dimensions]; surface, alone: float32[len(SURFACE)]."""

    def __init__(self, card: NerCard, embedding: Float32s, surface: Float32s, alone: Float32s) -> None:
        self.card = card
        self._embedding = embedding.astype(np.float64)
        self._surface = surface.astype(np.float64)
        self._alone = alone.astype(np.float64)

    def score(
        self, shares: Float64s, languages: pa.StringArray | None, embeddings: npt.NDArray[np.float32] | None
    ) -> Scores:
        """Of passages whose embeddings these are; None: the encoder does not know their languages."""
        if embeddings is None:
            raw, scale = _products(shares, self._alone), self.card.alone
        else:
            own = _products(embeddings.astype(np.float64), self._embedding)
            raw, scale = _products(shares, self._surface) + own, self.card.scale
        away = raw - _centres(scale, languages, len(raw))
        score = 1 + 3 / (1 + np.exp(-scale.slope * away))
        prob = 1 / (1 + np.exp(-(scale.prob_slope * away + scale.prob_offset)))
        return Scores(score.astype(np.float32), prob.astype(np.float32))


def shares(counts: Int32s) -> Float64s:
    """float64[rows, len(SURFACE)] of `filters.ner.surface.surface`; 0 without tokens."""
    tokens = np.maximum(counts[:, COUNTS.index("tokens")], 1).astype(np.float64)
    return np.stack([counts[:, COUNTS.index(name)] / tokens for name in SURFACE], axis=1)


def _products(matrix: Float64s, weights: Float64s) -> Float64s:
    """matrix @ weights, each row's sum in the order of its columns, whatever stands beside it."""
    if not len(matrix):
        return np.zeros(0)
    return np.asarray(np.cumsum(matrix * weights, axis=1)[:, -1])


def _centres(scale: Scale, languages: pa.StringArray | None, rows: int) -> Float64s:
    if languages is None:
        return np.full(rows, scale.centre(None))
    codes = languages.dictionary_encode()
    table = np.array([*(scale.centre(code) for code in codes.dictionary.to_pylist()), scale.centre(None)])
    return table[codes.indices.fill_null(len(table) - 1).to_numpy(zero_copy_only=False)]


def head_path(head: str) -> Path:
    """Where a head's weights lie: a shipped one by name, any other by the path of its file; C207 if there is neither."""
    path = SHIPPED / f"{head}.safetensors"
    if "/" not in head and path.is_file():
        return path
    if head.endswith(".safetensors"):
        path = Path(head).expanduser()
        if path.is_file():
            return path
        raise error("C207", f"there is no head at {path}", help="give the path of a .safetensors file")
    known = sorted(p.stem for p in SHIPPED.glob("*.safetensors"))
    near = did_you_mean(head, known)
    help = f"did you mean '{near}'?" if near else f"use {or_list(known)}, or the path of a .safetensors file"
    raise error("C207", f"there is no head '{head}'", help=help)


def read_ner_card(weights: Path) -> NerCard:
    """The card beside a head's weights; E507 if it is not there or is none."""
    path = weights.with_suffix(".json")
    try:
        return NerCard.model_validate_json(path.read_bytes(), strict=True)
    except (OSError, ValidationError) as cause:
        why = cause.strerror if isinstance(cause, OSError) else cause.errors(include_url=False)[0]["msg"]
        raise error(
            "E507",
            f"{path} is not the card of a head of ner_relevance: {why}",
            help="put the JSON card that was made with the weights beside them",
            file=str(path),
        ) from cause


def read_ner_head(weights: Path) -> NerHead:
    """A head from its files; E507 if they are damaged or do not fit together."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    card = read_ner_card(weights)
    data = weights.read_bytes()
    if hashlib.sha256(data).hexdigest() != card.weights_sha256:
        raise _unfit(weights, "its SHA-256 is not the one on its card")
    try:
        tensors = load(data)
        embedding, surface = tensors["embedding"], tensors["surface"]
        alone = tensors.get("alone", surface)
    except (SafetensorError, KeyError, ValueError) as cause:
        raise _unfit(weights, str(cause)) from cause
    wanted = (len(SURFACE),)
    if card.surface != SURFACE or surface.shape != wanted or alone.shape != wanted or embedding.ndim != 1:
        raise _unfit(weights, f"it is for the surface {', '.join(card.surface)}, not {', '.join(SURFACE)}")
    if DEFAULT not in card.scale.centres or DEFAULT not in card.alone.centres:
        raise _unfit(weights, "its card has no default centre")
    if not all(np.isfinite(tensor).all() for tensor in (embedding, surface, alone)):
        raise _unfit(weights, "it has weights that are not finite")
    return NerHead(card, embedding, surface, alone)


def write_ner_head(card: NerCard, embedding: Any, surface: Any, folder: Path, alone: Any = None) -> Path:
    """Writes `<name>.safetensors` and its card into a folder; returns the path of the weights. alone: the surface's weights
    where the encoder does not know the language; None: those of `surface`."""
    from safetensors.numpy import save

    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / f"{card.name}.safetensors"
    tensors = {"embedding": embedding, "surface": surface, "alone": surface if alone is None else alone}
    data = save({name: np.asarray(tensor, np.float32) for name, tensor in tensors.items()})
    weights.write_bytes(data)
    stated = card.model_copy(update={"weights_sha256": hashlib.sha256(data).hexdigest()})
    weights.with_suffix(".json").write_text(stated.to_json(), encoding="utf-8")
    return weights


def _unfit(weights: Path, why: str) -> CurateError:
    return error(
        "E507",
        f"{weights} cannot be used as a head: {why}",
        help="use the file and the card that were made together",
        file=str(weights),
    )
