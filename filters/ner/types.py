"""Free labels to types: 49 standard ones, and the core set PER LOC ORG MISC.

In: a label as a corpus, a model or a person wrote it (`GPE_LOC`, `geo-political entity`, `person-actor`). Out:

    standard   string   one of the names in the first column of `types.tsv`; None if the label is none we know
    core       string   PER LOC ORG MISC; None for what is no name (dates, amounts, diseases …) or unknown

Why two: corpora agree on three or four types and differ in all others, so scores across corpora need the core set,
while a dataset of open labels has ten thousands of types (FiNERweb: 235,000 in 226,000 passages, arXiv 2512.13884),
of which a user wants a usable few. OpenNER 1.0 (arXiv 2412.09587) does both, with 43 standard types. The choices
that are ours: a geopolitical entity is a LOC unless the corpus marks it as acting (`GPE_ORG`), a facility is a LOC,
nationalities and what is derived from a name are MISC, and what is no proper name has no core type.

A label is looked up whole, without case, spaces and punctuation, letters and their marks composed (NFC); then what
stands before its first `-`, `/`, `.` or `:`, since corpora and teachers write `person-actor` and `person / politician`.
Nothing else is tried: no stemming, no similarity. Labels that no type is known for are counted where they occur, and a
file of one's own adds them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final

from curate.core.errors import Position, error
from curate.core.suggest import did_you_mean

CORE: Final = ("PER", "LOC", "ORG", "MISC")

_HEAD: Final = re.compile(r"[-/.:]")


@dataclass(frozen=True)
class TypeMap:
    """labels: normalised label → standard type. cores: standard type → core type or None."""

    labels: Mapping[str, str]
    cores: Mapping[str, str | None]

    def standard(self, label: str) -> str | None:
        """The standard type of a label, or None."""
        whole = self.labels.get(normal_label(label))
        if whole is not None:
            return whole
        return self.labels.get(normal_label(_HEAD.split(label, maxsplit=1)[0]))

    def core(self, label: str) -> str | None:
        """PER, LOC, ORG, MISC, or None."""
        standard = self.standard(label)
        return None if standard is None else self.cores[standard]

    def with_file(self, path: Path) -> TypeMap:
        """This map and a file's: lines `label<TAB>standard type`, which stand above ours. D410 with the wrong line."""
        labels = dict(self.labels)
        for number, line in _rows(_text(path)):
            label, separator, standard = line.partition("\t")
            standard = standard.strip()
            if not separator or not normal_label(label):
                raise _fault(path, number, line, "a line needs a label, a tab and a standard type")
            if standard not in self.cores:
                near = did_you_mean(standard, self.cores)
                hint = f"; did you mean '{near}'?" if near else ""
                raise _fault(path, number, line, f"'{standard}' is no standard type{hint}")
            labels[normal_label(label)] = standard
        return TypeMap(labels, self.cores)


@cache
def type_map() -> TypeMap:
    """The map in `types.tsv`."""
    labels: dict[str, str] = {}
    cores: dict[str, str | None] = {}
    for _, line in _rows(Path(__file__).with_name("types.tsv").read_text(encoding="utf-8")):
        standard, core, names = line.split("\t")
        cores[standard] = None if core == "-" else core
        for name in (standard, *names.split()):
            if labels.setdefault(normal_label(name), standard) != standard:
                raise ValueError(
                    f"types.tsv gives '{name}' to both {labels[normal_label(name)]} and {standard}"
                )
    return TypeMap(labels, cores)


def span_type(span: Mapping[str, Any], by: str, types: TypeMap) -> str | None:
    """A span's `label`, `translation`, `standard` or `core`: what stands in it, else what the map says.

    Where a span was made with a map of its own (`types:` of a step, `--types` of an import), it has the types of that.
    """
    label = span["label"]
    if label is None or by in ("label", "translation"):
        own: str | None = span.get(by)
        return own
    if span.get("standard") is not None:
        stored: str | None = span.get(by)
        return stored
    return types.standard(label) if by == "standard" else types.core(label)


@lru_cache(maxsize=1 << 16)
def normal_label(label: str) -> str:
    """The label without case, spaces and punctuation. Combining marks stay: most Indic vowels are some."""
    composed = unicodedata.normalize("NFC", label.casefold())
    return "".join(c for c in composed if c.isalnum() or unicodedata.category(c)[0] == "M")


def _rows(text: str) -> Iterator[tuple[int, str]]:
    """(line number, line) without comments and blank lines."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip() and not line.startswith("#"):
            yield number, line.rstrip("\r")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as cause:
        raise error("D410", f"{path} is not UTF-8", help="write the types as UTF-8") from cause


def _fault(path: Path, number: int, line: str, message: str) -> Exception:
    position = Position(str(path), number, 1, max(1, len(line)), line)
    help = "write lines like `landform<TAB>natural_feature`; docs/ner.md lists the types"
    return error("D410", message, help=help, position=position)
