"""From a recipe to a head: read labels, embed, cross-validate, fit on everything, write the head with its card.

    heads/<name>.safetensors, <name>.json    the head and its card, which `filters.quality` takes
    heads/<name>.md                          the same figures for people

Spearman's correlation is that of scores and labels of documents that the head was not trained on: each document is scored by
the head of the folds it is not in, for every seed anew; equal texts are in one fold. The learning curve has the same figure
for heads that were given a share of their folds: where it still rises, more labels help. Figures by language are of the same
scores. A head is fitted on all labels in the end, so it should do no worse than the figures say.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from curate.core.columns import UNDETERMINED
from curate.core.errors import error
from filters.encoders.encoder import Encoder, checksum
from filters.heads import card as cards
from filters.heads.head import write_head
from filters.heads.training.fit import Fitted, fit
from filters.heads.training.labels import Labels, read_labels, together
from filters.heads.training.measures import at_threshold, calibration, interval, spearman
from filters.heads.training.recipe import Recipe
from filters.heads.training.vectors import Embedded, embed, encoder_of

Float64s = npt.NDArray[np.float64]

#: Shares of the learning curve, and the seeds it is drawn with at most.
_SHARES: Final = (0.1, 0.2, 0.4, 0.7)
_CURVE_SEEDS: Final = 3
#: The fewest labels that a fold may be left with.
_FEWEST: Final = 4
_LABEL: Final = "label"


@dataclass(frozen=True)
class Trained:
    """What came out. left_out: why → rows. languages: language → documents, Spearman, its interval. curve: labels →
    Spearman."""

    head: Path
    documents: int
    left_out: Mapping[str, int]
    metrics: Mapping[str, float]
    languages: Mapping[str, tuple[int, float, float, float]] = field(default_factory=dict)
    curve: Mapping[int, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it: null where a figure cannot be said, of a language with three labels or labels that are all one."""
        return {
            "head": str(self.head),
            "documents": self.documents,
            "left_out": dict(self.left_out),
            "metrics": dict(self.metrics),
            "languages": {
                language: {
                    "documents": documents,
                    **{
                        name: said(value)
                        for name, value in zip(("spearman", "low", "high"), figures, strict=True)
                    },
                }
                for language, (documents, *figures) in self.languages.items()
            },
            "curve": {labels: said(value) for labels, value in self.curve.items()},
        }


def said(value: float) -> float | None:
    return value if math.isfinite(value) else None


def train(recipe: Recipe) -> Trained:
    """D411 if the labels are too few or all the same; what `read_labels` and the encoder raise."""
    labels, unlabelled = _labels(recipe)
    encoder = encoder_of(recipe.encoder)
    cache = Path(recipe.cache).expanduser() if recipe.cache is not None else None
    embedded = embed(labels, encoder, recipe.max_characters, cache)
    values = embedded.labels.columns[_LABEL]
    left_out = {
        "blank": labels.blank,
        "without a label": unlabelled,
        f"in languages that {encoder.name} does not know": embedded.unknown,
        "without tokens": embedded.empty,
        "whose vectors are not finite": embedded.not_finite,
    }
    left_out = {why: rows for why, rows in left_out.items() if rows}
    _check(values, recipe, left_out)
    found = _Validated(recipe, embedded, values)
    fitted = _fit(recipe, embedded.vectors, values, recipe.seed)
    metrics = found.metrics()
    languages = found.by_language()
    curve = found.curve()
    card = _card(recipe, encoder, fitted, values, {**metrics, **_flat(languages, curve)})
    folder = Path(recipe.output).expanduser()
    path = write_head(fitted.layers, card, folder)
    trained = Trained(path, len(values), left_out, metrics, languages, curve)
    path.with_suffix(".md").write_text(_page(card, trained), encoding="utf-8")
    return trained


