"""Published heads, from the checkpoints that they come in to layers of `filters.heads.head`.

    JQL         PyTorch Lightning: {state_dict: {layer1.weight [1000, 768], layer1.bias, layer2.weight [1, 1000],
                layer2.bias}, …}; ReLU between them. Made for arctic-embed-m-v2.0, vectors of length 1 (arXiv 2505.22232,
                section 3)
    FineWeb-Edu BertForSequenceClassification: `classifier` [1, 768] on the pooler, `bert.pooler.dense` [768, 768] with tanh,
                which was trained with it while the layers below were frozen. Made for arctic-embed-m, the state of the
                first token as it is (arXiv 2406.17557, section 4)

A checkpoint of torch is a pickle, which may run anything when it is opened. It is opened with `weights_only`: tensors,
numbers, texts and containers of them come through, anything else is E507. Nothing of a pickle is kept: what is written is
safetensors and a card in JSON. Weights of half precision become float32, exactly.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np

from curate.core.errors import CurateError, error
from filters.encoders.encoder import MOST_CHARACTERS, Settings
from filters.heads.card import Card, Labels, TrainedOn
from filters.heads.head import Layers
from filters.registry import FINEWEB_EDU_ENCODER, JQL_ENCODER


class Layout(NamedTuple):
    """A published form of heads. tensors: linear layers in order, by name, as far as the name does not vary."""

    name: str
    tensors: tuple[str, ...]
    activation: Literal["relu", "tanh"]
    encoder: str
    settings: Settings
    max_characters: int
    labels: str
    data: str
    licence: str


LAYOUTS: Final = (
    Layout(
        "JQL",
        ("layer1", "layer2"),
        "relu",
        JQL_ENCODER,
        {"pooling": "cls", "prefix": "", "normalize": True},
        MOST_CHARACTERS,
        "educational value, 0 to 5, by a language model",
        "JQL: documents of FineWeb-2 in 35 languages, labelled by a language model (arXiv 2505.22232)",
        "see huggingface.co/Jackal-AI/JQL-Edu-Heads",
    ),
    Layout(
        "FineWeb-Edu",
        ("bert.pooler.dense", "classifier"),
        "tanh",
        FINEWEB_EDU_ENCODER,
        {"pooling": "cls", "prefix": "", "normalize": False},
        1 << 14,
        "educational value, 0 to 5, by Llama-3-70B-Instruct",
        "FineWeb-Edu: about 450,000 English documents labelled by Llama-3-70B-Instruct (arXiv 2406.17557)",
        "Apache-2.0",
    ),
)


def imported(path: Path, encoder: str | None = None, encoder_checksum: str = "") -> tuple[Layers, Card]:
    """Layers and card of a checkpoint; the card's name is the file's. E507 if it is none that is known, or not safe.

    encoder: the name of the encoder that the head was made for, if it is not the one of the layout's authors.
    encoder_checksum: of that encoder's files, empty if they are not at hand.
    """
    tensors = read_checkpoint(path)
    for layout in LAYOUTS:
        if all(f"{name}.{part}" in tensors for name in layout.tensors for part in ("weight", "bias")):
            break
    else:
        known = ", ".join(f"{layout.name} ({' and '.join(layout.tensors)})" for layout in LAYOUTS)
        some = ", ".join(sorted(tensors)[:6])
        raise _unfit(path, f"it is of none of the known layouts, {known}; it holds {some or 'no tensors'}")
    layers = [(tensors[f"{name}.weight"], tensors[f"{name}.bias"]) for name in layout.tensors]
    _check(layers, path)
    widths = (layers[0][0].shape[1], *(weight.shape[0] for weight, _ in layers))
    card = Card(
        format=1,
        name=path.stem,
        about=f"{layout.name}'s head {path.stem}",
        encoder=TrainedOn(
            name=encoder or layout.encoder,
            checksum=encoder_checksum,
            settings=dict(layout.settings),
            max_characters=layout.max_characters,
        ),
        layers=widths,
        activation=layout.activation,
        labels=Labels(about=layout.labels, minimum=0, maximum=5),
        metrics={},
        data=layout.data,
        recipe=f"curate heads import {path.name}",
        licence=layout.licence,
        weights_sha256="",
    )
    return layers, card


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Tensors by name, float32, of a .safetensors file or a checkpoint of torch; E507 if it is neither, or not safe.

    Of a whole model only what belongs to a head is read.
    """
    if path.suffix == ".safetensors":
        return _of_safetensors(path)
    import importlib.util

    if importlib.util.find_spec("torch") is None:
        raise error(
            "E502",
            f"{path.name} is a checkpoint of torch, which is not installed",
            help="pip install 'curate[gpu]'",
        )
    return _of_torch(path)


def _of_safetensors(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    wanted = {
        f"{name}.{part}" for layout in LAYOUTS for name in layout.tensors for part in ("weight", "bias")
    }
    try:
        found = load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as cause:
        raise _unfit(path, str(cause)) from cause
    return {name: tensor.astype(np.float32) for name, tensor in found.items() if name in wanted}


def _of_torch(path: Path) -> dict[str, Any]:
    import pickle

    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about protocols of pickle
            found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as cause:
        raise _refused(path, str(cause)) from cause
    except (
        OSError,
        RuntimeError,
        EOFError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        IndexError,
    ) as cause:
        raise _unfit(
            path, f"torch does not read it: {str(cause).splitlines()[0] if str(cause) else cause!r}"
        ) from cause
    state = found.get("state_dict", found) if isinstance(found, Mapping) else None
    if not isinstance(state, Mapping):
        raise _unfit(path, f"it holds a {type(found).__name__}, no tensors by name")
    return {
        str(name): tensor.detach().to(torch.float32).numpy()
        for name, tensor in state.items()
        if isinstance(tensor, torch.Tensor) and tensor.is_floating_point()
    }


def _refused(path: Path, said: str) -> CurateError:
    """A pickle that holds more than weights; torch names what it would have called."""
    called = re.search(r"GLOBAL ([\w.]+)|Unsupported (?:global|class|operand)[: ]+(?:GLOBAL )?([\w.]+)", said)
    what = f"it would call {called[1] or called[2]}" if called else said.splitlines()[0][:200]
    return error(
        "E507",
        f"{path} is refused: it holds more than weights, and opening it could run anything ({what})",
        help="take the head from where its authors publish it, or save its state_dict alone",
        file=str(path),
    )


def _check(layers: Layers, path: Path) -> None:
    """Linear layers that follow each other and end in one value."""
    before = None
    for weight, bias in layers:
        if weight.ndim != 2 or bias.shape != weight.shape[:1] or before not in (None, weight.shape[1]):
            raise _unfit(path, f"a layer is {weight.shape} with {bias.shape} biases, behind {before} values")
        if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
            raise _unfit(path, "it has weights that are not finite")
        before = weight.shape[0]
    if before != 1:
        raise _unfit(path, f"it gives {before} values, not one score")


def _unfit(path: Path, why: str) -> CurateError:
    return error(
        "E507",
        f"{path} cannot be imported as a head: {why}",
        help="give a checkpoint as JQL or FineWeb-Edu publish them",
        file=str(path),
    )
