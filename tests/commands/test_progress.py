"""Progress: plain lines in a pipe, a live line in terminals of any width and without colours."""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import pytest
from rich.console import Console

from curate.core.plan import Phase
from curate.core.stage import Work
from curate.running.progress import Progress, duration

_PHASE = Phase("pass1", "pass", "")


class _Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _plain() -> tuple[Progress, io.StringIO, _Clock]:
    out, clock = io.StringIO(), _Clock()
    return Progress(Console(file=out), clock), out, clock


def test_a_pipe_gets_a_line_when_a_phase_starts_and_ends() -> None:
    progress, out, clock = _plain()
    with progress:
        progress.phase_started(_PHASE, units=3, done=1, size=100)
        for unit in (1, 2):
            progress.progress(1_000, 2_000_000)
            progress.unit_done(unit)
        clock.now = 4.0
        progress.phase_finished(_PHASE)
    assert out.getvalue().splitlines() == [
        "pass1: 3 units, 1 done before",
        "pass1: 2 units, 2,000 rows in 4.0 s, 500 rows/s, 1.0 MB/s",
    ]


def test_a_phase_with_nothing_to_do_is_one_line() -> None:
    progress, out, _ = _plain()
    progress.phase_started(_PHASE, units=3, done=3, size=100)
    progress.phase_finished(_PHASE)
    assert out.getvalue() == "pass1: nothing to do, all of it was done before\n"


def test_a_retry_is_a_warning() -> None:
    progress, out, _ = _plain()
    progress.phase_started(_PHASE, units=1, done=0, size=1)
    progress.retrying(0, "a worker was killed by SIGKILL")
    assert out.getvalue().splitlines()[1] == (
        "warning: pass1, unit 0: a worker was killed by SIGKILL; it is tried again"
    )


@pytest.mark.parametrize(
    ("width", "colour"), [*itertools.product([20, 40, 60, 80, 120], [None, "truecolor"])]
)
def test_a_live_line_fits_any_terminal(width: int, colour: str | None) -> None:
    out, clock = io.StringIO(), _Clock()
    console = Console(
        file=out, force_terminal=True, width=width, height=20, color_system=colour, _environ={"TERM": "xterm"}
    )
    progress = Progress(console, clock)
    with progress:
        progress.phase_started(_PHASE, units=12, done=2, size=100)
        assert progress._live is not None
        for unit in range(5):
            clock.now += 10
            progress.progress(1_234_567, 9_876_543_210)
            progress.unit_done(unit)
            lines = console.render_lines(progress._line(), pad=False)
            text = "".join(segment.text for segment in lines[0])
            assert len(lines) == 1
            assert len(text) <= width
            assert f"{unit + 3}/12" in text or width == 20
        progress.retrying(9, "a worker was killed by SIGKILL")
        progress.phase_finished(_PHASE)
    assert "5 units, 6,172,835 rows in 50.0 s" in out.getvalue()
    assert ("\x1b[33m" in out.getvalue()) == (colour is not None)


def test_a_wide_terminal_shows_rates_and_what_is_left() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120, color_system=None)
    clock = _Clock()
    progress = Progress(console, clock)
    with progress:
        progress.phase_started(_PHASE, units=10, done=0, size=1)
        clock.now = 10.0
        progress.progress(5_000, 80_000_000)
        progress.unit_done(0)
        text = "".join(s.text for s in console.render_lines(progress._line())[0])
    for part in ("pass1", "1/10", "5,000 rows", "500/s", "8.0 MB/s", "10.0 s", "1:30 left"):
        assert part in text


@pytest.mark.parametrize("width", [40, 64, 80, 96, 108, 128])
def test_where_encoders_work_their_tokens_and_busy_share_are_shown(width: int) -> None:
    out = io.StringIO()
    console = Console(
        file=out, force_terminal=True, width=width, color_system=None, _environ={"TERM": "xterm"}
    )
    clock = _Clock()
    progress = Progress(console, clock)
    with progress:
        progress.phase_started(_PHASE, units=10, done=0, size=1)
        for _ in range(2):  # of two workers, each busy for 4 and 5 of its 5 seconds
            clock.now += 5
            progress.progress(1_000_000, 80_000_000, Work(61_500, 4.0, 5.0))
            progress.progress(1_000_000, 80_000_000, Work(61_500, 5.0, 5.0))
            progress.unit_done(0)
        lines = console.render_lines(progress._line(), pad=False)
        text = "".join(s.text for s in lines[0])
        assert len(lines) == 1
        assert len(text) <= width
        assert ("24,600 tokens/s" in text and "busy 90 %" in text) == (width >= 60)
        assert ("32.0 MB/s" in text) == (width >= 128)
        progress.phase_finished(_PHASE)
    assert "24,600 tokens/s, encoders busy 90 %" in out.getvalue()


def test_an_error_ends_the_live_line() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    progress = Progress(console)
    progress.phase_started(_PHASE, units=2, done=0, size=1)

    def interrupted() -> None:
        with progress:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert progress._live is None


def test_durations() -> None:
    assert [duration(s) for s in (0, 8.26, 59.9, 60, 65.4, 7384)] == [
        "0.0 s", "8.3 s", "59.9 s", "1:00", "1:05", "2:03:04",
    ]  # fmt: skip


def test_a_real_run_tells_its_phases_on_standard_error(workdir: Path) -> None:
    lines = (workdir / "run.stderr").read_text(encoding="utf-8").splitlines()
    assert "pass1: 2 units" in lines
    assert any(line.startswith("pass1: 2 units, 23 rows in ") for line in lines)
    assert not any("\x1b" in line for line in lines)
