"""YAML 1.2 with the position of every key and value.

In: the bytes of a config file. Out: a `Source`: plain data (dict, list, str, int, float, bool, None) and, for
every path such as `("steps", 3, "threshold")`, where its key and its value stand in the file.

Scalars follow the YAML 1.2 core schema (https://yaml.org/spec/1.2.2/#103-core-schema): `no` and `on` are
strings, `1_000` is one too, `0o17` is an integer. Keys are always strings. `<<: *anchor` merges. A key given
twice is a problem, and the rest of the file is still looked at. Everything else that is no YAML is one C101.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from curate.config.yaml_nodes import MAX_DEPTH, MAX_VALUES, Builder, Lines, Node, Place, Span
from curate.core.errors import CurateError, Position, Problem, error

Key = str | int
KeyPath = tuple[Key, ...]

MAX_BYTES: Final = 1_000_000

_FORBIDDEN: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x84\x86-\x9f\ufffe\uffff]")


@dataclass(frozen=True)
class Source:
    """Plain data, and where each part of it stands. `problems` are those that did not stop the reading."""

    file: str
    data: Any
    problems: tuple[Problem, ...] = ()
    _keys: dict[KeyPath, Place] = field(default_factory=dict, repr=False)
    _values: dict[KeyPath, Place] = field(default_factory=dict, repr=False)

    def key(self, path: KeyPath) -> Position:
        """The key that ends `path`; for a list's item, the item."""
        place = self._keys.get(path)
        return place.position() if place is not None else self.value(path)

    def value(self, path: KeyPath) -> Position:
        """The value at `path`, or of the nearest part of the file around it."""
        while path and path not in self._values:
            path = path[:-1]
        place = self._values.get(path)
        return place.position() if place is not None else Position(self.file, 1, 1)

    def inside(self, path: KeyPath, offset: int, length: int) -> Position:
        """`length` characters from `offset` of the text at `path`; all of it where that cannot be told."""
        position = self.value(path)
        written = position.text[position.column - 1 : position.column - 1 + position.length]
        value = self.at(path)
        quote = 1 if written[:1] in ("'", '"') else 0
        if not isinstance(value, str) or not written.startswith(value, quote):
            return position
        column = position.column + quote + min(offset, len(value))
        return Position(position.file, position.line, column, max(1, length), position.text)

    def at(self, path: KeyPath) -> Any:
        """The data at `path`; None where there is none."""
        data = self.data
        for key in path:
            try:
                data = data[key]
            except (KeyError, IndexError, TypeError):
                return None
        return data

    def replaced(self, data: Any, path: KeyPath, part: Source, key: Span) -> Source:
        """This source with other `data`; the value at `path` is `part`'s, whose text has the key at `key`."""
        depth = len(path)
        keys = {p: at for p, at in self._keys.items() if p[:depth] != path}
        values = {p: at for p, at in self._values.items() if p[:depth] != path}
        keys[path] = Place(part._values[()].lines, key)
        keys.update({path + p: at for p, at in part._keys.items()})
        values.update({path + p: at for p, at in part._values.items()})
        return Source(self.file, data, self.problems + part.problems, keys, values)

    def relocated(self, text: str, line: int) -> Source:
        """The same as if it had been read from `text`, at the same offsets, counting lines from `line`."""
        lines = Lines(text, self.file, line)
        keys = {path: Place(lines, at.span) for path, at in self._keys.items()}
        values = {path: Place(lines, at.span) for path, at in self._values.items()}
        return Source(self.file, self.data, self.problems, keys, values)

    def renamed(self, data: Any, moves: Mapping[KeyPath, KeyPath], problems: Iterable[Problem]) -> Source:
        """This source with other `data`, in which the values at the keys of `moves` have moved."""
        keys = {moves.get(path, path): at for path, at in self._keys.items()}
        values = {moves.get(path, path): at for path, at in self._values.items()}
        return Source(self.file, data, (*self.problems, *problems), keys, values)


