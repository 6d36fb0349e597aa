"""Let a language model annotate passages, as FiNERweb does (arXiv 2512.13884): entities of open types, or of a given set.

In: the text, one passage a row, and its language, which the prompt names. Any OpenAI-compatible server answers: vLLM,
llama.cpp, a hosted one (`curate.core.llm`). Out, per passage:

    mentions   list<struct<text, label, start, end>>   strings in the order in which it said them; start and end are null
    outcome    string                                  `ok`, `repaired`, `cut_off`, `malformed`, `refused`, `too_long`

The model is not asked for offsets, which models count badly: `filters.ner_merge` finds the strings in the text, and rejects
with a reason what is not there. An answer that is not what was asked for is repaired by stated rules
(`filters.ner.teachers.answer`); one that no rule reads, or that was cut off before its first entity was whole, is no answer:
null, not "no entities". If more than `max_invalid_frac` of a worker's answers are none, beyond doubt, the run stops
(R313).

Answers are kept by model, prompt, text and parameters in `cache`, so nothing is asked again, however often a run is killed;
equal bytes come from the same cache only. Several models are several steps, and so are several answers of one, with seeds of
their own. Every worker asks `server.concurrency` times at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

import pyarrow as pa
from pydantic import Field, field_validator

from curate.core.batch import DocBatch
from curate.core.columns import TEXT
from curate.core.llm.answers import Answer
from curate.core.llm.asking import Asking, AskingStep
from filters.ner.teachers.answer import read_answer
from filters.ner.teachers.prompt import Form, prompt, schema
from filters.ner.teachers.teacher import (
    COLUMNS,
    MOST_CHARACTERS,
    OK,
    REFUSED,
    TOO_LONG,
    Said,
    columns_of,
)
from filters.ner.types import normal_label


class NerLlmConfig(Asking):
    """Options of `filters.ner_llm`."""

    samples: int = Field(1, ge=1, le=1, description="One; several answers are several steps.")
    temperature: float = Field(
        0.0, ge=0, le=10, allow_inf_nan=False, description="0: always the likeliest token."
    )
    max_tokens: int = Field(2048, ge=1, le=1 << 20, description="Tokens of an answer at most.")
    types: Annotated[list[str], Field(max_length=1000)] = Field(
        default_factory=list, description="The only types, such as `[person, city]`; empty: it chooses."
    )
    answer: Form = Field(
        "tuples",
        description="Form of an answer: `tuples`, a line each; `json`; or `schema`, JSON that the server holds it to.",
    )
    max_characters: int = Field(
        MOST_CHARACTERS, ge=1, le=MOST_CHARACTERS, description="Longer texts are not asked about."
    )

    @field_validator("types")
    @classmethod
    def _can_be_told_apart(cls, value: list[str]) -> list[str]:
        seen: dict[str, str] = {}
        for kind in value:
            normal = normal_label(kind)
            if not normal:
                raise ValueError(f"'{kind}' has no letters")
            if normal in seen:
                raise ValueError(f"'{seen[normal]}' and '{kind}' are the same type")
            seen[normal] = kind
        return value


class NerLlm(AskingStep[NerLlmConfig]):
    """Lets a language model annotate passages with named entities."""

    Config = NerLlmConfig
    VERSION: ClassVar[int] = 1
    INVALID: ClassVar[str] = "hold no entities and do not say that there are none"
    FORM: ClassVar[str] = "schema"

    def __init__(self, config: NerLlmConfig) -> None:
        super().__init__(config)
        self._types = {normal_label(kind): kind for kind in config.types}

    def reads(self) -> frozenset[str]:
        return frozenset({TEXT})

    def writes(self) -> Mapping[str, pa.DataType]:
        return COLUMNS

    def annotate(self, batch: DocBatch) -> Mapping[str, pa.Array]:
        config = self.config
        texts = batch.text.to_pylist()
        languages = batch.languages.to_pylist() if batch.languages is not None else [None] * len(texts)
        # A text of nothing but blanks has no entities, and there is nothing to ask.
        said = [Said([], OK) if not text.strip() else Said(None, TOO_LONG) for text in texts]
        rows = [row for row, text in enumerate(texts) if text.strip() and len(text) <= config.max_characters]
        form = schema(config.types) if config.answer == "schema" else None
        requests = [
            config.request(prompt(texts[row], languages[row], config.types, config.answer), schema=form)
            for row in rows
        ]

        def seen(number: int, answer: Answer) -> None:
            said[rows[number]] = self._read(answer)

        self.client.ask(requests, seen)
        return columns_of(said)

    def _read(self, answer: Answer) -> Said:
        """What an answer says. R313 if too many say nothing."""
        if answer.text is None:
            said = Said(None, REFUSED)
        else:
            said = read_answer(answer.text, self.config.answer, answer.finish == "length")
        self.counts[said.outcome] += 1
        self.count(answer, valid=said.mentions is not None)
        if said.mentions is None:
            return said
        if self._types:
            mentions = [
                m._replace(label=self._types.get(normal_label(m.label), m.label)) for m in said.mentions
            ]
            self.counts["other_type"] += sum(m.label not in self.config.types for m in mentions)
            said = Said(mentions, said.outcome)
        return said


STAGE = NerLlm
