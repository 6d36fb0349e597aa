"""An encoder that is a folder: where it lies, which of its files decide the vectors, and what all such encoders share.

    config.json       what kind of model, and its sizes
    tokenizer.json    how texts become tokens (the library tokenizers)
    weights           model.safetensors, or what model.safetensors.index.json lists; an ONNX file

`model` names, in this order: a model of the registry (`filters.registry`), which `curate models pull` has put into the
models folder; with `revision`, a commit of a hub's `ORG/NAME` that lies in the hub's cache (`$HF_HUB_CACHE`, else
`$HF_HOME/hub`); else a folder. Work never fetches anything. Weights are safetensors or ONNX, never pickles.
"""

from __future__ import annotations

import importlib.util
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar, Final

import pyarrow as pa

from curate.core.errors import CurateError, Problem, error
from curate.core.models import models_folder, require
from filters.encoders.batches import Batch, Forward, Window
from filters.encoders.encoder import Encoded, Settings
from filters.encoders.meter import Meter
from filters.encoders.options import FolderOptions
from filters.encoders.tokens import Tokenizer

CONFIG: Final = "config.json"
TOKENIZER: Final = "tokenizer.json"
WEIGHTS: Final = "model.safetensors"
INDEX: Final = "model.safetensors.index.json"


class FolderEncoder(ABC):
    """What encoders of a folder have in common; see `filters.encoders.encoder.Encoder`.

    A subclass loads the model in `_load` and gives `_forward`, which starts a batch and returns how to get its vectors.
    """

    #: Module → the extra of curate that installs it.
    needs: ClassVar[Mapping[str, str]] = {}
    libraries: ClassVar[tuple[str, ...]] = ()
    #: Whether a batch is padded to its longest text.
    padded: ClassVar[bool] = True
    languages: frozenset[str] | None = None

    def __init__(self, options: FolderOptions, models: Path | None = None, threads: int = 1) -> None:
        self.options = options
        self.threads = threads
        self.max_tokens = options.max_tokens
        self.meter = Meter()
        self._models = models
        self._tokenizer: Tokenizer | None = None

    @property
    def name(self) -> str:
        """The model's own name, wherever it lies: the last part of `ORG/NAME` or of the folder."""
        path = Path(os.path.expandvars(self.options.model)).expanduser()
        if path.parent.name == "snapshots":  # the hub's cache: models--ORG--NAME/snapshots/REVISION
            return path.parent.parent.name.rpartition("--")[2]
        return path.resolve().name if path.name in ("", ".", "..") else path.name

    @property
    def settings(self) -> Settings:
        """What decides the vectors beside the files."""
        options = self.options
        return {"pooling": options.pooling, "prefix": options.prefix, "normalize": options.normalize}

    @cached_property
    def folder(self) -> Path:
        return model_folder(self.options, self._models or models_folder())

    @cached_property
    def config(self) -> dict[str, Any]:
        """config.json; E507 if it is none."""
        return read_json(self.folder / CONFIG)

    @property
    def dimensions(self) -> int:
        found = self.config.get("hidden_size")
        if not isinstance(found, int):
            raise unfit(self.folder / CONFIG, "it does not say the hidden_size")
        return found

    def files(self) -> Mapping[str, Path]:
        """E502 if a library is not installed, E504 or E507 if files are not there; all of it at once."""
        faults: list[Problem] = []
        files: Mapping[str, Path] = {}
        for check in (self._check_libraries, self._check_files, self._check_positions):
            try:
                files = check() or files
            except CurateError as cause:
                faults += cause.problems
        if faults:
            raise CurateError(faults)
        return files

    def memory_gb(self) -> float:
        """Weights twice while they are read, and what the layers hold; a guess while the files are not there."""
        try:
            weights = [path for role, path in self._check_files().items() if role.startswith("weights")]
        except CurateError:
            return 4.0
        return 1.0 + 2e-9 * sum(path.stat().st_size for path in weights)

    def open(self) -> None:
        files = self.files()
        self._tokenizer = Tokenizer(
            files["tokenizer"], self.options.max_tokens, self.options.prefix, self.threads
        )
        try:
            self._load(files)
        except self._out_of_memory as cause:  # looked up now: `_load` says which these are
            raise error(
                "E509",
                f"there is no room for the encoder {self.name}: {cause}",
                help="use a smaller dtype, or a device that nobody else fills",
            ) from cause

    def encode(self, texts: pa.StringArray, max_characters: int) -> Encoded:
        return self.begin(texts, max_characters)()

    def begin(self, texts: pa.StringArray, max_characters: int) -> Callable[[], Encoded]:
        """Begins to cut the texts into tokens; what is returned must be called, and encodes them."""
        assert self._tokenizer is not None
        window = Window(texts, max_characters, self._tokenizer, self.options.batch_tokens)
        forward = Forward(self._forward, self._out_of_memory, self._recover, self.meter, self.computes_here)
        return partial(window.encode, forward, padded=self.padded, dimensions=self.dimensions, name=self.name)

    def weights(self) -> Mapping[str, Path]:
        """Role → file of the weights; E507 naming what is not there."""
        return safetensors_of(self.folder)

    #: Exceptions that say that a batch was too large.
    _out_of_memory: tuple[type[BaseException], ...] = ()

    @property
    def computes_here(self) -> bool:
        """Whether its arithmetic is done by the thread that asks; else `_forward` tells the meter."""
        return True

    def _recover(self) -> None:  # noqa: B027  # most have nothing to do
        """What to do before smaller batches are tried."""

    @abstractmethod
    def _load(self, files: Mapping[str, Path]) -> None:
        """Bring the model into memory."""

    @abstractmethod
    def _forward(self, batch: Batch) -> Callable[[], Any]:
        """Begin a batch; what is returned waits for its vectors."""

    def _check_libraries(self) -> None:
        for module, extra in self.needs.items():
            if importlib.util.find_spec(module) is None:
                raise error(
                    "E502",
                    f"the encoder {self.options.model} needs the package {module}, which is not installed",
                    help=f"pip install 'curate[{extra}]'",
                )

    def _check_positions(self) -> None:
        """E507 if `max_tokens` is more than the model was made for. What is not there, `_check_files` says."""
        try:
            there = (self.folder / CONFIG).is_file()
        except CurateError:
            there = False
        if not there:
            return
        most = positions(self.config)
        if most is not None and self.max_tokens > most:
            raise error(
                "E507",
                f"{self.folder} has {most:,} positions, and max_tokens is {self.max_tokens:,}",
                help=f"set `max_tokens: {most}`, or less",
                file=str(self.folder),
            )

    def _check_files(self) -> Mapping[str, Path]:
        found = {"config": self.folder / CONFIG, "tokenizer": self.folder / TOKENIZER}
        lacking = [path.name for path in found.values() if not path.is_file()]
        try:
            found |= self.weights()
        except CurateError as cause:
            named = cause.problems[0].context.get("lacking")
            if not isinstance(named, tuple):
                raise
            lacking += named
        if lacking:
            raise lacks(self.folder, lacking)
        return found


