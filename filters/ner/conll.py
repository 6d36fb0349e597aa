"""Files of tagged tokens, one a line, as annotators publish them: CoNLL-2002 and -2003, UNER, MasakhaNER, NorNE.

In: a file, plain or compressed (.gz .xz .bz2 .zst), UTF-8, lines ended by LF or CRLF. Out: its sentences, each with
tokens, tags, the lines they stand on, its text if the file has it, the document it belongs to; and a log of what was
repaired. The columns are found by `layout`, the tags read by `bio`.

    blank line                  ends a sentence; so does the end of the file, and a document
    # text = …                  the sentence as it was; # sent_id = … its name
    # newdoc id = …             begins a document, as -DOCSTART- does, which has no name and is counted
    # anything                  a comment where a sentence has not begun and the line has no tag; else `#` is a token
    3-4 don't                   (numbered tokens) one word of the text that the next two lines analyse: one token here,
                                with the first tag among theirs that is no O
    8.1 …                       a word that is not in the text: left out

A line that cannot be read (too few columns, a tag that is none, bytes that are no UTF-8) is an error with its line: to
leave it out would shift every offset behind it.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import zstandard

from curate.core.errors import CurateError, Position, error
from filters.ner.bio import OUTSIDE, Scheme, find_scheme, is_tag
from filters.ner.layout import EMPTY_NODE, RANGE, Layout, find_layout, misc_value

_COMMENT: Final = re.compile(r"#\s|#\w+ *=|#$")
_NAMED: Final = re.compile(r"#\s*(newdoc id|newdoc|sent_id|text)(?:\s*=\s?(.*))?")
_DOCSTART: Final = "-DOCSTART-"
_MISC: Final = 9  # column of CoNLL-U with `SpaceAfter=No`


@dataclass
class Sentence:
    """Tokens with the tag and line of each. spaces: whether one follows the token, None if the file does not say."""

    line: int
    document: str | None
    name: str | None = None
    text: str | None = None
    tokens: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    spaces: list[bool] | None = None


@dataclass(frozen=True)
class Note:
    """One line of the log: where, what was wrong, what was made of it."""

    line: int
    what: str
    how: str
    token: str
    tag: str


@dataclass(frozen=True)
class TaggedFile:
    """A file as read: `scheme` and `layout` as found or given, `notes` of lines that were repaired."""

    path: Path
    layout: Layout
    scheme: Scheme
    sentences: list[Sentence]
    notes: list[Note]
    comments: int


def read_tagged(
    path: Path, *, token: int | None = None, tag: int | None = None, scheme: Scheme | None = None
) -> TaggedFile:
    """Reads a file. token, tag: columns from 0; scheme: of the tags; found if not given. D401, or D410 with the line."""
    lines = _lines(path)
    data = _data(lines)
    if not data:
        raise fault(path, "there are no tokens in it", help="give a file of tokens and tags, one pair a line")
    layout = find_layout(data, token, tag)
    if isinstance(layout, str):
        number = next(n for n, line in enumerate(lines, 1) if line == data[0])
        raise fault(path, layout, number, data[0], help="say which they are: --token-column 2 --tag-column 3")
    reader = _Reader(path, layout)
    for number, line in enumerate(lines, 1):
        reader.take(number, line)
    reader.end_sentence()
    if not reader.sentences:
        raise fault(path, "there are no tokens in it", help="give a file of tokens and tags, one pair a line")
    found = scheme or find_scheme(sentence.tags for sentence in reader.sentences)
    return TaggedFile(path, layout, found, reader.sentences, reader.notes, reader.comments)


def _data(lines: list[str]) -> list[str]:
    """Lines that say what the columns are: no comments as far as one can tell before the columns are known."""
    filled = [line for line in lines if line.strip(" \t") and not line.startswith(_DOCSTART)]
    sure = [line for line in filled if not line.startswith("# ") or "\t" in line]
    return sure or [line for line in filled if is_tag(line.split()[-1])]


def fault(path: Path, message: str, number: int = 0, line: str = "", *, help: str) -> CurateError:
    """D410 at a line of the file, or about the whole of it."""
    position = Position(str(path), number, 1, max(1, len(line)), line) if number else None
    return error("D410", message if number else f"{path}: {message}", help=help, position=position)


class _Reader:
    """Takes lines one by one; `sentences`, `notes` and `comments` grow."""

    def __init__(self, path: Path, layout: Layout) -> None:
        self.path, self.layout = path, layout
        self.sentences: list[Sentence] = []
        self.notes: list[Note] = []
        self.comments = 0
        self._documents = 0
        self._document: str | None = None
        self._name: str | None = None
        self._text: str | None = None
        self._open: Sentence | None = None
        self._range = 0  # number of the last token of the word that was read whole, whose parts follow

    def take(self, number: int, line: str) -> None:
        if not line.strip(" \t"):
            self.end_sentence()
        elif line.startswith(_DOCSTART):
            self.end_sentence()
            self._new_document(None)
        elif not self._is_comment(line):
            self._token(number, line)
        else:
            self.comments += 1
            self._comment(line)

    def end_sentence(self) -> None:
        if self._open is not None and self._open.tokens:
            self.sentences.append(self._open)
        if self._open is not None:
            self._name = self._text = None
        self._open, self._range = None, 0

    def _is_comment(self, line: str) -> bool:
        if not line.startswith("#") or self._open is not None:
            return False
        fields = self.layout.fields(line)
        tagged = len(fields) >= self.layout.needed and is_tag(self.layout.tag_of(fields))
        return _COMMENT.match(line) is not None and (not tagged or self.layout.numbered)

    def _comment(self, line: str) -> None:
        named = _NAMED.fullmatch(line)
        if named is None:
            return
        key, value = named.group(1), (named.group(2) or "").strip()
        if key == "text":
            self._text = value
        elif key == "sent_id":
            self._name = value or None
        else:
            self._new_document(value or None)

    def _new_document(self, name: str | None) -> None:
        self._documents += 1
        self._document = name or str(self._documents)

    def _token(self, number: int, line: str) -> None:
        fields, layout = self.layout.fields(line), self.layout
        if len(fields) < layout.needed:
            message = f"the line has {len(fields)} of the {layout.needed} columns that are needed"
            raise fault(self.path, message, number, line, help=f"correct the line; the file has {layout}")
        if self._open is None:
            self._open = Sentence(number, self._document, self._name, self._text)
        word = RANGE.fullmatch(fields[0]) if layout.numbered else None
        tag = OUTSIDE if word else layout.tag_of(fields)
        if not is_tag(tag):
            help = f"correct the tag: O, or a prefix and a type, as B-PER; the file has {layout}"
            raise fault(self.path, f"'{tag}' is no tag", number, line, help=help)
        if layout.numbered and EMPTY_NODE.fullmatch(fields[0]):
            self._note(number, "word_not_in_text", "left the token out", fields[layout.token], tag)
            return
        if self._inside_word(number, fields, tag):
            return
        token = fields[layout.token]
        if not token.strip():
            self._note(number, "empty_token", "left the token out", token, tag)
            return
        if word:
            self._range = int(word.group(2))
        self._append(number, token, tag, fields)

    def _inside_word(self, number: int, fields: list[str], tag: str) -> bool:
        """Whether the token is part of the word before, which then takes over its tag."""
        if not self._range or self._open is None:
            return False
        if not fields[0].isdecimal() or int(fields[0]) > self._range:
            self._range = 0
            return False
        if tag != OUTSIDE:
            if self._open.tags[-1] == OUTSIDE:
                self._open.tags[-1] = tag
            elif self._open.tags[-1].partition("-")[2] != tag.partition("-")[2]:
                self._note(number, "word_of_two_labels", "kept the first", fields[self.layout.token], tag)
        return True

    def _append(self, number: int, token: str, tag: str, fields: list[str]) -> None:
        assert self._open is not None
        self._open.tokens.append(token)
        self._open.tags.append(tag)
        self._open.lines.append(number)
        if self.layout.numbered and len(fields) > _MISC:
            glued = misc_value(fields[_MISC], "spaceafter") == "No"
            if self._open.spaces is None:
                self._open.spaces = [True] * (len(self._open.tokens) - 1)
            self._open.spaces.append(not glued)
        elif self._open.spaces is not None:
            self._open.spaces.append(True)

    def _note(self, line: int, what: str, how: str, token: str, tag: str) -> None:
        self.notes.append(Note(line, what, how, token, tag))


def _lines(path: Path) -> list[str]:
    """Lines without their ends. Only LF and CRLF end one: tokens may hold U+2028 and the like."""
    data = b"".join(_chunks(path))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as cause:
        number = data.count(b"\n", 0, cause.start) + 1
        line = data.split(b"\n")[number - 1].decode("utf-8", "backslashreplace").rstrip("\r")
        message = f"the line is not UTF-8: byte 0x{data[cause.start]:02x}"
        raise fault(path, message, number, line, help="convert the file to UTF-8") from cause
    return [line.removesuffix("\r") for line in text.split("\n")]


def _chunks(path: Path) -> Iterator[bytes]:
    openers = {".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open, ".zst": zstandard.open}
    try:
        with openers.get(path.suffix, open)(path, "rb") as file:  # type: ignore[operator]  # openers, typed apart
            while chunk := file.read(1 << 20):
                yield chunk
    except (OSError, zlib.error, lzma.LZMAError, zstandard.ZstdError, EOFError) as cause:
        if (
            isinstance(cause, OSError) and cause.errno is not None
        ):  # the file is not there, or no one may read it
            raise
        raise error("D401", f"{path} is damaged: {cause}", help="fetch the file again") from cause
