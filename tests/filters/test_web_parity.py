"""The four FineWeb filters decide what datatrove's decide on pages of a crawl: end to end and on its own words.

The texts are those of `web/hplt_sample100_CC.jsonl.zst` of the test data, in the languages that have a few. All kinds of
pages, more languages and whole pages with their menus are compared by `benchmarks/web_texts.py` and
`benchmarks/agreement.py`.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
from pathlib import Path

import pytest
import zstandard

from benchmarks.peer.filters import FILTERS, annotate, batch_of, judge, ours, stop_words_of, theirs
from benchmarks.peer.tokens import with_words

TEST_DATA = Path(os.environ.get("CURATE_TEST_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
PAGES = TEST_DATA / "web" / "hplt_sample100_CC.jsonl.zst"

pytestmark = [
    pytest.mark.skipif(not PAGES.exists(), reason=f"no test data at {TEST_DATA}"),
    pytest.mark.skipif(importlib.util.find_spec("spacy") is None, reason="datatrove's words are spaCy's"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]


def texts_of(language: str) -> list[str]:
    """Of records in that language; one of the file is no UTF-8."""
    with PAGES.open("rb") as file:
        stream = zstandard.ZstdDecompressor().stream_reader(file)
        records = [json.loads(line) for line in io.TextIOWrapper(stream, "utf-8", "replace")]
    return [record["t"] for record in records if record["lang"] == language and record["t"].strip()]


@pytest.mark.parametrize(
    ("language", "pages"), [("eng_Latn", 48), ("deu_Latn", 7), ("spa_Latn", 6), ("rus_Cyrl", 4)]
)
def test_pages_of_a_crawl(language: str, pages: int) -> None:
    from datatrove.utils.text import split_into_words

    texts, stop_words = texts_of(language), stop_words_of(language)
    assert len(texts) == pages
    filters, steps = theirs(language, stop_words), ours(stop_words)
    batch = batch_of(texts, language, "spacy-like")
    found = annotate(steps, batch)
    fed = annotate(steps, with_words(batch, [split_into_words(text, language) for text in texts]))
    for name in FILTERS:
        expected = [judge(filters[name], text) for text in texts]
        assert found[name] == expected, name
        assert fed[name] == expected, name
