"""spaCy pipelines as teachers: packages (`xx_ent_wiki_sm`) or folders that `nlp.to_disk` or `spacy train` wrote.

In: texts. Out: `doc.ents` with offsets in code points, which spaCy counts as we do. All that a pipeline has runs, since a
component may need another; `disable` leaves out what is known to be of no use, such as the parser.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from curate.core.errors import error
from filters.ner.ground import Mention

if TYPE_CHECKING:
    from spacy.language import Language

_META: Final = "meta.json"


def pipeline_folder(name: str) -> Path:
    """Where a pipeline's files are: a folder, or a package's. E502 if spaCy is missing, E504 if the pipeline is."""
    if importlib.util.find_spec("spacy") is None:
        raise error("E502", "a spaCy teacher needs spaCy", help="pip install 'curate[ner]'")
    path = Path(name)
    if not path.is_dir():
        try:
            spec = importlib.util.find_spec(name) if name.isidentifier() else None
        except (ImportError, ValueError):
            spec = None
        places = list(spec.submodule_search_locations or ()) if spec is not None else []
        path = Path(places[0]) if places else path
    if not (path / _META).is_file():
        help = f"python -m spacy download {name}" if name.isidentifier() else "name a folder with a meta.json"
        raise error("E504", f"the spaCy pipeline '{name}' is not installed, and no folder has it", help=help)
    return path


def pipeline_files(name: str) -> Iterator[tuple[str, Path]]:
    """(role, file) of all that decides what it says."""
    folder = pipeline_folder(name)
    for file in sorted(folder.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            yield file.relative_to(folder).as_posix(), file


def load_pipeline(name: str, disable: Sequence[str]) -> Language:
    """The pipeline. E507 if it cannot be loaded, or has no component of a name in `disable`."""
    import spacy

    folder = pipeline_folder(name)
    try:
        pipeline = spacy.load(folder if Path(name).is_dir() else name)
    except Exception as cause:
        raise error(
            "E507",
            f"the spaCy pipeline '{name}' cannot be loaded: {type(cause).__name__}: {cause}",
            help="`python -m spacy validate` says whether it fits the installed spaCy",
        ) from cause
    unknown = sorted(set(disable) - set(pipeline.pipe_names))
    if unknown:
        help = f"it has {', '.join(pipeline.pipe_names) or 'none'}"
        raise error("E507", f"the spaCy pipeline '{name}' has no component '{unknown[0]}'", help=help)
    for component in disable:
        pipeline.remove_pipe(component)
    return pipeline


def entities(pipeline: Language, texts: Sequence[str], batch: int) -> Iterator[list[Mention]]:
    """The entities of each text, in order."""
    for doc in pipeline.pipe(texts, batch_size=batch):
        yield [Mention(ent.text, ent.label_, ent.start_char, ent.end_char) for ent in doc.ents]
