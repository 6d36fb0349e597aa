"""Runs that publish, made in this process: an executor without processes takes the place of the local one.

Everything else is the real thing: checks, phases, done-files, exchange, and the move into the output folder.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML

from curate.core.layout import RunFolder
from curate.core.plan import OutputPlan, Phase, Plan
from curate.planning.session import Request, prepare
from curate.running import run as run_module
from curate.running.locks import locked
from curate.running.run import Execution, execute
from curate.running.task import Worker


class InProcess:
    """Does every unit here, one after the other, in the order given. delay: seconds after which its files are seen."""

    delay = 0.0

    def __init__(self, root: Path, **_: Any) -> None:
        self._root = root

    def __enter__(self) -> InProcess:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(
        self,
        phase: Phase,
        tasks: Sequence[Sequence[int]],
        listener: Any,
        describe: Callable[[int], Mapping[str, object]],
    ) -> None:
        worker = Worker(self._root)
        try:
            for number, units in enumerate(tasks):
                worker.run(phase.name, units, number, listener.progress)
        finally:
            worker.close()


class Silent:
    """Hears what an execution tells and says nothing."""

    def progress(self, rows: int, size: int, work: object = None) -> None: ...

    def unit_done(self, unit: int) -> None: ...

    def retrying(self, unit: int, why: str) -> None: ...

    def phase_started(self, phase: Phase, units: int, done: int, size: int) -> None: ...

    def phase_finished(self, phase: Phase) -> None: ...


class Publisher:
    """A folder with inputs and one config. `publish` runs it; `rows` reads what stands in the output."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(run_module, "LocalExecutor", InProcess)
        self.root = root
        self.out = root / "out"
        self.steps: list[dict[str, Any]] = []
        self.language: str | None = "lang"

    def input(self, rows: Sequence[Mapping[str, Any]], name: str = "a.parquet", group: int = 1000) -> None:
        path = self.root / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), path, row_group_size=group)

    def config(self, **entry: Any) -> Path:
        config: dict[str, Any] = {
            "name": "tiny",
            "input": [{"path": str(self.root / "in" / "*.parquet")}],
            "steps": self.steps,
            "publish": [{"name": "data", "path": str(self.out), **entry}],
            "run_dir": str(self.root / "run"),
        }
        if self.language is not None:
            config["language"] = self.language
        path = self.root / "tiny.yaml"
        with path.open("w", encoding="utf-8") as file:
            yaml = YAML(typ="safe", pure=True)
            yaml.sort_base_mapping_type_on_output = False
            yaml.dump(json.loads(json.dumps(config)), file)
        return path

    def publish(self, *, force: bool = False, tasks: int | None = None, **entry: Any) -> Plan:
        session = prepare(Request(self.config(**entry), force=force))
        how = Execution(workers=1, threads=1, retries=0, tasks=tasks, environment={})
        with locked(session.folder):
            if force:
                run_module.start_anew(session.folder, session.compiled.plan)
            plan = session.compiled.plan
            execute(plan, session.compiled.manifest, session.folder, how, Silent(), lambda: None)
        return plan

    @property
    def output(self) -> OutputPlan:
        """The output as the run folder's plan has it."""
        return Plan.from_json(self.folder.plan.read_text(encoding="utf-8")).output("data")

    @property
    def folder(self) -> RunFolder:
        return RunFolder(self.root / "run")

    def files(self) -> list[str]:
        """Names of the published Parquet files, in order."""
        return sorted(str(p.relative_to(self.out)) for p in self.out.rglob("*.parquet"))

    def bytes(self) -> dict[str, bytes]:
        """Every file of the output folder."""
        return {
            str(p.relative_to(self.out)): p.read_bytes() for p in sorted(self.out.rglob("*")) if p.is_file()
        }

    def rows(self, below: str = "") -> list[dict[str, Any]]:
        """Rows of all files below a folder of the output, file by file."""
        return [
            row
            for name in self.files()
            if name.startswith(below)
            for row in pq.ParquetFile(self.out / name).read().to_pylist()
        ]

    def schema(self) -> pa.Schema:
        return pq.read_schema(self.out / self.files()[0])


def documents(count: int, **columns: Callable[[int], Any]) -> list[dict[str, Any]]:
    """So many documents of two languages."""
    return [
        {
            "id": f"id-{n}",
            "text": f"Document number {n}. " + "Some words. " * (n % 7),
            "lang": ("deu_Latn", "eng_Latn", "deu_Latn", None)[n % 4],
            **{name: make(n) for name, make in columns.items()},
        }
        for n in range(count)
    ]
