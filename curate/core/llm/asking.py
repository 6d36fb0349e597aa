"""What steps that ask a language model have in common: options, the client and its cache, counts, and when a run ends
because too few answers are of use.

A step says what it asks for and reads (`annotate`), and calls `count` with every answer.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Final, TypeVar

import pyarrow as pa
from pydantic import Field

from curate.core.batch import DocBatch
from curate.core.errors import CurateError, error
from curate.core.llm.answers import Answer, whole
from curate.core.llm.client import Client
from curate.core.llm.server import Sampling
from curate.core.llm.share import InvalidShare
from curate.core.stage import Annotator, Context, Resources

#: Characters of an invalid answer that an error shows.
_SHOWN: Final = 200
#: Where answers lie below the run's cache.
ANSWERS: Final = "answers"


class Asking(Sampling):
    """Options of a step that asks a language model, beside what it asks."""

    LOCATIONS: ClassVar[tuple[str, ...]] = ("cache",)

    max_invalid_frac: float = Field(
        0.2,
        ge=0,
        le=1,
        description="Share of invalid answers above which the run stops, as soon as that is beyond doubt (1 in 1,000).",
    )
    cache: str | None = Field(
        None, description="Folder of the answers, which runs can share; null: in the run folder."
    )


C = TypeVar("C", bound=Asking)


class AskingStep(Annotator[C]):
    """A step that asks a language model. `client` is there once it is open."""

    WARM: ClassVar[bool] = False  # it has no kernels, and asks
    SERIAL: ClassVar[bool] = True  # a call asks for as many answers at once as the server takes
    #: What invalid answers are, after "9 of 10 answers of MODEL", and a form of answers that servers hold models to.
    INVALID: ClassVar[str]
    FORM: ClassVar[str]

    def __init__(self, config: C) -> None:
        self.config = config
        self.counts: Counter[str] = Counter()
        self._client: Client | None = None
        self._share = InvalidShare(config.max_invalid_frac)
        self._exceeded = False

    @property
    def client(self) -> Client:
        assert self._client is not None
        return self._client

    def resources(self) -> Resources:
        return Resources(memory_gb=0.5)

    def artifacts(self, context: Context) -> Mapping[str, Path]:
        """No files; C109 if a variable of the server's is not set."""
        self.config.server.address()
        self.config.server.key()
        return {}

    def provenance(self) -> Mapping[str, str]:
        return {"model": self.config.model}

    def open(self, context: Context) -> None:
        folder = Path(self.config.cache) if self.config.cache else context.cache
        self._client = Client(self.config.server, cache=folder / ANSWERS if folder else None)

    def snapshot(self, context: Context) -> tuple[str, ...]:
        return ()

    def begin(self) -> None:
        pass

    def finish(self) -> Mapping[str, int]:
        """What was asked, what it cost and how the answers were, since the last unit."""
        counts = {**self.client.take_counts(), **{name: n for name, n in self.counts.items() if n}}
        self.counts.clear()
        return counts

    @abstractmethod
    def annotate(self, batch: DocBatch) -> Mapping[str, pa.Array]: ...

    def count(self, answer: Answer, *, valid: bool) -> None:
        """Of every answer, whether it is what was asked for. R313 if too many are not.

        The answer to a request counts once, however many equal texts ask for it and however often it is met: one bad answer
        is no evidence of many.
        """
        if not answer.again:
            self._exceeded = self._share.exceeded(valid=valid)
        if self._exceeded and not valid:
            raise self._too_many(answer)

    def _too_many(self, answer: Answer) -> CurateError:
        text = self.client.hidden(whole(answer.text or ""))
        said = answer.refusal or " ".join(text.split()) or "(nothing)"
        said = said if len(said) <= _SHOWN else f"{said[:_SHOWN]}…"
        how = "was refused" if answer.text is None else "was cut off" if answer.finish == "length" else "was"
        return error(
            "R313",
            f"{self._share.invalid:,} of {self._share.answered:,} answers of {self.config.model} {self.INVALID}, more than "
            f"max_invalid_frac {self.config.max_invalid_frac:g}; the last {how}: {said}",
            help=f"raise `max_tokens`, or try `answer: {self.FORM}` or another model; what was answered is kept",
        )
