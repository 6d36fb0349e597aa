"""Which sources the machine code of a kernel is made of, and where numba keeps that code.

numba takes a kernel from its cache while the file that the kernel stands in has its size and time. What is inlined into
it from other files, and the constants it takes from them, it does not look at; and a touched or copied file is compiled
anew. Here a kernel is cached under its module's name and a key: a hash of the contents of that file and of every file
that its kernels take a function, a constant or a table from, and so on. A changed configuration class recompiles the
kernels of its file; a changed helper those that use it, in whatever file; a copy of the sources elsewhere nothing.

What a file's kernels take is read from its text: the top-level statements that name a decorator of numba or of
`curate.core.text.memory` are the kernels, every word in them is a name they may use, the statements that bind such names
count too, and names that an import binds lead to other files. Too many files may be found so, never too few, as long
as a kernel names what it uses. Tables that a file loads count if it names them (`script_table.npz`).

numba asks `SourceLocator` by the variable NUMBA_CACHE_LOCATOR_CLASSES. This module does not import numba.
"""

from __future__ import annotations

import hashlib
import os
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import FunctionType
from typing import Final

#: For NUMBA_CACHE_LOCATOR_CLASSES: ours for our kernels, then numba's own in numba's order.
LOCATORS: Final = ",".join(
    (
        f"{__name__}.SourceLocator",
        "UserProvidedCacheLocator",
        "InTreeCacheLocator",
        "UserWideCacheLocator",
        "IPythonCacheLocator",
        "ZipCacheLocator",
    )
)
_OURS: Final = frozenset({"curate", "lid", "filters", "dedup"})
_DECORATORS: Final = frozenset(
    [
        "kernel",
        "inlined",
        "jit",
        "njit",
        "vectorize",
        "guvectorize",
        "cfunc",
        "intrinsic",
        "overload",
        "overload_method",
        "register_jitable",
        "jitclass",
        "stencil",
    ]
)
_IMPORT: Final = re.compile(
    r"^[ \t]*(?:from[ \t]+(?P<source>[\w.]+)[ \t]+import[ \t]*(?P<names>\([^)]*\)|[^\n#]*)"
    r"|import[ \t]+(?P<modules>[^\n#]*))[^\n]*$",
    re.M,
)
_STORY: Final = re.compile(r"\A(?:\s|#[^\n]*\n)*r?\"\"\".*?\"\"\"", re.S)
_BLOCK: Final = re.compile(r"\n(?=[^\s)\]}#])")  # the formatter indents what goes on
_WORD: Final = re.compile(r"[^\W\d]\w*")
_TABLE: Final = re.compile(r"[\"']([\w.-]+\.np[yz])[\"']")
_DEFINITION: Final = re.compile(r"(?:async\s+)?(?:def|class)\s+(\w+)")


class SourceLocator:
    """Tells numba where a kernel's machine code is, and of which sources; see the module's text."""

    def __init__(self, module: str, py_file: str, folder: str, key: str, line: int) -> None:
        self._path = os.path.join(folder, f"{module}-{key}")
        self._key, self._line = key, line
        self._py_file = py_file  # numba's warning that a kernel cannot be cached names it

    @classmethod
    def from_function(cls, py_func: FunctionType, py_file: str) -> SourceLocator | None:
        """The place of a function's code; None for functions of others, or where no folder is set."""
        from numba import config

        module = py_func.__module__
        if not config.CACHE_DIR or not os.path.isfile(py_file):
            return None
        if module.partition(".")[0] not in _OURS and "curate.core.text.memory" not in _read(py_file).source:
            return None
        key, line = source_key(module, py_file), py_func.__code__.co_firstlineno
        return cls(module, py_file, config.CACHE_DIR, key, line)

    def ensure_cache_path(self) -> None:
        """Make the folder."""
        os.makedirs(self._path, exist_ok=True)

    def get_cache_path(self) -> str:
        """The folder."""
        return self._path

    def get_source_stamp(self) -> str:
        """What has to be equal for the code to be taken."""
        return self._key

    def get_disambiguator(self) -> str:
        """Tells functions of one name in one module apart."""
        return str(self._line)


