"""Progress of a run on standard error: a live line for each phase in a terminal, one plain line a phase
elsewhere.

    pass1   ━━━━━━━━━━━━╸━━━━  41/96  1,204,331 rows  31,200/s  84.1 MB/s  0:00:38  0:00:51 left
    score   ━━━━━━━━━━━━╸━━━━  41/96  1,204,331 rows  12,300 tokens/s  busy 93 %  0:00:38  0:00:51 left

A narrow terminal shows fewer of these. Where encoders work, the tokens that they read in a second stand in place of rows
and bytes, with the share of the workers' time in which they computed: below 90 % something else holds them up. Rows and
bytes are those that workers have told of; a unit whose worker dies is told of again when it is tried again, so they may
run a little ahead of what is done.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from curate.core.stage import NO_WORK, Work
from curate.views.report_view import plural, size

if TYPE_CHECKING:
    from curate.core.plan import Phase

#: Seconds over which a rate is measured.
_WINDOW: Final = 15.0
_PER_SECOND: Final = 4
#: Columns of the terminal from which a part is shown: bar, rows, rates and elapsed, bytes; rows beside
#: tokens, all rates beside each other.
_BAR, _ROWS, _RATES, _BYTES, _WIDE, _ALL = 60, 34, 76, 96, 108, 128


class Progress:
    """Hears about a run's phases and shows them. Use as a context manager, so that the live line ends when
    the run does.

    clock: seconds, for rates.
    """

    def __init__(self, console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.console = console if console is not None else Console(file=sys.stderr, highlight=False)
        self._clock = clock
        self._live: Live | None = None
        self._phase = ""
        self._units = self._done = self._first_done = self._rows = self._bytes = 0
        self._start = 0.0
        self._work = Work()
        self._told: deque[tuple[float, int, int, Work]] = deque()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop()

    def phase_started(self, phase: Phase, units: int, done: int, size: int) -> None:
        """A phase begins with `done` of its units finished by an earlier run."""
        self._phase = phase.name
        self._units, self._done, self._first_done = units, done, done
        self._rows = self._bytes = 0
        self._start = self._clock()
        self._work = Work()
        self._told = deque([(self._start, 0, 0, self._work)])
        if self._fancy:
            self._live = Live(
                console=self.console,
                get_renderable=self._line,
                refresh_per_second=_PER_SECOND,
                transient=True,
            )
            self._live.start()
        elif done < units:
            known = f", {done:,} done before" if done else ""
            self._print(f"{self._phase}: {plural(units, 'unit')}{known}")

    def progress(self, rows: int, size: int, work: Work = NO_WORK, /) -> None:
        """A worker has finished a batch: rows, bytes of text and what encoders did since it last told."""
        self._rows += rows
        self._bytes += size
        self._work = self._work.plus(work)
        now = self._clock()
        self._told.append((now, self._rows, self._bytes, self._work))
        while len(self._told) > 2 and self._told[0][0] < now - _WINDOW:
            self._told.popleft()

    def unit_done(self, unit: int) -> None:
        self._done += 1

    def retrying(self, unit: int, why: str) -> None:
        """A unit is tried again."""
        self._print(f"warning: {self._phase}, unit {unit}: {why}; it is tried again", style="yellow")

    def phase_finished(self, phase: Phase) -> None:
        """Print what it came to; a phase without anything to do says so."""
        self._stop()
        if self._done == self._first_done:
            self._print(f"{phase.name}: nothing to do, all of it was done before")
            return
        seconds = self._clock() - self._start
        units = self._done - self._first_done
        text = f"{phase.name}: {plural(units, 'unit')}, {self._rows:,} rows in {duration(seconds)}"
        if seconds > 0 and self._rows:
            text += f", {self._rows / seconds:,.0f} rows/s"
            text += f", {size(self._bytes / seconds)}/s" if self._bytes else ""
        if seconds > 0 and self._work.tokens:
            text += f", {self._work.tokens / seconds:,.0f} tokens/s, encoders {busy_text(self._work)}"
        self._print(text)

    @property
    def _fancy(self) -> bool:
        return self.console.is_terminal and not self.console.is_dumb_terminal

    def _stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _print(self, text: str, style: str = "") -> None:
        self.console.print(Text(text, style=style), soft_wrap=True)

    def _rates(self) -> tuple[float, float]:
        """Rows and bytes a second, lately."""
        now = self._clock()
        then, rows, volume, _ = self._told[0]
        passed = now - then
        return ((self._rows - rows) / passed, (self._bytes - volume) / passed) if passed > 0 else (0.0, 0.0)

    def _encoders(self) -> list[str]:
        """Tokens a second and busy share, lately; nothing where no encoder works."""
        if not self._work.tokens:
            return []
        then, _, _, before = self._told[0]
        passed = self._clock() - then
        lately = self._work.minus(before)
        return [f"{lately.tokens / passed if passed > 0 else 0:,.0f} tokens/s", busy_text(lately)]

    def _left(self) -> str:
        """Time left, by the units done since the phase began; empty while none is."""
        worked = self._done - self._first_done
        if worked <= 0:
            return ""
        each = (self._clock() - self._start) / worked
        return f"{duration(each * (self._units - self._done))} left"

    def _line(self) -> Table:
        """The live line, as wide as the terminal allows."""
        width = self.console.width
        parts: list[Text | ProgressBar] = [Text(self._phase, overflow="ellipsis", no_wrap=True)]
        if width >= _BAR:
            parts.append(
                ProgressBar(total=max(self._units, 1), completed=self._done, width=max(10, width // 6))
            )
        parts.append(Text(f"{self._done:,}/{self._units:,}", no_wrap=True))
        rows, volume = self._rates()
        encoders = self._encoders()
        if width >= (_WIDE if encoders else _ROWS):
            parts.append(Text(f"{self._rows:,} rows", no_wrap=True))
        if width >= (_ALL if encoders else _RATES):
            parts.append(Text(f"{rows:,.0f}/s", no_wrap=True))
        if width >= (_ALL if encoders else _BYTES):
            parts.append(Text(f"{size(volume)}/s", no_wrap=True))
        if width >= _BAR:
            parts += [Text(part, no_wrap=True) for part in encoders]
        if width >= _BYTES:
            parts.append(Text(duration(self._clock() - self._start), no_wrap=True))
        if width >= _RATES:
            parts.append(Text(self._left(), no_wrap=True))
        line = Table.grid(padding=(0, 2, 0, 0))
        line.add_row(*parts)
        return line


def busy_text(work: Work) -> str:
    """`busy 93 %`: of the time of the workers that were at it."""
    return f"busy {100 * work.busy / work.seconds:.0f} %" if work.seconds else "busy –"


def duration(seconds: float) -> str:
    """`8.3 s`, `1:05`, `2:03:04`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