#: Model types whose first position is the one behind the padding token's number.
_BEHIND_PADDING: Final = frozenset(
    {"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet", "longformer", "data2vec-text", "xmod"}
)


def positions(config: Mapping[str, Any]) -> int | None:
    """Tokens of a text that a model takes by its config.json; None if it has no bound or does not say."""
    most = config.get("max_position_embeddings")
    if not isinstance(most, int) or most < 1 or config.get("position_biased_input") is False:
        return None  # DeBERTa has relative positions alone
    if config.get("model_type") in _BEHIND_PADDING:
        padding = config.get("pad_token_id")
        return most - (padding if isinstance(padding, int) else 1) - 1
    return most


def model_folder(options: FolderOptions, models: Path) -> Path:
    """The folder of a model. E504 if it has to be fetched first, C207 if there is no such thing."""
    from filters.registry import MODELS

    name, revision = options.model, options.revision
    if name in MODELS and revision is None:
        return require(MODELS[name], models).parent
    path = Path(os.path.expandvars(name)).expanduser()
    if revision is None and path.is_dir():
        return path
    organisation, slash, model = name.partition("/")
    of_a_hub = bool(slash and organisation and model) and "/" not in model and name[0] not in "./~$"
    if revision is not None:
        if not of_a_hub:
            raise error(
                "C207",
                f"'{name}' has a revision, and is not ORG/NAME of a hub",
                help="remove `revision:`, or name the model as the hub does",
            )
        cached = hub_cache() / f"models--{organisation}--{model}" / "snapshots" / revision
        if not cached.is_dir():
            raise error(
                "E504",
                f"{name} at {revision[:12]} is not in the hub's cache {hub_cache()}",
                help=f"run: hf download {name} --revision {revision}",
                file=str(cached),
            )
        return cached
    raise error(
        "C207",
        f"there is no folder '{name}'"
        + (", and a model of a hub has to be pinned to a commit" if of_a_hub else ""),
        help="add `revision:` with the 40 hexadecimal digits of the commit"
        if of_a_hub
        else "give the folder of a model, or a name that `curate models list` shows",
    )


def hub_cache() -> Path:
    """Where the hub's client keeps what it fetched."""
    if own := os.environ.get("HF_HUB_CACHE"):
        return Path(own).expanduser()
    if home := os.environ.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    caches = os.environ.get("XDG_CACHE_HOME")
    return (Path(caches) if caches else Path.home() / ".cache") / "huggingface" / "hub"


def safetensors_of(folder: Path) -> dict[str, Path]:
    """`weights` → model.safetensors, or `weights/…` → each part that the index lists."""
    if (folder / WEIGHTS).is_file():
        return {"weights": folder / WEIGHTS}
    index = folder / INDEX
    if not index.is_file():
        raise lacks(folder, [WEIGHTS])
    parts = read_json(index).get("weight_map")
    if not isinstance(parts, dict) or not parts:
        raise unfit(index, "it has no weight_map")
    names = sorted({str(part) for part in parts.values()})
    outside = [name for name in names if Path(name).name != name]
    if outside:
        raise unfit(index, f"it names the file {outside[0]}, which is not in this folder")
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise lacks(folder, missing)
    return {f"weights/{name}": folder / name for name in names} | {"index": index}


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; E507 if the file holds none."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as cause:
        raise unfit(path, str(cause)) from cause
    if not isinstance(found, dict):
        raise unfit(path, "it holds no JSON object")
    return found


def lacks(folder: Path, names: Sequence[str]) -> CurateError:
    return error(
        "E507",
        f"the model folder {folder} lacks {' and '.join(names)}",
        help="fetch the whole model; weights have to be safetensors or ONNX",
        file=str(folder),
        lacking=tuple(names),
    )


def unfit(path: Path, why: str) -> CurateError:
    return error(
        "E507", f"{path} cannot be used: {why}", help="fetch the model anew, or another", file=str(path)
    )
