"""What encoders do on a GPU, as far as a machine without one can show it."""

from __future__ import annotations

import inspect
import subprocess
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import TypeAdapter

from curate.core.errors import CurateError
from filters.encoders import packed_attention
from filters.encoders.options import EncoderOptions, Options, make_encoder
from tests.filters import tiny_encoders as tiny

torch = pytest.importorskip("torch", reason="needs curate[gpu]")
pytest.importorskip("transformers", reason="needs curate[gpu]")

from torch.nn.attention import varlen  # noqa: E402  # needs torch
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402  # needs torch

LENGTHS = np.array([9, 9, 5, 1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_gte(tmp_path_factory.mktemp("gpu") / "gte")


def made(use: str, folder: Path, **more: Any) -> Any:
    adapter: TypeAdapter[EncoderOptions] = TypeAdapter(Options)
    given = {"use": use, "model": str(folder), "max_tokens": 64, **more}
    return make_encoder(adapter.validate_python(given))


def opened(use: str, folder: Path, **more: Any) -> Any:
    encoder = made(use, folder, **more)
    encoder.open()
    return encoder


def documented(query: Any, key: Any, value: Any, ends: Any, window: tuple[int, int]) -> Any:
    """What the documentation of `varlen_attn` says, text by text and token by token."""
    out = torch.empty(query.shape)
    for first, last in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
        for at in range(first, last):
            left, right = (last if side == -1 else side for side in window)
            seen = slice(max(first, at - left), min(last, at + right + 1))
            for head in range(query.shape[1]):
                weights = torch.softmax(key[seen, head] @ query[at, head] / query.shape[2] ** 0.5, 0)
                out[at, head] = weights @ value[seen, head]
    return out


@pytest.mark.parametrize("window", [None, 2])
def test_torchs_kernel_gets_what_it_documents(window: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its arguments fit its own signature and schema; with what it documents it gives what the CPU computes."""
    layout = packed_attention.Layout(LENGTHS, torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(int(LENGTHS.sum()), 3, 4, 8, generator=generator).unbind(1)
    wanted = packed_attention.attend(q, k, v, layout, window)
    real = varlen.varlen_attn

    def kernel(*given: Any, **named: Any) -> Any:
        call = inspect.signature(real).bind(*given, **named).arguments
        for name in ("query", "key", "value"):
            assert call[name].stride(-1) == 1
        for name in ("cu_seq_q", "cu_seq_k"):
            assert call[name].dtype == torch.int32
            assert call[name].is_contiguous()
        assert call["max_q"] == call["max_k"] == 9
        shapes = [x.to("meta") if isinstance(x, torch.Tensor) else x for x in given]
        assert real(*shapes, **named).shape == q.shape
        return documented(q, k, v, call["cu_seq_q"], call["window_size"])

    monkeypatch.setattr(packed_attention, "has_kernel", lambda _: True)
    monkeypatch.setattr(varlen, "varlen_attn", kernel)
    found = packed_attention.attend(q, k, v, layout, window)
    assert found.shape == wanted.shape
    assert (found - wanted).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("capability", "dtype", "width", "taken"),
    [
        ((9, 0), torch.bfloat16, 64, True),
        ((8, 0), torch.float16, 256, True),
        ((7, 5), torch.float16, 64, False),
        ((9, 0), torch.float32, 64, False),
        ((9, 0), torch.bfloat16, 20, False),
        ((9, 0), torch.bfloat16, 264, False),
    ],
)
def test_what_torchs_kernel_refuses_is_computed_otherwise(
    capability: tuple[int, int], dtype: Any, width: int, taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    queries = SimpleNamespace(device=SimpleNamespace(type="cuda"), dtype=dtype, shape=(5, 4, width))
    assert packed_attention.has_kernel(queries) is taken
    queries.device.type = "cpu"
    assert not packed_attention.has_kernel(queries)


class Mark:
    """Stands for the tensors that a layer holds."""


def test_memory_is_free_before_less_is_tried(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception holds the frames that it came through, and so their tensors, as long as it is handled."""
    encoder = opened("packed", folder, batch_tokens=2000)
    layers: list[weakref.ref[Mark]] = []

    class Large:
        def states(self, tokens: Any, layout: Any) -> Any:
            mark = Mark()
            layers.append(weakref.ref(mark))
            if len(tokens) > 150:
                raise torch.OutOfMemoryError(f"no room for {mark}")
            return torch.ones(len(tokens), 32)

    encoder._model = Large()
    held: list[int] = []
    monkeypatch.setattr(
        encoder, "_recover", lambda: held.append(sum(layer() is not None for layer in layers))
    )
    encoder.encode(pa.array(tiny.TEXTS * 4, pa.string()), 65_536)
    assert len(held) > 1
    assert not any(held)


def test_a_model_that_does_not_fit_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = made("packed", folder)

    def load(_: Any) -> None:
        encoder._open_device()
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 734.00 MiB.")

    monkeypatch.setattr(encoder, "_load", load)
    with pytest.raises(CurateError, match=r"E509.* no room for the encoder gte: CUDA out of memory"):
        encoder.open()


@pytest.fixture
def elsewhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An encoder for CUDA whose tensors lie on the CPU."""
    encoder = made("packed", folder, device="cuda")
    monkeypatch.setattr(encoder, "_open_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(encoder, "_out_of_memory", (torch.OutOfMemoryError,))
    return encoder


def test_parts_are_compiled_at_once_for_any_number_of_tokens(
    elsewhere: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For what they are compiled does not depend on the data, nor on another model that came before."""
    kernels: list[tuple[int, ...]] = []
    told: list[dict[str, Any]] = []
    real = torch.compile

    def counting(graph: Any, given: Any) -> Any:
        shapes = [x.shape for x in given if isinstance(x, torch.Tensor) and x.ndim > 1]
        kernels.append(tuple(int(shape[0]) for shape in shapes))
        return graph.forward

    def compile(part: Any, **options: Any) -> Any:
        told.append(options.pop("options"))
        return real(part, **options, backend=counting)

    monkeypatch.setattr(torch, "compile", compile)
    elsewhere.open()
    assert sorted(kernels) == [(4096,), (4096, 4096), (4096, 4096, 4096)]
    assert told == [{"batch_invariant": True}] * 3
    assert set(told[0]) <= {*torch._inductor.list_options()}
    wanted = opened("packed", folder)
    for texts in (["one"], tiny.TEXTS[:1] * 2, tiny.TEXTS, tiny.TEXTS * 40, ["two words"]):
        column = pa.array(texts, pa.string())
        found = elsewhere.encode(column, 65_536).embeddings
        assert np.abs(found - wanted.encode(column, 65_536).embeddings).max() < 1e-5
    assert len(kernels) == 3


def refusing(fault: Exception) -> Any:
    def compiled(*_: Any) -> Any:
        raise fault

    return lambda *_, **__: compiled


def test_a_machine_that_cannot_compile_is_an_error(elsewhere: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton without a C compiler: its vectors would be others than those of the rest of the run."""
    monkeypatch.setattr(torch, "compile", refusing(RuntimeError("Failed to find C compiler.\nSet CC.")))
    with pytest.raises(CurateError, match=r"(?s)E509.* gte cannot be compiled: Failed to find C compiler\."):
        elsewhere.open()
    monkeypatch.setattr(torch, "compile", refusing(torch.OutOfMemoryError("full")))
    with pytest.raises(CurateError, match=r"E509.* no room for the encoder gte: full"):
        elsewhere.open()


def test_vectors_of_compiled_parts_have_a_recipe_of_their_own(folder: Path) -> None:
    plain = made("packed", folder).settings
    assert made("packed", folder, compile=False).settings == plain
    assert made("packed", folder, device="cuda", compile=False).settings == plain
    assert made("packed", folder, device="cuda").settings == {**plain, "compiled": True}


ENCODE = """
import sys
import numpy as np
import pyarrow as pa
from filters.encoders.options import PackedOptions, make_encoder
folder, *counts = sys.argv[1:]
options = {"use": "packed", "model": folder, "max_tokens": 64, "device": "cuda", "dtype": "bfloat16"}
encoder = make_encoder(PackedOptions.model_validate(options))
encoder.open()
for count in counts:
    texts = pa.array([f"text number {number}" for number in range(int(count))], pa.string())
    made = encoder.encode(texts, 65_536).embeddings
sys.stdout.buffer.write(np.ascontiguousarray(made).tobytes())
"""


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_vectors_do_not_depend_on_the_batches_before(folder: Path) -> None:
    def vectors(*counts: str) -> bytes:
        command = [sys.executable, "-c", ENCODE, str(folder), *counts]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout

    assert vectors("60", "3000") == vectors("3000") == vectors("7", "3000")


class Waits(TorchDispatchMode):
    """Notes operators that wait for a device: their result's size or a branch depends on its numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.calls = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls += 1
        masks = func is torch.ops.aten.index.Tensor and any(
            at is not None and at.dtype in (torch.bool, torch.uint8) for at in args[1]
        )
        if masks or func.overloadpacket in (
            torch.ops.aten.nonzero,
            torch.ops.aten.masked_select,
            torch.ops.aten._local_scalar_dense,
        ):
            self.found.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("pooling", ["cls", "mean", "last"])
@pytest.mark.parametrize("use", ["packed", "transformers"])
def test_a_batch_is_begun_without_waiting_for_the_device(use: str, pooling: str, tmp_path: Path) -> None:
    """Else the next batch would not be prepared while the GPU works."""
    encoder = opened(use, tiny.write_xlm_roberta(tmp_path), pooling=pooling)
    waits = Waits()
    with waits:
        encoder.encode(pa.array(tiny.TEXTS, pa.string()), 65_536)
    assert waits.calls > 20
    assert waits.found == []
