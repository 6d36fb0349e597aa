"""Languages: ISO 639-3 and ISO 15924, `deu_Latn`, one spelling of each whatever a model or a person calls it.

The choices are those of FineWeb-2 (Penedo et al. 2025, arXiv 2506.20920; the list of its 1,929 language
configurations), which follow GlotLID v3's labels (Kargaran et al. 2023, arXiv 2310.16248; `languages-v3.md`):

- Of a macrolanguage the member that the web writes stands for it: `cmn_Hani` for `zho`, `arb` for `ara`,
  `nob` for `nor`, `ekk` `lvs` `zsm` `azj` `uzn` `khk` `kmr` `als` `swh` `npi` `ory` `plt` `pbt` `quy` …
  Persian is the exception: `fas` stands for `pes` and `prs`. Tagalog is `fil`.
- Scripts are as broad as a reader of characters can tell: `Hani` for Hans and Hant, `Jpan`, `Hang` for Kore.
- Codes that ISO 639-3 has not, or no longer, are kept if those corpora use them (`eml nah oto daf kzj tpw`).

`und` is a language that nobody could tell, `zxx` text that is in none (OpenLID's `zxx_Zxxx`, GlotLID's
`zxx_Latn`).

The tables beside this file (`languages.tsv`, 7,900 codes; `scripts.tsv`) are built by
`scripts/build_language_tables.py`, which names their sources. They are read on first use: importing is cheap.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

UNDETERMINED: Final = "und"

#: How variants of a script, and its parts, are written in our codes.
SCRIPT_AS: Final = {
    "Hans": "Hani", "Hant": "Hani", "Hira": "Jpan", "Kana": "Jpan", "Hrkt": "Jpan", "Kore": "Hang",
    "Jamo": "Hang", "Aran": "Arab", "Cyrs": "Cyrl", "Geok": "Geor", "Latf": "Latn", "Latg": "Latn",
    "Syre": "Syrc", "Syrj": "Syrc", "Syrn": "Syrc",
}  # fmt: skip

#: A text in a part of its writing system: Japanese without kana, Korean without hangul, Chinese in bopomofo.
PART_OF: Final = {("jpn", "Hani"): "Jpan", ("kor", "Hani"): "Hang", ("cmn", "Bopo"): "Hani"}

#: Where the script decides which language is meant: FineWeb-2 has `azb_Arab`, `ckb_Arab`, `pnb_Arab`.
BY_SCRIPT: Final = {
    ("aze", "Arab"): "azb",
    ("kur", "Arab"): "ckb",
    ("mon", "Mong"): "mvf",
    ("pan", "Arab"): "pnb",
}

#: Script of a language that is written in none we know of.
UNKNOWN_SCRIPT: Final = "Zyyy"


@dataclass(frozen=True)
class Language:
    """One ISO 639-3 code. `used_as`: the code that stands for it here, its own unless another one does."""

    code: str
    script: str
    used_as: str
    names: tuple[str, ...]


def is_language(code: str) -> bool:
    """Whether it is a language as we write it: `und`, or code and script as used here."""
    if code == UNDETERMINED:
        return True
    language, separator, script = code.partition("_")
    found = _by_code().get(language)
    if found is None or not separator or language == UNDETERMINED:
        return False
    return found.used_as == language and _is_script(script)


def canonical(code: str, script: str | None = None) -> str:
    """Our code for a code of ISO 639 and the script found in the text; None: its default script.

    `zh` is `cmn_Hani`, `az` in `Arab` is `azb_Arab`, and `en` in `Cyrl` is `eng_Cyrl`: odd, and worth
    knowing. KeyError if no such language or script is known.
    """
    if code == UNDETERMINED:
        return UNDETERMINED
    asked = _by_any_code()[code]
    script = SCRIPT_AS.get(script, script) if script else asked.script or UNKNOWN_SCRIPT
    if not _is_script(script):
        raise KeyError(script)
    used = BY_SCRIPT.get((asked.code, script), asked.used_as)
    return f"{used}_{PART_OF.get((used, script), script)}"


def suggest(text: str) -> str | None:
    """The language that is probably meant (`de`, `German`, `de_DE`, `zho_Hans`) as we write it, or None."""
    wanted = " ".join(text.split()).lower()
    head, *rest = wanted.replace("-", "_").split("_")
    codes, names = _by_any_code(), _by_name()
    if wanted in names and wanted not in codes:
        code = names[wanted]
    elif head in codes:
        code = head
    else:
        close = difflib.get_close_matches(head, names, n=1, cutoff=0.8)
        if not close:
            return None
        code = names[close[0]]
    script = next((part.title() for part in rest if part.title() in _scripts()), None)
    return canonical(code, script)


def name(code: str) -> str:
    """The English name of one of our codes, with the script unless it is the usual one: `Serbian (Latin)`."""
    if code == UNDETERMINED:
        return "Undetermined"
    language, _, script = code.partition("_")
    found = _by_code()[language]
    return found.names[0] if script in {"", found.script} else f"{found.names[0]} ({_scripts()[script]})"


def _is_script(script: str) -> bool:
    return script in _scripts() and script not in SCRIPT_AS


@cache
def _scripts() -> dict[str, str]:
    rows = (line.split("\t") for line in _lines("scripts.tsv"))
    return {code: name for code, name in rows}  # noqa: C416 - mypy knows the pair


@cache
def _by_code() -> dict[str, Language]:
    languages = {}
    for line in _lines("languages.tsv"):
        code, _, _, script, used_as, names = line.split("\t")
        languages[code] = Language(code, script, used_as or code, tuple(names.split("|")))
    return languages


@cache
def _by_any_code() -> dict[str, Language]:
    """Languages by ISO 639-3, ISO 639-1 and bibliographic ISO 639-2 code."""
    languages = dict(_by_code())
    for line in _lines("languages.tsv"):
        code, two, bibliographic, *_ = line.split("\t")
        languages.update(dict.fromkeys((*two.split(), *bibliographic.split()), languages[code]))
    return languages


@cache
def _by_name() -> dict[str, str]:
    """Lower-case English names to ISO 639-3 codes; of codes that share one, the commoner."""
    common = {language.code for code, language in _by_any_code().items() if len(code) == 2}
    names: dict[str, str] = {}
    for language in sorted(_by_code().values(), key=lambda known: (known.code not in common, known.code)):
        for name in language.names:
            names.setdefault(name.lower(), language.code)
    return names


def _lines(table: str) -> list[str]:
    return Path(__file__).with_name(table).read_text(encoding="utf-8").splitlines()
