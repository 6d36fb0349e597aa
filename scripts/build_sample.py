"""Builds data/sample: documents in 50 languages from Debian documentation packages, and bad ones by hand.

    python scripts/build_sample.py --work /tmp/sample-debs     # about 200 MB of packages, kept in that folder

In: packages by name from apt (`apt-get download`, unpacked with `dpkg-deb -x`; Debian or Ubuntu, no root).
Out, below `--out` (default data/sample):
    docs-0000N.parquet  id, text, source, licence, url (or null), date of the package version;
                        strings, zstd, several row groups, four files of clearly different sizes
    handmade.jsonl      id, text, note: documents a pipeline should refuse or survive
    README.md, LICENSES what is in it and under which terms
No language column: telling the language is the pipeline's work. A page's place in the shuffle is a hash
of the seed and its id, so the same packages give the same bytes. US and British English help share most
of the pages taken: real near-duplicates. Within a language no other text occurs twice.
"""

import argparse
import gzip
import hashlib
import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from sample.handmade import HANDMADE
from sample.notices import PackageRow, write_notices
from sample.sources import SOURCES, Page, Source, is_usable, language_of, translated_only

SEED = "curate-sample-1"
SHARES = (0.50, 0.28, 0.15, 0.07)  # of the documents, by file
ROW_GROUP = 500
ZSTD_LEVEL = 15
MIN_TRANSLATED = 0.6  # share of a page's characters left after its English lines are taken out
SAME_PAIRS = 15  # British pages word for word as the American ones; all other pairs differ
SCHEMA = pa.schema([(name, pa.string()) for name in ("id", "text", "source", "licence", "url", "date")])


@dataclass(frozen=True)
class Document:
    id: str
    text: str
    source: str
    licence: str
    url: str | None
    date: str | None
    language: str


@dataclass(frozen=True)
class Unpacked:
    root: Path
    version: str
    date: str | None


def rank(text: str) -> str:
    """A document's place in the seeded shuffle."""
    return hashlib.sha256(f"{SEED}/{text}".encode()).hexdigest()


def fetch(package: str, work: Path) -> Unpacked:
    """Downloads and unpacks one package, unless the work folder has it already."""
    debs = work / "debs"
    debs.mkdir(parents=True, exist_ok=True)
    if not list(debs.glob(f"{package}_*.deb")):
        subprocess.run(["apt-get", "download", "-q", package], cwd=debs, check=True, capture_output=True)
    deb = max(debs.glob(f"{package}_*.deb"))
    root = work / "unpacked" / deb.stem
    if not root.exists():
        root.mkdir(parents=True)
        subprocess.run(["dpkg-deb", "-x", deb, root], check=True)
    field = subprocess.run(["dpkg-deb", "-f", deb, "Version"], check=True, capture_output=True, text=True)
    return Unpacked(root, field.stdout.strip(), changelog_date(root, package))


def changelog_date(root: Path, package: str) -> str | None:
    """Date (YYYY-MM-DD) of the newest changelog entry, which is that of the package version."""
    folder = root / "usr/share/doc" / package
    for name in ("changelog.Debian.gz", "changelog.gz"):
        if (folder / name).is_file():
            for line in gzip.decompress((folder / name).read_bytes()).decode("utf-8", "replace").splitlines():
                if line.startswith(" -- "):
                    return parsedate_to_datetime(line.split("  ")[-1]).date().isoformat()
    return None


def english_lines(source: Source, unpacked: dict[str, Unpacked]) -> frozenset[str]:
    """Every line of the English pages that the source's other languages translate."""
    if source.english is None:
        return frozenset()
    package = "libreoffice-help-en-us" if source.package.startswith("libreoffice") else source.package
    found = unpacked[package]
    return frozenset(
        line for page in source.reader(found.root, source.english, found.version) for line in page.lines
    )


def usable_text(page: Page, language: str, english: frozenset[str]) -> str | None:
    """A page's text, or None where it is too short, too long or hardly translated."""
    lines = page.lines if language.startswith("en") else translated_only(page.lines, english)
    if sum(map(len, lines)) < MIN_TRANSLATED * sum(map(len, page.lines)):
        return None
    text = "\n".join(lines)
    return text if is_usable(text, language) else None


def documents(source: Source, unpacked: Unpacked, english: frozenset[str]) -> Iterable[Document]:
    """All usable pages of one package in the languages wanted from it."""
    for folder in source.folders:
        for page in source.reader(unpacked.root, folder, unpacked.version):
            text = usable_text(page, language_of(folder), english)
            if text is not None:
                yield Document(
                    f"{source.package}/{page.key}",
                    text,
                    source.package,
                    source.licence,
                    page.url,
                    unpacked.date,
                    language_of(folder),
                )


