"""Every error has a code that the catalogue explains, an exit status by its family, and survives a process boundary."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from curate.core.catalogue import CATALOGUE
from curate.core.errors import CurateError, Position, Problem, error

ROOT = Path(__file__).parents[2]
_CODE = re.compile(r"[\"']([A-Z]\d{3})[\"']")


def codes_in_sources() -> set[str]:
    """Codes that the packages raise."""
    files = [p for package in ("curate", "lid", "filters", "dedup") for p in (ROOT / package).rglob("*.py")]
    catalogue = ROOT / "curate" / "core" / "catalogue.py"
    return {code for p in files if p != catalogue for code in _CODE.findall(p.read_text(encoding="utf-8"))}


def test_the_catalogue_and_the_sources_name_the_same_codes() -> None:
    assert codes_in_sources() == set(CATALOGUE)


@pytest.mark.parametrize("code", CATALOGUE)
def test_an_entry_says_what_it_means_and_what_to_do(code: str) -> None:
    entry = CATALOGUE[code]
    assert re.fullmatch(r"(C[12]|R3|D4|E5)\d\d", code)
    assert entry.title
    assert not entry.title.endswith(".")
    assert entry.meaning.endswith(".")
    assert entry.remedy.endswith(".")


def test_codes_are_in_order_within_a_family() -> None:
    for family in "CRDE":
        codes = [code for code in CATALOGUE if code.startswith(family)]
        assert codes == sorted(codes)


@pytest.mark.parametrize(
    ("code", "status"), [("C101", 2), ("C205", 2), ("D401", 2), ("E504", 2), ("R303", 1)]
)
def test_the_family_decides_the_exit_status(code: str, status: int) -> None:
    assert error(code, "x").exit_code == status


def test_one_fault_of_the_run_among_others_makes_it_the_runs() -> None:
    assert CurateError([Problem("C101", "a"), Problem("R301", "b")]).exit_code == 1


def test_the_exit_status_can_be_given() -> None:
    assert error("D401", "x", exit_code=1).exit_code == 1


def test_a_problem_survives_the_json_between_worker_and_parent() -> None:
    place = Position("web.yaml", 7, 5, 8, "    treshold: 0.8")
    before = [Problem("C103", "unknown key", "help", place, {"row": 3}), Problem("C101", "b")]
    sent = json.loads(json.dumps([dataclasses.asdict(p) for p in before]))
    after = [Problem(**{**p, "position": Position(**p["position"]) if p["position"] else None}) for p in sent]
    assert after == before


def test_the_text_of_an_error_has_all_its_problems() -> None:
    assert str(CurateError([Problem("C101", "one"), Problem("C102", "two")])) == "C101: one; C102: two"


def test_context_is_kept_by_name() -> None:
    assert error("R303", "x", help="h", file="a", row=3).problems[0].context == {"file": "a", "row": 3}
