"""What the sample is made of: Debian packages in, pages as (page key, URL, lines) out.

`SOURCES` names every package with its licence, holder, reader and the languages taken from it with a quota
of documents each. A reader yields the pages of one language in path order. A translation that still holds
English paragraphs is cleaned by taking out the lines that the English pages hold (`translated_only`).
Licences are SPDX expressions as the packages' own copyright files state them.
"""

import re
import unicodedata
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sample.extraction import canonical_url, html_lines, html_tree, mallard_lines, tutorial_sections

LIBREOFFICE_QUOTA = 260
GNOME_QUOTA = 120
HANDBOOK_QUOTA = 25
# Debian's package suffix -> folder in the package.
LIBREOFFICE = {
    "ca": "ca", "cs": "cs", "da": "da", "de": "de", "dz": "dz", "el": "el", "en-us": "en-US",
    "en-gb": "en-GB", "es": "es", "et": "et", "eu": "eu", "fi": "fi", "fr": "fr", "gl": "gl", "hi": "hi",
    "hu": "hu", "id": "id", "it": "it", "ja": "ja", "km": "km", "ko": "ko", "nl": "nl", "om": "om",
    "pl": "pl", "pt": "pt", "pt-br": "pt-BR", "ru": "ru", "sl": "sl", "sv": "sv", "tr": "tr", "vi": "vi",
    "zh-cn": "zh-CN", "zh-tw": "zh-TW",
}  # fmt: skip
GNOME = [
    "C", "as", "ca", "cs", "de", "es", "fa", "fr", "gu", "hr", "id", "lv", "mr", "pl", "ru", "sr",
    "sr@latin", "sv", "ta", "te", "uk", "vi",
]  # fmt: skip
HANDBOOK = [
    "en-US", "ar-MA", "cs-CZ", "da-DK", "de-DE", "es-ES", "fa-IR", "fr-FR", "id-ID", "it-IT", "ja-JP",
    "nb-NO", "nl-NL", "pl-PL", "pt-BR", "ru-RU", "sv-SE", "tr-TR", "vi-VN", "zh-CN", "zh-TW",
]  # fmt: skip
HANDBOOK_MORE = {"ar-MA": 110, "fa-IR": 80, "nb-NO": 80}
TUTORIALS = ["bg", "eo", "he", "ko", "ro", "sk", "sl", "th"]
# First letters of Unicode character names, for languages not written in Latin letters.
SCRIPTS: dict[str, str | tuple[str, ...]] = {
    "ar": "ARABIC", "as": "BENGALI", "bg": "CYRILLIC", "dz": "TIBETAN", "el": "GREEK", "fa": "ARABIC",
    "gu": "GUJARATI", "he": "HEBREW", "hi": "DEVANAGARI", "ja": ("HIRAGANA", "KATAKANA", "CJK"),
    "km": "KHMER", "ko": "HANGUL", "ml": "MALAYALAM", "mr": "DEVANAGARI", "ru": "CYRILLIC",
    "sr": "CYRILLIC", "ta": "TAMIL", "te": "TELUGU", "th": "THAI", "uk": "CYRILLIC", "zh": "CJK",
}  # fmt: skip
UNSPACED = frozenset(["dz", "ja", "km", "th", "zh"])
MIN_WORDS, MIN_UNSPACED_LETTERS, MAX_CHARS = 50, 140, 10_000
MIN_PROSE = 0.4  # share of a page in lines of 60 characters, or 25 where no spaces are written
MIN_SCRIPT = 0.6  # share of letters in the language's own script


@dataclass(frozen=True)
class Page:
    key: str
    url: str | None
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Source:
    """One package; `folders` maps language folders to quotas, `english` is what the others translate."""

    package: str
    licence: str
    holder: str
    reader: Callable[[Path, str, str], Iterator[Page]]
    folders: dict[str, int]
    english: str | None = None


def libreoffice_pages(root: Path, folder: str, version: str) -> Iterator[Page]:
    base = root / "usr/share/libreoffice/help" / folder
    release = ".".join(re.findall(r"\d+", version.rsplit(":", maxsplit=1)[-1])[:2])
    for path in sorted(base.glob("text/**/*.html")):
        page = path.relative_to(base)
        tree = html_tree(path.read_text("utf-8"))
        url = f"https://help.libreoffice.org/{release}/{folder}/{page.as_posix()}"
        yield Page(page.with_suffix("").as_posix(), url, tuple(html_lines(tree, "DisplayArea")))


