"""Answers of a model on disk: what was answered before a process begins, by whomever, it does not ask again.

    <folder>/<attempt>.jsonl    a line for each answer: {"key": 32 hex digits, "text", "finish", "prompt_tokens", …}

The key is a digest of the whole request (model, prompt with the document in it, parameters, seed) and of what the server is
known by (`Server.identity`). Each process appends to a file of its own, so any number of them share a folder; all files
are read when a process begins: two that work at the same time may ask the same once each, and afterwards the first
answer by file name counts for all. A line that a kill cut off is not used, and its file is never written to again.

Memory: about 200 bytes for each answer of the folder; the texts stay on disk.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

from curate.core.layout import new_attempt

_PREFIX: Final = b'{"key": "'
_DIGITS: Final = 32


class Answer(NamedTuple):
    """What a server said. text: null if it refused the request, whose reason is `refusal`. finish: `stop`, `length` …
    tokens: of prompt and answer as the server counts them, 0 if it does not. cached: it came from disk. again: this process
    has been given the answer to an equal request before.
    """

    text: str | None
    finish: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    refusal: str = ""
    cached: bool = False
    again: bool = False


class _Place(NamedTuple):
    file: Path
    offset: int
    length: int


def whole(text: str) -> str:
    """A model's text without halves of characters, which no column can hold: JSON may name one (`"\\ud83d"`), and an answer
    that is cut to pieces leaves some. Two halves that belong together are their character; one alone is U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def request_key(body: Mapping[str, Any], server: str) -> str:
    """32 hexadecimal digits that stand for a request to a server."""
    text = json.dumps(
        {"server": server, "body": body}, sort_keys=True, ensure_ascii=True, separators=(",", ":")
    )
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


class AnswerCache:
    """The answers of a folder, and a file of its own for new ones."""

    def __init__(self, folder: Path, attempt: str | None = None) -> None:
        self._own = folder / f"{attempt or new_attempt()}.jsonl"
        self._file: FileIO | None = None
        self._places: dict[bytes, _Place] = {}
        #: Further places of a key, for the case that the first is damaged.
        self._others: dict[bytes, list[_Place]] = {}
        self.damaged = 0
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(folder.glob("*.jsonl")):
            if path.is_file():
                self._index(path)

    def _index(self, path: Path) -> None:
        offset = 0
        with path.open("rb") as file:
            for line in file:
                digits = line[len(_PREFIX) : len(_PREFIX) + _DIGITS]
                if line.startswith(_PREFIX) and line.endswith(b"}\n") and len(digits) == _DIGITS:
                    place = _Place(path, offset, len(line))
                    if self._places.setdefault(digits, place) is not place:
                        self._others.setdefault(digits, []).append(place)
                else:
                    self.damaged += 1
                offset += len(line)

    def __len__(self) -> int:
        return len(self._places)

    def find(self, keys: Iterable[str]) -> dict[str, Answer]:
        """Those of the answers that are there."""
        places = {key: self._places[key.encode()] for key in keys if key.encode() in self._places}
        found: dict[str, Answer] = {}
        with _Files() as files:
            for key, first in sorted(places.items(), key=lambda item: item[1]):
                for place in (first, *self._others.get(key.encode(), ())):
                    answer = _answer(files.read(place), key)
                    if answer is not None:
                        found[key] = answer
                        break
                    self.damaged += 1
                else:
                    del self._places[key.encode()]
        return found

    @contextmanager
    def writing(self) -> Iterator[None]:
        """While it lasts `add` may be called; afterwards what was added is on disk."""
        with self._own.open("ab", buffering=0) as file:
            self._file = file
            try:
                yield
                with suppress(OSError):  # a pipe or device has nothing to sync
                    os.fsync(file.fileno())
            finally:
                self._file = None
        with suppress(FileNotFoundError):
            if not self._own.stat().st_size:
                self._own.unlink()

    def add(self, key: str, answer: Answer) -> None:
        """Appends an answer; it outlives the process from here on."""
        assert self._file is not None
        record = {"key": key, **answer._asdict()}
        del record["cached"], record["again"], record["refusal"]
        line = json.dumps(record, ensure_ascii=True).encode() + b"\n"
        offset, done = self._file.tell(), 0
        try:
            while done < len(line):
                done += self._file.write(line[done:]) or 0
        except OSError:  # a full disk: what follows must not stand behind half a line
            with suppress(OSError):
                self._file.truncate(offset)
            raise
        self._places[key.encode()] = _Place(self._own, offset, len(line))


class _Files:
    """Reads places; each file is opened once, one at a time."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._file: BinaryIO | None = None

    def __enter__(self) -> _Files:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def read(self, place: _Place) -> bytes:
        if self._path != place.file:
            self.__exit__()
            self._path, self._file = None, None
            try:
                self._file = place.file.open("rb")
            except FileNotFoundError:
                return b""
            self._path = place.file
        assert self._file is not None
        self._file.seek(place.offset)
        return self._file.read(place.length)


def _answer(line: bytes, key: str) -> Answer | None:
    """A line's answer, or None if it is damaged or is another one's."""
    try:
        record = json.loads(line)
        if record["key"] != key or not isinstance(record["text"], str):
            return None
        return Answer(
            record["text"],
            str(record["finish"]),
            int(record["prompt_tokens"]),
            int(record["completion_tokens"]),
            cached=True,
        )
    except (ValueError, KeyError, TypeError):
        return None
