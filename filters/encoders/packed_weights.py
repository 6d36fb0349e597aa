"""Weights of a model from its safetensors, tensor by tensor, onto a device and into a dtype.

Published files put the encoder under a name or not (`roberta.`, `new.`, `model.`), as the task had it that they were saved
for; `below` finds which. What is not asked for is not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filters.encoders.folder import unfit


class Tensors:
    """Tensors by name. `[name]` is a KeyError that names the tensor if it is not there. compiled: whether parts will be."""

    def __init__(
        self,
        files: Mapping[str, Any],
        device: Any,
        dtype: Any,
        prefix: str = "",
        compiled: bool = False,
    ) -> None:
        self.compiled = compiled
        self._files = files
        self._device = device
        self._dtype = dtype
        self._prefix = prefix

    @property
    def device(self) -> Any:
        return self._device

    def __contains__(self, name: str) -> bool:
        return self._prefix + name in self._files

    def __getitem__(self, name: str) -> Any:
        full = self._prefix + name
        return self._files[full].get_tensor(full).to(device=self._device, dtype=self._dtype).contiguous()

    def linear(self, name: str) -> tuple[Any, Any | None]:
        """Weight [outputs, inputs] and bias, if there is one."""
        bias = f"{name}.bias"
        return self[f"{name}.weight"], (self[bias] if self._prefix + bias in self._files else None)

    def below(self, anchor: str) -> Tensors:
        """The tensors without what stands before `anchor`, a name that the encoder is known to have."""
        found = sorted((name for name in self._files if name.endswith(anchor)), key=len)
        if not found:
            raise KeyError(anchor)
        return Tensors(self._files, self._device, self._dtype, found[0].removesuffix(anchor), self.compiled)


def _names(opened: Any) -> list[str]:
    return list(opened.keys())


def read_tensors(files: Mapping[str, Path], device: Any, dtype: Any, compiled: bool = False) -> Tensors:
    """The tensors of an encoder's weights; E507 if a file is damaged."""
    from safetensors import SafetensorError, safe_open

    found: dict[str, Any] = {}
    for role, path in files.items():
        if not role.startswith("weights"):
            continue
        try:
            opened = safe_open(str(path), framework="pt", device="cpu")
        except (SafetensorError, OSError) as cause:
            raise unfit(path, f"it is no safetensors file, or not all of one: {cause}") from cause
        found |= dict.fromkeys(_names(opened), opened)
    return Tensors(found, device, dtype, compiled=compiled)
