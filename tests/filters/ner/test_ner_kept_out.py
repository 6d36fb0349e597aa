"""A crawl to pretraining shards and to an NER data set: no document of the data set's test part is in the shards."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq

from tests.e2e.cli import Place
from tests.filters.ner.pipelines import ruler

CONFIG = Path(__file__).parents[3] / "configs" / "ner.yaml"
WEB = """
name: web
language: lang
input: {path: in.jsonl, columns: {lang: lang}}
steps:
  - {use: filters.ner_split, as: held, test: 0.3}
  - {use: filters.passages, max_tokens: 16}
  - {use: filters.ner_split, as: again, test: 0.3, over: passages__spans}
publish:
  - {name: pretrain, path: out/web/pretrain, where: not held__test, columns: {text: text, id: id}}
  - {name: ner, path: out/web/ner, unit: passages__spans}
"""
#: A run whose input are the passages; a third of them has no address and goes by `source_doc`.
PASSAGES = """
name: parts
language: language
input: {path: out/web/ner}
steps:
  - {use: filters.ner_split, as: held, test: 0.3}
publish:
  - {name: test, path: out/parts, where: held__test, columns: {id: id, again__test: again}}
"""
#: A run that cuts such passages again: `source_doc` of what it publishes is another number than that of its input.
CUT = """
name: cut
language: language
input: {path: out/web/ner}
steps:
  - {use: filters.ner_split, as: rows, test: 0.3, group: document}
  - {use: filters.passages, max_tokens: 8}
  - {use: filters.ner_split, as: cut, test: 0.3, group: document, over: passages__spans}
publish:
  - {name: cut, path: out/cut, unit: passages__spans, columns: {id: id, rows__test: rows, cut__test: cut}}
"""


def test_no_test_document_is_in_pretrain(tmp_path: Path) -> None:
    place = Place(tmp_path / "work")
    rows = []
    for n in range(60):  # every third has no address, and goes by its document
        text = " ".join(f"Ada met Bob in Bonn on day {n} of week {week}." for week in range(3))
        rows.append(
            {"id": f"d{n}", "text": text, "lang": "eng_Latn"}
            | ({"url": f"https://h{n // 5}.org/{n}"} if n % 3 else {})
        )
    (place / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    place.run(place.config(WEB, "web.yaml")).succeeded()
    place.run(place.config(PASSAGES, "parts.yaml")).succeeded()
    model = ruler(tmp_path / "ruler")
    place.curate("run", CONFIG, "--workers", "1", "--set", f"steps.spacy.model={model}").succeeded()
    arguments = ("out/ner/annotated", "set", "--format", "datasets", "--test", "0.3")
    place.curate("ner", "export", *arguments).succeeded()
    pretrain = {
        n
        for file in (place / "out/web/pretrain").rglob("*.parquet")
        for n in pq.read_table(file)["id"].to_pylist()
    }
    parts = {
        part: {
            name.partition("#")[0]
            for name in pq.read_table(place / "set/data/eng_Latn" / f"{part}.parquet")["id"].to_pylist()
        }
        for part in ("train", "test")
    }
    assert len(parts["test"]) > 5
    assert not parts["test"] & pretrain
    assert parts["train"] == pretrain
    assert parts["test"] | pretrain == {row["id"] for row in rows}
    held = [
        row for file in (place / "out/parts").rglob("*.parquet") for row in pq.read_table(file).to_pylist()
    ]
    assert {row["id"].partition("#")[0] for row in held} == parts["test"]
    assert all(row["again"] for row in held)
    passages = [
        row for file in (place / "out/web/ner").rglob("*.parquet") for row in pq.read_table(file).to_pylist()
    ]
    assert sum(row["again__test"] for row in passages) == len(held) > len(parts["test"])
    place.run(place.config(CUT, "cut.yaml")).succeeded()
    cut = [row for file in (place / "out/cut").rglob("*.parquet") for row in pq.read_table(file).to_pylist()]
    assert len(cut) > len(passages)
    assert {row["rows"] for row in cut} == {True, False}
    assert all(row["rows"] == row["cut"] for row in cut)
