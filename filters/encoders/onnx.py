"""`use: onnx`: any encoder that was exported to ONNX, on the CPU.

A folder with `tokenizer.json`, `config.json` and `model.onnx` (or `onnx/model.onnx`, or the `file` that is named). Inputs
and outputs are found by name: `input_ids`, and as far as the model has them `attention_mask`, `token_type_ids` (zeros) and
`position_ids`; an output `last_hidden_state` or `token_embeddings`, else the only one of three dimensions, is pooled as
`pooling` says. A model that has only vectors of texts (`sentence_embedding`, two dimensions) has pooled by itself, and
`pooling` has no effect on it. Threads are set: those of the worker, no more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np

from filters.encoders.batches import Batch, Float32s
from filters.encoders.folder import CONFIG, FolderEncoder, lacks, unfit
from filters.encoders.options import OnnxOptions

_STATES: Final = ("last_hidden_state", "token_embeddings", "hidden_states")
_VECTORS: Final = ("sentence_embedding", "text_embeds", "pooler_output")
_FILES: Final = ("model.onnx", "onnx/model.onnx")


class OnnxEncoder(FolderEncoder):
    """The encoder; see `filters.encoders.encoder`."""

    options: OnnxOptions
    needs: ClassVar[Mapping[str, str]] = {"onnxruntime": "onnx", "tokenizers": "onnx"}
    libraries: ClassVar[tuple[str, ...]] = ("onnxruntime", "tokenizers")

    def weights(self) -> Mapping[str, Path]:
        names = (self.options.file,) if self.options.file else _FILES
        for name in names:
            path = self.folder / name
            if path.is_file():
                outside = sorted(path.parent.glob(f"{path.name}*data"))  # weights above 2 GB lie beside it
                return {"weights": path} | {f"weights/{data.name}": data for data in outside}
        raise lacks(self.folder, [" or ".join(names)])

    def _load(self, files: Mapping[str, Path]) -> None:
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = self.threads
        settings.inter_op_num_threads = 1
        settings.log_severity_level = 3
        try:
            self._session: Any = onnxruntime.InferenceSession(
                str(files["weights"]), settings, providers=["CPUExecutionProvider"]
            )
        except Exception as cause:  # the library has a dozen classes of its own below Exception
            raise unfit(files["weights"], f"onnxruntime does not load it: {cause}") from cause
        self._inputs = {made.name for made in self._session.get_inputs()}
        unknown = self._inputs - {"input_ids", "attention_mask", "token_type_ids", "position_ids"}
        if unknown or "input_ids" not in self._inputs:
            raise unfit(files["weights"], f"its inputs are {', '.join(sorted(self._inputs))}")
        self._output, self._pooled = self._chosen(files["weights"])
        (width,) = [made.shape[-1] for made in self._session.get_outputs() if made.name == self._output]
        if isinstance(width, int) and width != self.dimensions:
            raise unfit(files["weights"], f"it gives {width} values, and {CONFIG} says {self.dimensions}")

    def _chosen(self, path: Path) -> tuple[str, bool]:
        """The output that is used, and whether it is pooled."""
        outputs = {made.name: len(made.shape or ()) for made in self._session.get_outputs()}
        for names, pooled in ((_STATES, False), (_VECTORS, True)):
            for name in names:
                if name in outputs:
                    return name, pooled
        for dimensions, pooled in ((3, False), (2, True)):
            found = [name for name, number in outputs.items() if number == dimensions]
            if len(found) == 1:
                return found[0], pooled
        raise unfit(path, f"its outputs are {', '.join(outputs)}, of which none is known")

    def _forward(self, batch: Batch) -> Callable[[], Float32s]:
        tokens, mask = batch.padded(self.config.get("pad_token_id") or 0)
        given = {"input_ids": tokens, "attention_mask": mask}
        if "token_type_ids" in self._inputs:
            given["token_type_ids"] = np.zeros_like(tokens)
        if "position_ids" in self._inputs:
            given["position_ids"] = np.broadcast_to(np.arange(tokens.shape[1]), tokens.shape).copy()
        (found,) = self._session.run(
            [self._output], {name: value for name, value in given.items() if name in self._inputs}
        )
        values = np.asarray(found, np.float32)
        vectors = values if self._pooled else self._pool(values, mask, batch.lengths)
        if self.options.normalize:
            vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))
        return lambda: vectors

    def _pool(self, states: Float32s, mask: Any, lengths: Any) -> Float32s:
        if self.options.pooling == "cls":
            return states[:, 0]
        if self.options.pooling == "last":
            return states[np.arange(len(states)), lengths - 1]
        return np.einsum("nld,nl->nd", states, mask.astype(np.float32)) / lengths[:, None].astype(np.float32)
