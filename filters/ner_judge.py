"""Let a language model judge annotated passages: how faithful and complete the spans are, what is missing or wrong.

In: the text, its language, and a column of spans (`filters.ner_merge`). Out, per passage; null where it was not judged:

    faithfulness      int8           1 to 5: whether what is marked is an entity, with right bounds and type
    completeness      int8           1 to 5: whether what is an entity is marked
    missing           list<string>   entities that are not marked; each stands in the text
    wrong             list<int32>    places in the list of spans, from 0
    unfounded_count   int32          what the judge said that cannot be: missing entities that are not in the text or are
                                     marked, numbers of no span
    outcome           string         `ok`, `malformed`, `cut_off`, `refused`; null if nothing was asked

A sample of each language is enough; `filters.draw` takes one, and `when` asks about that alone:

    - {use: filters.draw, as: sample, n: 50, by: language, mode: annotate}
    - {use: filters.ner_judge, as: judge, when: sample__drawn, model: …, server: {base_url: …}}

`curate ner export --format datasets` puts the means into the dataset card, language by language. A judge should be another
model than the teachers. Answers are kept on disk like those of `filters.ner_llm`, and invalid ones end a run the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from curate.core.batch import DocBatch
from curate.core.columns import TEXT
from curate.core.llm.answers import Answer
from curate.core.llm.asking import Asking, AskingStep
from filters.ner.teachers.judging import SCHEMA, Judgement, judge_prompt, read_judgement
from filters.ner.teachers.teacher import CUT_OFF, MALFORMED, MOST_CHARACTERS, OK, REFUSED


class NerJudgeConfig(Asking):
    """Options of `filters.ner_judge`."""

    samples: int = Field(1, ge=1, le=1, description="One; several answers are several steps.")
    temperature: float = Field(
        0.0, ge=0, le=10, allow_inf_nan=False, description="0: always the likeliest token."
    )
    max_tokens: int = Field(1024, ge=1, le=1 << 20, description="Tokens of an answer at most.")
    spans: str = Field("ner__spans", min_length=1, description="The column of spans that is judged.")
    answer: Literal["json", "schema"] = Field(
        "json",
        description="`schema`: the server holds the answer to a JSON Schema; `json`: it is only asked for.",
    )


class NerJudge(AskingStep[NerJudgeConfig]):
    """Lets a language model judge the spans of annotated passages."""

    Config = NerJudgeConfig
    VERSION: ClassVar[int] = 1
    INVALID: ClassVar[str] = "are no judgement"
    FORM: ClassVar[str] = "schema"

    def reads(self) -> frozenset[str]:
        return frozenset({TEXT, self.config.spans})

    def writes(self) -> Mapping[str, pa.DataType]:
        return {
            "faithfulness": pa.int8(),
            "completeness": pa.int8(),
            "missing": pa.list_(pa.string()),
            "wrong": pa.list_(pa.int32()),
            "unfounded_count": pa.int32(),
            "outcome": pa.string(),
        }

    def annotate(self, batch: DocBatch) -> Mapping[str, pa.Array]:
        texts, spans = batch.text.to_pylist(), batch.column(self.config.spans).to_pylist()
        languages = batch.languages.to_pylist() if batch.languages is not None else [None] * len(texts)
        rows = [
            row
            for row, text in enumerate(texts)
            if spans[row] is not None and text.strip() and len(text) <= MOST_CHARACTERS
        ]
        form = SCHEMA if self.config.answer == "schema" else None
        requests = [
            self.config.request(judge_prompt(texts[row], languages[row], spans[row]), schema=form)
            for row in rows
        ]
        found: list[Judgement | None] = [None] * len(texts)
        outcomes: list[str | None] = [None] * len(texts)

        def seen(number: int, answer: Answer) -> None:
            row = rows[number]
            if answer.text is not None:
                found[row] = read_judgement(answer.text, texts[row], spans[row])
            outcomes[row] = self._outcome(answer, found[row])

        self.client.ask(requests, seen)
        kinds = self.writes()
        columns = {
            name: pa.array([None if one is None else getattr(one, name) for one in found], kinds[name])
            for name in ("faithfulness", "completeness", "missing", "wrong")
        }
        unfounded = [None if one is None else one.unfounded for one in found]
        return {
            **columns,
            "unfounded_count": pa.array(unfounded, pa.int32()),
            "outcome": pa.array(outcomes, pa.string()),
        }

    def _outcome(self, answer: Answer, judgement: Judgement | None) -> str:
        """How the answer is. R313 if too many say nothing."""
        if judgement is not None:
            outcome = OK
        elif answer.text is None:
            outcome = REFUSED
        else:
            outcome = CUT_OFF if answer.finish == "length" else MALFORMED
        self.counts[outcome] += 1
        self.count(answer, valid=outcome == OK)
        return outcome


STAGE = NerJudge