def read(path: str | Path, shown: str | None = None) -> Source:
    """The YAML file at `path`, whose top level is a mapping. C101 or E506 if that cannot be had."""
    file = shown if shown is not None else str(path)
    try:
        with open(path, "rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError) as cause:
        raise error(
            "C101", f"there is no file {file}", help="give the path of a config, such as web.yaml"
        ) from cause
    except PermissionError as cause:
        raise error("E506", f"{file} may not be read", help="check the file's permissions") from cause
    except (OSError, ValueError) as cause:
        raise error("C101", f"{file} cannot be read: {getattr(cause, 'strerror', cause)}") from cause
    if len(raw) > MAX_BYTES:
        raise error(
            "C101",
            f"{file} is larger than 1 MB",
            help="long lists of paths belong in a file: `list: paths.txt`",
        )
    source = parse(raw, file)
    if not isinstance(source.data, dict):
        found = {list: "a list", str: "text", type(None): "nothing"}.get(type(source.data), "a single value")
        raise error(
            "C101",
            f"a config is a mapping of keys; {file} holds {found}",
            help="start with `input:`, `steps:` and `publish:`",
            position=source.value(()),
        )
    return source


def parse(raw: bytes | str, file: str) -> Source:
    """Any YAML value; C101 with line and column if it is none."""
    text = _decode(raw, file) if isinstance(raw, bytes) else raw
    lines = Lines(text, file)
    if bad := _FORBIDDEN.search(text):
        raise error(
            "C101",
            f"character U+{ord(bad[0]):04X} is not allowed in YAML",
            help="save the file as plain UTF-8 text",
            position=lines.position(Span(bad.start(), bad.start() + 1)),
        )
    builder = Builder(lines)
    try:
        root = builder.build(YAML(typ="safe", pure=True).parse(text))
    except MarkedYAMLError as cause:
        raise _syntax_error(cause, lines) from cause
    except YAMLError as cause:
        raise error("C101", f"{file} is not YAML: {_one_line(str(cause))}") from cause
    except (RecursionError, ValueError, IndexError, AttributeError, TypeError, KeyError) as cause:
        # ruamel.yaml leaks these for some malformed directives and escapes.
        raise error("C101", f"{file} is not YAML: {_one_line(str(cause))}") from cause
    plain = _Plain(lines)
    data = plain.value(root, ())
    return Source(file, data, tuple(builder.problems), plain.keys, plain.values)


def _decode(raw: bytes, file: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as cause:
        before = raw[: cause.start].decode("utf-8")
        line = before.count("\n") + 1
        column = len(before) - (before.rfind("\n") + 1) + 1
        raise error(
            "C101",
            f"not UTF-8: byte 0x{raw[cause.start]:02X} at position {cause.start}",
            help="save the file as UTF-8",
            position=Position(file, line, column),
        ) from cause


class _Plain:
    """Data of nodes, and their places by path. Aliases do not loop; what they expand to is bounded here."""

    def __init__(self, lines: Lines) -> None:
        self.lines = lines
        self.keys: dict[KeyPath, Place] = {}
        self.values: dict[KeyPath, Place] = {}

    def value(self, node: Node, path: KeyPath) -> Any:
        place = self.values[path] = Place(self.lines, node.span)
        if len(self.values) > MAX_VALUES or len(path) > 2 * MAX_DEPTH:
            raise error(
                "C101", f"aliases expand to more than {MAX_VALUES:,} values", position=place.position()
            )
        if node.items is not None:
            return [self.value(item, (*path, index)) for index, item in enumerate(node.items)]
        if node.entries is None:
            return node.data
        data = {}
        for name, (span, child) in node.entries.items():
            self.keys[(*path, name)] = Place(self.lines, span)
            data[name] = self.value(child, (*path, name))
        return data


def _syntax_error(cause: MarkedYAMLError, lines: Lines) -> CurateError:
    mark = cause.problem_mark or cause.context_mark
    start = mark.index if mark is not None else 0
    problem = _one_line(str(cause.problem or cause.context or "cannot be read"))
    help = ""
    if lines.text[start : start + 1] == "\t":
        problem, help = "a tab cannot be used for indentation", "indent with spaces"
    elif problem.startswith("mapping values are not allowed"):
        problem, help = "a second `:` in one value", "put a value that holds `: ` in quotes"
    elif cause.context and cause.context_mark is not None and cause.context_mark.index != start:
        begun = lines.position(Span(cause.context_mark.index, cause.context_mark.index + 1))
        help = f"{_one_line(str(cause.context))} begun at line {begun.line}, column {begun.column}"
    return error("C101", problem, help=help, position=lines.position(Span(start, start + 1)))


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]
