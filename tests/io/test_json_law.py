"""Laws of JSON Lines: whatever Python can write, comes back."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from curate.io import text_blocks
from tests.io.inputs import Read, input_spec, plan

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(TEXT, values, max_size=3),
    max_leaves=6,
)
NOT_EXTRA = {"text", "id", "url", "source", "date", "dump", "licence"}
RECORD = st.fixed_dictionaries({"text": st.none() | TEXT}, optional={"id": TEXT, "url": TEXT}).flatmap(
    lambda fixed: st.dictionaries(TEXT.filter(lambda key: key not in NOT_EXTRA), JSON, max_size=3).map(
        lambda rest: fixed | rest
    )
)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(RECORD, max_size=12), st.booleans(), st.sampled_from(["\n", "\r\n", "\n\n"]), st.integers(1, 200)
)
def test_records_come_back_as_they_were(
    records: list[dict[str, Any]], ascii_only: bool, end: str, step: int
) -> None:
    with tempfile.TemporaryDirectory() as name, mock.patch.object(text_blocks, "STEP_BYTES", step):
        folder = Path(name)
        data = end.join(json.dumps(record, ensure_ascii=ascii_only) for record in records).encode()
        (folder / "a.jsonl").write_bytes(data)
        spec = input_spec(folder / "a.jsonl", format="jsonl")
        result = Read(folder, (spec,), plan(spec))
    assert result.bad == []
    assert len(result.rows) == len(records)
    for number, (row, record) in enumerate(zip(result.rows, records, strict=True)):
        assert row["text"] == record["text"]
        assert row["id"] == record.get("id", f"a.jsonl#{number}")
        assert row["url"] == record.get("url")
        rest = {key: value for key, value in record.items() if key not in NOT_EXTRA}
        assert json.loads(row["extra"] or "{}") == rest
