"""A later phase sees exactly the documents that are still alive, with the texts as the passes before left them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.core import overlay
from curate.core.commit import Done, describe
from curate.core.errors import CurateError
from curate.core.layout import RunFolder
from curate.core.manifest import InputSpec, Manifest
from curate.core.overlay import OverlayWriter
from curate.core.plan import Phase, Plan, StepPlan, packed_schema
from curate.io.listing import build_manifest
from curate.io.source import read_shard, source_schema
from curate.running.joined import SIZE, ShardView
from curate.running.pipeline import Pipeline
from curate.running.quarantine import BadRow
from tests.runtime.toys import Bounds, Bytes, Choose, Mark, Modulus, Upper, Word, passing, step

TEXTS = (None, "", "x", "y one", "two words", "x and y", "ß" * 30, "last y")


class Run:
    """A source file, and passes over it whose overlays are read by the next one."""

    def __init__(self, root: Path, texts: list[str | None], group: int = 7) -> None:
        path = root / "in" / "a.parquet"
        path.parent.mkdir(parents=True)
        table = pa.table({"text": pa.array(texts, pa.string()), "n": pa.array(range(len(texts)), pa.int64())})
        pq.write_table(table, path, row_group_size=group)
        spec = InputSpec(None, (str(path),), None, None, {}, {"licence": "CC0-1.0"}, "fail")
        self.folder = RunFolder(root / "run")
        self.manifest: Manifest = build_manifest((spec,), previous=None, update=False)
        schema = source_schema(self.manifest, (spec,))
        self.plan = Plan("t", "0", None, packed_schema(schema), (spec,), (), (), str(root), None, True, {})
        self.overlays: list[tuple[Phase, Done]] = []

    def view(self) -> ShardView:
        return ShardView(self.plan, self.manifest, self.folder, 0, None, tuple(self.overlays))

    def rows(self, *columns: str) -> list[dict[str, Any]]:
        return [row for batch in self.view().batches(columns) for row in batch.to_pylist()]

    def run(self, *steps: Any) -> list[dict[str, Any]]:
        """One more pass; gives its overlay's rows."""
        name = f"pass{len(self.overlays) + 1}"
        phase = Phase(name, "pass", "f", tuple(plan for plan, _ in steps))
        pipeline = passing(*steps, first=not self.overlays)
        path = self.folder.overlay(name, 0, "a")
        rows: list[dict[str, Any]] = []
        rewritten = 0
        with OverlayWriter(path, pipeline.schema) as writer:
            for record in self._input(pipeline, [plan for plan, _ in steps]):
                outcome = pipeline.run(*record)
                writer.append(outcome.overlay)
                rows += outcome.overlay.to_pylist()
                rewritten += outcome.rewritten
        outputs = {"overlay": describe(self.folder, path)}
        done = Done(0, "f", 0, "a", len(rows), 0, outputs, {"rewritten": rewritten})
        self.overlays.append((phase, done))
        return rows

    def _input(self, pipeline: Pipeline, steps: list[StepPlan]) -> Any:
        if pipeline.first:
            schema = source_schema(self.manifest, self.plan.inputs)
            for batch in read_shard(self.manifest, self.plan.inputs, 0, schema=schema, validate=True):
                yield batch.record, [BadRow(b.doc, "read", b.reason) for b in batch.bad]
            return
        written = {c for plan in steps for c in plan.writes}
        wanted = ["text", *(c for plan in steps for c in plan.reads if c not in {*written, "doc", "text"})]
        yield from ((record, []) for record in self.view().batches(list(dict.fromkeys(wanted))))


def mark(name: str, word: str) -> Any:
    return step(name, Mark(Word(word=word)))


