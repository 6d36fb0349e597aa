"""A tree of YAML nodes from parser events, with where each was written.

It is built here and not by ruamel.yaml's constructor because a config may come from anywhere: nesting, the
number of values and what aliases expand to are bounded, and nothing recurses into the input.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from curate.core.errors import CurateError, Position, Problem, error

MAX_VALUES: Final = 50_000
MAX_DEPTH: Final = 50
MAX_DIGITS: Final = 100

_CORE: Final = "tag:yaml.org,2002:"
_NULL: Final = re.compile(r"(?:null|Null|NULL|~|)")
_BOOL: Final = re.compile(r"(?:true|True|TRUE|false|False|FALSE)")
_INT: Final = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", re.ASCII)
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_SPECIAL: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


@dataclass(frozen=True)
class Span:
    """Characters [start, end) of the text; `end` lies on the line of `start`."""

    start: int
    end: int


class Lines:
    """Offsets of a text to lines and columns. first: number of its first line."""

    def __init__(self, text: str, file: str, first: int = 1) -> None:
        self.text, self.file, self.first = text, file, first
        breaks = list(re.finditer(r"\r\n|\n|\r", text))
        self.starts = [0] + [m.end() for m in breaks]
        self.ends = [m.start() for m in breaks] + [len(text)]
        self.shown: dict[int, str] = {}

    def line(self, offset: int) -> int:
        return bisect.bisect_right(self.starts, offset) - 1

    def position(self, span: Span) -> Position:
        start = min(span.start, len(self.text))
        line = self.line(start)
        if line not in self.shown:
            self.shown[line] = self.text[self.starts[line] : self.ends[line]]
        return Position(
            self.file,
            self.first + line,
            start - self.starts[line] + 1,
            max(1, span.end - start),
            self.shown[line],
        )

    def span(self, start: int, end: int) -> Span:
        """[start, end), cut at the end of the line on which it starts."""
        return Span(start, max(start, min(end, self.ends[self.line(start)])))


@dataclass(frozen=True)
class Place:
    """A span of one of the texts that a source was read from."""

    lines: Lines
    span: Span

    def position(self) -> Position:
        return self.lines.position(self.span)


@dataclass
class Node:
    """A value as it was written: a scalar's data, a list of nodes, or key → (span of the key, node)."""

    span: Span
    data: Any = None
    items: list[Node] | None = None
    entries: dict[str, tuple[Span, Node]] | None = None
    closed: bool = True


