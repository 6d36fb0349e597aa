"""Text to tree, by precedence climbing (Pratt, Top Down Operator Precedence, 1973).

    loosest   or · and · not · comparison, in, is null, between · + - · * / % · - (sign)   tightest

Keywords are of either case; `==` is `=`, `<>` is `!=`. A quote inside a text is doubled: 'it''s'. Every
fault is one C106 with its place. Length and nesting are bounded, so a hostile expression is an error like
any other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NoReturn

from curate.core.expression import tree
from curate.core.expression.problem import ExpressionError, ExpressionProblem
from curate.core.suggest import did_you_mean, or_list

MAX_LENGTH: Final = 100_000
MAX_DEPTH: Final = 100

#: Function → the form it is written in; its number of arguments is that of the form.
FUNCTIONS: Final = {
    "len": "len(column)",
    "lower": "lower(column)",
    "abs": "abs(number)",
    "starts_with": "starts_with(column, 'text')",
    "ends_with": "ends_with(column, 'text')",
    "contains": "contains(column, 'text')",
    "matches": "matches(column, 'regular expression')",
}

_SPELLINGS: Final = {"==": "=", "<>": "!="}
_COMPARISONS: Final = ("=", "!=", "<=", ">=", "<", ">")
_TOKEN: Final = re.compile(
    r"""(?P<space>\s+)
      | (?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)
      | (?P<word>[^\W\d]\w*)
      | (?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*")
      | (?P<quoted>`(?:[^`]|``)+`)
      | (?P<sign>==|!=|<>|<=|>=|[-+*/%=<>(),\[\]])""",
    re.VERBOSE,
)
_INT64: Final = 2**63

#: What to do about an expression that stops making sense.
_EXAMPLE: Final = "write it like lid__prob >= 0.65 and source = 'wiki'"


@dataclass(frozen=True)
class Token:
    """kind: number, word (a name), keyword, text, sign, or end. text: as normalised for matching."""

    kind: str
    text: str
    offset: int
    length: int

    @property
    def end(self) -> int:
        return self.offset + self.length


def parse_tree(text: str) -> tree.Node:
    """The tree of `text`; ExpressionError (C106) if it is not an expression."""
    if len(text) > MAX_LENGTH:
        _fail(
            f"an expression of {len(text):,} characters; the most is {MAX_LENGTH:,}",
            "put long lists into a column",
            0,
            len(text),
        )
    parser = _Parser(_tokens(text))
    if parser.now.kind == "end":
        _fail("the expression is empty", "write a condition, such as lid__prob >= 0.65", 0, 1)
    node = parser.expression(0)
    if parser.now.kind != "end":
        parser.unexpected("expected an operator, such as `and`")
    level: list[tree.Node] = [node]
    for _ in range(MAX_DEPTH):
        level = [child for parent in level for child in parent.children()]
    if level:
        _too_deep(level[0].offset)
    return node


def _too_deep(offset: int) -> NoReturn:
    _fail(f"nested more than {MAX_DEPTH} levels deep", "split it into several steps", offset, 1)


def _fail(message: str, help: str, offset: int, length: int) -> NoReturn:
    raise ExpressionError(ExpressionProblem("C106", message, help, offset, length))


def _tokens(text: str) -> list[Token]:
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            _strange(text, at)
        kind, found = str(match.lastgroup), match[0]
        if kind == "word":
            is_keyword = found.lower() in tree.KEYWORDS
            name = found.lower() if is_keyword else found
            tokens.append(Token("keyword" if is_keyword else "word", name, at, len(found)))
        elif kind == "quoted":
            tokens.append(Token("word", found[1:-1].replace("``", "`"), at, len(found)))
        elif kind == "text":
            tokens.append(Token("text", found[1:-1].replace(found[0] * 2, found[0]), at, len(found)))
        elif kind != "space":
            tokens.append(Token(kind, _SPELLINGS.get(found, found), at, len(found)))
        at = match.end()
        if kind == "number" and (glued := re.compile(r"\w+").match(text, at)):
            begun = match.start()
            _fail(
                f"'{(found + glued[0])[:50]}' is neither a number nor a name",
                "put text in quotes",
                begun,
                glued.end() - begun,
            )
    tokens.append(Token("end", "", len(text), 1))
    return tokens


def _strange(text: str, at: int) -> NoReturn:
    character = text[at]
    if character in "'\"":
        _fail(
            "the text that begins here has no closing quote", f"end it with {character}", at, len(text) - at
        )
    known = {"&": "and", "|": "or", "!": "not", "~": "not"}
    help = f"write `{known[character]}`" if character in known else ""
    _fail(f"'{character}' has no meaning here", help, at, 1)


