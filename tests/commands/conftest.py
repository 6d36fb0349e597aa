"""One small run, made by the command line itself, that all tests of the commands look at.

    docs/a.parquet   good English and German documents, two with the same id, one with control characters, short ones,
                     ones without text, and one whose text is not UTF-8
    docs/b.jsonl     good documents, one record that is cut off, one that is not UTF-8

`name: tiny`, steps `lid`, `select` and `gopher`, outputs `all` (a folder per language) and `english` (shuffled).
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from curate.cli import cli

ENGLISH = (
    "The committee of the city met on Tuesday to discuss the new bridge that engineers have planned for the river. "
    "Several members of the public came with questions about the cost and the time that the work would take to finish. "
    "The mayor said that the old bridge had served the town for more than eighty years and that it could not be repaired. "
    "After a long debate the committee decided to ask for another report before it would vote on the matter again. "
)
GERMAN = (
    "Der Ausschuss der Stadt traf sich am Dienstag, um über die neue Brücke zu sprechen, die Ingenieure für den Fluss "
    "geplant haben. Viele Bürger kamen mit Fragen nach den Kosten und nach der Zeit, die die Arbeiten brauchen würden. "
    "Die Bürgermeisterin sagte, die alte Brücke habe der Stadt mehr als achtzig Jahre gedient und sei nicht zu retten. "
    "Nach langer Debatte beschloss der Ausschuss, noch einen Bericht zu verlangen, bevor er über die Sache abstimmt. "
)
NUMBERS = "8 3 0 1 1 9 2 7 5 0 0 4 6 6 1 3 8 2 9 5 7 7 0 1 2 4 " * 3

#: id → text of a.parquet, in order.
DOCUMENTS: list[tuple[str, str | None]] = [
    *((f"english/{n}", f"{ENGLISH} Report number {n} of the year.") for n in range(8)),
    *((f"german/{n}", f"{GERMAN} Bericht Nummer {n} des Jahres.") for n in range(3)),
    ("twin", ENGLISH),
    ("twin", GERMAN),
    ("hostile", f"\x1b[31m{ENGLISH}\x07\u202e"),
    ("short/0", "The bridge that the city has planned to build is of steel and it will be long."),
    ("short/1", "The mayor of the town was not there."),
    ("numbers", NUMBERS),
    ("empty", ""),
    ("null", None),
]

CONFIG = """\
name: tiny
input:
  - {path: docs/*.parquet, on_error: quarantine, set: {source: made, licence: CC0-1.0}}
  - {path: docs/*.jsonl, on_error: quarantine}
steps:
  - {use: lid.fasttext, as: lid}
  - {select: lid__prob >= 0.5 and text is not null}
  - {use: filters.gopher_quality, as: gopher, when: "source != 'exempt' or source is null"}
publish:
  - {name: all, path: out/all, partition_by: lid__lang}
  - {name: english, path: out/english, where: lid__lang = 'eng_Latn', shuffle: 1}
execution: {workers: 1}
"""


def write_inputs(root: Path) -> None:
    """The input files and `tiny.yaml` below `root`."""
    (root / "docs").mkdir()
    ids = [id for id, _ in DOCUMENTS]
    texts = pa.array([text for _, text in DOCUMENTS], pa.string())
    broken = pa.array([b"The text of this one \xff is not UTF-8."], pa.binary()).view(pa.string())
    table = pa.table({"id": pa.array([*ids, "broken"]), "text": pa.concat_arrays([texts, broken])})
    pq.write_table(table, root / "docs" / "a.parquet", row_group_size=8)
    lines = [
        json.dumps({"id": "line/0", "text": ENGLISH, "source": "lines"}).encode(),
        b'{"id": "cut", "text": "it ends in the mid',
        b'{"id": "mojibake", "text": "\xff\xfe"}',
        json.dumps(
            {"id": "exempt", "text": "The mayor of the town was not there at all.", "source": "exempt"}
        ).encode(),
        json.dumps({"id": "line/1", "text": GERMAN}).encode(),
    ]
    (root / "docs" / "b.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    (root / "tiny.yaml").write_text(CONFIG, encoding="utf-8")


@pytest.fixture(scope="session")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with the inputs and a finished `runs/tiny`. Tests only read it."""
    root = tmp_path_factory.mktemp("tiny")
    write_inputs(root)
    run = subprocess.run(
        [sys.executable, "-m", "curate", "run", "tiny.yaml"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    (root / "run.stdout").write_text(run.stdout, encoding="utf-8")
    (root / "run.stderr").write_text(run.stderr, encoding="utf-8")
    return root


@pytest.fixture
def curate(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """`curate("report", "tiny")`: the command line in the working directory; expected errors are raised."""
    monkeypatch.chdir(workdir)

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(cli, list(arguments), catch_exceptions=False)

    return invoke
