"""Documents held against an index: what is published stays, what is like it goes, and the index grows into another one."""

from __future__ import annotations

import itertools
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from curate.core.batch import DocBatch
from curate.core.commit import checksum_of
from curate.core.errors import CurateError
from curate.core.stage import Context
from dedup import export, index
from dedup.exact import STAGE as EXACT
from dedup.exact import ExactConfig
from dedup.index import Published
from dedup.minhash import STAGE as MINHASH
from dedup.minhash import MinhashConfig, parameters
from tests.dedup.phases import batch_of, run_job
from tests.dedup.test_minhash import families, jaccard

Marks = dict[int, dict[str, Any]]


def shards(texts: list[str], name: str, count: int = 3) -> list[DocBatch]:
    """Documents whose ids are `name/row`, in shards of about the same size."""
    cuts = np.linspace(0, len(texts), count + 1).astype(int).tolist()
    return [
        batch_of(texts[a:b], number << 32, id=pa.array([f"{name}/{row}" for row in range(a, b)]))
        for number, (a, b) in enumerate(itertools.pairwise(cuts))
    ]


def texts_by_name(batches: list[DocBatch]) -> dict[str, str]:
    return {
        name: text
        for batch in batches
        for name, text in zip(batch.column("id").to_pylist(), batch.text.to_pylist(), strict=True)
    }


def names_of(batches: list[DocBatch]) -> dict[int, str]:
    return {
        doc: name
        for batch in batches
        for doc, name in zip(batch.column("doc").to_pylist(), batch.column("id").to_pylist(), strict=True)
    }


def job_of(kind: str, **options: Any) -> Any:
    return MINHASH(MinhashConfig(**options)) if kind == "minhash" else EXACT(ExactConfig(**options))


def decide(
    kind: str, batches: list[DocBatch], scratch: Path, partitions: int = 4, **options: Any
) -> tuple[dict[str, dict[str, Any]], Any]:
    """Marks by id, with the ids of survivors in place of their numbers, and the job."""
    job = job_of(kind, **options)
    marks, _ = run_job(job, batches, scratch, partitions=partitions, seed=1)
    names = names_of(batches)

    def name(number: int | None) -> str | None:
        if number is None or number >= 0:
            return None if number is None else names[number]
        found = job.describe(number)
        assert found is not None
        return str(found["id"])

    return {
        names[doc]: mark | {role: name(mark[role]) for role in ("survivor", "partner") if role in mark}
        for doc, mark in marks.items()
    }, job


def batches_of_texts(kind: str) -> list[list[DocBatch]]:
    """Three batches: exact and near copies within each and of the ones before."""
    texts = families(3, 540, size=60) if kind == "minhash" else [f"text {n * 7919 % 160}" for n in range(540)]
    np.random.default_rng(9).shuffle(texts)  # so that most families are in several batches
    return [shards(texts[a : a + 180], name) for name, a in (("a", 0), ("b", 180), ("c", 360))]


CHAINS = [
    ("exact", {}),
    ("exact", {"keep": "longest"}),
    ("minhash", {"verify": "exact", "cluster": "star", "threshold": 0.8}),
    ("minhash", {"verify": "exact"}),
    ("minhash", {"cluster": "star"}),
    ("minhash", {"verify": "none", "keep": "longest"}),
]


@pytest.mark.parametrize(("kind", "options"), CHAINS, ids=str)
def test_a_growing_chain_keeps_its_laws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, options: dict[str, Any]
) -> None:
    monkeypatch.setattr(index, "BLOCK", 50)  # several virtual shards and row groups
    monkeypatch.setattr(export, "BLOCK", 50)
    batches = batches_of_texts(kind)
    texts = {name: text for batch in batches for name, text in texts_by_name(batch).items()}
    published: list[str] = []
    against: list[str] = []
    across = 0
    for number, batch in enumerate(batches):
        grown = str(tmp_path / f"index{number}")
        marks, job = decide(kind, batch, tmp_path, **options, against=against, index=grown)
        for name, mark in marks.items():
            assert (mark["survivor"] is None) == mark["keep"]
            if mark["keep"]:
                continue
            survivor = mark["survivor"]
            across += survivor in published
            # It is published already, or survives this run: never something that was removed.
            assert survivor in published or marks[survivor]["keep"]
            if kind == "exact":
                assert texts[name] == texts[survivor]
            elif options.get("cluster") == "star" and options.get("verify") == "exact":
                assert mark["similarity"] == np.float32(jaccard(texts[name], texts[survivor]))
                assert mark["similarity"] >= np.float32(0.8)
            elif options.get("verify") == "exact":
                bound = parameters(MinhashConfig(**options)).bound
                assert jaccard(texts[name], texts[mark["partner"]]) >= bound
                graph = {**{doc: texts[doc] for doc in published}, **texts_by_name(batch)}
                assert survivor == mark["partner"] or survivor in reached(name, graph, bound)
                assert mark["similarity"] == np.float32(jaccard(texts[name], texts[survivor]))
        published += [name for name, mark in marks.items() if mark["keep"]]
        held = Published([grown], job_kind(job))
        listed = [held.describe(-1 - place) for place in range(len(published))]
        assert [found["id"] for found in listed if found] == published  # places never change
        assert held.describe(-1 - len(published)) is None
        against = [grown]
    assert across > 20


