"""Builds the tables of languages and scripts: facts only, each from a source that others keep.

    pip install pycountry==26.2.16 fonttools==4.68.0 unicodedata2==18.0.0 numpy
    npm pack cldr-core@48.2.0 cldr-localenames-full@48.2.0      # unpack each into DIR/<its name>
    PYTHONPATH=. python scripts/build_language_tables.py --cldr DIR [--check]

Out, beside the modules that read them:

    curate/core/languages.tsv         code, two letters, bibliographic, default script, used as, names
    curate/core/scripts.tsv           ISO 15924 code, name
    curate/core/text/script_table.npz starts uint32[ranges], scripts uint8[ranges], names, unicode

Sources, of which the tables take facts only:

    ISO 639-3, ISO 15924       Debian's iso-codes as packed in pycountry (LGPL-2.1)
    default scripts, names     CLDR 48.2: likely subtags, English locale (Unicode-3.0)
    scripts of code points     Unicode 18.0.0 (Unicode-3.0): fontTools has Scripts.txt, unicodedata2 the rest
    members of macrolanguages  by hand, after FineWeb-2's language list and GlotLID v3's label changes

`--check` compares instead of writing.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pycountry
import unicodedata2
from fontTools import unicodedata as scripts_txt

from curate.core.languages import SCRIPT_AS

CORE = Path(__file__).parents[1] / "curate" / "core"
CODE_POINTS = 0x110000

#: Code → the code that stands for it: of a macrolanguage the main member in FineWeb-2 (for `bal` in GlotLID
#: v3); `tgl pes prs src sro` as GlotLID v3 merged them; `hbs` and `aka` as CLDR's aliases. A macrolanguage
#: without a main member (`zap`, `kln`, …) keeps its own code.
USED_AS = {
    "aka": "twi", "ara": "arb", "aym": "ayr", "aze": "azj", "bal": "bcc", "bih": "bho", "bik": "bcl",
    "bua": "bxr", "chm": "mhr", "cre": "crk", "din": "dik", "est": "ekk", "ful": "fuv", "grn": "gug",
    "hbs": "srp", "hmn": "mww", "iku": "ike", "ipk": "esk", "kau": "knc", "kok": "gom", "kom": "kpv",
    "kon": "kng", "kur": "kmr", "lah": "pnb", "lav": "lvs", "man": "mnk", "mlg": "plt", "mon": "khk",
    "msa": "zsm", "nep": "npi", "nor": "nob", "oji": "ojb", "ori": "ory", "orm": "gaz", "pes": "fas",
    "prs": "fas", "pus": "pbt", "que": "quy", "rom": "rmy", "sqi": "als", "src": "srd", "sro": "srd",
    "swa": "swh", "syr": "aii", "tgl": "fil", "tmh": "taq", "uzb": "uzn", "yid": "ydd", "zha": "zyb",
    "zho": "cmn", "zza": "diq",
    "ajp": "apc",  # merged in ISO 639-3 in 2023; a label of GlotLID v3
}  # fmt: skip

#: Codes that FineWeb-2 or GlotLID v3 use and ISO 639-3 has not, or no longer: code → default script, name.
ALSO_USED = {
    "ajp": ("Arab", "South Levantine Arabic"),
    "bih": ("Deva", "Bihari languages"),
    "daf": ("Latn", "Dan"),
    "eml": ("Latn", "Emiliano-Romagnolo"),
    "kzj": ("Latn", "Coastal Kadazan"),
    "nah": ("Latn", "Nahuatl languages"),
    "oto": ("Latn", "Otomian languages"),
    "tpw": ("Latn", "Tupí"),
}

#: Default scripts where FineWeb-2 has one script and CLDR 48.2 another or none: the web's comes first.
FINEWEB2_SCRIPTS = {
    "Cyrl": "cjs tkr",
    "Deva": "mup",
    "Ethi": "guk kxc",
    "Latn": "ain blt btd ccp con csw ctd fat fub gbo gya hbs hif hnj kby lbk mfi msc mww nan nnp non nst quh "
    "quz rhg shi spy swb swc tbk tlh ttq zai zdj",
    "Mong": "sjo",
    "Telu": "kff wsg",
    "Tfng": "tzm",
    "Thai": "nod",
}

#: Names in common use that neither source has.
FURTHER_NAMES = {
    "ckb": "Sorani", "cmn": "Mandarin", "fas": "Farsi", "kmr": "Kurmanji", "nno": "Nynorsk", "nob": "Bokmål",
    "mya": "Myanmar", "sin": "Sinhalese", "spa": "Castilian",
}  # fmt: skip

#: Two-letter codes that ISO 639-1 has withdrawn and the web still uses.
OLD_TWO = {"bih": "bh", "heb": "iw", "ind": "in", "yid": "ji", "jav": "jw", "ron": "mo"}


def languages(cldr: Path) -> str:
    supplemental = cldr / "cldr-core" / "supplemental" / "likelySubtags.json"
    likely = json.loads(supplemental.read_text())["supplemental"]["likelySubtags"]
    locale = json.loads((cldr / "cldr-localenames-full" / "main" / "en" / "languages.json").read_text())
    english: dict[str, str] = locale["main"]["en"]["localeDisplayNames"]["languages"]

    rows: dict[str, list[str]] = {}
    for entry in _entries(pycountry.languages):
        code, two = entry["alpha_3"], entry.get("alpha_2", "")
        key = two or code
        short = [english.get(key + variant, "") for variant in ("", "-alt-long", "-alt-variant")]
        long = [entry.get(field, "") for field in ("common_name", "name", "inverted_name")]
        names = list(dict.fromkeys(name for name in (*short, *long, FURTHER_NAMES.get(code, "")) if name))
        script = (likely.get(two or code) or likely.get(code) or "--").split("-")[1]
        rows[code] = [two, entry.get("bibliographic", ""), script, "", "|".join(names)]
    for code, (script, name) in ALSO_USED.items():
        rows[code] = ["", "", script, "", name]
    for code, two in OLD_TWO.items():
        rows[code][0] = f"{rows[code][0]} {two}".strip()
    for code, member in USED_AS.items():
        rows[code][3] = member
        rows[member][2] = rows[member][2] or rows[code][2]
        rows[code][2] = rows[code][2] or rows[member][2]
    for script, codes in FINEWEB2_SCRIPTS.items():
        for code in codes.split():
            rows[code][2] = script
    for row in rows.values():
        row[2] = SCRIPT_AS.get(row[2], row[2])
    return "".join("\t".join([code, *row]) + "\n" for code, row in sorted(rows.items()))


def scripts() -> str:
    rows = {entry["alpha_4"]: entry["name"] for entry in _entries(pycountry.scripts)}
    return "".join(f"{code}\t{name}\n" for code, name in sorted(rows.items()))


def script_table() -> bytes:
    """Ranges of letters by script; `names[0]` is "": no letter, or a letter of no one script."""
    of_point = []
    for point in range(CODE_POINTS):
        script = scripts_txt.script(chr(point)) if unicodedata2.category(chr(point))[0] == "L" else ""
        of_point.append("" if script in {"Zyyy", "Zinh", "Zzzz"} else SCRIPT_AS.get(script, script))
    names = sorted(set(of_point))
    number = np.array([names.index(script) for script in of_point], np.uint8)
    starts = np.flatnonzero(np.diff(number, prepend=255)).astype(np.uint32)
    out = io.BytesIO()
    unicode = unicodedata2.unidata_version
    np.savez_compressed(out, starts=starts, scripts=number[starts], names=np.array(names), unicode=unicode)
    return out.getvalue()


def _entries(database: Any) -> list[dict[str, str]]:
    return [{key: str(value) for key, value in entry} for entry in database]


def _same(old: bytes, new: bytes) -> bool:
    """Equal bytes, or archives of equal arrays: compressed bytes depend on the zlib."""
    if old == new or not new.startswith(b"PK"):
        return old == new
    with np.load(io.BytesIO(old)) as left, np.load(io.BytesIO(new)) as right:
        return all(np.array_equal(left[name], right[name]) for name in right.files)


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the tables of languages and scripts.")
    parser.add_argument("--cldr", type=Path, required=True, help="holds cldr-core and cldr-localenames-full")
    parser.add_argument("--check", action="store_true", help="compare with the committed tables")
    options = parser.parse_args()
    stale = []
    for path, content in (
        (CORE / "languages.tsv", languages(options.cldr).encode()),
        (CORE / "scripts.tsv", scripts().encode()),
        (CORE / "text" / "script_table.npz", script_table()),
    ):
        if not options.check:
            path.write_bytes(content)
        elif not path.exists() or not _same(path.read_bytes(), content):
            stale.append(str(path))
    if stale:
        sys.exit("not up to date: " + ", ".join(stale))


if __name__ == "__main__":
    main()
