"""The plan survives its JSON, fingerprints depend on what they should, and units are packed into tasks fairly."""

from __future__ import annotations

import dataclasses
import json

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from curate.core.manifest import ColumnSpec, InputSpec
from curate.core.plan import OutputPlan, Phase, Plan, StepPlan, digest, pack, packed_schema

STEP = StepPlan(
    name="lid",
    use="lid.fasttext",
    options={"model": "lid.176.ftz", "top_k": 3},
    version=1,
    kind="annotator",
    when="source != 'wiki'",
    filters=False,
    reads=("source", "text"),
    writes={"lid__lang": "string", "lid__prob": "float"},
    title="lid.fasttext",
    artifacts={"model": "0f" * 16},
    provenance={"model": "lid.176.ftz"},
)
OUTPUT = OutputPlan(
    name="pretrain",
    path="/data/out",
    where="lid__prob > 0.5",
    partition_by="lid__lang",
    shard_bytes=256_000_000,
    row_group_bytes=32_000_000,
    seed=1,
    preset="fineweb2",
    columns=(("language", "\0language"), ("text", "text")),
    licence="CC0-1.0",
    title="Größe 🏴",
)
SCHEMA = pa.schema(
    [pa.field("doc", pa.int64(), nullable=False), pa.field("text", pa.string(), metadata={"k": "v"})]
)
PLAN = Plan(
    name="web",
    version="0.1",
    language="lid__lang",
    source=packed_schema(SCHEMA),
    inputs=(
        InputSpec(
            "docs",
            ("a/*.parquet",),
            None,
            "parquet",
            {"text": ColumnSpec("body", "string")},
            {"n": 1},
            "fail",
        ),
        InputSpec(None, (), "list.txt", None, {}, {"ok": True, "f": 0.5, "s": "x"}, "quarantine"),
    ),
    phases=(
        Phase("ingest", "ingest", "f0"),
        Phase("pass1", "pass", "f1", (STEP,), resources={"gpus": 0}),
        Phase("pretrain.write", "write", "f2", output="pretrain"),
    ),
    outputs=(OUTPUT,),
    models="/models",
    local_tmp=None,
    offline=True,
    config={"name": "web", "steps": []},
)


def test_a_plan_survives_its_json() -> None:
    again = Plan.from_json(PLAN.to_json())
    assert again == PLAN
    assert again.to_json() == PLAN.to_json()


def test_a_plan_is_plain_ascii_json_without_pickles() -> None:
    assert PLAN.to_json().isascii()
    assert json.loads(PLAN.to_json())["format"] == 1


def test_the_source_schema_is_kept_with_its_metadata() -> None:
    found = Plan.from_json(PLAN.to_json()).source_schema
    assert found.equals(SCHEMA, check_metadata=True)


def test_parts_are_found_by_name() -> None:
    assert PLAN.phase("pass1").steps == (STEP,)
    assert PLAN.output("pretrain") is OUTPUT
    assert PLAN.steps == (STEP,)
    assert [p.name for p in PLAN.passes] == ["pass1"]


def test_a_steps_identity_holds_what_decides_its_output_and_no_more() -> None:
    def identity(**changes: object) -> str:
        return digest(dataclasses.replace(STEP, **changes).identity())  # type: ignore[arg-type]

    for changes in (
        {"name": "other"},
        {"use": "lid.other"},
        {"options": {"model": "lid.176.ftz", "top_k": 4}},
        {"version": 2},
        {"when": None},
        {"filters": True},
        {"artifacts": {"model": "00"}},
    ):
        assert identity(**changes) != identity(), changes
    assert identity(title="another", provenance={}) == identity()


def test_an_outputs_place_decides_nothing() -> None:
    elsewhere = dataclasses.replace(OUTPUT, path="/elsewhere", licence=None, title=None)
    assert elsewhere.selection() == OUTPUT.selection()
    assert elsewhere.arrangement() == OUTPUT.arrangement()
    for changes in ({"where": None}, {"partition_by": None}):
        assert dataclasses.replace(OUTPUT, **changes).selection() != OUTPUT.selection()  # type: ignore[arg-type]
    for more in ({"seed": 2}, {"seed": None}, {"shard_bytes": 1}, {"row_group_bytes": 1}, {"columns": ()}):
        assert dataclasses.replace(OUTPUT, **more).arrangement() != OUTPUT.arrangement()  # type: ignore[arg-type]


def test_a_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1})
    assert digest("a", "b") != digest("ab")
    assert digest(["a"], "b") != digest("a", ["b"])


sizes = st.dictionaries(st.integers(0, 500), st.integers(0, 10**12), max_size=40)


@given(sizes=sizes, tasks=st.integers(1, 50))
def test_every_unit_is_in_exactly_one_task_and_no_task_is_empty(sizes: dict[int, int], tasks: int) -> None:
    packed = pack(sizes, tasks)
    assert sorted(u for task in packed for u in task) == sorted(sizes)
    assert all(packed)
    assert all(task == sorted(task) for task in packed)
    assert len(packed) == min(tasks, len(sizes))


@given(sizes=sizes, tasks=st.integers(1, 50), seed=st.randoms())
def test_packing_does_not_depend_on_the_order_of_units(
    sizes: dict[int, int], tasks: int, seed: object
) -> None:
    items = list(sizes.items())
    seed.shuffle(items)  # type: ignore[attr-defined]
    assert pack(dict(items), tasks) == pack(sizes, tasks)


@given(sizes=sizes.filter(bool), tasks=st.integers(1, 50))
def test_no_task_is_much_heavier_than_its_share(sizes: dict[int, int], tasks: int) -> None:
    """Longest first is within 4/3 of the best there is (Graham 1969), which is no less than the share or one unit."""
    packed = pack(sizes, tasks)
    heaviest = max(sum(sizes[u] for u in task) for task in packed)
    share = sum(sizes.values()) / len(packed)
    assert heaviest <= share + max(sizes.values())


def test_equal_units_are_spread_evenly_even_when_they_weigh_nothing() -> None:
    assert sorted(len(task) for task in pack(dict.fromkeys(range(10), 0), 4)) == [2, 2, 3, 3]
    assert sorted(len(task) for task in pack(dict.fromkeys(range(10), 5), 4)) == [2, 2, 3, 3]


def test_as_many_tasks_as_units_is_one_unit_each() -> None:
    assert pack({3: 9, 1: 2, 2: 5}, 3) == [[3], [2], [1]]
    assert pack({3: 9, 1: 2, 2: 5}, 1) == [[1, 2, 3]]
    assert pack({}, 3) == []
