"""`filters.quantile` against sorting in plain Python with exact fractions, over shards and partitions in any order."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from curate.cli import cli
from curate.core.batch import DocBatch
from curate.core.errors import CurateError
from curate.core.stage import Context
from curate.running.jobs import MapperStep
from curate.running.pipeline import Pipeline
from filters.quantile import QuantileConfig, QuantileJob
from tests.dedup.phases import batch_of, run_job
from tests.runtime.toys import Choose, Modulus, step

Row = dict[str, Any]
VALUE = st.one_of(
    st.none(), st.just(math.nan), st.sampled_from([0.0, -0.0, 1.0, 2.5, -3.0]), st.floats(width=32)
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "a__score": VALUE,
            "b__score": VALUE,
            "lang": st.sampled_from(["deu_Latn", "eng_Latn", None]),
            "source": st.sampled_from(["x", "y"]),
            "text": st.text(max_size=8),
            "n": st.one_of(st.none(), st.integers(-2, 9)),
        }
    ),
    max_size=40,
)


def shards_of(rows: list[Row], cut: int = 0) -> tuple[list[DocBatch], list[int]]:
    """Two shards, and the `doc` of each row."""
    made, docs = [], []
    for number, part in enumerate((rows[:cut], rows[cut:])):
        columns = {
            "a__score": pa.array([r["a__score"] for r in part], pa.float32()),
            "b__score": pa.array([r["b__score"] for r in part], pa.float64()),
            "lang": pa.array([r["lang"] for r in part], pa.string()),
            "source": pa.array([r["source"] for r in part], pa.string()),
            "n": pa.array([r["n"] for r in part], pa.int32()),
        }
        batch = batch_of([r["text"] for r in part], number << 32, **columns)
        made.append(DocBatch(batch.record, language="lang"))
        docs += [number << 32 | row for row in range(len(part))]
    return made, docs


def decided(
    rows: list[Row], scratch: Path, cut: int = 0, seed: int | None = None, **options: Any
) -> list[Row]:
    job = QuantileJob(QuantileConfig.model_validate(options))
    shards, docs = shards_of(rows, cut)
    marks, _ = run_job(job, shards, scratch, partitions=4 if seed is not None else 1, seed=seed)
    return [marks[doc] for doc in docs]


def number(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else float(np.float32(value))


def expected_ranks(values: list[Any], keys: list[Any], docs: list[int], weights: list[int]) -> list[Any]:
    """Exact: the weight of those before over the weight of all; smaller `doc` ranks higher."""
    out: list[Any] = [None] * len(values)
    for key in set(keys):
        rows = [i for i, k in enumerate(keys) if k == key and values[i] is not None]
        rows.sort(key=lambda i: (values[i], -docs[i]))
        total = sum(weights[i] for i in rows)
        before = 0
        for i in rows:
            out[i] = Fraction(before, total) if total else Fraction(0)
            if not total:
                out[i] = Fraction(1)  # nothing has weight, nothing is below
            before += weights[i]
    return out


@settings(max_examples=60, deadline=None)
@given(
    rows=ROWS,
    cut=st.integers(0, 40),
    quantile=st.sampled_from([0, 0.1, 0.3, 0.5, 0.6, 0.7, 1]),
    seed=st.integers(),
)
@pytest.mark.parametrize("rule", ["all", "any", "mean_rank", "max_rank", "k_of_n"])
def test_verdicts_are_those_of_sorting(
    tmp_path_factory: pytest.TempPathFactory, rule: str, rows: list[Row], cut: int, quantile: float, seed: int
) -> None:
    scratch = tmp_path_factory.getbasetemp()
    weight = ("documents", "bytes", "n")[seed % 3]
    by = [(), "language", ["source", "language"]][seed % 5 % 3]
    k = {"k": 1 + seed % 2} if rule == "k_of_n" else {}
    options = {"columns": ["a__score", "b__score"], "keep": {rule: quantile, **k}, "by": by, "weight": weight}
    found = decided(rows, scratch, cut, seed, **options)
    _, docs = shards_of(rows, cut)
    keys = [
        tuple(r[c] for c in (("source", "lang") if len(by) == 2 else ("lang",) if by else ())) for r in rows
    ]
    weights = [
        {"documents": 1, "bytes": len(r["text"].encode()), "n": max(r["n"] or 0, 0)}[weight] for r in rows
    ]
    columns = [
        expected_ranks([number(r["a__score"]) for r in rows], keys, docs, weights),
        expected_ranks(
            [None if r["b__score"] is None or math.isnan(r["b__score"]) else r["b__score"] for r in rows],
            keys, docs, weights,
        ),
    ]  # fmt: skip
    q = Fraction(str(quantile))
    known = [[c[i] for c in columns if c[i] is not None] for i in range(len(rows))]
    if rule == "all" or k == {"k": 2}:
        keep = [all(rank >= q for rank in ranks) for ranks in known]
    elif rule in ("any", "k_of_n"):
        keep = [not ranks or any(rank >= q for rank in ranks) for ranks in known]
    else:
        measured = [[rank for rank in (row["ranks"] or []) if rank is not None] for row in found]
        whole = [None if not m else max(m) if rule == "max_rank" else sum(m) / len(m) for m in measured]
        again = expected_ranks(whole, keys, docs, weights)
        keep = [rank is None or rank >= q for rank in again]
    assert [row["keep"] for row in found] == keep
    assert [row["reasons"] for row in found] == [[] if k else ["below_quantile"] for k in keep]
    for i, row in enumerate(found):
        for column, rank in zip(columns, row["ranks"], strict=True):
            assert (rank is None) == (column[i] is None)
            if rank is not None and weights_of(keys, weights, column, keys[i]):
                assert rank == pytest.approx(float(column[i]), abs=1e-12)


def weights_of(keys: list[Any], weights: list[int], column: list[Any], key: Any) -> int:
    return sum(w for k, w, c in zip(keys, weights, column, strict=True) if k == key and c is not None)


def rows_with(values: list[float | None], lang: str = "eng_Latn") -> list[Row]:
    return [
        {"a__score": v, "b__score": None, "lang": lang, "source": "x", "text": "t", "n": 1} for v in values
    ]


def test_of_n_documents_n_minus_q_n_stay_ties_or_not(tmp_path: Path) -> None:
    for values in ([float(v) for v in range(10)], [1.0] * 10):
        found = decided(rows_with(values), tmp_path, columns=["a__score"], keep={"all": 0.7})
        assert sum(row["keep"] for row in found) == 3
    assert [row["keep"] for row in found] == [True] * 3 + [False] * 7, "of equals the smaller doc stays"


def test_each_language_has_its_own_quantile(tmp_path: Path) -> None:
    rows = rows_with([1.0, 2.0, 3.0, 4.0]) + rows_with([11.0, 12.0, 13.0, 14.0], "deu_Latn")
    options = {"columns": ["a__score"], "keep": {"all": 0.5}}
    apart = decided(rows, tmp_path, by="language", **options)
    assert [row["keep"] for row in apart] == [False, False, True, True] * 2
    together = decided(rows, tmp_path, **options)
    assert [row["keep"] for row in together] == [False] * 4 + [True] * 4


def test_documents_without_a_value_are_not_counted_and_stay_unless_told(tmp_path: Path) -> None:
    rows = rows_with([None, 1.0, 2.0, math.nan])
    options = {"columns": ["a__score"], "keep": {"all": 0.5}}
    found = decided(rows, tmp_path, **options)
    assert [row["keep"] for row in found] == [True, False, True, True]
    assert [row["ranks"] for row in found] == [[None], [0.0], [0.5], [None]]
    dropped = decided(rows, tmp_path, missing="drop", **options)
    assert [row["reasons"] for row in dropped] == [["missing"], ["below_quantile"], [], ["missing"]]
    job = QuantileJob(QuantileConfig.model_validate(options))
    assert run_job(job, shards_of(rows)[0], tmp_path)[1] == {"missing": 2}


@pytest.mark.parametrize(
    "keep",
    [
        *({}, {"all": 0.5, "any": 0.5}, {"all": 1.5}, {"all": -0.1}, {"most": 0.5}, {"all": math.nan}),
        *({"k_of_n": 0.5}, {"all": 0.5, "k": 1}, {"k_of_n": 0.5, "k": 2}, {"k_of_n": 0.5, "k": 0}),
        *({"softmax": 0.5}, {"softmax": 0.5, "tau": 0}, {"any": 0.5, "tau": 1}, {"any": 0.5, "seed": 1}),
    ],
)
def test_keep_is_one_rule_with_one_quantile(keep: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        QuantileConfig.model_validate({"columns": ["a"], "keep": keep})


def test_columns_must_be_numbers_and_languages_known(tmp_path: Path) -> None:
    rows = rows_with([1.0])
    with pytest.raises(CurateError, match="'source' is string, not a number"):
        decided(rows, tmp_path, columns=["source"], keep={"all": 0.5})
    with pytest.raises(CurateError, match="'a__score' is float, no column of integers"):
        decided(rows, tmp_path, columns=["a__score"], keep={"all": 0.5}, weight="a__score")
    mapper = QuantileJob(
        QuantileConfig.model_validate({"columns": ["a__score"], "keep": {"all": 0.5}, "by": "language"})
    ).mapper(1)
    with pytest.raises(CurateError, match="needs languages"):
        mapper.emit(DocBatch(shards_of(rows)[0][1].record))


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ("columns: [source]", "C206: 'source' is string, not a number"),
        ("columns: [n], weight: x", "C206: 'x' is double, no column of integers"),
        ("columns: [n], by: tags", "C206: 'tags' is list<element: string>, which makes no groups"),
        ("columns: [n], by: language", "C201: `by: language` needs languages"),
    ],
)
def test_faults_of_the_config_are_found_before_work_starts(options: str, fault: str, tmp_path: Path) -> None:
    rows = {"id": ["a"], "text": ["b"], "source": ["s"], "n": [1], "x": [0.5], "tags": [["t"]]}
    pq.write_table(pa.table(rows), tmp_path / "a.parquet")
    config = tmp_path / "c.yaml"
    config.write_text(
        f"input: {{path: {tmp_path}/a.parquet}}\n"
        f"steps: [{{use: filters.quantile, keep: {{all: 0.5}}, {options}}}]\n"
    )
    with pytest.raises(CurateError) as caught:
        CliRunner().invoke(cli, ["check", str(config)], catch_exceptions=False)
    assert fault in str(caught.value)
    assert caught.value.problems[0].position is not None


def test_two_of_three_columns_suffice(tmp_path: Path) -> None:
    rows = [
        {"a__score": a, "b__score": b, "lang": None, "source": "x", "text": "t", "n": n}
        for a, b, n in ((1, 1, 1), (1, 2, 2), (2, 2, 1), (None, 2, 2), (2, None, 1))
    ]
    options = {"columns": ["a__score", "b__score", "n"], "keep": {"k_of_n": 0.5, "k": 2}}
    ranks = [row["ranks"] for row in decided(rows, tmp_path, **options)]
    reached = [sum(r is not None and r >= 0.5 for r in row) for row in ranks]
    assert [row["keep"] for row in decided(rows, tmp_path, **options)] == [number >= 2 for number in reached]
    assert {0, 1, 2} <= set(reached)


def drawn(values: list[float], scratch: Path, **keep: float) -> np.ndarray[Any, np.dtype[np.bool_]]:
    ids = pa.array([f"d{n}" for n in range(len(values))])
    batch = batch_of([""] * len(values), a__score=pa.array(values, pa.float64()), id=ids)
    job = QuantileJob(QuantileConfig.model_validate({"columns": ["a__score"], "keep": keep}))
    assert job.reads() == {"a__score", "id"}
    marks, _ = run_job(job, [DocBatch(batch.record)], scratch)
    return np.array([marks[n]["keep"] for n in range(len(values))])


def test_softmax_draws_without_replacement_by_the_exponential_of_the_score(tmp_path: Path) -> None:
    """Of three scores a third is drawn: the first of each is so with the chance that softmax gives it."""
    count = 6000
    scores = [0.0, 1.0, 2.0] * (count // 3)
    for tau in (0.5, 2.0):
        kept = drawn(scores, tmp_path, softmax=2 / 3, tau=tau)
        assert kept.sum() == count // 3
        # Drawing continues until a third is gone: numpy's generator does the same draw by another road.
        weights = np.exp(np.array(scores) / tau)
        other = np.random.default_rng(7).choice(count, count // 3, replace=False, p=weights / weights.sum())
        for score in range(3):
            mine = int(kept[score::3].sum())
            theirs = int((other % 3 == score).sum())
            assert abs(mine - theirs) < 5 * np.sqrt(count / 3 / 4)
    same, other = (
        drawn(scores, tmp_path, softmax=0.5, tau=1),
        drawn(scores, tmp_path, softmax=0.5, tau=1, seed=1),
    )
    assert (same == drawn(scores, tmp_path, softmax=0.5, tau=1)).all()
    assert (same != other).any()
    cold = drawn(scores, tmp_path, softmax=2 / 3, tau=1e-6)
    assert cold.tolist() == [score == 2 for score in scores], "at no temperature the best stay"


@pytest.mark.parametrize(
    ("over", "docs"), [("reaching", [1, 2, 4]), ("entering", [0, 1, 2, 3, 4])], ids=["reaching", "entering"]
)
def test_entering_documents_count_though_a_step_dropped_them(
    tmp_path: Path, over: str, docs: list[int]
) -> None:
    """The reader drops document 0 and a selector 3 and 5, of which 5 has no value."""
    texts = ["", "a", "bb", "ccc", "dddd", "eeeee"]
    record = batch_of(texts, n=pa.array([9, 1, None, 2, 3, None], pa.int64())).record
    options = {"columns": ["n"], "keep": {"all": 0.5}, "weight": "bytes", "over": over}
    job = QuantileJob(QuantileConfig.model_validate(options))
    plan, select = step("chosen", Choose(Modulus()))
    context = Context(models=tmp_path, scratch=tmp_path)
    mapper = MapperStep(plan, job.mapper(1))
    pipeline = Pipeline([(plan, select)], context, None, first=True, mapper=mapper)
    pipeline.start_unit()
    outcome = pipeline.run(record)
    assert outcome.overlay.column("drop").to_pylist() == ["read", None, None, "chosen", None, "chosen"]
    assert outcome.mapped is not None
    assert outcome.mapped.records.column("doc").to_pylist() == docs
    assert outcome.mapped.records.column("weight").to_pylist() == docs


@settings(max_examples=40, deadline=None)
@given(rows=ROWS, cut=st.integers(0, 40), quantile=st.sampled_from([0, 0.3, 0.5, 0.7, 1]), seed=st.integers())
@pytest.mark.parametrize("rule", ["all", "mean_rank", "max_rank"])
def test_sketched_quantiles_keep_what_exact_ones_keep_and_no_more_than_a_bucket(
    tmp_path_factory: pytest.TempPathFactory, rule: str, rows: list[Row], cut: int, quantile: float, seed: int
) -> None:
    """For any division into units. Values of which no two share a bucket unless they are equal are ranked exactly."""
    scratch = tmp_path_factory.getbasetemp()
    options = {"columns": ["a__score", "b__score"], "keep": {rule: quantile}, "by": "language"}
    found = decided(rows, scratch, cut, None, method="sketched", **options)
    assert found == decided(rows, scratch, cut, seed, method="sketched", **options)
    exact = decided(rows, scratch, cut, None, **options)
    for row, sketched, other in zip(rows, found, exact, strict=True):
        for name, rank, upper in zip(
            ("a__score", "b__score"), sketched["ranks"], other["ranks"], strict=True
        ):
            assert (rank is None) == (upper is None) == (number(row[name]) is None)
            assert rank is None or rank <= upper
        if rule == "all":
            assert sketched["keep"] >= other["keep"]


def test_a_sketch_is_exact_where_values_differ_enough(tmp_path: Path) -> None:
    values = [1 + n / 1000 for n in range(100)] * 2
    rows = rows_with(values[:100]) + rows_with([-v for v in values[100:]], "deu_Latn")
    options = {"columns": ["a__score"], "keep": {"all": 0.7}, "by": "language"}
    exact = decided(rows, tmp_path, 50, **options)
    assert decided(rows, tmp_path, 50, method="sketched", **options) == exact
    assert sum(row["keep"] for row in exact) == 60
    near = rows_with([1.0, 1 + 2**-13, 1 + 2**-11])
    found = decided(near, tmp_path, method="sketched", columns=["a__score"], keep={"all": 0.34})
    assert [row["keep"] for row in found] == [False, False, True]
    found = decided(near, tmp_path, method="sketched", columns=["a__score"], keep={"all": 0.33})
    assert [row["keep"] for row in found] == [True, True, True], "a bucket goes as a whole"
