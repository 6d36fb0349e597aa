"""What the encoders that torch runs share: the device, memory that runs out, copies to and from it, pooling.

On CUDA a batch is copied from pinned memory and its vectors into pinned memory, without waiting; so the next batch is
prepared and started while the last one is still computed.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numpy as np

from curate.core.errors import error
from filters.encoders.batches import Float32s
from filters.encoders.encoder import Settings
from filters.encoders.folder import FolderEncoder, unfit
from filters.encoders.meter import Meter
from filters.encoders.options import TorchOptions


class TorchEncoder(FolderEncoder):
    """An encoder on a device of torch."""

    options: TorchOptions

    @property
    def settings(self) -> Settings:
        return {**super().settings, "dtype": self.options.dtype}

    @property
    def computes_here(self) -> bool:
        return self.options.device == "cpu"

    def _open_device(self) -> Any:
        """The device; E509 if it is not there."""
        import torch

        self._out_of_memory = (torch.OutOfMemoryError,)
        if self.options.device == "cpu":
            torch.set_num_threads(self.threads)
            return torch.device("cpu")
        if not torch.cuda.is_available():
            raise error(
                "E509",
                f"the encoder {self.options.model} is to run on CUDA, and torch {torch.__version__} finds no such device",
                help="set `device: cpu`, or run where there is a GPU, its driver and a torch built for it",
            )
        torch.set_float32_matmul_precision("highest")
        return torch.device("cuda", 0)  # of those that the executor lets this process see

    def _check_vocabulary(self, rows: int) -> None:
        """rows: of the embeddings. E507 if the tokenizer has numbers for which there is none."""
        assert self._tokenizer is not None
        highest = self._tokenizer.highest
        if highest >= rows:
            raise unfit(
                self.folder,
                f"its tokenizer has tokens up to number {highest:,}, its embeddings {rows:,} rows",
            )

    def _recover(self) -> None:
        import torch

        if self.options.device == "cuda":
            gc.collect()  # frames that were compiled may hold tensors in cycles
            torch.cuda.empty_cache()


def uploaded(values: Any, device: Any) -> Any:
    """A tensor of a numpy array on the device; from pinned memory without waiting."""
    import torch

    tensor = torch.from_numpy(np.ascontiguousarray(values))
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor


def begun(device: Any) -> Any:
    """A mark in the device's queue, from which `fetching` counts its seconds; None on the CPU."""
    import torch

    if device.type != "cuda":
        return None
    mark = torch.cuda.Event(enable_timing=True)
    mark.record()
    return mark


def fetching(vectors: Any, start: Any, meter: Meter) -> Callable[[], Float32s]:
    """Begins to copy float32[n, dimensions] from the device; what is returned waits for it. start: the mark of `begun`."""
    import torch

    if vectors.device.type != "cuda":
        return vectors.numpy
    computed = begun(vectors.device)
    there = torch.empty(vectors.shape, dtype=vectors.dtype, pin_memory=True)
    there.copy_(vectors, non_blocking=True)
    done = torch.cuda.Event(blocking=True)  # who waits sleeps: tokens and heads need the cores
    done.record()

    def wait() -> Float32s:
        done.synchronize()
        meter.add(seconds=start.elapsed_time(computed) / 1000)
        found: Float32s = there.numpy()
        return found

    return wait


def pooled(states: Any, ends: Any, options: TorchOptions) -> Any:
    """float32[n, dimensions] of states[total, dimensions] of texts that stand one behind the other.

    ends: int64[n + 1] on the states' device. The mean is a sum in order, so it is the same every time.
    """
    import torch

    if options.pooling == "cls":
        vectors = states[ends[:-1]].float()
    elif options.pooling == "last":
        vectors = states[ends[1:] - 1].float()
    else:
        vectors = torch.segment_reduce(states.float(), "mean", offsets=ends)
    return torch.nn.functional.normalize(vectors, dim=1) if options.normalize else vectors
