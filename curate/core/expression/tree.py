"""The typed tree of an expression. Every node knows where it was written (`offset`, `length` in characters).

`str(node)` is the normalised text: keywords in lower case, one space around operators, and only the
parentheses that the tree needs. Parsing it gives the same tree again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

Scalar = str | int | float | bool | None

#: Words of the language; a column of that name is written in backticks.
KEYWORDS = frozenset({"and", "or", "not", "in", "is", "null", "between", "true", "false"})


@dataclass(frozen=True)
class Node:
    """A part of an expression. `binding`: how tightly it holds together; a looser child needs parentheses."""

    offset: int
    length: int

    @property
    def binding(self) -> int:
        return 10

    def children(self) -> tuple[Node, ...]:
        return ()

    def walk(self) -> Iterator[Node]:
        """This node and all below it."""
        pending: list[Node] = [self]
        while pending:
            node = pending.pop()
            yield node
            pending.extend(reversed(node.children()))

    def _in(self, child: Node, binding: int) -> str:
        return f"({child})" if child.binding < binding else str(child)


@dataclass(frozen=True)
class Literal(Node):
    value: Scalar

    def __str__(self) -> str:
        if isinstance(self.value, str):
            return "'" + self.value.replace("'", "''") + "'"
        if isinstance(self.value, bool) or self.value is None:
            return {True: "true", False: "false", None: "null"}[self.value]
        return repr(self.value)


@dataclass(frozen=True)
class Column(Node):
    name: str

    def __str__(self) -> str:
        plain = self.name.isidentifier() and self.name.lower() not in KEYWORDS
        return self.name if plain else "`" + self.name.replace("`", "``") + "`"


@dataclass(frozen=True)
class Logic(Node):
    """`and`, `or` over two or more parts."""

    operator: str
    parts: tuple[Node, ...]

    @property
    def binding(self) -> int:
        return 2 if self.operator == "and" else 1

    def children(self) -> tuple[Node, ...]:
        return self.parts

    def __str__(self) -> str:
        return f" {self.operator} ".join(self._in(part, self.binding + 1) for part in self.parts)


@dataclass(frozen=True)
class Not(Node):
    part: Node

    @property
    def binding(self) -> int:
        return 3

    def children(self) -> tuple[Node, ...]:
        return (self.part,)

    def __str__(self) -> str:
        return f"not {self._in(self.part, 3)}"


@dataclass(frozen=True)
class Compare(Node):
    """`=`, `!=`, `<`, `<=`, `>`, `>=`."""

    operator: str
    left: Node
    right: Node

    @property
    def binding(self) -> int:
        return 4

    def children(self) -> tuple[Node, ...]:
        return (self.left, self.right)

    def __str__(self) -> str:
        return f"{self._in(self.left, 5)} {self.operator} {self._in(self.right, 5)}"


@dataclass(frozen=True)
class In(Node):
    value: Node
    options: tuple[Literal, ...]
    negated: bool

    @property
    def binding(self) -> int:
        return 4

    def children(self) -> tuple[Node, ...]:
        return (self.value, *self.options)

    def __str__(self) -> str:
        listed = ", ".join(map(str, self.options))
        return f"{self._in(self.value, 5)} {'not in' if self.negated else 'in'} ({listed})"


@dataclass(frozen=True)
class IsNull(Node):
    value: Node
    negated: bool

    @property
    def binding(self) -> int:
        return 4

    def children(self) -> tuple[Node, ...]:
        return (self.value,)

    def __str__(self) -> str:
        return f"{self._in(self.value, 5)} {'is not null' if self.negated else 'is null'}"


@dataclass(frozen=True)
class Between(Node):
    """Both ends count."""

    value: Node
    low: Node
    high: Node
    negated: bool

    @property
    def binding(self) -> int:
        return 4

    def children(self) -> tuple[Node, ...]:
        return (self.value, self.low, self.high)

    def __str__(self) -> str:
        word = "not between" if self.negated else "between"
        return f"{self._in(self.value, 5)} {word} {self._in(self.low, 5)} and {self._in(self.high, 5)}"


@dataclass(frozen=True)
class Arithmetic(Node):
    """`+ - * / %`."""

    operator: str
    left: Node
    right: Node

    @property
    def binding(self) -> int:
        return 5 if self.operator in "+-" else 6

    def children(self) -> tuple[Node, ...]:
        return (self.left, self.right)

    def __str__(self) -> str:
        return f"{self._in(self.left, self.binding)} {self.operator} {self._in(self.right, self.binding + 1)}"


@dataclass(frozen=True)
class Negate(Node):
    part: Node

    @property
    def binding(self) -> int:
        return 7

    def children(self) -> tuple[Node, ...]:
        return (self.part,)

    def __str__(self) -> str:
        return f"-{self._in(self.part, 8)}"


@dataclass(frozen=True)
class Call(Node):
    function: str
    arguments: tuple[Node, ...]

    def children(self) -> tuple[Node, ...]:
        return self.arguments

    def __str__(self) -> str:
        return f"{self.function}({', '.join(map(str, self.arguments))})"