class _Parser:
    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.at = 0
        self.depth = 0

    @property
    def now(self) -> Token:
        return self.tokens[self.at]

    @property
    def last_end(self) -> int:
        return self.tokens[self.at - 1].end

    def next(self) -> Token:
        token = self.now
        self.at += token.kind != "end"
        return token

    def accept(self, *words: str) -> bool:
        """Move past these signs or keywords if they are next."""
        following = self.tokens[self.at : self.at + len(words)]
        found = len(following) == len(words) and all(
            token.kind in ("sign", "keyword") and token.text == word
            for token, word in zip(following, words, strict=True)
        )
        self.at += len(words) if found else 0
        return found

    def expect(self, sign: str, opened: Token) -> None:
        if not self.accept(sign):
            self.unexpected(f"expected '{sign}' for the '{opened.text}' at character {opened.offset + 1}")

    def unexpected(self, expected: str) -> NoReturn:
        token = self.now
        if token.kind == "end":
            _fail(
                f"the expression ends too early: {expected}",
                _EXAMPLE,
                max(0, token.offset - 1),
                1,
            )
        _fail(
            f"unexpected '{token.text[:50]}': {expected}",
            _EXAMPLE,
            token.offset,
            token.length,
        )

    def expression(self, binding: int) -> tree.Node:
        """What stands here and holds together at least as tightly as `binding` (see the nodes' own)."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            _too_deep(self.now.offset)
        start = self.now.offset
        node = self.prefix()
        while (found := self.infix(node, binding, start)) is not None:
            node = found
        self.depth -= 1
        return node

    def prefix(self) -> tree.Node:
        token = self.now
        if self.accept("not"):
            return self.spanned(tree.Not, token.offset, self.expression(3))
        if self.accept("("):
            node = self.expression(0)
            self.expect(")", token)
            return node
        if self.accept("-") or self.accept("+"):
            return self.signed(token)
        if token.kind == "word":
            self.next()
            return (
                self.call(token) if self.accept("(") else tree.Column(token.offset, token.length, token.text)
            )
        literal = self.literal()
        if literal is None:
            self.unexpected("expected a column, a number or a quoted text")
        return literal

    def signed(self, sign: Token) -> tree.Node:
        if self.now.kind == "number":
            literal = self.literal(sign.text)
            assert literal is not None
            return tree.Literal(sign.offset, self.last_end - sign.offset, literal.value)
        part = self.expression(8)
        return self.spanned(tree.Negate, sign.offset, part) if sign.text == "-" else part

    def literal(self, sign: str = "") -> tree.Literal | None:
        token = self.now
        values: dict[str, tree.Scalar] = {"true": True, "false": False, "null": None}
        value: tree.Scalar
        if token.kind == "number":
            value = self.number(token, sign)
        elif token.kind == "text":
            value = token.text
        elif token.kind == "keyword" and token.text in values:
            value = values[token.text]
        else:
            return None
        self.next()
        return tree.Literal(token.offset, token.length, value)

    def number(self, token: Token, sign: str) -> int | float:
        written = ("-" if sign == "-" else "") + token.text
        if token.text.isdigit():
            if len(token.text) > 20 or not -_INT64 <= int(written) < _INT64:
                _fail(
                    "the number is too large for 64 bits",
                    "write it as a float, such as 1e30",
                    token.offset,
                    token.length,
                )
            return int(written)
        value = float(written)
        if value in (float("inf"), float("-inf")):
            _fail(
                "the number is too large for 64 bits",
                "write it as a float, such as 1e30",
                token.offset,
                token.length,
            )
        return value

    def spanned(self, node: type[tree.Not] | type[tree.Negate], start: int, part: tree.Node) -> tree.Node:
        return node(start, self.last_end - start, part)

    def call(self, name: Token) -> tree.Node:
        opened = self.tokens[self.at - 1]
        function = name.text.lower()
        if function not in FUNCTIONS:
            near = did_you_mean(function, FUNCTIONS)
            help = (
                f"did you mean '{near}'?"
                if near
                else f"there are {or_list(FUNCTIONS).replace(' or ', ' and ')}"
            )
            _fail(f"there is no function '{name.text[:50]}'", help, name.offset, name.length)
        arguments: list[tree.Node] = []
        while not self.accept(")"):
            if arguments and not self.accept(","):
                self.expect(")", opened)
            arguments.append(self.expression(0))
        call = tree.Call(name.offset, self.last_end - name.offset, function, tuple(arguments))
        form = FUNCTIONS[function]
        if len(arguments) != form.count(",") + 1:
            _fail(
                f"{function} takes {form.count(',') + 1} argument(s)",
                f"write {form}",
                call.offset,
                call.length,
            )
        for argument in arguments[1:]:
            if not (isinstance(argument, tree.Literal) and isinstance(argument.value, str)):
                _fail("this must be a quoted text", f"write {form}", argument.offset, argument.length)
        return call

    def infix(self, left: tree.Node, binding: int, start: int) -> tree.Node | None:
        """The node of the operator that stands here and `left`; None if it binds too loosely or is none."""
        token = self.now
        if token.kind == "keyword" and token.text in ("and", "or"):
            own = 2 if token.text == "and" else 1
            return self.logic(left, token.text, own, start) if own >= binding else None
        if token.kind == "sign" and token.text in ("+", "-", "*", "/", "%"):
            own = 5 if token.text in "+-" else 6
            if own < binding:
                return None
            self.next()
            right = self.expression(own + 1)
            return tree.Arithmetic(start, self.last_end - start, token.text, left, right)
        return self.test(left, start) if binding <= 4 else None

    def logic(self, left: tree.Node, operator: str, own: int, start: int) -> tree.Node:
        parts = [left]
        while self.accept(operator):
            parts.append(self.expression(own + 1))
        return tree.Logic(start, self.last_end - start, operator, tuple(parts))

    def test(self, left: tree.Node, start: int) -> tree.Node | None:
        """A comparison, `in`, `is null` or `between`, none of which can follow another."""
        token = self.now
        if token.kind == "sign" and token.text in _COMPARISONS:
            self.next()
            node: tree.Node = self.comparison(left, token, start)
        elif self.accept("is"):
            negated = self.accept("not")
            if not self.accept("null"):
                self.unexpected("expected `null` or `not null` after `is`")
            node = tree.IsNull(start, self.last_end - start, left, negated)
        elif (negated := self.accept("not", "in")) or self.accept("in"):
            options = self.options()
            node = tree.In(start, self.last_end - start, left, options, negated)
        elif (negated := self.accept("not", "between")) or self.accept("between"):
            low = self.expression(5)
            if not self.accept("and"):
                self.unexpected("expected `and` between the two ends of `between`")
            high = self.expression(5)
            for end in (low, high):
                self.no_null(end, token.text)
            node = tree.Between(start, self.last_end - start, left, low, high, negated)
        else:
            return None
        if self.now.kind == "sign" and self.now.text in _COMPARISONS:
            _fail(
                "comparisons cannot be chained",
                "join them with `and`, or write `between … and …`",
                self.now.offset,
                self.now.length,
            )
        return node

    def comparison(self, left: tree.Node, token: Token, start: int) -> tree.Node:
        right = self.expression(5)
        node = tree.Compare(start, self.last_end - start, token.text, left, right)
        for side in (left, right):
            self.no_null(side, token.text)
        return node

    def no_null(self, node: tree.Node, operator: str) -> None:
        if isinstance(node, tree.Literal) and node.value is None:
            wanted = "is not null" if operator == "!=" else "is null"
            _fail("nothing equals null, not even null", f"write `{wanted}`", node.offset, node.length)

    def options(self) -> tuple[tree.Literal, ...]:
        opened = self.next()
        if opened.text not in ("(", "[") or opened.kind != "sign":
            self.at -= 1
            self.unexpected("expected a list in parentheses after `in`")
        close = ")" if opened.text == "(" else "]"
        options: list[tree.Literal] = []
        while not self.accept(close):
            if options and not self.accept(","):
                self.expect(close, opened)
            sign = self.now
            signed = sign.text if self.accept("-") or self.accept("+") else ""
            option = self.literal(signed) if not signed or self.now.kind == "number" else None
            if option is None:
                self.unexpected("a list after `in` holds numbers and quoted texts")
            if option.value is None:
                help = "write `or … is null`"
                _fail("null in a list matches nothing", help, option.offset, option.length)
            options.append(tree.Literal(sign.offset, self.last_end - sign.offset, option.value))
        if not options:
            _fail(
                "the list after `in` is empty",
                "put values between the brackets",
                opened.offset,
                self.last_end - opened.offset,
            )
        return tuple(options)
