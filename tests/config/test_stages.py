"""Steps are found by name, without importing any; a step that cannot be used is an error with its cause."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from curate import stages
from curate.core.errors import CurateError

Outside = Callable[[str, str], str]


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outside]:
    """Install a package with one step, of that source and entry point; gives the step's name."""

    def install(source: str, target: str) -> str:
        name = f"outside_{tmp_path.name.replace('-', '_')}"
        (tmp_path / f"{name}.py").write_text(source)
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[curate.stages]\n{name} = {name}{target}\n")
        monkeypatch.syspath_prepend(tmp_path)
        stages._outside.cache_clear()
        return name

    yield install
    stages._outside.cache_clear()


def refusal(name: str) -> tuple[str, str, str]:
    with pytest.raises(CurateError) as caught:
        stages.load(name)
    (problem,) = caught.value.problems
    return problem.code, problem.message, problem.help


def test_a_file_that_defines_a_stage_is_a_step() -> None:
    found = stages.names()
    assert {"filters.select", "filters.gopher_quality", "lid.fasttext"} <= set(found)
    assert "filters.stopwords" not in found
    assert found == sorted(found)


def test_listing_imports_no_step_and_nothing_heavy() -> None:
    code = (
        "import sys; from curate import stages, diagnostics; from curate.core import errors; stages.names();"
        "print([m for m in sys.modules if m.split('.')[0] in"
        " ('pyarrow', 'polars', 'numpy', 'numba', 'pydantic', 'filters', 'lid', 'dedup', 'click', 'rich')"
        " and m not in ('filters', 'lid', 'dedup')])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_a_name_loads_its_class() -> None:
    stage = stages.load("filters.select")
    assert (stage.__name__, stages.kind(stage)) == ("Select", "selector")
    assert stages.kind(stages.load("filters.gopher_quality")) == "annotator"


@pytest.mark.parametrize("name", stages.names())
def test_every_step_loads_and_has_a_kind_and_described_options(name: str) -> None:
    stage = stages.load(name)
    assert stages.kind(stage) in ("annotator", "selector", "job")
    fields = stage.Config.model_fields
    assert [field for field, info in fields.items() if not info.description] == []


@pytest.mark.parametrize(
    ("name", "help"),
    [
        ("filters.gopher_qualty", "did you mean 'filters.gopher_quality'?"),
        ("select", "did you mean 'filters.select'?"),
        ("filters.stopwords", None),
        ("os", "`curate stages` lists the steps there are"),
        ("../../etc/passwd", "`curate stages` lists the steps there are"),
        ("", "`curate stages` lists the steps there are"),
    ],
)
def test_an_unknown_name_is_c105(name: str, help: str | None) -> None:
    code, message, said = refusal(name)
    assert (code, message) == ("C105", f"there is no step '{name}'")
    assert help is None or said == help


STEP = """
class Mine:
    Config = object
    def keep(self, batch): ...
"""


@pytest.mark.parametrize(("source", "target"), [(STEP + "STAGE = Mine\n", ""), (STEP, ":Mine")])
def test_another_package_adds_a_step(outside: Outside, source: str, target: str) -> None:
    name = outside(source, target)
    assert name in stages.names()
    assert name not in stages.names(outside=False)
    assert stages.kind(stages.load(name)) == "selector"


@pytest.mark.parametrize(
    ("source", "message", "help"),
    [
        (
            "import no_such_package",
            "No module named 'no_such_package'",
            "install the package that provides 'no_such_package'",
        ),
        ("1 / 0", "ZeroDivisionError: division by zero", None),
        ("x = 3", "defines no STAGE class with a Config", "end the module in `STAGE = YourStep`"),
        ("class A: Config = object\nSTAGE = A", "has none of mapper, annotate, keep", "give it one of them"),
    ],
)
def test_a_step_that_cannot_be_used_is_e502(
    outside: Outside, source: str, message: str, help: str | None
) -> None:
    name = outside(source, "")
    code, said, advice = refusal(name)
    assert code == "E502"
    assert said.startswith(f"the step {name} cannot be")
    assert message in said
    assert help is None or advice == help
