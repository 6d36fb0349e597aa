"""Let a language model judge each document by a rubric, as the labels of JQL and FineWeb-Edu were made (arXiv 2505.22232,
2406.17557). Labels are costly: judge a sample (`curate annotate`), train a head of it (`curate train`), score with that.

In: the text. Any OpenAI-compatible server answers: vLLM, llama.cpp, a hosted one (`curate.core.llm`). Out, per document:

    score           float32       what more than half of the valid answers say, else their mean; null if none is valid
    votes           list<int16>   the score of each answer, in the order of their seeds; null where it is invalid
    invalid_count   int32         answers without a score in the rubric's range, refused prompts among them
    reason          string        what the first answer that says `score`, else the first valid one, said for it
    truncated       bool          whether a part of the text was not shown

A text of nothing but blanks is not judged: no votes. Answers are kept by model, prompt, text and parameters in `cache`, so
nothing is asked twice, however often a run is killed; equal bytes come from the same cache only. If more than
`max_invalid_frac` of a worker's answers are invalid the run stops (R313), from the twentieth answer on. What was asked, the
tokens and what they cost (in millionths) are in the report.

Every worker asks `server.concurrency` times at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from curate.core.batch import DocBatch
from curate.core.columns import TEXT
from curate.core.errors import CurateError, error
from curate.core.llm.answers import Answer
from curate.core.llm.client import Client
from curate.core.llm.server import Sampling
from curate.core.stage import Annotator, Context, Resources
from filters.encoders.encoder import first_characters
from filters.llm.rubric import Rubric, Verdict, read_rubric, rubric_path
from filters.llm.votes import INVALID, scores

#: Answers after which the share of invalid ones says something.
_ENOUGH: Final = 20
#: Characters of an invalid answer that an error shows.
_SHOWN: Final = 200
#: Where answers lie below the run's cache.
ANSWERS: Final = "answers"


class LlmJudgeConfig(Sampling):
    """Options of `filters.llm_judge`."""

    LOCATIONS: ClassVar[tuple[str, ...]] = ("cache",)

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
    max_invalid_frac: float = Field(
        0.2, ge=0, le=1, description="Share of invalid answers above which the run stops."
    )
    cache: str | None = Field(
        None, description="Folder of the answers, which runs can share; null: in the run folder."
    )


class LlmJudge(Annotator[LlmJudgeConfig]):
    """Lets a language model score documents by a rubric."""

    Config = LlmJudgeConfig
    VERSION: ClassVar[int] = 1
    SERIAL: ClassVar[bool] = True  # a call asks for as many answers at once as the server takes

    def __init__(self, config: LlmJudgeConfig) -> None:
        self.config = config
        self._client: Client | None = None
        self._rubric: Rubric | None = None
        self._counts: Counter[str] = Counter()
        self._answered = self._invalid = 0

    def resources(self) -> Resources:
        return Resources(memory_gb=0.5)

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
        self.config.server.address()
        self.config.server.key()
        return {"rubric": path}

    def provenance(self) -> Mapping[str, str]:
        return {"model": self.config.model, "rubric": Path(self.config.rubric).stem}

    def open(self, context: Context) -> None:
        self._rubric = read_rubric(rubric_path(self.config.rubric))
        folder = Path(self.config.cache) if self.config.cache else context.cache
        self._client = Client(self.config.server, cache=folder / ANSWERS if folder else None)

    def snapshot(self, context: Context) -> tuple[str, ...]:
        return ()

    def begin(self) -> None:
        pass

    def finish(self) -> Mapping[str, int]:
        """What was asked and what it cost since the last unit."""
        assert self._client is not None
        counts = self._client.take_counts() | self._counts
        self._counts.clear()
        return counts

    def annotate(self, batch: DocBatch) -> Mapping[str, pa.Array]:
        assert self._client is not None
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

        self._client.ask(requests, seen)
        return self._columns(batch.num_rows, judged, verdicts, truncated)

    def _verdict(self, answer: Answer) -> Verdict | None:
        """What an answer says. R313 if too many say nothing."""
        assert self._rubric is not None
        found = self._rubric.verdict(answer.text, self.config.answer) if answer.text is not None else None
        self._answered += 1
        if found is None:
            self._invalid += 1
            self._counts["invalid"] += 1
            self._counts["cut_off"] += answer.finish == "length"
            if self._invalid > self.config.max_invalid_frac * max(self._answered, _ENOUGH):
                raise self._too_many(answer)
        return found

    def _too_many(self, answer: Answer) -> CurateError:
        said = answer.refusal or " ".join((answer.text or "").split()) or "(nothing)"
        said = said if len(said) <= _SHOWN else f"{said[:_SHOWN]}…"
        how = "was refused" if answer.text is None else "was cut off" if answer.finish == "length" else "was"
        return error(
            "R313",
            f"{self._invalid:,} of {self._answered:,} answers of {self.config.model} hold no score, more than "
            f"max_invalid_frac {self.config.max_invalid_frac:g}; the last {how}: {said}",
            help="raise `max_tokens`, or try `answer: json` or another model; what was answered is kept",
        )

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