def reached(start: str, texts: dict[str, str], bound: float) -> set[str]:
    """Documents that a chain of pairs at or over the bound leads to."""
    found, edge = {start}, [start]
    while edge:
        here = edge.pop()
        near = [n for n, text in texts.items() if n not in found and jaccard(texts[here], text) >= bound]
        found.update(near)
        edge += near
    return found


@pytest.mark.parametrize("cluster", ["components", "star"])
def test_published_documents_that_a_new_one_joins(tmp_path: Path, cluster: str) -> None:
    """O1 – B – O2 – A: each like the next alone, the Os published."""
    base = ["".join(letters) for letters in itertools.islice(itertools.product("abcdef", repeat=3), 200)]
    chain = [base]
    for step in range(3):
        changed = [
            "xyz"[step] if n % 30 == 9 * step + 5 and n < 180 else word for n, word in enumerate(chain[-1])
        ]
        chain.append(changed)
    first, b, second, a = (" ".join(words) for words in chain)
    pairs = [jaccard(x, y) for x, y in itertools.combinations((first, b, second, a), 2)]
    assert [round(similarity, 2) for similarity in pairs] == [0.73, 0.53, 0.37, 0.73, 0.53, 0.73]
    options: dict[str, Any] = {
        "bands": 40,
        "rows": 3,
        "min_similarity": 0.7,
        "verify": "exact",
        "cluster": cluster,
    }
    path = str(tmp_path / "index")
    old, _ = decide("minhash", shards([first, second], "o", 1), tmp_path, **options, index=path)
    assert all(mark["keep"] for mark in old.values())
    new, _ = decide("minhash", shards([a, b], "n", 1), tmp_path, **options, against=[path])
    like_a = new["n/0"]
    assert like_a["partner"] == "o/1"
    expected = ("o/0", pairs[2]) if cluster == "components" else ("o/1", pairs[5])
    assert (like_a["survivor"], like_a["similarity"]) == (expected[0], np.float32(expected[1]))
    assert new["n/1"]["survivor"] == "o/0"


def job_kind(job: Any) -> str:
    return "dedup.minhash" if isinstance(job, MINHASH) else "dedup.exact"


@pytest.mark.parametrize("cuts", [(180, 360), (60, 500), (0, 270), (539, 540)])
def test_exact_decides_the_same_in_one_batch_and_in_many(tmp_path: Path, cuts: tuple[int, int]) -> None:
    chance = np.random.default_rng(4)
    texts = [f"text {n}" for n in chance.integers(0, 150, 540)]
    whole, _ = decide("exact", shards(texts, "d"), tmp_path)
    fates: dict[str, tuple[bool, str | None]] = {}
    against: list[str] = []
    edges = [0, *cuts, 540]
    for number, (a, b) in enumerate(itertools.pairwise(edges)):
        batch = batch_of(texts[a:b], 0, id=pa.array([f"d/{n}" for n in range(a, b)], pa.string()))
        grown = str(tmp_path / f"index{number}")
        marks, _ = decide("exact", [batch], tmp_path, against=against, index=grown)
        fates |= {name: (mark["keep"], mark["survivor"]) for name, mark in marks.items()}
        against = [grown]
    assert fates == {name: (mark["keep"], mark["survivor"]) for name, mark in whole.items()}


