"""Asks a server many things at a time, and again where it does not answer; every answer is on disk as soon as it is there.

In: bodies of chat completions (`Sampling.request`). Out: `Answer`s, in their order. Equal requests are asked once. Faults
that may pass (`replies`), a broken connection and silence are tried again after `backoff` · 2^n seconds, up to 60, less a
random half, so that many clients do not come back together; `Retry-After` counts if it is longer. A request that gets no
answer in its tries or its time ends the work with E530 and the server's words; what was answered stays in the cache, so
the next try asks only for the rest.

The requests of one call share an event loop and connections, which are closed when it returns. Calls from several threads
take turns, so `concurrency` is that of the process.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from curate.core.errors import CurateError, error
from curate.core.llm.answers import Answer, AnswerCache, request_key
from curate.core.llm.replies import LastingError, PassingError, reply
from curate.core.llm.server import Server

if TYPE_CHECKING:
    import httpx

#: Longest pause between two tries, in seconds.
_LONGEST_PAUSE: Final = 60.0
#: Bytes of an answer at most.
_MOST_BYTES: Final = 1 << 24

Seen = Callable[[int, Answer], None]


class Client:
    """Asks one server. cache: the folder of answers; None: nothing is kept.

    C109 if an environment variable of the server's is not set, E502 if httpx is not installed.
    """

    def __init__(self, server: Server, *, cache: Path | None = None) -> None:
        try:
            import httpx
        except ImportError as cause:
            raise error(
                "E502", "asking a language model needs the package httpx", help="pip install 'curate[llm]'"
            ) from cause
        self.server = server
        self._address = server.address()
        self._key = server.key()
        # Certificates take a third of a second to load.
        self._tls: Any = httpx.create_ssl_context() if self._address.startswith("https:") else False
        self._cache = AnswerCache(cache) if cache is not None else None
        self._counts: Counter[str] = Counter()
        #: Keys of answers that were passed on, about 100 bytes each.
        self._seen: set[bytes] = set()
        self._turn = Lock()

    def ask(self, requests: Sequence[Mapping[str, Any]], seen: Seen | None = None) -> list[Answer]:
        """An answer to each request. seen: called with the number of a request and its answer when it has come; what it
        raises ends the work. Whether an equal request had its answer before, in this call or an earlier one, is `again`.

        E530 if the server gives no answer, E531 if it refuses.
        """
        with self._turn:
            return self._ask(requests, seen)

    def _ask(self, requests: Sequence[Mapping[str, Any]], seen: Seen | None) -> list[Answer]:
        keys = [request_key(body, self.server.identity) for body in requests]
        numbers: dict[str, list[int]] = {}
        for number, key in enumerate(keys):
            numbers.setdefault(key, []).append(number)
        answers = self._cache.find(numbers) if self._cache is not None else {}

        def found(key: str, answer: Answer) -> None:
            if seen is None:
                return
            for number in numbers[key]:
                digest = bytes.fromhex(key)
                again = digest in self._seen
                self._seen.add(digest)
                seen(number, answer._replace(again=again))

        for key, answer in answers.items():
            self._count(answer)
            found(key, answer)
        missing = [key for key in numbers if key not in answers]
        if missing:
            bodies = ((key, requests[numbers[key][0]]) for key in missing)
            with self._cache.writing() if self._cache is not None else nullcontext():
                self._run(bodies, len(missing), answers, found)
        return [answers[key] for key in keys]

    def take_counts(self) -> dict[str, int]:
        """What was counted since the last call: `requests retries answers cached refused`, tokens, `cost_millionths`.

        Tokens and cost are of the answers that were asked for; those from the cache count as `cached_tokens`.
        """
        counts = {name: number for name, number in self._counts.items() if number}
        self._counts.clear()
        # A price is for a million tokens, so tokens times price are millionths.
        cost = round(
            counts.get("prompt_tokens", 0) * self.server.prompt_price
            + counts.get("completion_tokens", 0) * self.server.completion_price
        )
        return {**counts, **({"cost_millionths": cost} if cost else {})}

    def _run(
        self,
        bodies: Iterator[tuple[str, Mapping[str, Any]]],
        count: int,
        answers: dict[str, Answer],
        found: Callable[[str, Answer], None],
    ) -> None:
        try:
            asyncio.run(self._all(bodies, count, answers, found))
        except BaseExceptionGroup as group:
            raise _first(group) from None

    async def _all(
        self,
        bodies: Iterator[tuple[str, Mapping[str, Any]]],
        count: int,
        answers: dict[str, Answer],
        found: Callable[[str, Answer], None],
    ) -> None:
        import httpx

        headers = {"Content-Type": "application/json"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key}"
        width = min(self.server.concurrency, count)
        limits = httpx.Limits(max_connections=width, max_keepalive_connections=width)
        async with httpx.AsyncClient(headers=headers, limits=limits, timeout=None, verify=self._tls) as http:
            faults: list[CurateError] = []

            async def work() -> None:
                for key, body in bodies:  # shared: each takes the next
                    try:
                        answer = await self._answer(http, json.dumps(body).encode())
                        self._count(answer)
                        if self._cache is not None and answer.text is not None:
                            self._cache.add(key, answer)
                        answers[key] = answer
                        found(key, answer)
                    except CurateError as fault:
                        faults.append(fault)
                    if (
                        faults
                    ):  # nothing new is asked; what is on its way comes in and is kept: it was paid for
                        return

            async with asyncio.TaskGroup() as group:
                for _ in range(width):
                    group.create_task(work())
            if faults:
                raise faults[0]

    async def _answer(self, http: httpx.AsyncClient, body: bytes) -> Answer:
        loop = asyncio.get_running_loop()
        last = loop.time() + self.server.deadline
        tries = 0
        while True:
            tries += 1
            try:
                return await self._try(http, body, max(0.001, min(self.server.timeout, last - loop.time())))
            except LastingError as fault:
                raise self._error("E531", f"refuses: {self.hidden(str(fault))}") from None
            except PassingError as fault:
                what, wait = self.hidden(str(fault)), fault.wait
            if tries > self.server.retries:
                raise self._error("E530", f"gave no answer in {_times(tries)}: {what}")
            pause = min(_LONGEST_PAUSE, self.server.backoff * 2 ** min(tries - 1, 30))
            pause = max(pause * random.uniform(0.5, 1), wait or 0)
            if loop.time() + pause >= last:
                limit = f"{self.server.deadline:g} s ({_times(tries)})"
                raise self._error("E530", f"gave no answer within {limit}: {what}")
            self._counts["retries"] += 1
            await asyncio.sleep(pause)

    async def _try(self, http: httpx.AsyncClient, body: bytes, seconds: float) -> Answer:
        import httpx

        self._counts["requests"] += 1
        try:
            async with asyncio.timeout(seconds):
                address = f"{self._address}/chat/completions"
                async with http.stream("POST", address, content=body) as response:
                    data = bytearray()
                    async for chunk in response.aiter_bytes():
                        data += chunk
                        if len(data) > _MOST_BYTES:
                            raise PassingError(f"more than {_MOST_BYTES:,} bytes came")
        except TimeoutError as cause:
            raise PassingError(f"silence for {seconds:.3g} s") from cause
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as cause:
            raise LastingError(f"that is no address: {cause}") from cause
        except httpx.HTTPError as cause:
            raise PassingError(f"{type(cause).__name__}: {cause}".rstrip(": ")) from cause
        return reply(response.status_code, bytes(data), response.headers.get("retry-after"), self.hidden)

    def _count(self, answer: Answer) -> None:
        counts = self._counts
        if answer.text is None:
            counts["refused"] += 1
        elif answer.cached:
            counts["cached"] += 1
            counts["cached_tokens"] += answer.prompt_tokens + answer.completion_tokens
        else:
            counts["answers"] += 1
            counts["prompt_tokens"] += answer.prompt_tokens
            counts["completion_tokens"] += answer.completion_tokens

    def hidden(self, text: str) -> str:
        """A text without the server's key: a server that echoes it does not get it into our logs and errors."""
        return text if self._key is None else text.replace(self._key, "***")

    def _error(self, code: str, what: str) -> CurateError:
        help = "look at the server and run again: what was answered is kept, only the rest is asked"
        if code == "E531":
            help = "correct the address, the model's name or the key"
        return error(code, f"the server {self._address} {what}", help=help, exit_code=1)


def _times(tries: int) -> str:
    return "1 try" if tries == 1 else f"{tries} tries"


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first of what ended the work: its siblings were cancelled, or met the same."""
    one = group.exceptions[0]
    return _first(one) if isinstance(one, BaseExceptionGroup) else one
