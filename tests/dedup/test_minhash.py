"""`dedup.minhash` as a whole: near-duplicates go, each with a twin that stays, whatever the order of work."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from curate.core.batch import DocBatch
from curate.core.errors import CurateError
from dedup.minhash import STAGE, MinhashConfig, parameters
from dedup.shingles import shingles
from tests.corpus import DOCUMENTS
from tests.dedup.phases import batch_of, run_job
from tests.e2e.cli import Fault, Place
from tests.e2e.killing import KILL_GROUP
from tests.e2e.run_folder import published, strays

WORDS = ["".join(letters) for letters in itertools.product("aeiou", "bdfgk", "lmnrs", "aeiou", "ptvz")]


def edited(words: list[str], changes: int, chance: random.Random) -> list[str]:
    words = list(words)
    for _ in range(changes):
        words[chance.randrange(len(words))] = chance.choice(WORDS)
    return words


def families(seed: int, count: int, size: int = 200) -> list[str]:
    """Documents, many of which are edited versions of others, some versions of versions."""
    chance = random.Random(seed)
    texts: list[list[str]] = []
    for _ in range(count):
        if texts and chance.random() < 0.5:
            texts.append(edited(chance.choice(texts[-40:]), chance.choice([0, 0, 1, 2, 3, 5, 8, 13]), chance))
        else:
            texts.append(chance.choices(WORDS, k=size))
    return [" ".join(words) for words in texts]


def shards_of(texts: list[str], shards: int) -> list[DocBatch]:
    cuts = np.linspace(0, len(texts), shards + 1).astype(int)
    return [
        batch_of(texts[a:b], first=number << 32)
        for number, (a, b) in enumerate(itertools.pairwise(cuts.tolist()))
    ]


def by_doc(shards: list[DocBatch]) -> dict[int, str]:
    return {
        doc: text
        for shard in shards
        for doc, text in zip(shard.column("doc").to_pylist(), shard.text.to_pylist(), strict=True)
    }


def jaccard(one: str, other: str) -> float:
    """Of the sets of runs of five words, in plain Python."""
    sets = []
    for text in (one, other):
        words = text.split()
        sets.append({tuple(words[i : i + 5]) for i in range(max(1, len(words) - 4))})
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def run(
    shards: list[DocBatch], scratch: Path, *, partitions: int = 1, seed: int | None = None, **options: Any
) -> tuple[dict[int, dict[str, Any]], dict[str, int]]:
    marks, counts = run_job(
        STAGE(MinhashConfig(**options)), shards, scratch, partitions=partitions, seed=seed
    )
    return marks, dict(counts)


MODES = [
    {},
    {"keep": "longest"},
    {"cluster": "star"},
    {"cluster": "star", "keep": "longest", "threshold": 0.8},
    {"verify": "exact", "cluster": "star", "threshold": 0.8},
    {"verify": "exact", "keep": "longest"},
    {"verify": "none"},
    {"verify": "none", "keep": "longest", "bands": 20, "rows": 5},
]


@pytest.mark.parametrize("options", MODES, ids=str)
def test_every_removal_has_a_recorded_twin_that_survived(tmp_path: Path, options: dict[str, Any]) -> None:
    shards = shards_of(families(1, 900), 4)
    texts = by_doc(shards)
    marks, counts = run(shards, tmp_path, partitions=4, **options)
    bound = parameters(MinhashConfig(**options)).bound
    removed = {doc: mark for doc, mark in marks.items() if not mark["keep"]}
    assert len(removed) > 150
    members: dict[int, list[int]] = {}
    for doc, mark in marks.items():
        if mark["cluster"] is not None:
            members.setdefault(mark["cluster"], []).append(doc)
    for doc, mark in removed.items():
        survivor = marks[mark["survivor"]]
        assert survivor["keep"]
        assert survivor["survivor"] is None
        assert survivor["cluster"] == mark["cluster"] == min(members[mark["cluster"]])
        assert mark["reasons"] == ["near_duplicate"]
        assert mark["partner"] in members[mark["cluster"]]
        if options.get("verify") == "exact":
            assert jaccard(texts[doc], texts[mark["partner"]]) >= bound
            assert mark["similarity"] == np.float32(jaccard(texts[doc], texts[mark["survivor"]]))
        elif options.get("verify") != "none":
            # An estimate is off by more than five standard errors once in a million.
            assert jaccard(texts[doc], texts[mark["partner"]]) > bound - 0.2
            real = jaccard(texts[doc], texts[mark["survivor"]])
            assert mark["similarity"] == pytest.approx(real, abs=0.2)
        if options.get("cluster") == "star":
            assert mark["partner"] == mark["survivor"]
            assert mark["similarity"] >= np.float32(bound)
    for cluster in members.values():
        kept = [doc for doc in cluster if marks[doc]["keep"]]
        assert len(kept) == 1
        assert {marks[doc]["cluster_size"] for doc in cluster} == {len(cluster)}
        longest = options.get("keep") == "longest"
        best = min(cluster, key=lambda d: (-len(texts[d].encode()) if longest else 0, d))
        assert kept == [best]
    assert counts["removed"] == len(removed)
    alone = [mark for mark in marks.values() if mark["cluster"] is None]
    assert all(mark["keep"] and mark["cluster_size"] == 1 and mark["partner"] is None for mark in alone)
    assert any(mark["similarity"] is None for mark in alone)


@pytest.mark.parametrize("options", MODES, ids=str)
def test_the_answer_is_the_same_for_any_partitions_and_order(tmp_path: Path, options: dict[str, Any]) -> None:
    texts = families(2, 500)
    shards = shards_of(texts, 3)
    answer, _ = run(shards, tmp_path, **options)
    for partitions, seed in ((1, 1), (2, 2), (8, 3), (8, 4)):
        again, _ = run(shards, tmp_path, partitions=partitions, seed=seed, **options)
        assert again == answer


def test_recall_of_removals_is_that_of_the_bands(tmp_path: Path) -> None:
    """Pairs of known similarity, 1,500 a bin: without verification as many meet as theory says."""
    chance = random.Random(5)
    for changes in (3, 6, 10):
        texts, real = [], []
        for _ in range(1500):
            words = chance.choices(WORDS, k=220)
            texts += [" ".join(words), " ".join(edited(words, changes, chance))]
            real.append(jaccard(*texts[-2:]))
        marks, _ = run([batch_of(texts)], tmp_path, verify="none")
        found = np.mean([marks[2 * pair + 1]["survivor"] == 2 * pair for pair in range(1500)])
        assert found == pytest.approx(np.mean([1 - (1 - j**8) ** 14 for j in real]), abs=0.03)


def test_the_named_corpus(tmp_path: Path) -> None:
    names = [name for name in DOCUMENTS if name != "not utf-8"]
    marks, _ = run([batch_of([DOCUMENTS[name].decode() for name in names])], tmp_path)
    twins = {names[doc]: names[m["survivor"]] for doc, m in marks.items() if m["survivor"] is not None}
    assert twins.pop("exact two") == "exact one"
    assert twins == {"near two": "near one", "nul": "near one"}


def test_short_and_empty_documents(tmp_path: Path) -> None:
    marks, _ = run([batch_of(["", "hello there", " ", "Hello, there!", "hello you", "..."])], tmp_path)
    assert [doc for doc, mark in marks.items() if not mark["keep"]] == [3]
    assert marks[3]["survivor"] == 1
    assert marks[3]["similarity"] == 1.0


@pytest.mark.parametrize("verify", ["none", "signature", "exact"])
def test_unrelated_short_documents_whose_hashes_agree_in_32_bits_both_stay(
    tmp_path: Path, verify: str
) -> None:
    texts = ["bade monu gobo boda beba", "fani kilu dafa lide mima"]
    one, other = shingles(batch_of(texts).tokens).values.tolist()
    assert one >> 32 == other >> 32
    marks, _ = run([batch_of([*texts, *texts])], tmp_path, verify=verify)
    assert [mark["survivor"] for mark in marks.values()] == [None, None, 0, 1]


def test_pages_that_differ_in_figures_only_are_told_apart_by_exact_verification(tmp_path: Path) -> None:
    texts = ["12 34 56 78", "99 1 2.5 3,000", "12 34 56 78!", "٩٩ 1 25 3000"]
    expected = {"none": [None, 0, 0, 0], "signature": [None, 0, 0, 0], "exact": [None, None, 0, 1]}
    for verify, survivors in expected.items():
        marks, _ = run([batch_of(texts)], tmp_path, verify=verify)
        assert [mark["survivor"] for mark in marks.values()] == survivors, verify


def test_thousands_of_equal_documents(tmp_path: Path) -> None:
    shards = shards_of(["the same words again and again and again"] * 20_000, 3)
    marks, counts = run(shards, tmp_path, partitions=4)
    assert [doc for doc, mark in marks.items() if mark["keep"]] == [0]
    assert counts["candidates"] == 19_999
    assert counts["edges"] == 14 * 19_999
    cut, counts = run(shards, tmp_path, max_bucket=5000)
    assert counts["cut_buckets"] == 14
    assert counts["cut_documents"] == 14 * 15_000
    assert sum(mark["keep"] for mark in cut.values()) == 4


def test_one_word_a_million_times(tmp_path: Path) -> None:
    marks, _ = run([batch_of(["spam " * 1_000_000, "spam " * 6, "spam " * 4, "ham " * 6])], tmp_path)
    assert {doc: mark["survivor"] for doc, mark in marks.items()} == {0: None, 1: 0, 2: None, 3: None}


def test_scopes_keep_documents_apart(tmp_path: Path) -> None:
    text = "a few words that stand in every one of these documents"
    batch = batch_of(
        [text] * 6,
        dump=pa.array(["a", "b", "a", None, None, ""]),
        source=pa.array(["x", "x", "y", "x", "x", "x"]),
        lid__lang=pa.array(["eng_Latn", "eng_Latn", None, "deu_Latn", "eng_Latn", None]),
    )
    batch = DocBatch(batch.record, language="lid__lang")

    def survivors(scope: Any) -> list[int | None]:
        marks, _ = run([batch], tmp_path, scope=scope)
        return [mark["survivor"] for mark in marks.values()]

    assert survivors(()) == [None, 0, 0, 0, 0, 0]
    assert survivors("dump") == [None, None, 0, None, 3, None]
    assert survivors(["dump", "source"]) == [None, None, None, None, 3, None]
    assert survivors("language") == [None, 0, None, None, 0, 2]
    with pytest.raises(CurateError, match=r"C201.*needs languages"):
        run([DocBatch(batch.record)], tmp_path, scope="language")


def test_marks_alone_remove_nobody(tmp_path: Path) -> None:
    marks, _ = run([batch_of(["the same few words"] * 50)], tmp_path, keep="none")
    assert all(mark["keep"] and mark["reasons"] == [] for mark in marks.values())
    assert {mark["cluster_size"] for mark in marks.values()} == {50}
    assert [mark["survivor"] for mark in marks.values()] == [None] + [0] * 49


def test_a_tie_breaker_decides_where_the_first_criterion_does_not(tmp_path: Path) -> None:
    texts = families(7, 400)
    score = [float(len(text) % 3) for text in texts]
    batch = batch_of(texts, score=pa.array(score))
    marks, _ = run([batch], tmp_path, keep=[{"column": "score"}, "longest"])
    members: dict[int, list[int]] = {}
    for doc, mark in marks.items():
        members.setdefault(doc if mark["cluster"] is None else mark["cluster"], []).append(doc)
    for cluster in members.values():
        best = min(cluster, key=lambda doc: (-score[doc], -len(texts[doc].encode()), doc))
        assert [doc for doc in cluster if marks[doc]["keep"]] == [best]
    decided = [c for c in members.values() if sum(score[d] == max(score[x] for x in c) for d in c) > 1]
    assert len(decided) > 10
    assert STAGE(MinhashConfig(keep=["longest"])).reads() == {"text"}
    assert STAGE(MinhashConfig(keep=[{"column": "n"}, {"source": ["a"]}])).reads() == {"text", "n", "source"}


def test_options_that_contradict_each_other_are_refused() -> None:
    for options, message in [
        ({"threshold": 0.8, "bands": 5}, "give either"),
        ({"cluster": "star", "verify": "none"}, "needs similarities"),
        ({"min_similarity": 0.5, "verify": "none"}, "bound of `verify`"),
        ({"keep": "shortest"}, "keep"),
        ({"words": 0}, "words"),
    ]:
        with pytest.raises(ValidationError, match=message):
            MinhashConfig(**options)


def test_what_a_config_comes_to() -> None:
    plain = parameters(MinhashConfig())
    assert (plain.bands, plain.rows, plain.ranked) == (14, 8, False)
    assert plain.bound == pytest.approx(0.719, abs=0.001)
    chosen = parameters(MinhashConfig(threshold=0.8))
    assert (chosen.bands, chosen.rows) == (14, 8)
    believed = parameters(MinhashConfig(threshold=0.8, verify="none"))
    assert (believed.bands, believed.rows) == (9, 12)
    assert chosen.bound == 0.8
    assert parameters(MinhashConfig(bands=20, rows=5, min_similarity=0.9)).bound == 0.9


def test_partitions_follow_the_size_of_the_input() -> None:
    job = STAGE(MinhashConfig())
    assert job.partitions(10**6) == 1
    assert job.partitions(3 * 10**12) == 1024
    assert STAGE(MinhashConfig(partitions=5)).partitions(10**6) == 8
    assert STAGE(MinhashConfig()).mapper(1).schema().names == ["doc", "key"]
    assert STAGE(MinhashConfig(keep="longest")).mapper(1).schema().names == ["doc", "key", "rank"]


CONFIG = """
input: {path: in/*.parquet}
steps:
  - {use: dedup.minhash, as: near, keep: longest, partitions: 4}
publish:
  - {name: all, path: out/all}
"""


def write_inputs(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    texts = families(3, 400, size=60)
    for number in range(4):
        part = texts[number * 100 : number * 100 + 100]
        ids = [f"{number}/{row}" for row in range(100)]
        pq.write_table(pa.table({"id": ids, "text": part}), folder / f"{number}.parquet")


def made(place: Place) -> Place:
    write_inputs(place / "in")
    place.config(CONFIG)
    return place


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A run of one task that nothing happened to. Tests only read it."""
    place = made(Place(tmp_path_factory.mktemp("quiet") / "work"))
    place.run("--tasks", "1").succeeded()
    return place


@pytest.mark.slow
def test_a_run_from_end_to_end(tmp_path: Path, quiet: Place) -> None:
    several = made(Place(tmp_path / "several"))
    several.run("--tasks", "5", workers=2).succeeded()
    shards = [
        batch_of(pq.read_table(quiet / f"in/{n}.parquet")["text"].to_pylist(), first=n << 32)
        for n in range(4)
    ]
    expected, _ = run(shards, tmp_path, keep="longest")
    for place in (quiet, several):
        marks = pl.read_parquet(place / "runs/job/overlays/pass2/*.parquet")
        removed = marks.filter(~pl.col("near__keep"))
        assert len(removed) > 50
        alive = set(marks.filter(pl.col("drop").is_null())["doc"])
        assert set(removed["near__survivor"]) <= alive
        assert set(removed["drop"]) == {"near"}
        found = {row["doc"]: row["near__survivor"] for row in marks.iter_rows(named=True)}
        assert found == {doc: mark["survivor"] for doc, mark in expected.items()}
    assert published(several / "out/all") == published(quiet / "out/all")


@pytest.mark.slow
def test_a_kill_in_every_phase_changes_nothing(tmp_path: Path, quiet: Place) -> None:
    place = made(Place(tmp_path / "killed"))
    for phase in (
        "pass1",
        "near.link",
        "near.attach",
        "near.verify",
        "near.cluster",
        "near.fetch",
        "near.measure",
        "near.check",
    ):
        assert place.run(faults=[Fault("os:link", KILL_GROUP, rf"done/{phase}/\d", call=1)]).code < 0, phase
    place.run().succeeded()
    assert published(place / "out/all") == published(quiet / "out/all")
    assert strays(place / "runs/job", place / "out/all") == []


@pytest.mark.slow
def test_a_lost_side_file_is_made_again(tmp_path: Path, quiet: Place) -> None:
    place = made(Place(tmp_path / "lost"))
    assert place.run(faults=[Fault("os:link", KILL_GROUP, r"done/near.link/\d", call=1)]).code < 0
    victim = next((place / "runs/job/exchange/pass1").glob("*.side.arrow"))
    victim.write_bytes(victim.read_bytes()[:-100])
    place.run().succeeded()
    assert published(place / "out/all") == published(quiet / "out/all")
    assert strays(place / "runs/job", place / "out/all") == []