def _labels(recipe: Recipe) -> tuple[Labels, int]:
    """The rows with a label, and how many have none."""
    parts = []
    for entry in recipe.labels:
        part = read_labels(entry.path, text=entry.text, columns=[entry.label], language=entry.language)
        parts.append(Labels(part.texts, {_LABEL: part.columns[entry.label]}, part.languages, part.blank))
    labels = together(parts)
    there = ~np.isnan(labels.columns[_LABEL])
    return labels.take(there), int((~there).sum())


def _check(values: Float64s, recipe: Recipe, left_out: Mapping[str, int]) -> None:
    why = ""
    if len(values) < _FEWEST * recipe.folds:
        why = f"there are {len(values):,}, fewer than {_FEWEST} for each of {recipe.folds} folds"
    elif (values == values[0]).all():
        why = f"all {len(values):,} of them are {values[0]:g}"
    elif recipe.fit.loss == "bce" and len(np.unique(values >= (recipe.threshold or 0))) == 1:
        why = f"all {len(values):,} of them are on one side of the threshold {recipe.threshold:g}"
    if why:
        left = ", ".join(f"{rows:,} {reason}" for reason, rows in left_out.items())
        raise error(
            "D411",
            f"no head can be made of these labels: {why}" + (f" (left out: {left})" if left else ""),
            help="give more labels, or other ones",
        )


def _fit(recipe: Recipe, vectors: Float64s, values: Float64s, seed: int) -> Fitted:
    return fit(vectors, values, recipe.fit, threshold=recipe.threshold, balance=recipe.balance, seed=seed)


class _Validated:
    """Cross-validation. scores: float64[seeds, n], of heads that have not seen the document."""

    def __init__(self, recipe: Recipe, embedded: Embedded, values: Float64s) -> None:
        self._recipe = recipe
        self._vectors, self._values = embedded.vectors, values
        self._languages = embedded.labels.languages
        self._groups = embedded.labels.groups()
        self.scores = np.stack([self._out_of_fold(seed, 1.0) for seed in range(recipe.seeds)])
        self._found = np.array([spearman(row, values) for row in self.scores])

    def _out_of_fold(self, number: int, share: float) -> Float64s:
        seed = self._recipe.seed + number
        rng = np.random.default_rng(seed)
        order = rng.permutation(int(self._groups.max()) + 1)
        scores = np.empty(len(self._values))
        for fold in range(self._recipe.folds):
            held = np.isin(self._groups, order[fold :: self._recipe.folds])
            rest = np.flatnonzero(~held)
            if share < 1:
                rest = np.sort(rng.permutation(rest)[: max(_FEWEST, round(share * len(rest)))])
            fitted = _fit(self._recipe, self._vectors[rest], self._values[rest], seed)
            scores[held] = fitted.score(self._vectors[held])
        return scores

    def metrics(self) -> dict[str, float]:
        recipe, values = self._recipe, self._values
        low, high = interval(float(self._found.mean()), len(values))
        metrics = {
            "spearman_mean": float(self._found.mean()),
            "spearman_deviation": float(self._found.std()),
            "spearman_low": low,
            "spearman_high": high,
            "calibration_error": float(np.mean([calibration(row, values).error for row in self.scores])),
            "folds": float(recipe.folds),
            "seeds": float(recipe.seeds),
            "documents": float(len(values)),
        }
        if recipe.threshold is not None:
            reach = 0.5 if recipe.fit.loss == "bce" else recipe.threshold
            truth = (values >= recipe.threshold).astype(np.float64)
            found = [at_threshold((row >= reach).astype(np.float64), truth, 1.0) for row in self.scores]
            metrics["threshold"] = recipe.threshold
            metrics["f1_at_threshold"] = float(np.mean([one.f1 for one in found]))
            metrics["positives"] = float(found[0].positives)
        if recipe.fit.loss == "bce":
            del metrics["calibration_error"]  # probabilities and labels are not on one scale
        return {name: round(value, 4) for name, value in metrics.items() if np.isfinite(value)}

    def by_language(self) -> dict[str, tuple[int, float, float, float]]:
        if self._languages is None:
            return {}
        codes = self._languages.fill_null(UNDETERMINED).dictionary_encode()
        found = {}
        for code, language in enumerate(codes.dictionary.to_pylist()):
            rows = codes.indices.to_numpy() == code
            mean = float(np.mean([spearman(row[rows], self._values[rows]) for row in self.scores]))
            found[language] = (int(rows.sum()), mean, *interval(mean, int(rows.sum())))
        return dict(sorted(found.items(), key=lambda item: (-item[1][0], item[0])))

    def curve(self) -> dict[int, float]:
        """Labels that a head was given → Spearman; the last is that of `metrics`."""
        whole = round(len(self._values) * (1 - 1 / self._recipe.folds))
        points = {}
        for share in _SHARES:
            if share * whole >= 2 * _FEWEST:
                rows = [self._out_of_fold(n, share) for n in range(min(_CURVE_SEEDS, self._recipe.seeds))]
                points[round(share * whole)] = float(np.mean([spearman(row, self._values) for row in rows]))
        return {**points, whole: float(self._found.mean())}


