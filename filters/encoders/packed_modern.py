"""ModernBERT and mmBERT, packed (arXiv 2412.13663, 2509.06888): pre-norm, rotary, gated, mostly local attention.

    x   = norm(word)
    x   = x + Wo(attention(norm(x)))               no norm in the first layer
    a|b = Wi(norm(x))
    x   = x + Wo(act(a) * b)
    x   = norm(x) behind the last layer

Every `global_attn_every_n_layers`-th layer sees the whole text, the others `local_attention` / 2 tokens to either side, each
kind with rotary frequencies of its own. Names of tensors and keys are those of the library transformers; its version 5
writes `layer_types` and `rope_parameters` instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from filters.encoders.packed_attention import Layout, attend
from filters.encoders.packed_parts import (
    Norm,
    activation,
    checked_sizes,
    frequencies,
    fused,
    gated,
    rotary,
    rotated,
)
from filters.encoders.packed_weights import Tensors

_GLOBAL: Final = "full_attention"
_LOCAL: Final = "sliding_attention"


class _Layer(NamedTuple):
    kind: str
    norm: Norm | None
    qkv: tuple[Any, Any]
    out: tuple[Any, Any]
    last_norm: Norm
    up: tuple[Any, Any]
    down: tuple[Any, Any]


class ModernBert:
    """The layers; see `filters.encoders.packed.PackedModel`."""

    def __init__(self, config: Mapping[str, Any], tensors: Tensors) -> None:
        tensors = tensors.below("embeddings.tok_embeddings.weight")
        device, epsilon = tensors.device, config["norm_eps"]
        self.words = tensors["embeddings.tok_embeddings.weight"]
        self._heads, self._width = checked_sizes(config, self.words)
        self.max_tokens: int = config["max_position_embeddings"]
        self._window = config["local_attention"] // 2
        self._rotary = {
            kind: rotary(frequencies(self._width, theta), config["max_position_embeddings"], device)
            for kind, theta in _thetas(config).items()
        }
        self._norm = Norm(*tensors.linear("embeddings.norm"), epsilon)
        self._rotated = fused(rotated, tensors)
        self._gate = fused(gated(activation(config["hidden_activation"]), True), tensors)
        self._layers = []
        for number, kind in enumerate(_kinds(config)):
            name = f"layers.{number}"
            first = f"{name}.attn_norm"
            self._layers.append(
                _Layer(
                    kind,
                    Norm(*tensors.linear(first), epsilon) if f"{first}.weight" in tensors else None,
                    tensors.linear(f"{name}.attn.Wqkv"),
                    tensors.linear(f"{name}.attn.Wo"),
                    Norm(*tensors.linear(f"{name}.mlp_norm"), epsilon),
                    tensors.linear(f"{name}.mlp.Wi"),
                    tensors.linear(f"{name}.mlp.Wo"),
                )
            )
        self._last = Norm(*tensors.linear("final_norm"), epsilon)

    def states(self, tokens: Any, layout: Layout) -> Any:
        from torch.nn.functional import linear

        x = self._norm(self.words[tokens])
        turns = {kind: table.at(layout.positions) for kind, table in self._rotary.items()}
        for layer in self._layers:
            normed = x if layer.norm is None else layer.norm(x)
            qkv = linear(normed, *layer.qkv).view(len(x), 3, self._heads, self._width)
            q, k = self._rotated(qkv[:, :2], *turns[layer.kind]).unbind(1)
            window = None if layer.kind == _GLOBAL else self._window
            x = x + linear(attend(q, k, qkv[:, 2], layout, window), *layer.out)
            x = x + linear(self._gate(linear(layer.last_norm(x), *layer.up)), *layer.down)
        return self._last(x)


def _kinds(config: Mapping[str, Any]) -> list[str]:
    """What each layer sees; ValueError if the config names something else."""
    count = config["num_hidden_layers"]
    kinds = config.get("layer_types")
    if kinds is None:
        every = config["global_attn_every_n_layers"]
        kinds = [_LOCAL if number % every else _GLOBAL for number in range(count)]
    if len(kinds) != count or set(kinds) - {_GLOBAL, _LOCAL}:
        raise ValueError(f"layer_types does not say for each of {count} layers what it sees")
    return list(kinds)


def _thetas(config: Mapping[str, Any]) -> dict[str, float]:
    if (named := config.get("rope_parameters")) is not None:
        for kind in (_GLOBAL, _LOCAL):
            if named[kind].get("rope_type", "default") != "default":
                raise ValueError(f"rotary positions of type {named[kind]['rope_type']!r} have no packed form")
        return {kind: named[kind]["rope_theta"] for kind in (_GLOBAL, _LOCAL)}
    everywhere = config["global_rope_theta"]
    local = config.get("local_rope_theta")
    return {_GLOBAL: everywhere, _LOCAL: everywhere if local is None else local}
