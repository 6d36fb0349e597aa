"""The pages on the run folder and the ledger name what is there, no more and no less."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from curate.running.quarantine import SCHEMA
from tests.docs.snippets import ROOT
from tests.docs.test_examples import call, work

__all__ = ["work"]

KINDS: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "list": list,
    "object": dict,
    "string or null": (str, type(None)),
    "list or null": (list, type(None)),
    "object or null": (dict, type(None)),
}


def tables(page: str) -> list[dict[str, str]]:
    """The tables of a page: first column → second, a row with several names in the first taken apart."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    found = []
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        rows = [line.strip("| ").split(" | ") for line in block.splitlines()[2:]]
        found.append({name: row[1] for row in rows for name in re.findall(r"`([^`]+)`", row[0])})
    return found


@pytest.fixture(scope="session")
def report(work: Path) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(call(work, "curate", "report", "web", "--json").stdout)
    return shown


def fits(table: dict[str, str], entries: Iterable[dict[str, Any]]) -> None:
    for entry in entries:
        assert set(table) == set(entry)
        for key, value in entry.items():
            assert isinstance(value, KINDS[table[key]]), key
            assert isinstance(value, bool) == (table[key] == "boolean"), key


def test_the_report_is_as_documented(report: dict[str, Any]) -> None:
    whole, step, output = tables("ledger.md")
    fits(whole, [report])
    fits(step, report["steps"])
    fits(output, report["outputs"])
    tally = set(list(step)[list(step).index("rows_in") :]) - {"by_language"}
    assert len(tally) == 8
    for entry in report["steps"]:
        for numbers in entry["by_language"].values():
            assert set(numbers) == tally


def test_the_status_is_as_documented(work: Path, report: dict[str, Any]) -> None:
    status = json.loads(call(work, "curate", "status", "web", "--json").stdout)
    assert set(status) == {*report, "holder", "queue"}


def test_the_run_folder_is_as_documented(work: Path) -> None:
    files, _, overlay, quarantine, _ = tables("run-folder.md")
    named = {name.partition("/")[0] for name in files}
    assert {path.name for path in (work / "runs" / "web").iterdir()} <= named | {"cache"}
    schema = pq.read_schema(next((work / "runs" / "web" / "overlays" / "pass1").iterdir()))
    own = {name for name in schema.names if "__" not in name}
    assert own == set(overlay) - {"<step>__<quantity>"}
    assert list(quarantine) == SCHEMA.names
