"""GLiNER models as teachers (Zaratiana et al. 2024, arXiv 2311.08526): small encoders that find entities of any named types.

In: texts and the types to find. Out: entities with offsets in code points, and a score by which those under a threshold were
left out. A model reads so many words (`max_len`, mostly 384) and would leave out what follows: a longer text is not asked.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from curate.core.errors import error
from filters.ner.ground import Mention

CONFIG: Final = "gliner_config.json"


def gliner_folder(name: str) -> Path:
    """The model's folder. E502 if the package is missing, E504 if the folder is none of a model."""
    if importlib.util.find_spec("gliner") is None:
        raise error("E502", "a GLiNER teacher needs the package gliner", help="pip install 'curate[gliner]'")
    folder = Path(name)
    if not (folder / CONFIG).is_file():
        help = "fetch a model, such as urchade/gliner_multi-v2.1, into a folder and name that"
        raise error("E504", f"there is no GLiNER model in '{name}': no {CONFIG}", help=help)
    return folder


def gliner_files(name: str) -> dict[str, Path]:
    """All files of a model by role."""
    folder = gliner_folder(name)
    return {file.relative_to(folder).as_posix(): file for file in sorted(folder.rglob("*")) if file.is_file()}


class Gliner:
    """A loaded model. device: `cpu` or `cuda`."""

    def __init__(self, name: str, device: str) -> None:
        import torch
        from gliner import GLiNER

        folder = gliner_folder(name)
        if device == "cuda" and not torch.cuda.is_available():
            raise error("E507", f"no CUDA device is there for '{name}'", help="set `device: cpu`")
        try:
            self._model: Any = GLiNER.from_pretrained(str(folder), local_files_only=True, map_location=device)
        except Exception as cause:
            raise error(
                "E507",
                f"the GLiNER model '{name}' cannot be loaded: {type(cause).__name__}: {cause}",
                help="fetch all files of the model again, its tokenizer's too",
            ) from cause

    def fits(self, text: str) -> bool:
        """Whether the model reads all of it."""
        words = sum(1 for _ in self._model.data_processor.words_splitter(text))
        return words <= int(self._model.config.max_len)

    def entities(
        self, texts: Sequence[str], types: Sequence[str], threshold: float, *, nested: bool, batch: int
    ) -> Iterator[list[Mention]]:
        """The entities of each text, ascending."""
        import torch

        with torch.inference_mode():
            found = self._model.inference(
                list(texts), list(types), flat_ner=not nested, threshold=threshold, batch_size=batch
            )
        for entities in found:
            places = sorted((e["start"], e["end"], e["label"], e["text"]) for e in entities)
            yield [Mention(text, label, start, end) for start, end, label, text in places]
