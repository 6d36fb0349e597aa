"""Let a language model judge each document by a rubric, as the labels of JQL and FineWeb-Edu were made (arXiv 2505.22232,
2406.17557). Labels are costly: judge a sample (`curate annotate`), train a head of it (`curate train`), score with that.

In: the text. Any OpenAI-compatible server answers: vLLM, llama.cpp, a hosted one (`curate.core.llm`). Out, per document:

    score           float32       what more than half of the valid answers say, else their mean; null if none is valid
    votes           list<int16>   the score of each answer, in the order of their seeds; null where it is invalid
    invalid_count   int32         answers without a score in the rubric's range, refused prompts among them
    reason          string        what the first answer that says `score`, else the first valid one, said for it
    truncated       bool          whether a part of the text was not shown

A text of nothing but blanks is not judged: no votes. Answers are kept by model, prompt, text and parameters in `cache`, so
nothing is asked again, however often a run is killed; equal bytes come from the same cache only. If more than
`max_invalid_frac` of a worker's answers are invalid beyond doubt (`curate.core.llm.share`) the run stops (R313). What was
asked, the tokens and what they cost (in millionths) are in the report.

Every worker asks `server.concurrency` times at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from curate.core.batch import DocBatch
from curate.core.columns import TEXT
from curate.core.llm.answers import Answer
from curate.core.llm.asking import Asking, AskingStep
from curate.core.stage import Context
from filters.encoders.encoder import first_characters
from filters.llm.rubric import Rubric, Verdict, read_rubric, rubric_path
from filters.llm.votes import INVALID, scores


class LlmJudgeConfig(Asking):
    """Options of `filters.llm_judge`."""

    rubric: str = Field(
        "edu",
        min_length=1,
        description="What is judged: a shipped rubric by name, or the path of a YAML file.",
    )
    answer: Literal["line", "json"] = Field(
        "line",
        description="Form of an answer: reasons and a line `Score: 3`, which any server can, or JSON that the server "
        "holds the model to.",
    )
    reason: bool = Field(True, description="Whether reasons are asked for before the score.")
    max_characters: int = Field(4000, ge=1, le=1 << 20, description="Characters of a text that are shown.")


class LlmJudge(AskingStep[LlmJudgeConfig]):
    """Lets a language model score documents by a rubric."""

    Config = LlmJudgeConfig
    VERSION: ClassVar[int] = 1
    INVALID: ClassVar[str] = "hold no score"
    FORM: ClassVar[str] = "json"

    def __init__(self, config: LlmJudgeConfig) -> None:
        super().__init__(config)
        self._rubric: Rubric | None = None

    def reads(self) -> frozenset[str]:
        return frozenset({TEXT})

    def writes(self) -> Mapping[str, pa.DataType]:
        return {
            "score": pa.float32(),
            "votes": pa.list_(pa.int16()),
            "invalid_count": pa.int32(),
            "reason": pa.string(),
            "truncated": pa.bool_(),
        }

    def artifacts(self, context: Context) -> Mapping[str, Path]:
        path = rubric_path(self.config.rubric)
        read_rubric(path)
        return {**super().artifacts(context), "rubric": path}

    def provenance(self) -> Mapping[str, str]:
        return {**super().provenance(), "rubric": Path(self.config.rubric).stem}

    def open(self, context: Context) -> None:
        self._rubric = read_rubric(rubric_path(self.config.rubric))
        super().open(context)

    def annotate(self, batch: DocBatch) -> Mapping[str, pa.Array]:
        assert self._rubric is not None
        config, samples = self.config, self.config.samples
        shown, truncated = first_characters(batch.text, config.max_characters)
        judged = np.flatnonzero(pc.greater(pc.utf8_length(pc.utf8_trim_whitespace(shown)), 0))
        schema = self._rubric.answer_schema(reason=config.reason) if config.answer == "json" else None
        requests = []
        for text in shown.take(pa.array(judged)).to_pylist():
            prompt = self._rubric.prompt(text, config.answer, reason=config.reason)
            requests += [config.request(prompt, sample, schema=schema) for sample in range(samples)]
        verdicts: list[Verdict | None] = [None] * len(requests)

        def seen(number: int, answer: Answer) -> None:
            verdicts[number] = self._verdict(answer)

        self.client.ask(requests, seen)
        return self._columns(batch.num_rows, judged, verdicts, truncated)

    def _verdict(self, answer: Answer) -> Verdict | None:
        """What an answer says. R313 if too many say nothing."""
        assert self._rubric is not None
        found = self._rubric.verdict(answer.text, self.config.answer) if answer.text is not None else None
        if found is None:
            self.counts["invalid"] += 1
            self.counts["cut_off"] += answer.finish == "length"
        self.count(answer, valid=found is not None)
        return found

    def _columns(
        self,
        rows: int,
        judged: npt.NDArray[np.int64],
        verdicts: list[Verdict | None],
        truncated: npt.NDArray[np.bool_],
    ) -> Mapping[str, pa.Array]:
        samples = self.config.samples
        flat = np.array([INVALID if v is None else v.score for v in verdicts], np.int16)
        votes = flat.reshape(len(judged), samples)
        score = np.full(rows, np.nan, np.float32)
        score[judged] = scores(votes)
        invalid = np.zeros(rows, np.int32)
        invalid[judged] = (votes == INVALID).sum(axis=1)
        reasons: list[str | None] = [None] * rows
        for place, row in enumerate(judged.tolist()):
            valid = [v for v in verdicts[place * samples : (place + 1) * samples] if v is not None]
            chosen = [v for v in valid if v.score == score[row]] or valid
            reasons[row] = chosen[0].reason if chosen else None
        counts = np.zeros(rows, np.int32)
        counts[judged] = samples
        ends = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        return {
            "score": pa.array(score, mask=np.isnan(score)),
            "votes": pa.ListArray.from_arrays(pa.array(ends), pa.array(flat, mask=flat == INVALID)),
            "invalid_count": pa.array(invalid),
            "reason": pa.array(reasons, pa.string()),
            "truncated": pa.array(truncated),
        }


STAGE = LlmJudge
