"""BERT and XLM-R, packed (arXiv 1810.04805, 1911.02116): a post-norm transformer with absolute positions.

    x   = norm(word + position + type 0)
    x   = norm(x + out(attention(x)))              in each layer
    x   = norm(x + down(act(up(x))))

Positions of XLM-R begin behind its padding token's number. Names of tensors are those of the library transformers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from filters.encoders.packed_attention import Layout, attend
from filters.encoders.packed_parts import Norm, activation, checked_sizes, fused, normed_sum
from filters.encoders.packed_weights import Tensors


class _Layer(NamedTuple):
    qkv: tuple[Any, Any]
    out: tuple[Any, Any]
    norm: Norm
    up: tuple[Any, Any]
    down: tuple[Any, Any]
    last_norm: Norm


class Bert:
    """The layers; see `filters.encoders.packed.PackedModel`."""

    def __init__(self, config: Mapping[str, Any], tensors: Tensors) -> None:
        import torch

        if config.get("position_embedding_type", "absolute") != "absolute":
            raise ValueError(f"positions that are {config['position_embedding_type']} have no packed form")
        tensors = tensors.below("embeddings.word_embeddings.weight")
        epsilon = config["layer_norm_eps"]
        self.words = tensors["embeddings.word_embeddings.weight"]
        self._heads, self._width = checked_sizes(config, self.words)
        self._first = 0 if config["model_type"] == "bert" else config["pad_token_id"] + 1
        places = tensors["embeddings.position_embeddings.weight"]
        self._places = places + tensors["embeddings.token_type_embeddings.weight"][0]
        self.max_tokens: int = len(places) - self._first
        self._norm = _norm(tensors, "embeddings.LayerNorm", epsilon)
        self._act = activation(config["hidden_act"])
        self._sum = fused(normed_sum, tensors)
        self._layers = []
        for number in range(config["num_hidden_layers"]):
            name = f"encoder.layer.{number}"
            parts = [tensors.linear(f"{name}.attention.self.{part}") for part in ("query", "key", "value")]
            self._layers.append(
                _Layer(
                    (torch.cat([w for w, _ in parts]), torch.cat([b for _, b in parts])),
                    tensors.linear(f"{name}.attention.output.dense"),
                    _norm(tensors, f"{name}.attention.output.LayerNorm", epsilon),
                    tensors.linear(f"{name}.intermediate.dense"),
                    tensors.linear(f"{name}.output.dense"),
                    _norm(tensors, f"{name}.output.LayerNorm", epsilon),
                )
            )

    def states(self, tokens: Any, layout: Layout) -> Any:
        from torch.nn.functional import linear

        x = self._norm(self.words[tokens] + self._places[layout.positions + self._first])
        for layer in self._layers:
            q, k, v = linear(x, *layer.qkv).view(len(x), 3, self._heads, self._width).unbind(1)
            x = self._sum(x, linear(attend(q, k, v, layout), *layer.out), *layer.norm)
            x = self._sum(x, linear(self._act(linear(x, *layer.up)), *layer.down), *layer.last_norm)
        return x


def _norm(tensors: Tensors, name: str, epsilon: float) -> Norm:
    return Norm(*tensors.linear(name), epsilon)
