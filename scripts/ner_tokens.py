"""The network of the encoder `usem3-names`: trained on which tokens of gold passages are names. Used by train_ner_head.py.

In: passages with the places of their entities. Out: the two layers that `filters.ner.names_encoder` reads. Each token of
usem3's is two labels: whether it shares a character with an entity, and whether one begins in it. The features are 1,280
values a token, in float16 while they are held. The loss is cross-entropy; of a language at most 40,000 tokens count, and
those of a small corpus a little more. Two epochs of AdamW, step sizes falling to nothing, batches of 512, 64 hidden values,
a fifth of them dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters.encoders.encoder import first_characters
from filters.encoders.usem3 import Usem3, _batches, _shortened
from filters.encoders.usem3_weights import FEATURES
from filters.ner.names_encoder import OUTPUTS, Layers, _logits, _means, _Network

HIDDEN: Final = 64
EPOCHS: Final = 2
MOST_TOKENS: Final = 40_000
_BATCH: Final = 512
_RATE: Final = 1e-3
_DECAY: Final = 1e-4
_DROPPED: Final = 0.2
#: How much more a token of a small corpus may count, squared.
_RARE: Final = 1.5
#: Passages whose features are made at a time.
_PASSAGES: Final = 64

Place = tuple[int, int]


class Tokens(NamedTuple):
    """features: float16[total, 1280] of passages one behind the other; ends: int64[passages + 1]; marks: bool[total, 2]."""

    features: npt.NDArray[np.float16]
    ends: npt.NDArray[np.int64]
    marks: npt.NDArray[np.bool_]


def tokens_of(
    encoder: Usem3, texts: pa.StringArray, entities: Sequence[Sequence[Place]], most: int
) -> Tokens:
    """Of texts, of each the first `most` characters. entities: code points of each text. encoder: opened."""
    assert encoder._weights is not None
    cache = encoder._cache(encoder._weights)
    listed = first_characters(texts, most)[0].to_pylist()
    features, marks, lengths = [], [], []
    for first in range(0, len(listed), _PASSAGES):
        ids, sizes = [], []
        for text, places in zip(
            listed[first : first + _PASSAGES], entities[first : first + _PASSAGES], strict=True
        ):
            pieces = encoder._tokenizer.encode(text, return_type="proto").pieces
            ids.append(_shortened([*encoder._tokenizer.encode(text, add_bos=True, add_eos=True)]))
            sizes.append(len(ids[-1]))
            marks.append(_marks(text, places, [(piece.begin, piece.end) for piece in pieces])[: sizes[-1]])
        for tokens, ends in _batches(ids, np.array(sizes, np.int64)):
            each = np.empty((len(tokens), FEATURES), np.float32)
            cache.sums(tokens, ends, each)
            features.append(each.astype(np.float16))
        lengths += sizes
    ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Tokens(np.concatenate(features), ends, np.concatenate(marks))


def _marks(text: str, places: Sequence[Place], pieces: Sequence[Place]) -> npt.NDArray[np.bool_]:
    """bool[tokens, 2], the text's two marks included. pieces: bytes of the text."""
    starts = np.concatenate([[0], np.cumsum([len(c.encode()) for c in text])])
    inside, begins = np.zeros(starts[-1] + 1, np.bool_), np.zeros(starts[-1] + 1, np.bool_)
    for start, end in places:
        if start < len(text):
            inside[starts[start] : starts[min(end, len(text))]] = True
            begins[starts[start]] = True
    made = [(inside[a:b].any(), begins[a:b].any()) for a, b in pieces]
    return np.array([(False, False), *made, (False, False)], np.bool_)


def trained(tokens: Tokens, languages: npt.NDArray[Any], chosen: npt.NDArray[np.bool_]) -> Layers:
    """The network by the chosen passages. languages: of each passage."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    turns = torch.Generator().manual_seed(0)
    chance = np.random.default_rng(0)
    lengths = np.diff(tokens.ends)
    own = np.repeat(np.arange(len(lengths)), lengths)
    within = np.ones(len(own), np.bool_)
    within[tokens.ends[:-1]] = within[tokens.ends[1:] - 1] = False
    rows = []
    for language in sorted(set(languages[chosen])):
        mine = np.flatnonzero(within & (chosen & (languages == language))[own])
        rows.append(np.sort(chance.permutation(mine)[:MOST_TOKENS]) if len(mine) > MOST_TOKENS else mine)
    joined = np.concatenate(rows)
    counts = [(len(some), min(_RARE, len(joined) / len(rows) / len(some)) ** 0.5) for some in rows]
    weights = torch.from_numpy(np.concatenate([np.full(n, weight, np.float32) for n, weight in counts]))
    given = torch.from_numpy(tokens.features[joined])
    wanted = torch.from_numpy(tokens.marks[joined].astype(np.float32))
    network = torch.nn.Sequential(
        torch.nn.Linear(FEATURES, HIDDEN), torch.nn.ReLU(), torch.nn.Dropout(_DROPPED), torch.nn.Linear(HIDDEN, OUTPUTS)
    )  # fmt: skip
    size = min(_BATCH, len(joined))
    steps = EPOCHS * (len(joined) // size)
    optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(0.02, 1 - step / steps))
    for _ in range(EPOCHS):
        order = torch.randperm(len(joined), generator=turns)
        for first in range(0, len(joined) - size + 1, size):
            some = order[first : first + size]
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                network(given[some].float()), wanted[some], reduction="none"
            )
            optimizer.zero_grad()
            (loss.mean(dim=1) * weights[some]).mean().backward()
            optimizer.step()
            schedule.step()
    first_layer, last_layer = network[0], network[3]
    return (_arrays(first_layer), _arrays(last_layer))


def _arrays(layer: Any) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    return layer.weight.detach().numpy(), layer.bias.detach().numpy()


def said(layers: Layers, tokens: Tokens, passages: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """float64[passages, 2]: the means over their tokens, as the encoder gives them."""
    network = _Network.of(layers)
    out = np.zeros((len(passages), OUTPUTS), np.float32)
    for row, passage in enumerate(passages):
        first, last = tokens.ends[passage], tokens.ends[passage + 1]
        each = np.zeros((last - first + 16, FEATURES), np.float32)
        each[: last - first] = tokens.features[first:last]
        logits = _logits(each, int(last - first), network)
        _means(logits, np.array([0, last - first], np.int64), out[row : row + 1])
    return out.astype(np.float64)
