"""What an HTTP response of a chat completion means: an answer, a refusal of this prompt, a fault that may pass, or one
that will not.

    200 with a chat completion             an answer
    400 413 422                            the prompt is refused (too long, …): its answer is null, the run goes on
    408 409 425 429, 500 and above         asked again, after `Retry-After` if the server says so
    200 with anything else                 asked again: a proxy's page, half an answer
    everything else (401, 403, 404, …)     the server refuses all of it: the run stops
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from curate.core.llm.answers import Answer

REFUSED: Final = frozenset({400, 413, 422})
PASSING: Final = frozenset({408, 409, 425, 429})
#: Characters of what a server says that an error shows.
_SHOWN: Final = 300


class PassingError(Exception):
    """A fault that may pass. wait: seconds after which the server wants to be asked again, if it says so."""

    def __init__(self, what: str, wait: float | None = None) -> None:
        super().__init__(what)
        self.wait = wait


class LastingError(Exception):
    """A fault that asking again will not mend."""


def reply(
    status: int, body: bytes, retry_after: str | None = None, hide: Callable[[str], str] = str
) -> Answer:
    """The answer that a response holds. PassingError or LastingError if it holds none.

    hide: takes secrets out of what a refusal or an error repeats; an answer stays as it is.
    """
    if status in REFUSED:
        return Answer(None, refusal=f"{status}: {words(body, hide)}")
    if status in PASSING or status >= 500:
        raise PassingError(f"{status}: {words(body, hide)}", _seconds(retry_after))
    if status != 200:
        raise LastingError(f"{status}: {words(body, hide)}")
    try:
        found = json.loads(body)
        choice = found["choices"][0]
        text = choice["message"]["content"]
        if not isinstance(text, str | None):
            raise TypeError
        usage = found.get("usage") or {}
        return Answer(
            text or "",
            str(choice.get("finish_reason") or ""),
            _count(usage.get("prompt_tokens")),
            _count(usage.get("completion_tokens")),
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as cause:
        raise PassingError(f"what came is no chat completion: {words(body, hide)}") from cause


def words(body: bytes, hide: Callable[[str], str] = str) -> str:
    """What a server says, in one short line: the message of its error, else the beginning of what came.

    hide: takes secrets out before anything is cut, as half of one would not be found.
    """
    text = hide(body.decode("utf-8", "replace"))[: 1 << 16]
    try:
        found: Any = json.loads(text)
        while isinstance(found, dict):
            found = found.get("error") or found.get("message") or found.get("detail") or str(found)
        text = hide(str(found))  # in JSON it may have been written with escapes
    except (ValueError, RecursionError):
        pass
    line = re.sub(r"\s+", " ", "".join(c if c.isprintable() else " " for c in text)).strip()
    return (line[:_SHOWN] + "…" if len(line) > _SHOWN else line) or "(nothing)"


def _count(value: object) -> int:
    return value if isinstance(value, int) and value >= 0 else 0


def _seconds(header: str | None) -> float | None:
    """The seconds of a `Retry-After` header, which has a number or a date."""
    if header is None:
        return None
    if re.fullmatch(r"\s*\d+(\.\d+)?\s*", header, re.ASCII):
        return float(header)
    try:
        date = parsedate_to_datetime(header)
    except ValueError:
        return None
    aware = date if date.tzinfo is not None else date.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.now(UTC)).total_seconds())
