"""The real command line in a folder of its own: `Place` holds inputs, configs, runs and outputs of one test.

Commands with faults, an environment, a prefix or a cluster are process groups of their own; the others are called in this
process, as each new one takes a second to begin (`tests/runtime/test_cli.py` has them as processes). Workers are processes
always. Nothing may be left of either at the end, and no command may ever show a traceback.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import psutil

from curate.cli import main

CURATE: Final = str(Path(sys.executable).with_name("curate"))
_INJECTED: Final = str(Path(__file__).with_name("injected"))
_SECONDS: Final = 240
#: Commands that can be called in this process.
_INSIDE: Final = ("check", "dedup", "explain", "inspect", "logs", "plan", "report", "run", "status")


@dataclass(frozen=True)
class Result:
    """code: the exit status, negative for a signal."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def failed_with(self, *codes: str, exit_code: int) -> None:
        """The command ended with this status and exactly these error codes, in any order."""
        shown = sorted(line[6:10] for line in self.err.splitlines() if line.startswith("error["))
        assert (self.code, shown) == (exit_code, sorted(codes)), self.err

    def succeeded(self) -> None:
        assert self.code == 0, self.err


@dataclass(frozen=True)
class Fault:
    """What happens at an exact moment of a run; see `injected/sitecustomize.py`."""

    at: str
    do: str = "kill SIGKILL SELF"
    matching: str = ""
    call: int = 1
    when: str = "before"
    by: str = "any"


@dataclass
class Place:
    """A working directory with its own scratch folder. lingering: names of processes that may outlive a command."""

    root: Path
    lingering: tuple[str, ...] = ()
    _struck: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        self.scratch.mkdir(exist_ok=True)

    @property
    def scratch(self) -> Path:
        return self.root.parent / f"{self.root.name}-tmp"

    @property
    def _variables(self) -> dict[str, str]:
        """Environment of every command."""
        return {"TMPDIR": str(self.scratch), "NO_COLOR": "1", "COLUMNS": "200"}

    def __truediv__(self, name: str) -> Path:
        return self.root / name

    def config(self, text: str, name: str = "job.yaml") -> str:
        (self.root / name).write_text(text, encoding="utf-8")
        return name

    def curate(
        self,
        *arguments: str | Path,
        faults: Sequence[Fault] = (),
        environment: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> Result:
        """Run a command to its end. prefix: a command that runs it, such as `setpriv`."""
        alone = faults or environment or prefix or "--on" in arguments
        if arguments[0] in _INSIDE and not alone:
            return self._called(*map(str, arguments))
        process = self.start(*arguments, faults=faults, environment=environment, prefix=prefix)
        try:
            out, err = process.communicate(timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            left = orphans(process.pid, self.lingering)
        assert not left, f"processes are left: {left}"
        assert "Traceback" not in err, err
        return Result(process.returncode, out, err)

    def start(
        self,
        *arguments: str | Path,
        faults: Sequence[Fault] = (),
        environment: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> subprocess.Popen[str]:
        """Start a command as a process group of its own."""
        kept = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
        variables = kept | self._variables
        if faults:
            self._struck += 1
            counts = self.root.parent / f"{self.root.name}-faults" / str(self._struck)
            listed = [{**vars(f), "count": str(counts / str(number))} for number, f in enumerate(faults)]
            paths = [_INJECTED, *filter(None, [os.environ.get("PYTHONPATH")])]
            variables |= {"PYTHONPATH": os.pathsep.join(paths), "CURATE_TEST_FAULTS": json.dumps(listed)}
        return subprocess.Popen(
            [*prefix, CURATE, *map(str, arguments)],
            cwd=self.root,
            env={**variables, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="backslashreplace",
            start_new_session=True,
        )

    def run(
        self, *arguments: str | Path, faults: Sequence[Fault] = (), workers: int = 1, **options: Any
    ) -> Result:
        """`curate run job.yaml`, or another config if the first argument is one."""
        given = arguments if arguments and str(arguments[0]).endswith(".yaml") else ("job.yaml", *arguments)
        return self.curate("run", *given, "--workers", str(workers), faults=faults, **options)

    def _called(self, *arguments: str) -> Result:
        """What `curate` does as a program, in this process."""
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
        code = 0
        before = set(_descendants())
        with (
            chdir(self.root),
            patch.dict(os.environ, self._variables),
            patch.object(tempfile, "tempdir", None),
            patch.object(sys, "argv", [CURATE, *arguments]),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            try:
                main()
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else int(end.code is not None)
            out.flush()
            err.flush()
        left = _after_a_while(lambda: [p for p in _descendants() if p not in before])
        assert not left, f"processes are left: {left}"
        return Result(code, *(file.buffer.getvalue().decode() for file in (out, err)))

    def report(self, run: str = "job") -> dict[str, Any]:
        """`curate report --json`."""
        report: dict[str, Any] = self._shown("report", run, "--json")
        return report

    def _shown(self, *arguments: str | Path) -> Any:
        result = self.curate(*arguments)
        result.succeeded()
        return result.json

    def plan(self, *arguments: str | Path) -> dict[str, dict[str, Any]]:
        """Phases by name, as `curate plan --json` shows them."""
        given = arguments if arguments and str(arguments[0]).endswith(".yaml") else ("job.yaml", *arguments)
        return {phase["name"]: phase for phase in self._shown("plan", *given, "--json")["phases"]}


@dataclass
class Template:
    """A place after a run, for tests that change something: each finds it as it was, under the same paths.

    name: of this state, where a place has several.
    """

    place: Place
    name: str = "kept"

    def __post_init__(self) -> None:
        shutil.copytree(self.place.root, self._kept, symlinks=True)

    @property
    def _kept(self) -> Path:
        return self.place.root.parent / f"{self.place.root.name}-{self.name}"

    def restored(self) -> Place:
        shutil.rmtree(self.place.root)
        shutil.copytree(self._kept, self.place.root, symlinks=True)
        return self.place


def orphans(group: int, lingering: tuple[str, ...] = ()) -> list[str]:
    """Processes of a group that are still there after its leader has ended."""
    return _after_a_while(
        lambda: [
            p
            for p in psutil.process_iter(["name", "status"])
            if _in_group(p, group) and p.info["name"] not in lingering
        ]
    )


def _descendants() -> list[psutil.Process]:
    return [p for p in psutil.Process().children(recursive=True) if _alive(p)]


def _alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _after_a_while(left: Callable[[], list[psutil.Process]], patience: float = 5) -> list[str]:
    """The processes that do not go away."""
    deadline = time.monotonic() + patience
    while True:
        found = left()
        if not found or time.monotonic() > deadline:
            return [str(p) for p in found]
        time.sleep(0.05)


def _in_group(process: psutil.Process, group: int) -> bool:
    try:
        return os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False