def gnome_pages(root: Path, folder: str, version: str) -> Iterator[Page]:
    base = root / "usr/share/help" / folder
    for path in sorted(base.glob("*/*.page")):
        key = path.relative_to(base.parent).with_suffix("").as_posix()
        try:
            yield Page(key, None, tuple(mallard_lines(path.read_text("utf-8"))))
        except ET.ParseError:  # a few translations break their XML; the page is left out
            continue


def handbook_pages(root: Path, folder: str, version: str) -> Iterator[Page]:
    base = root / "usr/share/doc/debian-handbook/html" / folder
    for path in sorted(base.glob("*.html")):
        if path.stem in ("index", "ix01"):
            continue
        tree = html_tree(path.read_text("utf-8"))
        yield Page(f"{folder}/{path.stem}", canonical_url(tree), tuple(html_lines(tree)))


def eyes_pages(root: Path, folder: str, version: str) -> Iterator[Page]:
    for path in sorted((root / "usr/share/eyes17/helpFiles" / folder).glob("*.html")):
        tree = html_tree(path.read_text("utf-8"))
        lines = (line for line in html_lines(tree) if not line.endswith((".svg", ".png", ".jpg")))
        yield Page(f"{folder}/{path.stem}", None, tuple(lines))


def tutorial_pages(root: Path, folder: str, version: str) -> Iterator[Page]:
    (path,) = root.glob(f"usr/share/emacs/*/etc/tutorials/TUTORIAL.{folder}")
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError:
        text = path.read_text("iso-8859-2")
    for number, lines in enumerate(tutorial_sections(text)):
        yield Page(f"{path.name}/{number:02}", None, tuple(lines))


SOURCES = [
    *(
        Source(
            f"libreoffice-help-{suffix}",
            "MPL-2.0",
            "2000, 2010 Oracle and/or its affiliates; LibreOffice contributors and/or their affiliates",
            libreoffice_pages,
            {folder: LIBREOFFICE_QUOTA},
            "en-US",
        )
        for suffix, folder in LIBREOFFICE.items()
    ),
    Source(
        "gnome-user-docs",
        "CC-BY-SA-3.0",
        "2010-2014 Shaun McCance and the GNOME documentation and translation teams",
        gnome_pages,
        dict.fromkeys(GNOME, GNOME_QUOTA),
        "C",
    ),
    Source(
        "debian-handbook",
        "GPL-2.0-or-later OR CC-BY-SA-3.0",
        "2003-2015 Raphaël Hertzog; 2006-2015 Roland Mas; 2013-2015 Freexian SARL",
        handbook_pages,
        {folder: HANDBOOK_MORE.get(folder, HANDBOOK_QUOTA) for folder in HANDBOOK},
        "en-US",
    ),
    Source(
        "eyes17",
        "GPL-3.0-only",
        "2010-2018 Ajith Kumar B.P.; 2020 Amal M",
        eyes_pages,
        {"ml": 100},
    ),
    Source(
        "emacs-common",
        "GPL-3.0-or-later",
        "Free Software Foundation, Inc.",
        tutorial_pages,
        dict.fromkeys(TUTORIALS, 100),
    ),
]


def language_of(folder: str) -> str:
    """Tag used in the tables: `pt-BR`, `zh-TW`, `en-GB` stay apart, other regions go."""
    if folder in ("C", "en-US"):
        return "en"
    if folder in ("en-GB", "pt-BR", "zh-CN", "zh-TW"):
        return folder
    return "sr-Latn" if folder == "sr@latin" else folder.split("-", maxsplit=1)[0]


def translated_only(lines: tuple[str, ...], english: frozenset[str]) -> tuple[str, ...]:
    """Lines not left in English; names and key labels of one or two words may stay."""
    return tuple(line for line in lines if line not in english or len(line.split()) < 3)


def is_usable(text: str, language: str) -> bool:
    """Long enough to say something, short enough for a sample, mostly prose in the language's script."""
    base = language.split("-", maxsplit=1)[0]
    letters = [char for char in text if char.isalpha()]
    script = SCRIPTS.get(base) if language != "sr-Latn" else None
    native = (
        sum(unicodedata.name(char, "").startswith(script) for char in letters) if script else len(letters)
    )
    long_enough = native >= MIN_UNSPACED_LETTERS if base in UNSPACED else len(text.split()) >= MIN_WORDS
    full_line = 25 if base in UNSPACED else 60
    prose = sum(len(line) for line in text.split("\n") if len(line) >= full_line)
    return (
        long_enough
        and len(text) <= MAX_CHARS
        and prose >= MIN_PROSE * len(text)
        and native >= MIN_SCRIPT * len(letters)
    )
