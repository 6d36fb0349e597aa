"""What `train_ner_head.py` trains: the weights of the embedding, and its mix with tokens and capitals (stages 2 and 3).

In: passages with labels, vectors and features. Out, for any set of training languages, the network of the tokens, the
weights of the embedding, and the five weights of the mix, each made once. A mix is fitted on values that its languages were
given without having been seen, so what it weighs is how well each figure carries over to another language.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters.ner.names_encoder import Layers
from scripts.ner_tokens import Tokens, said, trained

RIDGE: Final = 1.0
#: Against weights that two figures of one thing could share in any way; values have a standard deviation of 1.
MIX_RIDGE: Final = 10.0
#: Passages that a language counts as at most, so that the largest corpus does not decide alone.
MOST: Final = 400

Float64s = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


class Passages(NamedTuple):
    """text string[n]; group, language str[n]; density, label float64[n]; vectors float64[n, 512]; surface float64[n, 2].

    tokens: of all of them; None for texts with ratings, which are in `said` by the shipped network, float64[n, 2]."""

    text: pa.StringArray
    group: npt.NDArray[Any]
    language: npt.NDArray[Any]
    density: Float64s
    label: Float64s
    vectors: Float64s
    surface: Float64s
    tokens: Tokens | None
    said: Float64s


def embedding_weights(gold: Passages, chosen: Bools) -> Float64s:
    """float64[512] by ridge on what differs within a language and corpus."""
    vectors, label = gold.vectors.copy(), gold.label.copy()
    weight = np.ones(len(label))
    for group in set(gold.group[chosen]):
        here = gold.group == group
        vectors[here] -= vectors[here].mean(axis=0)
        label[here] -= label[here].mean()
        weight[here] = min(1.0, MOST / int(here.sum()))
    x, y, w = vectors[chosen], label[chosen], weight[chosen][:, None]
    return np.asarray(np.linalg.solve((x * w).T @ x + RIDGE * np.eye(x.shape[1]), (x * w).T @ y))


class Trainer:
    """What stages 1 to 3 give for sets of training languages; each is made once."""

    def __init__(self, gold: Passages) -> None:
        self.gold = gold
        self.languages = frozenset(map(str, gold.language))
        self._networks: dict[frozenset[str], Layers] = {}
        self._embeddings: dict[frozenset[str], Float64s] = {}

    def _chosen(self, languages: frozenset[str]) -> Bools:
        return np.isin(self.gold.language, sorted(languages))

    def network(self, languages: frozenset[str]) -> Layers | None:
        """None: there is nothing to train it on."""
        if self.gold.tokens is None:
            return None
        if languages not in self._networks:
            self._networks[languages] = trained(self.gold.tokens, self.gold.language, self._chosen(languages))
        return self._networks[languages]

    def embedding(self, languages: frozenset[str]) -> Float64s:
        if languages not in self._embeddings:
            self._embeddings[languages] = embedding_weights(self.gold, self._chosen(languages))
        return self._embeddings[languages]

    def figures(self, languages: frozenset[str], test: Passages, here: Bools) -> Float64s:
        """float64[rows, 5] of the chosen passages of `test`: embedding, both of the network, both of the capitals."""
        network, rows = self.network(languages), np.flatnonzero(here)
        names = test.said[rows]
        if network is not None and test.tokens is not None:
            names = said(network, test.tokens, rows)
        embedding = test.vectors[rows] @ self.embedding(languages)
        return np.column_stack([embedding, names, test.surface[rows]])

    def mix(self, languages: frozenset[str]) -> Float64s:
        """float64[5]: weights of the figures, by those of languages that they have not seen."""
        figures, labels, weights = [], [], []
        for language in sorted(languages):
            here = self.gold.language == language
            others = languages - {language} or languages  # of one language there is nothing else
            found = self.figures(others, self.gold, here)
            for group in sorted(set(self.gold.group[here])):
                mine = self.gold.group[here] == group
                label = self.gold.label[here][mine]
                figures.append(found[mine] - found[mine].mean(axis=0))
                labels.append(label - label.mean())
                weights.append(np.full(len(label), min(1.0, MOST / len(label))))
        return least_squares(np.concatenate(figures), np.concatenate(labels), np.concatenate(weights))


def least_squares(x: Float64s, y: Float64s, weight: Float64s) -> Float64s:
    """Weights of 0 and more: what would be below is left out, one after the other."""
    spread = np.sqrt((x * x * weight[:, None]).sum(axis=0) / weight.sum()) + 1e-12
    z, kept = x / spread, np.ones(x.shape[1], np.bool_)
    while True:
        some = z[:, kept]
        left = (some * weight[:, None]).T @ some + MIX_RIDGE * np.eye(int(kept.sum()))
        found = np.linalg.solve(left, (some * weight[:, None]).T @ y)
        if (found >= 0).all():
            break
        kept[np.flatnonzero(kept)[int(np.argmin(found))]] = False
    out = np.zeros(x.shape[1])
    out[kept] = found / spread[kept]
    return out
