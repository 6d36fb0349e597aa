"""`curate dedup pairs`: what was compared, and why a document went, against Jaccard in plain Python."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.dedup.test_minhash import families, jaccard
from tests.e2e.cli import Place
from tests.e2e.run_folder import published, strays

CONFIG = """
input: {path: in/*.parquet, set: {source: made}}
steps:
  - {use: dedup.exact, as: same}
  - {use: dedup.minhash, as: near, verify: exact, threshold: 0.8, keep: longest, partitions: 2}
publish:
  - {name: all, path: out/all}
"""


def texts() -> dict[str, str]:
    made = families(9, 600, size=80)
    made[5] = made[4]
    return {f"{n % 3}/{n // 3}": text for n, text in enumerate(made)}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place(tmp_path_factory.mktemp("pairs") / "work")
    write(place / "in")
    place.config(CONFIG)
    place.run().succeeded()
    return place


def write(folder: Path) -> None:
    folder.mkdir()
    for file in "012":
        part = {name: text for name, text in texts().items() if name[0] == file}
        pq.write_table(
            pa.table({"id": list(part), "text": [f"\n{t}\n" for t in part.values()]}),
            folder / f"{file}.parquet",
        )


def test_pairs_and_their_similarity(ran: Place) -> None:
    found = ran.curate("dedup", "pairs", "job", "--step", "near", "--limit", "100000", "--json").json
    assert (found["step"], found["pending"], len(found["pairs"])) == ("near", None, found["found"])
    seen = {"verified": 0, "rejected": 0, "restarred": 0}
    numbers = []
    for pair in found["pairs"]:
        one, other = pair["documents"]
        numbers.append((one["doc"], other["doc"]))
        real = jaccard(texts()[one["id"]], texts()[other["id"]])
        assert pair["similarity"] == pytest.approx(real, abs=1e-6)
        assert (pair["verdict"] == "rejected") == (np.float32(real) < np.float32(0.8))
        assert pair["shared_bands"] > 0 or pair["verdict"] == "restarred"
        assert pair["same_cluster"] or pair["verdict"] == "rejected"
        assert one["first_line"] == texts()[one["id"]]
        assert (one["source"], one["language"]) == ("made", "und")
        seen[pair["verdict"]] += 1
    assert numbers == sorted(set(numbers))
    assert min(seen["verified"], seen["rejected"]) > 20
    removed = {d["id"] for p in found["pairs"] for d in p["documents"] if d["keep"] is False}
    report = ran.report()
    step, counts = next(s for s in report["steps"] if s["step"] == "near"), report["jobs"]["near"]
    assert len(removed) == step["rows_dropped"] == counts["removed"]
    assert counts["candidates"] == seen["verified"] + seen["rejected"]
    assert counts["restarred"] >= seen["restarred"]
    assert (
        report["jobs"]["same"]["removed"]
        == next(s for s in report["steps"] if s["step"] == "same")["rows_dropped"]
    )
    some = ran.curate(
        "dedup", "pairs", "job", "--step", "near", "--min", "0.7", "--max", "0.85", "--json"
    ).json
    fit = [p for p in found["pairs"] if 0.7 <= p["similarity"] <= 0.85]
    assert some["found"] == len(fit) > 5
    assert some["pairs"] == fit[:20]


def test_one_document_its_cluster_and_the_chain_to_its_survivor(ran: Place) -> None:
    every = ran.curate("dedup", "pairs", "job", "--step", "near", "--limit", "100000", "--json").json["pairs"]
    good = [[d["id"] for d in p["documents"]] for p in every if p["verdict"] != "rejected"]
    near: dict[str, set[str]] = {}
    for one, other in good:
        near.setdefault(one, set()).add(other)
        near.setdefault(other, set()).add(one)
    by_id = {d["id"]: d for p in every for d in p["documents"]}

    def reached(start: str) -> dict[str, int]:
        """Steps to every document of its component."""
        away, edge = {start: 0}, [start]
        for step in itertools.count(1):
            edge = sorted({n for here in edge for n in near[here]} - away.keys())
            away |= dict.fromkeys(edge, step)
            if not edge:
                return away
        return away

    def survivor(start: str) -> str:
        return max(reached(start), key=lambda n: (len(texts()[n].encode()), -by_id[n]["doc"]))

    gone = [n for n in near if not by_id[n]["keep"]]
    victim = max(gone, key=lambda n: (reached(n)[survivor(n)], n))
    found = ran.curate("dedup", "pairs", "job", "--step", "near", "--id", victim, "--json").json
    assert all(victim in [d["id"] for d in pair["documents"]] for pair in found["pairs"])
    (life,) = found["documents"]
    assert life["document"]["id"] == victim
    assert life["chain"][-1]["id"] == survivor(victim)
    assert life["chain"][-1]["keep"]
    assert len(life["chain"]) == reached(victim)[survivor(victim)] > 1
    for here, link in itertools.pairwise([life["document"], *life["chain"]]):
        assert link["similarity"] == pytest.approx(
            jaccard(texts()[here["id"]], texts()[link["id"]]), abs=1e-6
        )
        assert link["similarity"] >= np.float32(0.8)
    assert {m["id"] for m in life["members"]} == set(reached(victim)) or life["cluster_size"] > 20
    assert life["cluster_size"] == len(reached(victim))
    shown = ran.curate("dedup", "pairs", "job", "--step", "near", "--doc", str(life["document"]["doc"]))
    assert "came to its survivor by" in shown.out
    assert f"{found['found']} pair" in shown.out


def test_records_for_the_next_phase_alone_are_removed_and_made_again_where_they_are_needed(
    ran: Place,
) -> None:
    run, shown = ran / "runs/job", ["dedup", "pairs", "job", "--step", "near", "--limit", "100000", "--json"]
    before, pairs = published(ran / "out/all"), ran.curate(*shown).json
    for _ in range(2):
        kept = {folder.name for folder in (run / "exchange").iterdir()}
        passing = {"near.attach", "near.fetch"}
        assert kept >= {"pass2", "near.link", "near.verify", "near.measure"}
        assert not kept & passing
        assert all(phase["pending"] == 0 for phase in ran.plan().values())
        next((run / "exchange/near.verify").iterdir()).unlink()
        assert {name for name, phase in ran.plan().items() if phase["pending"]} == {
            "near.attach",
            "near.verify",
        }
        ran.run().succeeded()
        assert published(ran / "out/all") == before
    assert ran.curate(*shown).json == pairs
    assert strays(run, ran / "out/all") == []


def test_equal_documents_and_wrong_questions(ran: Place) -> None:
    found = ran.curate("dedup", "pairs", "job", "--step", "same", "--limit", "1000", "--json").json
    equal = [tuple(d["id"] for d in pair["documents"]) for pair in found["pairs"]]
    first: dict[str, str] = {}
    for name in sorted(texts(), key=lambda n: (n[0], int(n[2:]))):
        first.setdefault(texts()[name], name)
    assert sorted(equal) == sorted((n, first[t]) for n, t in texts().items() if first[t] != n)
    assert ("2/1", "1/1") in equal
    assert {(pair["verdict"], pair["documents"][1]["keep"]) for pair in found["pairs"]} == {("equal", True)}
    several = ran.curate("dedup", "pairs", "job")
    assert (several.code, "--step same or near" in several.err) == (2, True), several.err
    assert ran.curate("dedup", "pairs", "job", "--step", "none").code == 2
    ran.curate("dedup", "pairs", "job", "--step", "near", "--id", "9/9").failed_with("R308", exit_code=1)
