"""A kernel's machine code is taken from the cache exactly as long as what it is made of is unchanged."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

import pytest
from numba.core.errors import NumbaWarning

from curate.core.text import kernel_sources

PROJECT = Path(__file__).parents[3]
OURS = ("curate", "lid", "filters", "dedup")
FOLDERS = ("curate/core/text", "curate/io", "lid", "filters", "dedup")


def modules_with_kernels() -> Iterator[str]:
    for folder in FOLDERS:
        for file in sorted((PROJECT / folder).glob("*.py")):
            tree = ast.parse(file.read_text(encoding="utf-8"))
            decorators = {
                word.id
                for node in ast.walk(tree)
                if isinstance(node, ast.FunctionDef)
                for decorator in node.decorator_list
                for word in ast.walk(decorator)
                if isinstance(word, ast.Name)
            }
            if decorators & {"kernel", "inlined", "njit", "intrinsic"}:
                yield file.relative_to(PROJECT).with_suffix("").as_posix().replace("/", ".")


MODULES = tuple(modules_with_kernels())


def names_in(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from names_in(constant)


@cache
def tree_of(path: str) -> ast.Module:
    return ast.parse(Path(path).read_text(encoding="utf-8"))


@cache
def imports_of(path: str) -> tuple[ast.ImportFrom, ...]:
    return tuple(node for node in ast.walk(tree_of(path)) if isinstance(node, ast.ImportFrom))


def stands_on(module: str, name: str, seen: set[tuple[str, str]]) -> None:
    """Oracle: Python's own syntax tree and code objects. Adds every (module, name) that a name stands on."""
    if (module, name) in seen:
        return
    loaded = import_module(module)
    tree = tree_of(str(loaded.__file__))
    for node in imports_of(str(loaded.__file__)):
        if node.module and node.module.split(".")[0] in OURS:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    if isinstance(getattr(loaded, name), ModuleType):
                        seen.add((f"{node.module}.{alias.name}", "*"))
                        return
                    stands_on(node.module, alias.name, seen)
                    return
    value = getattr(loaded, name, None)
    function = getattr(value, "py_func", None) or getattr(value, "_defn", None)
    seen.add((module, name))
    if isinstance(function, FunctionType):
        for used in set(names_in(function.__code__)):
            if used in function.__globals__:
                stands_on(module, used, seen)
        return
    for statement in tree.body:  # a constant: what its expression names
        targets = getattr(statement, "targets", [getattr(statement, "target", None)])
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            for word in ast.walk(statement):
                if isinstance(word, ast.Name) and word.id != name and hasattr(loaded, word.id):
                    stands_on(module, word.id, seen)


@pytest.mark.parametrize("module", MODULES)
def test_all_that_a_kernel_is_made_of_is_in_its_key(module: str) -> None:
    loaded = import_module(module)
    seen: set[tuple[str, str]] = set()
    kernels = [
        name for name, value in vars(loaded).items() if hasattr(value, "py_func") or hasattr(value, "_defn")
    ]
    for name in kernels:
        if getattr(getattr(loaded, name), "__module__", module) == module:
            stands_on(module, name, seen)
    needed = {where for where, _ in seen}
    found = set(kernel_sources.kernel_sources(module, str(loaded.__file__)))
    assert needed <= found, needed - found
    assert module in found


def test_a_kernel_does_not_stand_on_what_only_python_uses() -> None:
    for module in (
        "lid.average",
        "filters.gopher_counts",
        "filters.ngrams",
        "dedup.bands",
        "curate.core.text.tokens",
    ):
        assert module in MODULES
        found = kernel_sources.kernel_sources(module, str(import_module(module).__file__))
        assert not found.keys() & {
            "curate.core.stage",
            "curate.core.batch",
            "filters.rules",
            "curate.core.errors",
        }
    scripts = kernel_sources.kernel_sources(
        "curate.core.text.codepoints", str(PROJECT / "curate/core/text/codepoints.py")
    )
    assert "curate.core.text.codepoints/codepoints.npz" in scripts  # a changed table is another kernel


LARGE = """
import numpy as np

from curate.core.text.memory import kernel

TABLE = np.zeros(1_000_001, np.uint8)  # over a megabyte, numba leaves it where it is


@kernel
def look(at):
    return TABLE[at]
"""


