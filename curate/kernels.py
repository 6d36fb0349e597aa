"""The kernel cache: numba compiles each kernel once per machine type and version, not once per worker.

`$CURATE_KERNELS`, else `~/.cache/curate/kernels`, else a folder in the temporary one, has one folder per numba version
and CPU, and in it one per module with kernels and state of the sources that they are made of
(curate/core/text/kernel_sources.py). The folder is chosen before numba is first imported.
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from curate.core.errors import error
from curate.core.objects import Place
from curate.core.text.kernel_sources import LOCATORS

_PACKAGES: Final = ("curate.core", "curate.io", "lid", "filters", "dedup")


def kernel_cache() -> Path:
    """The cache folder for this code on this machine; made if it is not there.

    Where the home cannot be written it lies in the temporary folder: a cache may be lost.
    """
    given = os.environ.get("CURATE_KERNELS")
    usual = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "curate" / "kernels"
    for base in (
        [Path(given)] if given else [usual, Path(tempfile.gettempdir()) / f"curate-kernels-{os.getuid()}"]
    ):
        folder = base.absolute() / _key()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    raise error(
        "E506", "no folder for compiled kernels can be written", help="set CURATE_KERNELS to one that can"
    )


def _key() -> str:
    made_by = repr((version("numba"), version("numpy"), sys.version_info[:3], _cpu()))
    return hashlib.sha256(made_by.encode()).hexdigest()[:16]


def _sources() -> str:
    """A hash of all that may hold a kernel."""
    digest = hashlib.sha256()
    for package in _PACKAGES:
        spec = find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
            for path in sorted(Path(folder).rglob("*.py")):
                digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _cpu() -> str:
    """What the machine code depends on: architecture and CPU features."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    wanted = ("model name", "flags", "Features", "CPU part")
    return platform.machine() + "".join(sorted({line for line in lines if line.startswith(wanted)}))


def use_kernel_cache() -> None:
    """Point numba of this process at the cache; call it before numba is imported."""
    os.environ.update(kernel_environment())


def kernel_environment() -> dict[str, str]:
    """Environment of a process that uses the cache."""
    return {"NUMBA_CACHE_DIR": str(kernel_cache()), "NUMBA_CACHE_LOCATOR_CLASSES": LOCATORS}


def compile_once(root: Place, uses: Iterable[str], environment: Mapping[str, str]) -> None:
    """Fill the cache for the steps of a run, in a process of its own, unless that was done; workers then only load.

    root: the run folder, whose plan names the steps' options. uses: the word definition and the steps' `use:` names.
    """
    wanted = repr((sorted(set(uses)), _sources()))
    mark = kernel_cache() / f"compiled-{hashlib.sha256(wanted.encode()).hexdigest()[:16]}"
    if mark.exists():
        return
    sys.stderr.write("compiling kernels, once for this version and machine\n")
    subprocess.run(
        [sys.executable, "-m", "curate.kernels", str(root)], env={**os.environ, **environment}, check=True
    )
    mark.touch()


def fill(root: Place) -> None:
    """Run the core's kernels, and the steps of a plan that read only the text, on a tiny batch; not those that say `WARM =
    False`: a language model would be asked, and paid, for nothing."""
    from curate.core.errors import CurateError
    from curate.core.stage import Annotator, Context, Job
    from curate.core.text.warm import compile_kernels
    from curate.running.saved_run import load_run
    from curate.running.steps import build_step

    plan, _ = load_run(root)
    with tempfile.TemporaryDirectory() as scratch:
        context = Context(models=Path(plan.models), scratch=Path(scratch), offline=plan.offline)
        built = [build_step(s.use, s.options) for s in plan.steps]
        steps = [step for step in built if isinstance(step, Annotator) and getattr(step, "WARM", True)]
        compile_kernels(words=plan.words, passages=plan.passages)
        for job in built:
            if isinstance(job, Job):
                job.compile()
        for step in steps:
            with suppress(CurateError):  # a worker will meet it too, and say which unit it was at
                step.open(context)
                compile_kernels([step], plan.words)


if __name__ == "__main__":
    from curate.core.objects import as_place

    fill(as_place(sys.argv[1]))
