"""`use: packed`: XLM-R, BERT, ModernBERT and GTE without padding, from their safetensors, on the CPU or on CUDA.

All texts of a batch stand one behind the other; attention knows where each begins (`filters.encoders.packed_attention`), and
everything else works on single tokens, so no padding exists that could cost anything. By `model_type` in config.json:

    xlm-roberta, bert        `packed_bert`     multilingual-e5, bge-m3, arctic-embed-l-v2.0, arctic-embed-m
    new, gte                 `packed_gte`      gte-multilingual-base, arctic-embed-m-v2.0 (JQL's)
    modernbert               `packed_modern`   ModernBERT, mmBERT, gte-modernbert

Vectors are those of the padded models of the library transformers up to rounding (cosine at least 0.9999 in float32, as
the tests ask); GTE is not in that library and follows its authors' definition.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol

import numpy as np

from curate.core.errors import error
from filters.encoders.batches import Batch, Float32s
from filters.encoders.encoder import Settings
from filters.encoders.folder import CONFIG, unfit
from filters.encoders.options import LEAST_TOKENS, PackedOptions
from filters.encoders.torch_device import TorchEncoder, begun, fetching, pooled, uploaded

#: Texts of the fewest tokens for which parts are compiled: the same whatever the options.
_TRIAL_TEXTS: Final = 1024


class PackedModel(Protocol):
    """Layers. words: embeddings of tokens [tokens, dimensions]. max_tokens: positions that the model has."""

    words: Any
    max_tokens: int

    def states(self, tokens: Any, layout: Any) -> Any:
        """[total, dimensions] of the last layer. tokens: int64[total]; layout: `packed_attention.Layout`."""
        ...


class PackedEncoder(TorchEncoder):
    """The encoder; see `filters.encoders.encoder`."""

    options: PackedOptions
    needs: ClassVar[Mapping[str, str]] = {"torch": "gpu", "tokenizers": "gpu"}
    libraries: ClassVar[tuple[str, ...]] = ("torch", "tokenizers")
    padded: ClassVar[bool] = False

    def _load(self, files: Mapping[str, Path]) -> None:
        import torch

        from filters.encoders.packed_weights import read_tensors

        self._device = self._open_device()
        dtype = getattr(torch, self.options.dtype)
        tensors = read_tensors(files, self._device, dtype, self._compiled)
        try:
            self._model = packed_model(self.config, tensors)
        except KeyError as cause:
            raise unfit(self.folder, f"its weights or {CONFIG} lack {cause.args[0]}") from cause
        except ValueError as cause:
            raise unfit(self.folder / CONFIG, str(cause)) from cause
        self._check_vocabulary(len(self._model.words))
        most = self._model.max_tokens  # by the weights; config.json was believed before
        if self.max_tokens > most:
            raise unfit(self.folder, f"it has {most:,} positions, and max_tokens is {self.max_tokens:,}")
        if self._compiled:
            self._compile()

    @property
    def settings(self) -> Settings:
        return {**super().settings, "compiled": True} if self._compiled else super().settings

    @property
    def _compiled(self) -> bool:
        return self.options.compile and self.options.device == "cuda"

    def _compile(self) -> None:
        """Before any batch of data could decide how. E509 if it fails."""
        import torch

        from filters.encoders.packed_attention import Layout

        lengths = np.full(_TRIAL_TEXTS, LEAST_TOKENS)
        try:
            with torch.inference_mode():
                tokens = torch.zeros(int(lengths.sum()), dtype=torch.int64, device=self._device)
                self._model.states(tokens, Layout(lengths, self._device))
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, ImportError, OSError) as cause:  # of torch and Triton, without a compiler
            raise error(
                "E509",
                f"the layers of the encoder {self.name} cannot be compiled: {str(cause).strip().partition(chr(10))[0]}",
                help="install Triton and a C compiler, or set `compile: false`: slower, and vectors differ by rounding",
            ) from cause

    def _forward(self, batch: Batch) -> Callable[[], Float32s]:
        import torch

        from filters.encoders.packed_attention import Layout

        with torch.inference_mode():
            layout = Layout(batch.lengths, self._device)
            tokens = uploaded(batch.tokens.astype(np.int64), self._device)
            start = begun(self._device)
            states = self._model.states(tokens, layout)
            return fetching(pooled(states, layout.ends, self.options), start, self.meter)


def packed_model(config: Mapping[str, Any], tensors: Any) -> PackedModel:
    """The layers for a config.json. KeyError naming what is not there, ValueError for what is not supported."""
    kind = config.get("model_type")
    if kind in ("xlm-roberta", "roberta", "bert"):
        from filters.encoders.packed_bert import Bert

        return Bert(config, tensors)
    if kind in ("new", "gte"):
        from filters.encoders.packed_gte import Gte

        return Gte(config, tensors)
    if kind == "modernbert":
        from filters.encoders.packed_modern import ModernBert

        return ModernBert(config, tensors)
    raise ValueError(
        f"model_type {kind!r} has no packed form: xlm-roberta, bert, new (GTE) and modernbert have; `use: transformers` "
        "takes any"
    )