@settings(deadline=None, max_examples=60)
@given(
    rows=st.lists(st.sampled_from(TEXTS), min_size=1, max_size=40),
    first=st.permutations(["choose", "upper", "size"]),
    small=st.booleans(),
)
def test_the_second_pass_sees_the_living_rows_and_the_rewritten_text(
    tmp_path_factory: pytest.TempPathFactory, rows: list[str | None], first: list[str], small: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if small:
            patch.setattr(overlay, "_READ_ROWS", 3)
            patch.setattr(overlay, "_GROUP_ROWS", 5)
        run = Run(tmp_path_factory.mktemp("run"), rows)
        made = {
            "choose": step("choose", Choose(Modulus())),
            "upper": step("upper", Upper(Word(word="y"))),
            "size": step("size", Bytes(Bounds(least=2))),
        }
        before = run.run(*(made[name] for name in first))
        alive = [row for row in before if row["drop"] is None]
        texts = {row["doc"]: row["text"] or rows[row["doc"]] for row in alive}
        seen = run.rows("text", "n", "size__text_bytes", SIZE, "licence")
        assert [row["doc"] for row in seen] == [row["doc"] for row in alive]
        assert {row["doc"]: row["text"] for row in seen} == texts
        assert [row["n"] for row in seen] == [row["doc"] for row in alive]
        assert [row["size__text_bytes"] for row in seen] == [row["size__text_bytes"] for row in alive]
        assert [row[SIZE] for row in seen] == [len((t or "").encode()) for t in texts.values()]

        second = run.run(
            mark("big", "Y"), step("more", Upper(Word(word="x"))), step("pick", Choose(Modulus(drop=2)))
        )
        assert [row["doc"] for row in second] == [row["doc"] for row in alive]
        assert [row["big__found"] for row in second] == ["Y" in (t or "") for t in texts.values()]
        left = [row["doc"] for row in second if row["drop"] is None]
        third = run.rows("text", "big__found", "size__text_bytes", "n")
        assert [row["doc"] for row in third] == left
        assert [row["text"] for row in third] == [
            (texts[doc] or "").upper() if "x" in (texts[doc] or "") else texts[doc] for doc in left
        ]
        assert [row["n"] for row in third] == left


def test_columns_of_overlays_are_read_without_opening_the_source(tmp_path: Path) -> None:
    run = Run(tmp_path, ["a", "bb", "ccc"])
    run.run(step("size", Bytes(Bounds())))
    (tmp_path / "in" / "a.parquet").unlink()
    assert [row["size__text_bytes"] for row in run.rows("size__text_bytes", SIZE)] == [1, 2, 3]


def test_a_shard_in_which_everything_was_dropped_gives_no_rows(tmp_path: Path) -> None:
    run = Run(tmp_path, ["a", None, "b"])
    run.run(step("size", Bytes(Bounds(least=100))))
    assert run.rows("text", "n") == []
    assert run.run(mark("m", "a")) == []
    assert run.rows("text", "m__found") == []


def test_the_columns_come_in_the_order_asked(tmp_path: Path) -> None:
    run = Run(tmp_path, ["a", "b"])
    run.run(step("size", Bytes(Bounds())), mark("m", "a"))
    (batch,) = run.view().batches(["n", "m__found", "text", "doc"])
    assert batch.schema.names == ["doc", "n", "m__found", "text"]


def test_an_input_rewritten_between_passes_is_an_error(tmp_path: Path) -> None:
    run = Run(tmp_path, ["a", "b", "c"])
    run.run(mark("m", "a"))
    pq.write_table(pa.table({"text": ["a"], "n": [0]}), tmp_path / "in" / "a.parquet")
    with pytest.raises(CurateError, match="R301"):
        run.rows("text")


def test_an_input_that_lacks_a_document_is_an_error_even_if_the_file_looks_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path, ["a", "b", "c"])
    run.run(mark("m", "a"))
    path = tmp_path / "in" / "a.parquet"
    pq.write_table(pa.table({"text": ["a", "b"], "n": [0, 1]}), path, row_group_size=7)
    facts = path.stat()
    file = dataclasses.replace(run.manifest.files[0], size=facts.st_size, stamp=str(facts.st_mtime_ns))
    run.manifest = dataclasses.replace(run.manifest, files=(file,))
    with pytest.raises(CurateError, match=r"R301|D401"):
        run.rows("text")


def test_an_overlay_that_was_damaged_is_an_error(tmp_path: Path) -> None:
    run = Run(tmp_path, ["a", "b", "c"])
    run.run(mark("m", "a"))
    path = run.folder.absolute(run.overlays[0][1].outputs["overlay"].path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CurateError, match="R306"):
        run.rows("text")


def test_records_that_were_quarantined_do_not_come_back(tmp_path: Path) -> None:
    """A row that is not UTF-8 is in the source for every pass; only the first one judges it."""
    run = Run(tmp_path, ["good", "also good", "last"])
    table = pq.read_table(tmp_path / "in" / "a.parquet")
    broken = pa.array([b"good", b"\xff\xfe", b"last"], pa.binary()).view(pa.string())
    pq.write_table(table.set_column(0, "text", broken), tmp_path / "in" / "a.parquet")
    spec = dataclasses.replace(run.plan.inputs[0], on_error="quarantine")
    run.manifest = build_manifest((spec,), previous=None, update=False)
    run.plan = dataclasses.replace(run.plan, inputs=(spec,))
    rows = run.run(mark("m", "o"))
    assert [row["drop"] for row in rows] == [None, "quarantine", None]
    assert [(row["doc"], row["text"]) for row in run.rows("text", "n")] == [(0, "good"), (2, "last")]
    assert [row["doc"] for row in run.run(mark("second", "o"))] == [0, 2]
    assert [row["m__found"] for row in run.rows("m__found", "second__found")] == [True, False]
