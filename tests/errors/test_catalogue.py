"""The catalogue, the page in the docs, the source and the fixtures know the same codes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fixtures import CONFIGS, FIXTURES, Place

from curate.core.catalogue import CATALOGUE
from curate.core.errors import CurateError, error
from curate.diagnostics import render

ROOT = Path(__file__).parent.parent.parent
SOURCES = [path for folder in ("curate", "lid", "filters", "dedup") for path in (ROOT / folder).rglob("*.py")]


def test_every_code_in_the_source_is_in_the_catalogue() -> None:
    used = {
        code: path.name
        for path in SOURCES
        if path.name != "catalogue.py"
        for code in re.findall(r'"([CRDE]\d{3})"', path.read_text())
    }
    assert {code: name for code, name in used.items() if code not in CATALOGUE} == {}


def test_every_code_of_the_catalogue_is_used() -> None:
    text = "".join(path.read_text() for path in SOURCES if path.name != "catalogue.py")
    assert [code for code in CATALOGUE if f'"{code}"' not in text] == []


def test_every_code_has_an_entry_in_the_docs() -> None:
    page = (ROOT / "docs/errors.md").read_text()
    assert re.findall(r"^### (\w+): (.*)$", page, re.MULTILINE) == [
        (c, e.title) for c, e in CATALOGUE.items()
    ]


def test_every_code_has_a_fixture() -> None:
    assert sorted(set(CATALOGUE) - set(FIXTURES)) == []
    assert sorted(set(FIXTURES) - set(CATALOGUE)) == []


def test_entries_are_sentences() -> None:
    for code, entry in CATALOGUE.items():
        assert re.fullmatch(r"[CRDE]\d{3}", code)
        assert not entry.title.endswith(".")
        assert entry.meaning.endswith(".")
        assert entry.remedy.endswith(".")


@pytest.mark.parametrize("code", sorted(FIXTURES))
def test_the_situation_gives_the_error(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CurateError) as caught:
        FIXTURES[code](Place(tmp_path, monkeypatch))
    problems = caught.value.problems
    assert {problem.code for problem in problems} == {code}
    assert caught.value.exit_code in (
        (2,) if code[0] == "C" else (3,) if code in ("R310", "R321") else (1, 2)
    )
    shown = render(problems)
    assert shown.startswith(f"error[{code}]: {problems[0].message[:1]}")
    if code in CONFIGS:
        assert f"{tmp_path}/web.yaml:" in shown


@pytest.mark.parametrize(
    ("code", "status"), [("C101", 2), ("C203", 2), ("D401", 2), ("E504", 2), ("R303", 1)]
)
def test_the_family_decides_the_exit_status(code: str, status: int) -> None:
    assert error(code, "no").exit_code == status
    assert error(code, "no", exit_code=1).exit_code == 1