def _flat(
    languages: Mapping[str, tuple[int, float, float, float]], curve: Mapping[int, float]
) -> dict[str, float]:
    """Figures by language and of the curve, as the metrics of a card."""
    flat = {}
    for language, (documents, mean, low, high) in languages.items():
        for name, value in (("documents", documents), ("spearman", mean), ("low", low), ("high", high)):
            flat[f"{language}_{name}"] = float(value)
    flat |= {f"spearman_of_{labels}_labels": value for labels, value in curve.items()}
    return {name: round(value, 4) for name, value in flat.items() if np.isfinite(value)}


def _card(
    recipe: Recipe, encoder: Encoder, fitted: Fitted, values: Float64s, metrics: Mapping[str, float]
) -> cards.Card:
    how = f"ridge {recipe.fit.penalty:g}"
    if recipe.fit.loss != "ridge":
        how = f"{recipe.fit.loss}, hidden layers {list(recipe.fit.hidden)}, {fitted.epochs} epochs"
    how += ", labels balanced" if recipe.balance else ""
    return cards.Card(
        format=1,
        name=recipe.name,
        about=recipe.about,
        encoder=cards.TrainedOn(
            name=encoder.name,
            checksum=checksum(encoder.files()),
            settings=dict(encoder.settings),
            max_characters=recipe.max_characters,
        ),
        layers=(encoder.dimensions, *(weight.shape[0] for weight, _ in fitted.layers)),
        labels=cards.Labels(
            about=recipe.label_about, minimum=float(values.min()), maximum=float(values.max())
        ),
        output=fitted.output,
        classes=fitted.classes,
        metrics=dict(metrics),
        data=recipe.data,
        recipe=f"curate train: {how}, first {recipe.max_characters:,} characters",
        licence=recipe.licence,
        weights_sha256="",
    )


def _page(card: cards.Card, trained: Trained) -> str:
    """The card in Markdown."""
    lines = [
        f"# {card.name}",
        "",
        f"Scores {card.about}. Labels: {card.labels.about}, {card.labels.minimum:g} to {card.labels.maximum:g}.",
        "",
        f"- encoder: {card.encoder.name} ({card.encoder.checksum[:12]}), first {card.encoder.max_characters:,} characters",
        f"- recipe: {card.recipe}",
        f"- data: {card.data}",
        f"- licence: {card.licence}",
        "",
        "Of documents that were not trained on:",
        "",
        "| figure | |",
        "|---|---:|",
        *(f"| {name.replace('_', ' ')} | {value:g} |" for name, value in trained.metrics.items()),
        "",
        "| labels | Spearman |",
        "|---:|---:|",
        *(f"| {labels:,} | {_number(value)} |" for labels, value in trained.curve.items()),
    ]
    if trained.languages:
        lines += ["", "| language | documents | Spearman | 95 % interval |", "|---|---:|---:|---|"]
        lines += [
            f"| {language} | {documents:,} | {_number(mean)} | {_number(low)} to {_number(high)} |"
            for language, (documents, mean, low, high) in trained.languages.items()
        ]
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "–"
