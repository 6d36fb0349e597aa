"""Attention over texts that stand one behind the other: a token sees the tokens of its own text and no others.

    q, k, v   [total, heads, width]   →   [total, heads * width]

Half precision on CUDA takes torch's kernel for texts of any lengths (`torch.nn.attention.varlen`, Flash-Attention; from
Ampere on). Elsewhere texts of equal length go through `scaled_dot_product_attention` together, one call for each length of
the batch: what is computed is the same, and nothing is padded there either.

`window` limits how many tokens to either side a token sees (ModernBERT's local layers).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from curate.core.computed import computed


class Run(NamedTuple):
    """Texts of one length that stand together: tokens [start, start + texts * length)."""

    start: int
    texts: int
    length: int


class Layout:
    """Where the texts of a batch begin. lengths: int64[n], none of them 0."""

    def __init__(self, lengths: npt.NDArray[np.int64], device: Any) -> None:
        from filters.encoders.torch_device import uploaded

        bounds = np.concatenate([[0], np.cumsum(lengths)])
        self.longest = int(lengths.max())
        self.device = device
        #: int64[n + 1]: where texts begin, and the end.
        self.ends = uploaded(bounds, device)
        #: int64[total]: the place of each token in its text.
        self.positions = uploaded(np.arange(bounds[-1]) - np.repeat(bounds[:-1], lengths), device)
        self._bounds = bounds
        self._lengths = lengths
        self._masks: dict[tuple[int, int], Any] = {}

    @computed
    def ends32(self) -> Any:
        return self.ends.int()

    @computed
    def runs(self) -> list[Run]:
        first = np.flatnonzero(np.diff(self._lengths, prepend=-1))
        counts = np.diff(first, append=len(self._lengths))
        return [
            Run(*map(int, run)) for run in zip(self._bounds[first], counts, self._lengths[first], strict=True)
        ]

    def mask(self, length: int, window: int) -> Any | None:
        """bool[length, length]: what sees what; None where all see all."""
        import torch

        if length - 1 <= window:
            return None
        if (length, window) not in self._masks:
            at = torch.arange(length, device=self.device)
            self._masks[length, window] = (at[:, None] - at[None, :]).abs() <= window
        return self._masks[length, window]


def has_kernel(q: Any) -> bool:
    """Whether torch's kernel for lengths that vary takes queries like these: its own conditions (`mha_varlen_fwd`)."""
    import torch

    if q.device.type != "cuda" or q.dtype not in (torch.bfloat16, torch.float16):
        return False
    width = q.shape[-1]
    fits: bool = width % 8 == 0 and width <= 256 and torch.cuda.get_device_capability(q.device) >= (8, 0)
    return fits


def attend(q: Any, k: Any, v: Any, layout: Layout, window: int | None = None) -> Any:
    """[total, heads * width] of q, k, v [total, heads, width]."""
    import torch

    total = q.shape[0]
    if has_kernel(q):
        from torch.nn.attention.varlen import varlen_attn

        sides = (-1, -1) if window is None else (window, window)
        ends, longest = layout.ends32, layout.longest
        # Only the last axis has to be contiguous, so parts of one product need not be copied.
        made = varlen_attn(q, k, v, ends, ends, longest, longest, window_size=sides)
        return made.reshape(total, -1)
    out = torch.empty_like(q)
    for run in layout.runs:
        part = slice(run.start, run.start + run.texts * run.length)
        shape = (run.texts, run.length, *q.shape[1:])
        one, two, three = (x[part].view(shape).transpose(1, 2) for x in (q, k, v))
        mask = None if window is None else layout.mask(run.length, window)
        made = torch.nn.functional.scaled_dot_product_attention(one, two, three, attn_mask=mask)
        out[part].view(shape).copy_(made.transpose(1, 2))
    return out.reshape(total, -1)