class Builder:
    """A tree of nodes from parser events, without recursion, within the limits above."""

    def __init__(self, lines: Lines) -> None:
        self.lines = lines
        self.problems: list[Problem] = []
        self.anchors: dict[str, Node] = {}
        self.open: list[tuple[Node, tuple[str, Span] | None]] = []
        self.key: tuple[str, Span] | None = None
        self.root: Node | None = None
        self.count = 0

    def build(self, events: Iterator[Event]) -> Node:
        documents = 0
        for event in events:
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self.fault(
                        "the file holds a second YAML document",
                        event,
                        "keep one config per file, without `---`",
                    )
            elif isinstance(event, (MappingStartEvent, SequenceStartEvent)):
                self.start(event)
            elif isinstance(event, (MappingEndEvent, SequenceEndEvent)):
                self.end(event)
            elif isinstance(event, (ScalarEvent, AliasEvent)):
                self.leaf(event)
        return self.root or Node(Span(0, 0))

    def fault(self, message: str, event: Event, help: str = "") -> CurateError:
        span = self.lines.span(event.start_mark.index, event.end_mark.index)
        return error("C101", message, help=help, position=self.lines.position(span))

    def counted(self, event: Event) -> None:
        self.count += 1
        if self.count > MAX_VALUES:
            raise self.fault(
                f"more than {MAX_VALUES:,} values",
                event,
                "long lists of paths belong in a file: `list: paths.txt`",
            )

    def start(self, event: Any) -> None:
        self.counted(event)
        if len(self.open) >= MAX_DEPTH:
            raise self.fault(f"nested more than {MAX_DEPTH} levels deep", event)
        mapping = isinstance(event, MappingStartEvent)
        if event.tag and event.tag != _CORE + ("map" if mapping else "seq"):
            raise self.fault(f"the tag {_shown_tag(event.tag)} is not allowed", event, "remove the tag")
        if self.expects_key():
            raise self.fault("a key must be a single word, not a list or a mapping", event)
        node = Node(self.lines.span(event.start_mark.index, event.start_mark.index + 1), closed=False)
        if mapping:
            node.entries = {}
        else:
            node.items = []
        self.remember(event, node)
        self.open.append((node, self.key))
        self.key = None

    def end(self, event: Any) -> None:
        node, key = self.open.pop()
        node.closed = True
        self.key = key
        last = self.lines.text[event.end_mark.index - 1 : event.end_mark.index]
        ends = [node.span.end]
        if last in ("]", "}"):
            ends.append(self.lines.span(node.span.start, event.end_mark.index).end)
        else:
            parts = [
                span for key_span, child in (node.entries or {}).values() for span in (key_span, child.span)
            ]
            parts += [child.span for child in node.items or []]
            line_end = self.lines.ends[self.lines.line(node.span.start)]
            ends += [part.end for part in parts if node.span.start <= part.start <= line_end]
        node.span = Span(node.span.start, max(ends))
        self.merge(node, event)
        self.place(node, event)

    def merge(self, node: Node, event: Event) -> None:
        """Put in what `<<: *anchor` (or a list of anchors) names; what is written here wins."""
        if node.entries is None or "<<" not in node.entries:
            return
        _, value = node.entries["<<"]
        sources = value.items if value.items is not None else [value]
        if any(source.entries is None for source in sources):
            message = "`<<` takes a mapping or a list of mappings"
            raise error("C101", message, position=self.lines.position(value.span))
        del node.entries["<<"]
        for source in sources:
            for name, entry in (source.entries or {}).items():
                self.counted(event)
                node.entries.setdefault(name, entry)

    def leaf(self, event: Any) -> None:
        self.counted(event)
        if isinstance(event, AliasEvent):
            node = self.aliased(event)
        else:
            node = Node(self.lines.span(event.start_mark.index, event.end_mark.index))
        if self.expects_key():
            if isinstance(event, AliasEvent):
                raise self.fault("a key must be a single word, not an alias", event)
            self.key = (self.string(event), node.span)
            return
        if isinstance(event, ScalarEvent):
            node.data = self.scalar(event)
            self.remember(event, node)
        self.place(node, event)

    def aliased(self, event: Any) -> Node:
        target = self.anchors.get(event.anchor)
        if target is None:
            raise self.fault(f"the alias *{event.anchor} has no anchor &{event.anchor} before it", event)
        if not target.closed:
            raise self.fault(f"the alias *{event.anchor} stands inside its own anchor", event)
        span = self.lines.span(event.start_mark.index, event.end_mark.index)
        return Node(span, target.data, target.items, target.entries)

    def remember(self, event: Any, node: Node) -> None:
        if event.anchor:
            self.anchors[str(event.anchor)] = node

    def expects_key(self) -> bool:
        return bool(self.open) and self.open[-1][0].entries is not None and self.key is None

    def place(self, node: Node, event: Event) -> None:
        if not self.open:
            self.root = node
            return
        parent = self.open[-1][0]
        if parent.items is not None:
            parent.items.append(node)
            return
        assert parent.entries is not None
        assert self.key is not None
        (name, span), self.key = self.key, None
        if name in parent.entries:
            self.duplicate(name, span, parent.entries[name][0])
        else:
            parent.entries[name] = (span, node)

    def duplicate(self, name: str, second: Span, first: Span) -> None:
        before = self.lines.position(first)
        where = f"line {before.line}, column {before.column}"
        self.problems.append(
            Problem(
                "C101",
                f"the key '{name}' is given twice",
                f"it stands at {where} already; remove one of the two",
                self.lines.position(second),
            )
        )

    def string(self, event: Any) -> str:
        value = str(event.value)
        if "\0" in value:
            raise self.fault("a text holds the character U+0000", event)
        try:
            return value.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError as cause:
            raise self.fault(
                "a text holds half of a surrogate pair", event, "write the character itself"
            ) from cause

    def scalar(self, event: Any) -> Any:
        text = self.string(event)
        plain = event.style in (None, "")
        tag = event.tag
        if tag is None or tag == "!":
            return _resolve(text, self, event) if plain and tag is None else text
        if tag == _CORE + "str":
            return text
        value = _resolve(text, self, event)
        kinds = {"int": int, "float": (int, float), "bool": bool, "null": type(None)}
        kind = kinds.get(str(tag).removeprefix(_CORE)) if str(tag).startswith(_CORE) else None
        if kind is None:
            raise self.fault(f"the tag {_shown_tag(tag)} is not allowed", event, "remove the tag")
        if not isinstance(value, kind):  # type: ignore[arg-type]
            raise self.fault(f"'{text[:50]}' is not {_shown_tag(tag)}", event)
        return float(value) if tag == _CORE + "float" else value


def _resolve(text: str, builder: Builder, event: Event) -> Any:
    """A plain scalar's value under the core schema."""
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text.lower() == "true"
    if _INT.fullmatch(text):
        if len(text) > MAX_DIGITS:
            raise builder.fault(f"a number of more than {MAX_DIGITS} digits", event)
        return int(text, 0) if text.startswith(("0o", "0x")) else int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _SPECIAL.fullmatch(text):
        return float(text.lower().replace(".", ""))
    return text


def _shown_tag(tag: object) -> str:
    return str(tag).replace(_CORE, "!!")[:50]
