"""The step's parts are the export's, and a run keeps its test documents out of pretraining."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from curate.core.batch import DocBatch
from curate.core.errors import CurateError
from filters.ner.splits import Shares, assign, host_of
from filters.ner_split import NerSplit, SplitConfig

urls = st.none() | st.sampled_from(
    [
        "https://a.org/1",
        "http://www.A.org:8/2?x",
        "b.de/1//2",
        "https://[::1",
        "//c/x",
        "",
        "x y",
        "http://é.fr#a",
    ]
)


@settings(max_examples=100, deadline=None)
@given(st.lists(urls, max_size=12), st.integers(0, 2**63 - 1))
def test_the_parts_are_those_of_an_export(found: list[str | None], seed: int) -> None:
    names = [f"d{i}" for i in range(len(found))]
    record = pa.RecordBatch.from_pydict(
        {
            "doc": pa.array(range(len(found)), pa.int64()),
            "text": pa.array(names, pa.string()),
            "url": pa.array(found, pa.string()),
            "source_doc": pa.array(names, pa.string()),
        }
    )
    step = NerSplit(SplitConfig(dev=0.3, test=0.3, seed=seed, document="source_doc"))
    columns = step.annotate(DocBatch(record))
    hosts = [host_of(url) for url in found]
    expected = assign(
        hosts, [None if h else n for h, n in zip(hosts, names, strict=True)], Shares(0.3, 0.3), seed
    )
    assert columns["split"].to_pylist() == expected
    assert columns["test"].to_pylist() == [part == "test" for part in expected]


def test_documents_of_one_host_are_parted_if_asked() -> None:
    names = [f"d{i}" for i in range(60)]
    columns = {
        "doc": pa.array(range(60), pa.int64()),
        "text": pa.array(names),
        "url": pa.array(["https://a.org"] * 60),
    }
    step = NerSplit(SplitConfig(test=0.3, group="document"))
    found = step.annotate(DocBatch(pa.RecordBatch.from_pydict(columns)))["split"].to_pylist()
    assert found == assign([None] * 60, [str(i) for i in range(60)], Shares(0.0, 0.3), 1)
    assert set(found) == {"train", "test"}


def test_the_document_is_source_doc_where_there_is_one() -> None:
    """Passages of one document stay together; a row that names none goes by its own number."""
    parents = [n // 3 for n in range(60)] + [None, None]
    columns = {
        "doc": pa.array(range(1000, 1062), pa.int64()),
        "text": pa.array(["x"] * 62),
        "url": pa.nulls(62, pa.string()),
        "source_doc": pa.array(parents, pa.int64()),
    }
    record = pa.RecordBatch.from_pydict(columns)
    config = SplitConfig(test=0.3).settled(record.schema)
    assert config.document == "source_doc"
    found = NerSplit(config).annotate(DocBatch(record))["split"].to_pylist()
    names = [str(n) for n in parents[:60]] + ["1060", "1061"]
    assert found == assign([None] * 62, names, Shares(0.0, 0.3), 1)
    assert SplitConfig().settled(record.schema.remove(3)).document == "doc"
    assert SplitConfig(document="doc").settled(record.schema).document == "doc"


def test_a_column_that_names_no_document() -> None:
    schema = pa.schema([("source_doc", pa.list_(pa.int64()))])
    with pytest.raises(CurateError, match=r"C206.*'source_doc' is list"):
        SplitConfig().settled(schema)


def test_shares_of_more_than_all() -> None:
    with pytest.raises(ValidationError, match="together more than 1"):
        SplitConfig(dev=0.6, test=0.6)