@pytest.mark.parametrize("kind", ["exact", "minhash"])
@pytest.mark.parametrize("partitions", [1, 8])
def test_what_is_published_decides_in_any_number_of_partitions(
    tmp_path: Path, kind: str, partitions: int
) -> None:
    old, new, _ = batches_of_texts(kind)
    path = str(tmp_path / "index")
    decide(kind, old, tmp_path, 2, index=path)
    found, _ = decide(kind, new, tmp_path, partitions, against=[path])
    expected, _ = decide(kind, new, tmp_path, 4, against=[path])
    assert found == expected
    assert any(str(mark["survivor"]).startswith("a/") for mark in found.values())


def test_two_indexes_that_share_a_segment_have_it_once(tmp_path: Path) -> None:
    a, b, c = batches_of_texts("exact")
    decide("exact", a, tmp_path, index=str(tmp_path / "one"))
    decide("exact", b, tmp_path, against=[str(tmp_path / "one")], index=str(tmp_path / "two"))
    both, _ = decide("exact", c, tmp_path, against=[str(tmp_path / "one"), str(tmp_path / "two")])
    alone, _ = decide("exact", c, tmp_path, against=[str(tmp_path / "two")])
    assert both == alone
    old = next((tmp_path / "one").glob("segment-*/keys.parquet"))
    linked = tmp_path / "two" / old.relative_to(tmp_path / "one")
    assert old.stat().st_ino == linked.stat().st_ino  # never rewritten


def test_marks_only_publishes_all(tmp_path: Path) -> None:
    a, b, _ = batches_of_texts("exact")
    path = str(tmp_path / "index")
    marks, _ = decide("exact", a, tmp_path, index=path, keep="none")
    assert all(mark["keep"] for mark in marks.values())
    assert Published([path], "dedup.exact").documents == len(marks)
    held, _ = decide("exact", b, tmp_path, against=[path], keep="none")
    assert all(mark["keep"] for mark in held.values())
    assert any(str(mark["survivor"]).startswith("a/") for mark in held.values())


@pytest.mark.parametrize("kind", ["exact", "minhash"])
def test_where_nothing_is_dropped_all_are_published(tmp_path: Path, kind: str) -> None:
    a, *_ = batches_of_texts(kind)
    path = str(tmp_path / "index")
    marks, _ = run_job(job_of(kind, index=path), a, tmp_path, drops=False)
    assert not all(mark["keep"] for mark in marks.values())
    assert Published([path], f"dedup.{kind}").documents == len(marks)


def test_what_a_word_is_decides_about_minhash_alone(tmp_path: Path) -> None:
    a, *_ = batches_of_texts("exact")
    path = str(tmp_path / "index")
    decide("exact", a, tmp_path, index=path)
    context = Context(models=tmp_path, scratch=tmp_path, words="spacy-like")
    assert list(job_of("exact", against=[path]).artifacts(context)) == ["against/0"]


def test_an_index_of_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "index")
    empty = [batch_of([], id=pa.array([], pa.string()))]
    decide("minhash", empty, tmp_path, index=path)
    old, _, _ = batches_of_texts("minhash")
    alone, _ = decide("minhash", old, tmp_path, keep="first")
    held, _ = decide("minhash", old, tmp_path, against=[path])
    assert held == alone


# --- refusals


@pytest.fixture
def made(tmp_path: Path) -> Path:
    old, _, _ = batches_of_texts("minhash")
    decide("minhash", old[:1], tmp_path, index=str(tmp_path / "index"), bands=10, rows=4)
    return tmp_path / "index"


def refusal(path: Path, kind: str = "minhash", words: Any = "unicode", **options: Any) -> str:
    job = job_of(kind, against=[str(path)], **options)
    with pytest.raises(CurateError) as caught:
        job.artifacts(Context(models=path, scratch=path, words=words))
    (problem,) = caught.value.problems
    assert problem.code == "C209"
    assert caught.value.exit_code == 2
    return problem.message


def test_parameters_that_differ_are_named_with_both_values(made: Path) -> None:
    fitting = {"bands": 10, "rows": 4}
    assert "made with rows: 4, and this step has 5" in refusal(made, **fitting | {"rows": 5})
    assert 'with verify: "signature", and this step has "none"' in refusal(made, **fitting, verify="none")
    assert 'with scope: [], and this step has ["dump"]' in refusal(made, **fitting, scope=["dump"])
    assert 'run_words: "unicode", and this step has "spacy-like"' in refusal(
        made, words="spacy-like", **fitting
    )
    assert "is an index of dedup.minhash, and this step is dedup.exact" in refusal(made, "exact")
    job_of("minhash", against=[str(made)], **fitting).artifacts(Context(models=made, scratch=made))


