"""README.md and LICENSES/ of the sample, written from what the build took.

In: one `PackageRow` a package. Out: a README with the package table, the MPL-2.0 and CC0-1.0 texts as
Debian's base-files ships them, and short notices with the canonical address for the longer licences.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

COMMON = Path("/usr/share/common-licenses")
FULL_TEXTS = ("MPL-2.0", "CC0-1.0")
NOTICES = {
    "CC-BY-SA-3.0": (
        "Creative Commons Attribution-ShareAlike 3.0 Unported",
        "https://creativecommons.org/licenses/by-sa/3.0/legalcode",
        "You may copy, change and pass on these documents if you name the authors, say what you changed, and"
        " pass the result on under the same or a compatible licence.",
    ),
    "GPL-2.0-or-later": (
        "GNU General Public License, version 2 or any later version",
        "https://www.gnu.org/licenses/old-licenses/gpl-2.0.txt",
        "These documents are free software: you may pass them on and change them under this licence."
        " They come without any warranty. Their source is the Debian source package named in the README.",
    ),
    "GPL-3.0": (
        "GNU General Public License, version 3 (emacs-common: or any later version; eyes17: only)",
        "https://www.gnu.org/licenses/gpl-3.0.txt",
        "These documents are free software: you may pass them on and change them under this licence."
        " They come without any warranty. Their source is the Debian source package named in the README.",
    ),
}
README = """# The sample

What `curate run configs/web.yaml` reads: {documents:,} real documents in {languages} languages, and
{handmade} bad ones made by hand. No document says which language it is in; finding that out is the
pipeline's work.

| file | what it holds |
|---|---|
| `docs-0000N.parquet` | software documentation: `id`, `text`, `source`, `licence`, `url`, `date` |
| `handmade.jsonl` | boilerplate, spam, noise and broken text: `id`, `text`, `note` (what is wrong) |
| `LICENSES/` | the licences, in full or by address |

`source` is the Debian package, `licence` its SPDX expression, `url` the page's public address or null,
`date` the date of the package version. A line of `text` is one heading, paragraph, list item, table cell
or line of code. Menus, related links and footers were taken out, and so were paragraphs that a
translation had left in English.

Near-duplicates are in it on purpose: US and British English help hold the same pages in two spellings,
Serbian comes in two alphabets, Portuguese and Chinese in two norms each.

## Rebuild

    python scripts/build_sample.py --work /tmp/sample-debs

Needs Debian or Ubuntu with apt sources, and pyarrow. The same packages and the same pyarrow give the
same bytes. The files here were built from the versions below.

## Packages

| package | version | licence | copyright | documents | languages |
|---|---|---|---|---:|---|
{table}
| handmade.jsonl | | CC0-1.0 | the authors of this repository | {handmade} | many |

## Licences

The Parquet files are a collection; each document keeps the licence of its package, given in its
`licence` column. All texts were changed: markup, navigation and untranslated paragraphs were removed.
Documents under `GPL-2.0-or-later OR CC-BY-SA-3.0` may be used under either. Authors and translators are
named in each package's copyright file and pages. The handmade documents are given to the public domain
under CC0-1.0; names, numbers and shops in them are invented.
"""


@dataclass(frozen=True)
class PackageRow:
    package: str
    version: str
    licence: str
    holder: str
    documents: int
    languages: list[str]


def write_notices(out: Path, rows: list[PackageRow], handmade: int) -> None:
    folder = out / "LICENSES"
    folder.mkdir(exist_ok=True)
    for name in FULL_TEXTS:
        shutil.copyfile(COMMON / name, folder / f"{name}.txt")
    for name, (title, address, terms) in NOTICES.items():
        (folder / f"{name}.txt").write_text(f"{title}\n\nFull text: {address}\n\n{terms}\n", "utf-8")
    (out / "README.md").write_text(_readme(rows, handmade), "utf-8")


def _readme(rows: list[PackageRow], handmade: int) -> str:
    table = "\n".join(
        f"| {row.package} | {row.version} | {row.licence} | {row.holder} | {row.documents} |"
        f" {', '.join(row.languages)} |"
        for row in rows
    )
    return README.format(
        documents=sum(row.documents for row in rows),
        languages=len({language.split("-")[0] for row in rows for language in row.languages}),
        handmade=handmade,
        table=table,
    )
