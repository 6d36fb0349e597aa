"""The books, kept a second time by a reader that shares no code with the tool: polars, the input files, and what the run
folder and the output folders hold.

As sets of ids: in = kept ⊎ dropped ⊎ quarantined. As numbers: per step, reason and language what `report --json` says. And
what is published are exactly the kept documents, with their own texts.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.corpus import TEXTS, rows, write_jsonl, write_parquet
from tests.e2e.cli import Place
from tests.e2e.run_folder import done_records

CONFIG = """
input:
  - {path: sample/*.parquet, name: docs}
  - {path: sample/handmade.jsonl, name: handmade}
  - {path: own/*.parquet, name: own, on_error: quarantine}
  - {path: own/*.jsonl, name: lines, on_error: quarantine}
steps:
  - {use: lid.fasttext, as: lid, top_k: 3}
  - {select: lid__prob >= 0.65, as: sure}
  - {use: filters.gopher_quality, as: gopher}
publish:
  - {name: all, path: out/all, partition_by: language, shuffle: 1, columns: [id, text, lid__lang]}
  - {name: latin, path: out/latin, where: "lid__lang in ['eng_Latn', 'deu_Latn']", columns: [id]}
"""
SAMPLE = Path(__file__).parents[2] / "data/sample"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The sample, the named corpus, rows without ids, broken lines and a file that is no Parquet."""
    place = Place(tmp_path_factory.mktemp("books") / "work")
    (place / "sample").symlink_to(SAMPLE)
    write_parquet(place / "own/made.parquet", rows("made", 300), row_group_size=64)
    corpus = [{"id": name, "text": text} for name, text in TEXTS.items()]
    write_parquet(
        place / "own/corpus.parquet", [*corpus, {"id": None, "text": TEXTS["near one"]}, {"id": "null"}]
    )
    (place / "own/foreign.parquet").write_bytes(b"PAR1 but nothing else\n" * 100)
    write_jsonl(place / "own/lines.jsonl", rows("lines", 200), broken=7)
    place.config(CONFIG)
    place.run(workers=2).succeeded()
    return place


@pytest.fixture(scope="module")
def documents(run: Place) -> pl.DataFrame:
    """`doc id text` of every record of the input that can be read, numbered as the manifest says."""
    manifest = json.loads((run / "runs/job/manifest.json").read_text())
    ingest = done_records(run / "runs/job")["ingest"]
    parts = []
    for shard in manifest["shards"]:
        number, file = shard["number"], manifest["files"][shard["files"][0]]
        if shard["ingest"] is not None:
            path = run / "runs/job" / ingest[shard["ingest"]]["outputs"][f"shard{number}"]["path"]
            frame = pl.read_parquet(path, columns=["doc", "id", "text"])
        elif file["bad"] is not None:
            continue
        else:
            frame = pl.read_parquet(file["location"], columns=["id", "text"]).with_row_index("row")
            frame = frame.slice(shard["first_row"], shard["rows"]).select(
                (pl.col("row").cast(pl.Int64) - shard["first_row"] + (number << 32)).alias("doc"),
                pl.coalesce("id", pl.format("{}#{}", pl.lit(file["path"]), "row")),
                "text",
            )
        parts.append(frame)
    return pl.concat(parts)


@pytest.fixture(scope="module")
def verdicts(run: Place) -> pl.DataFrame:
    """Every row of every overlay."""
    records = done_records(run / "runs/job")["pass1"].values()
    frames = [pl.read_parquet(run / "runs/job" / r["outputs"]["overlay"]["path"]) for r in records]
    assert all(frame["text"].null_count() == frame.height for frame in frames)  # no step rewrites a text
    return pl.concat(frames).drop("text")


@pytest.fixture(scope="module")
def report(run: Place) -> dict[str, Any]:
    return run.report()


def test_every_id_is_kept_or_dropped_or_quarantined(
    run: Place, documents: pl.DataFrame, verdicts: pl.DataFrame, report: dict[str, Any]
) -> None:
    kept = set(verdicts.filter(pl.col("drop").is_null())["doc"])
    dropped = set(verdicts.filter(pl.col("drop").is_in(["read", "sure", "gopher"]))["doc"])
    quarantined = set(_quarantine(run)["doc"])
    assert set(documents["doc"]) | quarantined == kept | dropped | quarantined
    assert len(kept) + len(dropped) + len(quarantined) == len(kept | dropped | quarantined)
    assert verdicts["doc"].is_unique().all()
    readable = len(_lines(SAMPLE / "handmade.jsonl")) + 200
    parquet = sum(pl.read_parquet(p, columns=["id"]).height for p in SAMPLE.glob("*.parquet"))
    assert documents.height == readable + parquet + 300 + len(TEXTS) + 2
    assert len(quarantined) == 7 + 1
    assert report["rows_in"] == documents.height + len(quarantined)
    assert (report["balanced"], report["quarantine"]["rows"]) == (True, len(quarantined))


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _quarantine(run: Place) -> pl.DataFrame:
    records = [r for phase in done_records(run / "runs/job").values() for r in phase.values()]
    paths = [
        run / "runs/job" / r["outputs"]["quarantine"]["path"] for r in records if "quarantine" in r["outputs"]
    ]
    assert len(paths) == len(list((run / "runs/job/quarantine").rglob("*.parquet")))
    return pl.concat(pl.read_parquet(path) for path in paths)


def test_the_report_counts_what_the_overlays_hold(
    run: Place, documents: pl.DataFrame, verdicts: pl.DataFrame, report: dict[str, Any]
) -> None:
    rows = verdicts.join(documents, on="doc", how="left").with_columns(
        lang=pl.col("lid__lang").fill_null("und"), size=pl.col("text").str.len_bytes().fill_null(0)
    )
    bad = len(_quarantine(run)) - verdicts.filter(pl.col("drop") == "quarantine").height  # found by ingest
    order = ["read", "lid", "sure", "gopher"]
    alive = rows
    for step, entry in zip(order, report["steps"], strict=True):
        assert entry["step"] == step
        gone = alive.filter(pl.col("drop") == step)
        broken = alive.filter(pl.col("drop") == "quarantine") if step == "read" else alive.clear()
        kept = alive.join(pl.concat([gone, broken]), on="doc", how="anti")
        extra = bad if step == "read" else 0
        assert entry["rows_in"] == alive.height + extra
        assert entry["rows_kept"] == kept.height
        assert entry["rows_quarantined"] == broken.height + extra
        assert entry["bytes_kept"] == kept["size"].sum()
        assert entry["dropped"] == Counter(gone["drop_reasons"].list.first())
        assert entry["reasons"] == Counter(gone["drop_reasons"].explode())
        for (language,), here in alive.group_by("lang"):
            said, lost = entry["by_language"][language], gone.filter(pl.col("lang") == language)
            assert said["rows_in"] == here.height + (extra if language == "und" else 0)
            assert said["rows_kept"] == here.join(kept, on="doc").height
            assert said["dropped"] == Counter(lost["drop_reasons"].list.first())
        assert sum(said["rows_in"] for said in entry["by_language"].values()) == entry["rows_in"]
        alive = kept
    assert report["rows_kept"] == alive.height
    languages = {language: numbers["rows_kept"] for language, numbers in report["languages"].items()}
    assert {k: v for k, v in languages.items() if v} == Counter(alive["lang"])


def test_what_is_published_is_what_was_kept(
    run: Place, documents: pl.DataFrame, verdicts: pl.DataFrame, report: dict[str, Any]
) -> None:
    kept = (
        verdicts.filter(pl.col("drop").is_null()).join(documents, on="doc").select("id", "text", "lid__lang")
    )
    files = list(_files(run / "out/all"))
    everything = pl.concat(pl.read_parquet(path) for path in files).select("id", "text", "lid__lang")
    assert everything.sort("id", "text").equals(kept.sort("id", "text"))
    assert {p.parent.name for p in files} == set(kept["lid__lang"])
    for path in files:
        assert pl.read_parquet(path)["lid__lang"].unique().to_list() == [path.parent.name]
    latin = pl.concat(pl.read_parquet(path) for path in _files(run / "out/latin"))["id"]
    assert Counter(latin) == Counter(kept.filter(pl.col("lid__lang").is_in(["eng_Latn", "deu_Latn"]))["id"])
    said = {o["name"]: (o["rows"], o["files"], o["bytes"]) for o in report["outputs"]}
    assert said["all"] == (kept.height, len(files), sum(p.stat().st_size for p in files))
    assert said["latin"][0] == len(latin)


def _files(output: Path) -> Iterator[Path]:
    return (path for path in sorted(output.rglob("*.parquet")))