@pytest.mark.parametrize("kind", ["exact", "minhash"])
def test_every_parameter_is_compared_before_work(tmp_path: Path, kind: str) -> None:
    old, _, _ = batches_of_texts(kind)
    index = tmp_path / "index"
    decide(kind, old[:1], tmp_path, index=str(index))
    known = json.loads((index / "index.json").read_text())
    names = set(known["parameters"])
    assert names >= {"version", "scope"}
    for name in names:
        for others in (
            known["parameters"] | {name: "other"},
            {key: value for key, value in known["parameters"].items() if key != name},
        ):
            (index / "index.json").write_text(json.dumps(known | {"parameters": others}))
            assert f"was made with {name}: " in refusal(index, kind)
    (index / "index.json").write_text(json.dumps(known | {"parameters": {**known["parameters"], "later": 1}}))
    assert "was made with later: 1, and this step has none" in refusal(index, kind)


def test_another_version_is_refused(made: Path) -> None:
    known = json.loads((made / "index.json").read_text())
    known["parameters"]["version"] += 1
    (made / "index.json").write_text(json.dumps(known))
    version = MINHASH.VERSION
    assert f"made with version: {version + 1}, and this step has {version}" in refusal(made, bands=10, rows=4)
    (made / "index.json").write_text(json.dumps(known | {"format": 2}))
    assert "has format 2, and this version reads 1" in refusal(made, bands=10, rows=4)


def test_damage_is_refused(made: Path, tmp_path: Path) -> None:
    assert "is no index: it has no index.json" in refusal(tmp_path / "nowhere")
    keys = next(made.glob("segment-*/keys.parquet"))
    whole = keys.read_bytes()
    keys.write_bytes(whole[:-7])
    assert f"has {len(whole) - 7:,} bytes instead of {len(whole):,}" in refusal(made, bands=10, rows=4)
    keys.write_bytes(whole[:99] + bytes([whole[99] ^ 1]) + whole[100:])
    assert "is damaged: its checksum is another one" in refusal(made, bands=10, rows=4)
    keys.unlink()
    assert "No such file" in refusal(made, bands=10, rows=4)
    known = json.loads((made / "index.json").read_text())
    for harm in ("name", "documents", "files", "key_ranges", "run"):
        lacking = [{key: value for key, value in known["segments"][0].items() if key != harm}]
        (made / "index.json").write_text(json.dumps(known | {"segments": lacking}))
        assert "index.json cannot be read" in refusal(made, bands=10, rows=4)
    for others in (None, "bands"):
        (made / "index.json").write_text(json.dumps(known | {"parameters": others}))
        assert "index.json cannot be read" in refusal(made, bands=10, rows=4)
    outside = [known["segments"][0] | {"name": "../segment"}]
    (made / "index.json").write_text(json.dumps(known | {"segments": outside}))
    assert "is no segment" in refusal(made, bands=10, rows=4)
    (made / "index.json").write_text('{"format": 1')
    assert "index.json cannot be read" in refusal(made, bands=10, rows=4)


def test_an_index_that_is_replaced_during_a_run_is_refused(tmp_path: Path) -> None:
    a, b, _ = batches_of_texts("exact")
    path = tmp_path / "index"
    decide("exact", a, tmp_path, index=str(path))
    planned = job_of("exact", against=[str(path)])
    here = Context(models=tmp_path, scratch=tmp_path)
    artifacts = {role: checksum_of(file) for role, file in planned.artifacts(here).items()}
    same = job_of("exact", against=[str(path)])
    same.open(replace(here, artifacts=artifacts))
    run_job(same, b, tmp_path)
    shutil.rmtree(path)
    decide("exact", b, tmp_path, index=str(path))
    later = job_of("exact", against=[str(path)])
    later.open(replace(here, artifacts=artifacts))
    with pytest.raises(CurateError, match="is another index than when the run was planned"):
        run_job(later, b, tmp_path)


def test_an_index_does_not_grow_in_place(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="name a new folder for the grown one"):
        ExactConfig(against=(str(tmp_path / "i"),), index=str(tmp_path / "x/../i"))


# --- writing


