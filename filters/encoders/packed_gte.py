"""GTE, packed: gte-multilingual-base and arctic-embed-m-v2.0 (mGTE, arXiv 2407.19669, section 3; model_type `new`).

BERT's layers with rotary positions, one product for queries, keys and values, and gated feed-forward layers (GEGLU):

    x   = norm(word + type 0)
    x   = norm(x + out(attention(rotated q, rotated k, v)))
    u|g = up_gate(x)
    x   = norm(x + down(u * act(g)))

Rotary frequencies are theta^(-2i/w) of a head of width w. With `rope_scaling: {type: ntk, factor: f}` the definition turns
them, for texts of any length, into (f theta)^(-2i/w) / f^(2/w), and with `mixed_b: b` into theta^(-2i/w) /
exp(a (i + 1)^b) with a = ln f / (w / 2)^b.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from filters.encoders.packed_attention import Layout, attend
from filters.encoders.packed_parts import (
    Norm,
    activation,
    checked_sizes,
    frequencies,
    fused,
    gated,
    normed_sum,
    rotary,
    rotated,
)
from filters.encoders.packed_weights import Tensors


class _Layer(NamedTuple):
    qkv: tuple[Any, Any]
    out: tuple[Any, Any]
    norm: Norm
    up: tuple[Any, Any]
    down: tuple[Any, Any]
    last_norm: Norm


class Gte:
    """The layers; see `filters.encoders.packed.PackedModel`."""

    def __init__(self, config: Mapping[str, Any], tensors: Tensors) -> None:
        _check(config)
        tensors = tensors.below("embeddings.word_embeddings.weight")
        device, epsilon = tensors.device, config["layer_norm_eps"]
        self.words = tensors["embeddings.word_embeddings.weight"]
        self._heads, self._width = checked_sizes(config, self.words)
        self._type = (
            tensors["embeddings.token_type_embeddings.weight"][0] if config.get("type_vocab_size") else None
        )
        self.max_tokens: int = config["max_position_embeddings"]
        self._rotary = rotary(_frequencies(config, self._width), config["max_position_embeddings"], device)
        self._norm = Norm(*tensors.linear("embeddings.LayerNorm"), epsilon)
        self._rotated = fused(rotated, tensors)
        self._gate = fused(gated(activation(config["hidden_act"]), False), tensors)
        self._sum = fused(normed_sum, tensors)
        self._layers = []
        for number in range(config["num_hidden_layers"]):
            name = f"encoder.layer.{number}"
            self._layers.append(
                _Layer(
                    _qkv(tensors, f"{name}.attention"),
                    tensors.linear(f"{name}.attention.o_proj"),
                    Norm(*tensors.linear(f"{name}.attn_ln"), epsilon),
                    tensors.linear(f"{name}.mlp.up_gate_proj"),
                    tensors.linear(f"{name}.mlp.down_proj"),
                    Norm(*tensors.linear(f"{name}.mlp_ln"), epsilon),
                )
            )

    def states(self, tokens: Any, layout: Layout) -> Any:
        from torch.nn.functional import linear

        x = self.words[tokens]
        x = self._norm(x if self._type is None else x + self._type)
        turn = self._rotary.at(layout.positions)
        for layer in self._layers:
            qkv = linear(x, *layer.qkv).view(len(x), 3, self._heads, self._width)
            q, k = self._rotated(qkv[:, :2], *turn).unbind(1)
            x = self._sum(x, linear(attend(q, k, qkv[:, 2], layout), *layer.out), *layer.norm)
            x = self._sum(x, linear(self._gate(linear(x, *layer.up)), *layer.down), *layer.last_norm)
        return x


def _check(config: Mapping[str, Any]) -> None:
    """ValueError for what the published models do not have."""
    expected = {
        "position_embedding_type": "rope",
        "layer_norm_type": "layer_norm",
        "logn_attention_scale": False,
    }
    for key, value in expected.items():
        if config.get(key, value) != value:
            raise ValueError(f"{key} {config[key]!r} has no packed form, only {value!r}")
    scaling = config.get("rope_scaling")
    if scaling is not None and scaling.get("type") != "ntk":
        raise ValueError(f"rope_scaling {scaling!r} has no packed form, only type 'ntk'")


def _frequencies(config: Mapping[str, Any], width: int) -> Any:
    import torch

    theta, scaling = config["rope_theta"], config.get("rope_scaling")
    if scaling is None:
        return frequencies(width, theta)
    factor, mixed = scaling["factor"], scaling.get("mixed_b")
    if mixed is None:
        return frequencies(width, theta * factor) / factor ** (2 / width)
    slope = math.log(factor) / (width / 2) ** mixed
    return frequencies(width, theta) / torch.exp(slope * torch.arange(1, width // 2 + 1).float() ** mixed)


def _qkv(tensors: Tensors, name: str) -> tuple[Any, Any]:
    import torch

    if f"{name}.qkv_proj.weight" in tensors:
        return tensors.linear(f"{name}.qkv_proj")
    parts = [tensors.linear(f"{name}.{part}_proj") for part in "qkv"]
    return torch.cat([weight for weight, _ in parts]), torch.cat([bias for _, bias in parts])
