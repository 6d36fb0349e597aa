"""Problems as people read them: what is wrong, where, and one thing to do next.

    error[C103]: unknown key 'treshold' for dedup.minhash
      --> web.yaml:7:5
       |
     7 |     treshold: 0.8
       |     ^^^^^^^^
       = help: did you mean 'threshold'?

A problem of a run has no line of a config; its phase, unit, file and row stand there instead. Whatever a
file or a value holds, it cannot move the carets or command the terminal: control characters are shown as
escapes, wide and combining characters are counted as the columns they take.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable, Iterable
from typing import Any, Final, Literal, TextIO

from curate.core.errors import CurateError, Position, Problem

Severity = Literal["error", "warning"]
Style = Callable[..., str]

#: Terminal columns of a source line that are shown; longer lines are cut around the carets.
WIDTH: Final = 110
TAB: Final = "    "
#: Order of a run-time problem's context; other keys follow.
CONTEXT: Final = ("phase", "unit", "file", "row")

#: Joiners that scripts need; every other invisible character is escaped.
_JOINERS: Final = "\u200c\u200d"


def show(fault: CurateError, stream: TextIO | None = None) -> None:
    """All problems of an error on standard error (or `stream`), in colour on a terminal."""
    _write(render(fault.problems, colour=_is_terminal(stream)), stream)


def warn(problems: Iterable[Problem], stream: TextIO | None = None) -> None:
    """The same for faults that do not end the command."""
    text = render(problems, severity="warning", colour=_is_terminal(stream))
    if text:
        _write(text, stream)


def render(problems: Iterable[Problem], *, severity: Severity = "error", colour: bool = False) -> str:
    """The text of problems, a blank line between two; without a final newline."""
    style = _coloured() if colour else _plain
    return "\n\n".join(_render(problem, severity, style) for problem in problems)


def printable(text: str) -> str:
    """`text` on one line, control and invisible characters escaped: a tab is four spaces, ESC is `\\x1b`."""
    return "".join(map(_printable, text))


def columns(text: str) -> int:
    """Terminal columns that printable text takes."""
    return sum(map(_columns, text))


def _render(problem: Problem, severity: Severity, style: Style) -> str:
    tone = "red" if severity == "error" else "yellow"
    head = style(f"{severity}[{problem.code}]", fg=tone, bold=True)
    first, *more = problem.message.split("\n")
    lines = [f"{head}: {style(printable(first), bold=True)}", *map(printable, more)]
    gutter = 2
    if problem.position is not None:
        gutter = max(2, len(str(problem.position.line)))
        lines += _excerpt(problem.position, gutter, style, tone)
    lines += _context(problem, gutter, style)
    for index, line in enumerate(problem.help.splitlines()):
        lead = "= help: " if index == 0 else "        "
        lines.append(f"{' ' * gutter} {style(lead, fg='cyan')}{printable(line)}")
    return "\n".join(lines)


def _excerpt(position: Position, gutter: int, style: Style, tone: str) -> list[str]:
    """Where it is, and the line with carets if there is one."""
    # An option and an expression are a line of their own; only files have line numbers.
    of_file = position.file not in ("--set", "expression")
    place = f"{position.file}:{position.line}:{position.column}" if of_file else position.file
    margin = " " * gutter
    lines = [f"{margin}{style('-->', fg='blue')} {printable(place)}"]
    if not position.text:
        return lines
    before, marked, after = _cut(position)
    number = str(position.line) if of_file else ""
    bar = style("|", fg="blue")
    carets = style("^" * max(1, columns(marked)), fg=tone, bold=True)
    lines.append(f"{margin} {bar}")
    lines.append(f"{style(number.rjust(gutter), fg='blue')} {bar} {before}{marked}{after}".rstrip())
    lines.append(f"{margin} {bar} {' ' * columns(before)}{carets}")
    return lines


def _cut(position: Position) -> tuple[str, str, str]:
    """What stands before, under and behind the carets, printable and within WIDTH columns."""
    start = max(0, min(position.column - 1, len(position.text)))
    end = min(start + max(1, position.length), len(position.text))
    whole = len(position.text) <= WIDTH and columns(printable(position.text)) <= WIDTH
    before = _fitted(reversed(position.text[:start]), WIDTH if whole else WIDTH // 2)[::-1]
    marked = _fitted(position.text[start:end], WIDTH - 10)
    room = max(10, WIDTH - columns("".join(before)) - columns("".join(marked)))
    after = _fitted(position.text[end:], room)
    return "".join(before), "".join(marked), "".join(after)


def _fitted(characters: Iterable[str], width: int) -> list[str]:
    """Printable characters that fit into `width` columns, then `…` if some did not."""
    fitted: list[str] = []
    taken = 0
    for character in characters:
        piece = _printable(character)
        taken += columns(piece)
        if taken > width:
            return [*fitted, "…"]
        fitted.append(piece)
    return fitted


def _context(problem: Problem, gutter: int, style: Style) -> list[str]:
    """`--> phase pass-1, unit 14, file de/a.parquet, row 17`."""
    known = [key for key in CONTEXT if problem.context.get(key) is not None]
    known += [k for k in problem.context if k not in CONTEXT and problem.context[k] is not None]
    if not known:
        return []
    parts = ", ".join(f"{key} {problem.context[key]}" for key in known)
    return [f"{' ' * gutter}{style('-->', fg='blue')} {printable(parts)}"]


def _printable(character: str) -> str:
    if " " <= character <= "~":
        return character
    if character == "\t":
        return TAB
    if character in _JOINERS or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _columns(character: str) -> int:
    if character in _JOINERS or unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def _plain(text: str, **_: Any) -> str:
    return text


def _coloured() -> Style:
    import click

    return click.style


def _is_terminal(stream: TextIO | None) -> bool:
    return (stream if stream is not None else sys.stderr).isatty()


def _write(text: str, stream: TextIO | None) -> None:
    """To the stream, whatever its encoding."""
    stream = stream if stream is not None else sys.stderr
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    stream.flush()
