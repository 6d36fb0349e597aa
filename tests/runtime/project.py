"""A small project in a folder of its own: some documents, a config, and the way from there to a compiled run."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML

from curate.core.errors import CurateError
from curate.planning.compile import Compiled
from curate.planning.session import Request, prepare

ROWS = [
    {
        "id": f"d{n}",
        "text": f"text number {n}",
        "lang": ("deu_Latn", "eng_Latn")[n % 2],
        "n": n,
        "source": "docs",
    }
    for n in range(6)
]


class Project:
    """`config` is the config as Python has it; tests change it before they compile."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "in").mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(ROWS), root / "in" / "a.parquet")
        self.config: dict[str, Any] = {
            "name": "tiny",
            "language": "lang",
            "input": [{"path": str(root / "in" / "*.parquet")}],
            "steps": [
                {"use": "filters.select", "as": "first", "expression": "n >= 1"},
                {"use": "filters.gopher_quality", "as": "gopher", "min_words": 2},
            ],
            "publish": [{"name": "all", "path": str(root / "out"), "partition_by": "language"}],
            "run_dir": str(root / "run"),
        }

    @property
    def file(self) -> Path:
        path = self.root / "tiny.yaml"
        yaml = YAML(typ="safe", pure=True)
        yaml.default_flow_style = False
        yaml.sort_base_mapping_type_on_output = False
        with path.open("w", encoding="utf-8") as file:
            yaml.dump(json.loads(json.dumps(self.config)), file)
        return path

    def compile(self, *overrides: str) -> Compiled:
        return prepare(Request(self.file, overrides)).compiled

    def faults(self, *overrides: str) -> list[tuple[str, str]]:
        """Code and message of everything that is wrong, in the order shown."""
        with pytest.raises(CurateError) as caught:
            self.compile(*overrides)
        assert caught.value.exit_code == 2
        for problem in caught.value.problems:
            assert problem.help, f"{problem.code} says nothing to do next"
            assert problem.position is not None, f"{problem.code} has no place"
        return [(p.code, p.message) for p in caught.value.problems]

    def codes(self, *overrides: str) -> list[str]:
        return [code for code, _ in self.faults(*overrides)]

    def fingerprints(self, *overrides: str) -> dict[str, str]:
        return {phase.name: phase.fingerprint for phase in self.compile(*overrides).plan.phases}


def differing(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Phases of both whose fingerprints differ."""
    return [name for name in after if name in before and before[name] != after[name]]


Make = Callable[[], Project]


def write_jsonl(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