def test_numba_says_which_file_has_a_kernel_that_cannot_be_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "too_large.py").write_text(LARGE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    module = import_module("too_large")
    with pytest.warns(NumbaWarning, match="Cannot cache compiled function") as said:
        assert module.look(5) == 0
    assert {warning.filename for warning in said} == {str(tmp_path / "too_large.py")}
    del sys.modules["too_large"]


ENTRY = '''
from __future__ import annotations

from dataclasses import dataclass

from curate.core.text.memory import kernel
from made_here import constants as fixed
from made_here.inner import (
    add_step as step,  # under another name
    unused,
)


@dataclass
class Config:
    """What nobody compiles."""

    value: int = 1


@kernel
def entry(value):
    return step(value) + fixed.OFFSET
'''
INNER = """
from curate.core.text.memory import inlined
from .deep import STEP
import made_here.never

def unused():
    return made_here.never.X

@inlined
def add_step(value):
    return value + STEP
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "made_here"
    folder.mkdir()
    for name, text in {
        "__init__": "",
        "entry": ENTRY,
        "inner": INNER,
        "deep": "STEP = 10\n",
        "constants": "OFFSET = 100\n",
        "never": "X = 5\n",
    }.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return folder


RUN = """
import sys
from pathlib import Path
from curate.kernels import use_kernel_cache
use_kernel_cache()
from made_here.entry import entry
print(entry(1), sum(entry.stats.cache_hits.values()), sum(entry.stats.cache_misses.values()))
"""


def run(package: Path) -> tuple[int, int, int]:
    """What the kernel answers for 1, and how often its code was found in the cache, and not."""
    environment = {
        **os.environ,
        "PYTHONPATH": f"{package.parent}{os.pathsep}{PROJECT}",
        "CURATE_KERNELS": str(package.parent / "kernels"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", RUN], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    value, hits, misses = map(int, done.stdout.split())
    return value, hits, misses


def change(file: Path, old: str, new: str) -> None:
    """Change a file and nothing that `stat` shows."""
    before = file.stat()
    text = file.read_text(encoding="utf-8")
    assert old in text
    assert len(old) == len(new)
    file.write_text(text.replace(old, new), encoding="utf-8")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_the_cache_answers_for_what_is_there_now(package: Path) -> None:
    assert run(package) == (111, 0, 1)
    for file in package.iterdir():
        file.touch()
    change(package / "never.py", "X = 5", "X = 6")
    assert run(package) == (111, 1, 0)
    change(package / "deep.py", "10", "20")
    change(package / "constants.py", "100", "300")
    assert run(package) == (321, 0, 1)
    change(package / "deep.py", "20", "10")
    change(package / "constants.py", "300", "100")
    elsewhere = package.parent / "copy"
    elsewhere.mkdir()
    package.rename(elsewhere / package.name)
    (elsewhere / "kernels").symlink_to(package.parent / "kernels")
    assert run(elsewhere / package.name) == (111, 1, 0)


@pytest.mark.parametrize(
    ("file", "old", "new", "same"),
    [
        ("inner.py", "value + STEP", "value - STEP", False),
        ("deep.py", "10", "11", False),
        ("constants.py", "OFFSET = 100", "OFFSET = 101", False),
        ("entry.py", "value: int = 1", "value: int = 2", False),  # its own file counts as a whole
        ("never.py", "X = 5", "X = 6", True),
    ],
)
def test_the_key_changes_with_what_is_compiled(
    package: Path, monkeypatch: pytest.MonkeyPatch, file: str, old: str, new: str, same: bool
) -> None:
    monkeypatch.syspath_prepend(str(package.parent))
    keys = []
    for _ in range(2):
        for cached in (
            kernel_sources._read,
            kernel_sources._used,
            kernel_sources._imports,
            kernel_sources._file_of,
            kernel_sources.source_key,
        ):
            cached.cache_clear()
        keys.append(kernel_sources.source_key("made_here.entry", str(package / "entry.py")))
        change(package / file, old, new) if not keys[1:] else None
    for name in [name for name in sys.modules if name.startswith("made_here")]:
        del sys.modules[name]
    assert (keys[0] == keys[1]) is same
