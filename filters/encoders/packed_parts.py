"""Parts of the packed models: activations, norms, gates, rotary positions (RoPE, arXiv 2104.09864).

On CUDA the parts that only move memory are compiled into one kernel each (`torch.compile`): they would take nearly as long
as the products otherwise. A compiled norm rounds otherwise than one that is not, so whether parts are compiled is an option
and belongs to the recipe of vectors. How a kernel adds up follows from the batch that it is made for: it is made for the
same one in every process (`filters.encoders.packed`), and torch is told to choose the same for all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from filters.encoders.packed_weights import Tensors


class Norm(NamedTuple):
    """Layer normalisation over the last axis."""

    weight: Any
    bias: Any | None
    epsilon: float

    def __call__(self, x: Any) -> Any:
        import torch

        return torch.nn.functional.layer_norm(x, self.weight.shape, self.weight, self.bias, self.epsilon)


class Rotary(NamedTuple):
    """cos, sin: float32[positions, width / 2]."""

    cos: Any
    sin: Any

    def at(self, positions: Any) -> Rotary:
        """For tokens at these positions: [total, 1, 1, width / 2]."""
        return Rotary(self.cos[positions][:, None, None], self.sin[positions][:, None, None])


def rotary(frequencies: Any, positions: int, device: Any) -> Rotary:
    """frequencies: float32[width / 2], radians a position."""
    import torch

    angles = torch.outer(torch.arange(positions, dtype=torch.float32), frequencies)
    return Rotary(angles.cos().to(device), angles.sin().to(device))


def frequencies(width: int, theta: float) -> Any:
    """theta^(-2i / width) for i = 0 … width / 2 - 1."""
    import torch

    return theta ** -(torch.arange(0, width, 2, dtype=torch.float32) / width)


def rotated(qk: Any, cos: Any, sin: Any) -> Any:
    """Queries and keys [total, 2, heads, width] turned by their positions; halves of a head are its pairs."""
    import torch

    one, two = qk.float().chunk(2, dim=-1)
    return torch.cat((one * cos - two * sin, two * cos + one * sin), dim=-1).to(qk.dtype)


def normed_sum(x: Any, y: Any, weight: Any, bias: Any | None, epsilon: float) -> Any:
    """norm(x + y), for the models that normalise after a layer."""
    import torch

    return torch.nn.functional.layer_norm(x + y, weight.shape, weight, bias, epsilon)


def activation(name: Any) -> Callable[[Any], Any]:
    """By its name in config.json; ValueError if it is none of those known here."""
    from torch.nn import functional

    known: dict[str, Callable[[Any], Any]] = {
        "gelu": functional.gelu,
        "gelu_new": partial(functional.gelu, approximate="tanh"),
        "gelu_pytorch_tanh": partial(functional.gelu, approximate="tanh"),
        "relu": functional.relu,
        "silu": functional.silu,
    }
    if name not in known:
        raise ValueError(f"the activation {name!r} is not one of {', '.join(known)}")
    return known[name]


def gated(act: Callable[[Any], Any], first: bool) -> Callable[[Any], Any]:
    """Half of x times the activation of the other half; first: whether the first half is activated."""

    def gate(x: Any) -> Any:
        one, two = x.chunk(2, dim=-1)
        return act(one) * two if first else one * act(two)

    return gate


def fused(part: Callable[..., Any], tensors: Tensors) -> Callable[..., Any]:
    """The part, compiled if those of this model are."""
    return Fused(part) if tensors.compiled else part


class Fused:
    """A part as one kernel for any number of tokens, made at the first call; RuntimeError if that cannot be done.

    The other sizes are the model's and stay constants, by which a kernel divides faster and norms a row at once.
    """

    def __init__(self, part: Callable[..., Any]) -> None:
        import torch

        os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")  # three kernels need no pool of processes
        self._call: Callable[..., Any] = torch.compile(
            part, fullgraph=True, dynamic=False, options={"batch_invariant": True}
        )

    def __call__(self, *given: Any) -> Any:
        import torch

        for x in given:
            if getattr(x, "ndim", 0) > 1 and len(x) > 1:  # not the weights of a norm
                torch._dynamo.mark_dynamic(x, 0)  # tokens; nothing else may change
        return self._call(*given)


def checked_sizes(config: Mapping[str, Any], table: Any) -> tuple[int, int]:
    """Heads and their width. table: embeddings [tokens, dimensions]; ValueError if they are not the config's."""
    size, heads = config["hidden_size"], config["num_attention_heads"]
    if table.shape[1] != size:
        raise ValueError(f"hidden_size is {size}, and the embeddings have {table.shape[1]}")
    if size % heads:
        raise ValueError(f"hidden_size {size} is no multiple of {heads} heads")
    return heads, size // heads