def pick(candidates: Iterable[Document], quotas: dict[str, int]) -> list[Document]:
    """The first `quotas[language]` documents in seeded order, each text once a language."""
    taken: list[Document] = []
    seen: set[tuple[str, str]] = set()
    counts: Counter[str] = Counter()
    for document in sorted(candidates, key=lambda document: rank(document.id)):
        fresh = (document.language, document.text) not in seen
        if fresh and counts[document.language] < quotas[document.language]:
            seen.add((document.language, document.text))
            counts[document.language] += 1
            taken.append(document)
    return taken


def pick_british(candidates: list[Document], american: dict[str, Document], quota: int) -> list[Document]:
    """British pages: pairs of chosen American pages first, those with the same wording held to SAME_PAIRS."""
    paired, others, same = [], [], 0
    for document in sorted(candidates, key=lambda document: rank(document.id)):
        twin = american.get(page_of(document.id))
        if twin is None:
            others.append(document)
        elif twin.text != document.text:
            paired.append(document)
        elif same < SAME_PAIRS:
            same += 1
            paired.append(document)
    return (paired + others)[:quota]


def page_of(identifier: str) -> str:
    return identifier.split("/", 1)[1]


def gather(work: Path) -> tuple[list[Document], list[PackageRow]]:
    unpacked = {source.package: fetch(source.package, work) for source in SOURCES}
    chosen: list[Document] = []
    rows: list[PackageRow] = []
    english_of: dict[str, frozenset[str]] = {}
    for source in SOURCES:
        family = source.package.split("-help")[0]
        if family not in english_of:
            english_of[family] = english_lines(source, unpacked)
        english = english_of[family]
        candidates = list(documents(source, unpacked[source.package], english))
        quotas = {language_of(folder): quota for folder, quota in source.folders.items()}
        taken = pick(candidates, quotas)
        if "en-GB" in quotas:
            american = {page_of(document.id): document for document in chosen if document.language == "en"}
            taken = pick_british(candidates, american, quotas["en-GB"])
        chosen += taken
        languages = sorted({document.language for document in taken})
        version = unpacked[source.package].version
        rows.append(PackageRow(source.package, version, source.licence, source.holder, len(taken), languages))
        print(f"{source.package} {version}: {len(taken)} of {len(candidates)}", file=sys.stderr)
    return sorted(chosen, key=lambda document: rank(document.id)), rows


def write_parquet(chosen: list[Document], out: Path) -> None:
    start = 0
    for number, share in enumerate(SHARES, 1):
        end = len(chosen) if number == len(SHARES) else start + round(share * len(chosen))
        rows = [{name: getattr(document, name) for name in SCHEMA.names} for document in chosen[start:end]]
        pq.write_table(
            pa.Table.from_pylist(rows, schema=SCHEMA),
            out / f"docs-{number:05}.parquet",
            compression="zstd",
            compression_level=ZSTD_LEVEL,
            row_group_size=min(ROW_GROUP, len(rows) // 3),
        )
        start = end


def write_handmade(out: Path) -> None:
    lines = (json.dumps(record, ensure_ascii=False, sort_keys=True) for record in HANDMADE)
    (out / "handmade.jsonl").write_text("".join(f"{line}\n" for line in lines), "utf-8")


def print_table(chosen: list[Document]) -> None:
    """Documents and UTF-8 bytes a language and licence, to standard output."""
    counts: Counter[tuple[str, str]] = Counter()
    sizes: Counter[tuple[str, str]] = Counter()
    for document in chosen:
        counts[document.language, document.licence] += 1
        sizes[document.language, document.licence] += len(document.text.encode())
    print(f"{'language':10} {'documents':>9} {'bytes':>10}  licence")
    for language, licence in sorted(counts):
        key = (language, licence)
        print(f"{language:10} {counts[key]:9,} {sizes[key]:10,}  {licence}")
    languages = len({language for language, _ in counts})
    print(f"{'total':10} {len(chosen):9,} {sum(sizes.values()):10,}  {languages} languages")


def main() -> None:
    parser = argparse.ArgumentParser(description="Build data/sample from Debian documentation packages.")
    parser.add_argument("--work", type=Path, required=True, help="folder for packages; kept, and used again")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "data" / "sample")
    arguments = parser.parse_args()
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} not found: run this on Debian or Ubuntu, or use the sample as it is")
    chosen, rows = gather(arguments.work)
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_parquet(chosen, arguments.out)
    write_handmade(arguments.out)
    write_notices(arguments.out, rows, len(HANDMADE))
    print_table(chosen)


if __name__ == "__main__":
    main()
