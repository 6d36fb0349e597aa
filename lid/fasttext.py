"""`use: lid.fasttext`: the language of each document, by a fastText model.

    lang  string    language and script, `deu_Latn`; null if the model gives nothing
    prob  float32   its probability, 0 to 1
    top   list<struct<lang: string, prob: float32>>   with top_k > 1: the most probable languages, best first

The model sees the whole text as one line (Joulin et al. 2016, arXiv 1607.01759; lid.176 as in FineWeb,
GlotLID as in FineWeb-2). Labels become languages as in `lid.labels`: a model that names no script is given
the one that most letters of the text are in, even one in which the language is never written. Of labels that
mean one language (`sh` and `sr` are both `srp`) the most probable speaks for it, so `prob` is always a
probability that the model gave.

A model always answers: for a text in which it knows no character it gives the most frequent language of its
training data with a low probability (lid.176: `en`, 0.12). Select on `prob`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from curate.core.batch import DocBatch
from curate.core.columns import TEXT
from curate.core.errors import error
from curate.core.models import models_folder, sha256
from curate.core.stage import Annotator, Context, Resources, StageConfig
from curate.core.text.scripts import dominant_script
from lid.labels import language_table
from lid.openlid import clean
from lid.registry import DEFAULT, described, local_path, resolve

Numbers = npt.NDArray[np.integer[Any]]
Probs = npt.NDArray[np.floating[Any]]

_TOP: Final = pa.list_(pa.struct([("lang", pa.string()), ("prob", pa.float32())]))

#: Labels that the model is asked for, whatever top_k is: so `lang` and `prob` do not depend on it.
_ASKED: Final = 20

#: GB that a process needs beside the model: the interpreter's share, the texts as Python strings.
_BESIDE_GB: Final = 0.3
#: GB assumed for a model whose size is not known.
_UNKNOWN_GB: Final = 2.0


class FastTextConfig(StageConfig):
    """Options of `lid.fasttext`."""

    model: str = Field(
        DEFAULT, description="Name of a model (`curate models list`) or path of a fastText file."
    )
    top_k: int = Field(
        1, ge=1, le=_ASKED, description="Languages to keep in `top`, which is written if more than 1."
    )


class FastText(Annotator[FastTextConfig]):
    """Identifies languages."""

    Config = FastTextConfig
    VERSION: ClassVar[int] = 1

    def __init__(self, config: FastTextConfig) -> None:
        self.config = config
        self._folder = models_folder()
        self._model: Any = None
        self._labels: pa.StringArray = pa.array([], pa.string())
        self._languages: pa.StringArray = self._labels
        self._table: npt.NDArray[np.int32] = np.empty((0, 0), np.int32)
        known = described(config.model)
        self._clean = known is not None and known.openlid_cleaning

    def resources(self) -> Resources:
        known, path = described(self.config.model), local_path(self.config.model)
        size = path.stat().st_size if path.is_file() else known.size if known is not None else None
        return Resources(memory_gb=round(_BESIDE_GB + (_UNKNOWN_GB if size is None else size / 1e9), 2))

    def reads(self) -> frozenset[str]:
        return frozenset({TEXT})

    def writes(self) -> Mapping[str, pa.DataType]:
        columns = {"lang": pa.string(), "prob": pa.float32()}
        return columns | {"top": _TOP} if self.config.top_k > 1 else columns

    def artifacts(self, context: Context) -> Mapping[str, Path]:
        self._folder = context.models
        return {"model": resolve(self.config.model, context.models)}

    def provenance(self) -> Mapping[str, str]:
        known = described(self.config.model)
        if known is not None and known.name == self.config.model:
            path, name = known.path(self._folder), known.name
            checksum = known.sha256 or (sha256(path) if path.is_file() else None)
        else:
            path = local_path(self.config.model)
            name, checksum = path.name, sha256(path) if path.is_file() else None
        return {"model": name} | ({"sha256": checksum} if checksum else {})

    def open(self, context: Context) -> None:
        # A step is imported when a config is checked; the library only where a model is loaded.
        from fasttext import load_model

        path = resolve(self.config.model, context.models)
        try:
            self._model = load_model(str(path))
            labels = self._model.get_labels()
            languages, self._table = language_table(labels)
        except (ValueError, MemoryError, RuntimeError) as fault:
            raise error(
                "E507",
                f"{path} cannot be used to identify languages: {fault}",
                help="give a fastText classifier whose labels are languages, such as lid.176.ftz",
                file=str(path),
            ) from fault
        self._labels = pa.array(labels, pa.string())
        self._languages = pa.array(languages, pa.string())

    def annotate(self, batch: DocBatch) -> Mapping[str, pa.Array]:
        rows, languages, probs = self._predict(batch.text)
        rows, languages, probs = first_of_equal(rows, languages, probs)
        starts = np.searchsorted(rows, np.arange(batch.num_rows))
        kept = np.arange(len(rows)) - starts[rows] < self.config.top_k
        rows, languages = rows[kept], languages[kept]
        probs = probs[kept].clip(0, 1)  # the library adds 1e-5 before it takes a logarithm
        ends = np.searchsorted(rows, np.arange(batch.num_rows + 1))
        first = pa.array(ends[:-1], mask=ends[:-1] == ends[1:])
        named = self._languages.take(pa.array(languages))
        scored = pa.array(probs.astype(np.float32))
        columns: dict[str, pa.Array] = {"lang": named.take(first), "prob": scored.take(first)}
        if self.config.top_k > 1:
            pairs = pa.StructArray.from_arrays([named, scored], names=["lang", "prob"])
            columns["top"] = pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pairs, type=_TOP)
        return columns

    def _predict(self, text: pa.StringArray) -> tuple[Numbers, Numbers, Probs]:
        """Row, language and probability of every label the model gives, best first within a row."""
        # No Arrow copy is held beside the library's own: a document of 60 MB is in memory often enough.
        texts = one_line(clean(text) if self._clean else text).to_pylist()
        labels, probs = self._model.predict(texts, k=_ASKED)
        del texts
        given = pa.array(labels, pa.list_(pa.string()))
        rows = np.repeat(np.arange(len(given)), np.diff(given.offsets.to_numpy()))
        label = pc.index_in(given.flatten(), value_set=self._labels).to_numpy(zero_copy_only=False)
        script = dominant_script(text)
        return rows, self._table[label, script[rows]], np.concatenate([np.empty(0), *probs])


def one_line(text: pa.StringArray) -> pa.StringArray:
    r"""The texts as the library takes them: it raises on `\n` and stops at its own mark of an end, `</s>`.

    Every other separator, NUL among them, is a space to it.
    """
    return pc.replace_substring(pc.replace_substring(text, "\n", " "), "</s>", " ")


def first_of_equal(rows: Numbers, languages: Numbers, probs: Probs) -> tuple[Numbers, Numbers, Probs]:
    """Leaves out labels that mean a language the row has had already. Rows ascend, the best label first."""
    if not len(rows):
        return rows, languages, probs
    key = rows * (int(languages.max()) + 1) + languages
    first = np.sort(np.unique(key, return_index=True)[1])
    return rows[first], languages[first], probs[first]


STAGE = FastText
