"""Texts of web pages as corpora by language, for `benchmarks/agreement.py`.

    python benchmarks/web_texts.py OUT crawl.jsonl.zst pages.warc.gz …
    python benchmarks/agreement.py --cache /tmp/answers OUT/*.parquet

Of JSON Lines the text is `t` or `text`. Of a WARC file's pages it is what Resiliparse makes of them, once their main content
and once all of it, menus included. The language is what `lid.fasttext` finds, whatever a record says. Out: a file of id and
text for each language, `web_<language>.parquet`; an id is the file's name, the record's address or number, and the part.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import click
import pyarrow as pa
import pyarrow.parquet as pq

sys.path[:0] = [str(Path(__file__).parents[1])]

from curate.kernels import use_kernel_cache  # noqa: E402  # after the path is set

use_kernel_cache()  # numba looks where it is when it is imported
from benchmarks.peer.filters import batch_of  # noqa: E402  # after the path is set
from benchmarks.peer.ready import lid_step  # noqa: E402  # after the path is set


def records(path: Path) -> Iterator[tuple[str, str]]:
    """(id, text) of JSON Lines. A line that is no UTF-8 is read with replacement characters."""
    import zstandard

    with path.open("rb") as file:
        lines = zstandard.ZstdDecompressor().stream_reader(file).read().split(b"\n")
    for number, line in enumerate(lines):
        if line.strip():
            row = json.loads(line.decode("utf-8", "replace"))
            named = row.get("u") or row.get("url") or row.get("id") or number
            yield f"{path.name}#{named}", row.get("t") or row.get("text") or ""


def pages(path: Path) -> Iterator[tuple[str, str]]:
    """(id, text) of the pages of a WARC file, each twice."""
    from fastwarc.warc import ArchiveIterator, WarcRecordType
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding

    with path.open("rb") as file:
        for record in ArchiveIterator(file, record_types=WarcRecordType.response):
            content = record.reader.read()
            page = bytes_to_str(content, detect_encoding(content))
            for part, main in (("main", True), ("all", False)):
                text = extract_plain_text(page, main_content=main)
                yield f"{path.name}#{record.headers.get('WARC-Target-URI')}#{part}", text


@click.command(help=(__doc__ or "").split("\n", maxsplit=1)[0])
@click.argument("out", type=click.Path(path_type=Path))
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
def main(out: Path, files: tuple[Path, ...]) -> None:
    every = [
        (id, text)
        for file in files
        for id, text in (pages(file) if ".warc" in file.name else records(file))
        if text.strip()
    ]
    found = lid_step().annotate(batch_of([text for _, text in every], "und", "spacy-like"))["lang"]
    by_language = defaultdict(list)
    for document, language in zip(every, found.to_pylist(), strict=True):
        by_language[language].append(document)
    out.mkdir(parents=True, exist_ok=True)
    for language, documents in sorted(by_language.items()):
        ids, texts = zip(*documents, strict=True)
        pq.write_table(pa.table({"id": ids, "text": texts}), out / f"web_{language}.parquet")
        print(f"{language}: {len(documents)} documents, {sum(len(t.encode()) for t in texts) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