@cache
def source_key(module: str, path: str) -> str:
    """16 hex digits: a hash of the sources of the kernels in a module's file."""
    digest = hashlib.sha256()
    for name, file in sorted(kernel_sources(module, path).items()):
        digest.update(f"{name}\0{_read(file).digest}\0".encode())
    return digest.hexdigest()[:16]


def kernel_sources(module: str, path: str) -> dict[str, str]:
    """The files by name (`package.module`, or `package.module/table.npz`) that a module's kernels are made of."""
    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    waiting: list[tuple[str, str, str | None]] = [(module, path, None)]
    while waiting:
        name, file, wanted = waiting.pop()
        if name not in found:
            found[name] = file
            for table in _read(file).tables:
                place = Path(file).with_name(table)
                if place.is_file():
                    found[f"{name}/{table}"] = str(place)
        for used in _used(file, wanted):
            source = _imports(name, file).get(used)
            if source is None or (source[0], source[1] or "*") in seen:
                continue
            seen.add((source[0], source[1] or "*"))
            where = _file_of(source[0])
            if where is not None:
                waiting.append((source[0], where, source[1] or "*"))
    return found


class _Text:
    """A file as its top-level statements: the names each binds and the words in it."""

    def __init__(self, path: str) -> None:
        content = Path(path).read_bytes()
        self.digest = hashlib.sha256(content).hexdigest()
        self.source = "" if path.endswith((".npz", ".npy")) else content.decode("utf-8", "replace")
        self.tables = tuple(_TABLE.findall(self.source))
        self.blocks: list[tuple[frozenset[str], frozenset[str]]] = []
        decorators = ""
        for block in _BLOCK.split(_IMPORT.sub("", _STORY.sub("", self.source))):
            if block.startswith("@"):
                decorators += block + "\n"
                continue
            whole, decorators = decorators + block, ""
            defined = _DEFINITION.match(block)
            left = defined[1] if defined else block.partition("=")[0]
            self.blocks.append((frozenset(_WORD.findall(left)), frozenset(_WORD.findall(whole))))


@cache
def _read(path: str) -> _Text:
    return _Text(path)


@cache
def _used(path: str, wanted: str | None) -> frozenset[str]:
    """The words that a name of the file stands on; without one, its kernels; `*` is everything."""
    blocks = _read(path).blocks
    if wanted == "*":
        return frozenset().union(*(words for _, words in blocks))
    words = {wanted} if wanted else set().union(*(w for _, w in blocks if w & _DECORATORS))
    left = list(blocks)
    while True:
        taken = [block for block in left if block[0] & words]
        if not taken:
            return frozenset(words)
        left = [block for block in left if not block[0] & words]
        words.update(*(found for _, found in taken))


@cache
def _imports(module: str, path: str) -> dict[str, tuple[str, str | None]]:
    """By bound name: the module of ours that it comes from, and its name there, None for a module itself."""
    bound: dict[str, tuple[str, str | None]] = {}
    ours = _OURS | {module.partition(".")[0]}
    package = module.split(".") if Path(path).name == "__init__.py" else module.split(".")[:-1]
    for statement in _IMPORT.finditer(_read(path).source):
        if statement["modules"] is not None:
            for part in statement["modules"].split(","):
                name, _, alias = part.strip().partition(" as ")
                if name.partition(".")[0] in ours:
                    bound[alias.strip() or name.partition(".")[0]] = (name.strip(), None)
            continue
        source = statement["source"].lstrip(".")
        depth = len(statement["source"]) - len(source)
        if depth:
            source = ".".join([*package[: len(package) - depth + 1], *filter(None, [source])])
        if source.partition(".")[0] not in ours:
            continue
        for part in re.sub(r"#[^\n]*", "", statement["names"]).strip("()\n ").split(","):
            name, _, alias = part.strip().partition(" as ")
            name, alias = name.strip(), alias.strip()
            if name:
                inside = Path(_file_of(source) or "").name == "__init__.py" and _file_of(f"{source}.{name}")
                bound[alias or name] = (f"{source}.{name}", None) if inside else (source, name)
    return bound


@cache
def _file_of(module: str) -> str | None:
    """The source file of a module; None if it has none or cannot be found."""
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        return None
    return spec.origin if spec is not None and spec.origin and spec.origin.endswith(".py") else None
