"""`use: transformers`: any encoder that the library transformers can load, in padded batches on the CPU or on CUDA.

The slow and general way; XLM-R, BERT, ModernBERT and GTE have a faster one (`filters.encoders.packed`). The model is read
from its folder alone, safetensors only, and nothing is fetched. Python code beside the model is not run unless
`trust_remote_code` says so, and then its files decide the result as the weights do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from filters.encoders.batches import Batch, Float32s
from filters.encoders.folder import safetensors_of, unfit
from filters.encoders.options import TransformersOptions
from filters.encoders.torch_device import TorchEncoder, begun, fetching, pooled, uploaded


class TransformersEncoder(TorchEncoder):
    """The encoder; see `filters.encoders.encoder`."""

    options: TransformersOptions
    needs: ClassVar[Mapping[str, str]] = {"torch": "gpu", "transformers": "gpu", "tokenizers": "gpu"}
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "tokenizers")
    #: The class of transformers that loads it, and how tensors begin that its weights may lack.
    architecture: ClassVar[str] = "AutoModel"
    may_lack: ClassVar[tuple[str, ...]] = ("pooler.",)

    def weights(self) -> Mapping[str, Path]:
        found = safetensors_of(self.folder)
        if self.options.trust_remote_code:
            found |= {f"code/{path.name}": path for path in sorted(self.folder.glob("*.py"))}
        return found

    def _load(self, files: Mapping[str, Path]) -> None:
        import torch
        import transformers
        from transformers.utils import logging

        self._device = self._open_device()
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        try:
            model, found = getattr(transformers, self.architecture).from_pretrained(
                str(self.folder),
                local_files_only=True,
                trust_remote_code=self.options.trust_remote_code,
                use_safetensors=True,
                dtype=getattr(torch, self.options.dtype),
                output_loading_info=True,
            )
        except (OSError, ValueError, RuntimeError, KeyError, ImportError, AttributeError) as cause:
            raise unfit(self.folder, f"transformers does not load it: {cause}") from cause
        missing = sorted(name for name in found["missing_keys"] if not name.startswith(self.may_lack))
        if missing:
            raise unfit(self.folder, f"its weights lack {len(missing)} tensors, the first is {missing[0]}")
        self._check_vocabulary(model.get_input_embeddings().weight.shape[0])
        self._model: Any = model.to(self._device).eval()

    def _forward(self, batch: Batch) -> Callable[[], Float32s]:
        import torch

        tokens, mask = batch.padded(self.config.get("pad_token_id") or 0)
        bounds = np.concatenate([[0], np.cumsum(batch.lengths)])
        with torch.inference_mode():
            given, here = uploaded(tokens, self._device), uploaded(mask, self._device)
            # Places of the tokens: a mask on the device would have to be counted, and everything to wait for that.
            places, ends = uploaded(np.flatnonzero(mask), self._device), uploaded(bounds, self._device)
            start = begun(self._device)
            states = self._model(input_ids=given, attention_mask=here).last_hidden_state
            vectors = pooled(states.flatten(0, 1)[places], ends, self.options)
            return fetching(vectors, start, self.meter)