def test_the_same_index_may_be_written_again_and_another_one_not(tmp_path: Path) -> None:
    a, b, _ = batches_of_texts("exact")
    path = tmp_path / "index"
    decide("exact", a, tmp_path, index=str(path))
    before = {p: p.read_bytes() for p in path.rglob("*.*")}
    decide("exact", a, tmp_path, index=str(path))
    with pytest.raises(CurateError) as caught:
        decide("exact", b, tmp_path, index=str(path))
    assert caught.value.problems[0].code == "R312"
    assert {p: p.read_bytes() for p in path.rglob("*.*")} == before
    assert list(tmp_path.glob(".index.*")) == []


@pytest.mark.parametrize("harm", ["gone", "cut", "changed"])
def test_half_an_index_is_not_taken_for_a_whole_one(tmp_path: Path, harm: str) -> None:
    a, *_ = batches_of_texts("exact")
    path = tmp_path / "index"
    decide("exact", a, tmp_path, index=str(path))
    keys = next(path.glob("segment-*/keys.parquet"))
    whole = keys.read_bytes()
    keys.unlink()
    if harm != "gone":
        keys.write_bytes(whole[:-1] if harm == "cut" else bytes([whole[0] ^ 1]) + whole[1:])
    with pytest.raises(CurateError, match="is there already, but not whole"):
        decide("exact", a, tmp_path, index=str(path))


def place_fault(path: Path, kind: str = "exact", run: str = "", **options: Any) -> str:
    job = job_of(kind, index=str(path), **options)
    with pytest.raises(CurateError) as caught:
        job.artifacts(Context(models=path, scratch=path, run=run))
    (problem,) = caught.value.problems
    assert (problem.code, problem.context["option"]) == ("R312", "index")
    return problem.message


def test_a_place_that_is_taken_is_refused_before_work(tmp_path: Path) -> None:
    a, b, _ = batches_of_texts("exact")
    one, two = tmp_path / "one", tmp_path / "two"
    decide("exact", a, tmp_path, index=str(one))
    decide("exact", b, tmp_path, against=[str(one)], index=str(two))
    here = Context(models=tmp_path, scratch=tmp_path)
    job_of("exact", index=str(one)).artifacts(here)  # an attempt of this run may have left it
    job_of("exact", index=str(two), against=[str(one)]).artifacts(here)
    assert "as the index of another run" in place_fault(one, run="other")
    assert "as the index of another run" in place_fault(one, by="url")
    assert "as the index of another run" in place_fault(one, "minhash")
    assert "as the index of another run" in place_fault(two)
    assert "as the index of another run" in place_fault(one, against=[str(two)])
    (tmp_path / "run").mkdir()
    step = {"use": "dedup.exact", "options": {"index": str(two)}}
    (tmp_path / "run/plan.json").write_text(json.dumps({"phases": [{"steps": [step]}]}))
    assert "is read by `against` too" in place_fault(two, against=[str(tmp_path / "run")])
    (tmp_path / "empty").mkdir()
    job_of("exact", index=str(tmp_path / "empty")).artifacts(here)
    (tmp_path / "empty/notes.txt").touch()
    assert "is no index of this run" in place_fault(tmp_path / "empty")


def test_what_a_killed_attempt_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / ".index.killed"
    (left / "segment").mkdir(parents=True)
    (left / "lock").touch()
    a, *_ = batches_of_texts("exact")
    decide("exact", a, tmp_path, index=str(tmp_path / "index"))
    assert not left.exists()


def test_every_document_of_an_index_is_there_with_its_keys(tmp_path: Path) -> None:
    a, *_ = batches_of_texts("minhash")
    marks, _ = decide("minhash", a, tmp_path, index=str(tmp_path / "index"))
    kept = [name for name, mark in marks.items() if mark["keep"]]
    (segment,) = (tmp_path / "index").glob("segment-*")
    table = pq.read_table(segment / "documents.parquet")
    assert table["id"].to_pylist() == kept
    texts = texts_by_name(a)
    assert table["first_line"].to_pylist() == [texts[name][:120] for name in kept]
    keys = pq.read_table(segment / "keys.parquet")
    assert len(keys) == 14 * len(kept)
    assert keys["key"].to_pylist() == sorted(keys["key"].to_pylist())
    counts = np.bincount(keys["row"].to_numpy(), minlength=len(kept))
    assert set(counts.tolist()) == {14}
    shutil.rmtree(tmp_path / "index")
