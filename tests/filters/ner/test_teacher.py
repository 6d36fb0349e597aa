"""A spaCy pipeline as a teacher: through annotating, merging and scoring it gets the F1 that spaCy computes for it."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import spacy
from spacy.scorer import Scorer
from spacy.training import Example

from curate.core.batch import DocBatch
from curate.core.stage import Context
from filters.ner.annotations import annotate
from filters.ner.score import read_annotated, score
from filters.ner.types import type_map
from filters.ner_merge import MergeConfig, NerMerge
from filters.ner_spacy import NerSpacy, SpacyConfig
from tests.filters.ner.tagged import GOLD, imported

NAMES = ("uner-eng-dev", "uner-por-dev", "uner-zho-dev")


@pytest.mark.skipif(not GOLD.is_dir(), reason=f"the gold corpora are not in {GOLD}")
@pytest.mark.parametrize("name", NAMES)
def test_a_spacy_teacher_scores_as_in_spacy(tmp_path: Path, name: str) -> None:
    """The teacher knows some names of the test part by heart, and so errs often on this one."""
    rows, _ = imported(tmp_path / "gold", GOLD / f"{name}.tsv.xz", names="{source}-{language}-{split}")
    known, _ = imported(
        tmp_path / "known",
        GOLD / f"{name.replace('dev', 'test')}.tsv.xz",
        names="{source}-{language}-{split}",
    )
    teacher = spacy.blank("xx")
    ruler = teacher.add_pipe("entity_ruler")
    ruler.add_patterns(  # type: ignore[attr-defined]
        [{"label": span["label"], "pattern": span["text"]} for row in known for span in row["spans"]]
    )
    examples, answers = [], []
    for row in rows:
        words = [row["text"][token["start"] : token["end"]] for token in row["tokens"]]
        gaps = [b["start"] - a["end"] for a, b in zip(row["tokens"], row["tokens"][1:], strict=False)]
        doc = spacy.tokens.Doc(teacher.vocab, words=words, spaces=[bool(gap) for gap in [*gaps, 0]])
        assert doc.text == row["text"]
        reference = doc.copy()
        reference.ents = tuple(reference.char_span(s["start"], s["end"], s["label"]) for s in row["spans"])
        found = teacher(doc)
        examples.append(Example(found, reference))
        answers.append(
            [
                {"text": e.text, "label": e.label_, "start": e.start_char, "end": e.end_char}
                for e in found.ents
            ]
        )
    theirs = Scorer.score_spans(examples, "ents")
    texts = pa.array([row["text"] for row in rows], pa.string())
    spans, nested, rejects = annotate(texts, {"spacy": pa.array(answers)}, type_map())
    assert (len(rejects), len(nested.values)) == (0, 0)
    pq.write_table(pa.table({"text": texts, "spans": spans}), tmp_path / "pred.parquet")
    tables = read_annotated(tmp_path / "gold"), read_annotated(tmp_path / "pred.parquet")
    ours = score(*tables, "label", type_map()).to_dict()["all"]["strict"]
    assert 0.05 < theirs["ents_f"] < 0.95
    assert ours["micro"]["f1"] == pytest.approx(theirs["ents_f"])
    for label, ratios in theirs["ents_per_type"].items():
        mine = ours["types"][label]
        assert (mine["precision"], mine["recall"], mine["f1"]) == pytest.approx(
            tuple(ratios[k] for k in "prf")
        )


@pytest.mark.skipif(not GOLD.is_dir(), reason=f"the gold corpora are not in {GOLD}")
@pytest.mark.parametrize(("name", "blank"), [("uner-eng", "en"), ("uner-zho", "zh")])
def test_the_steps_score_as_spacy_does(tmp_path: Path, name: str, blank: str) -> None:
    """A pipeline of a language, saved and loaded as a user's is, cuts the gold texts its own way; gold spans that do not fit
    its tokens are left out on both sides, since spaCy cannot score them."""
    names = "{source}-{language}-{split}"
    rows, _ = imported(tmp_path / "gold", GOLD / f"{name}-dev.tsv.xz", names=names)
    known, _ = imported(tmp_path / "known", GOLD / f"{name}-test.tsv.xz", names=names)
    teacher = spacy.blank(blank)
    patterns = [{"label": span["label"], "pattern": span["text"]} for row in known for span in row["spans"]]
    teacher.add_pipe("entity_ruler").add_patterns(patterns)  # type: ignore[attr-defined]
    teacher.to_disk(tmp_path / "teacher")
    examples, gold, left_out = [], [], 0
    for row in rows:
        reference = teacher.make_doc(row["text"])
        ents = [reference.char_span(s["start"], s["end"], s["label"]) for s in row["spans"]]
        reference.ents = tuple(ent for ent in ents if ent is not None)
        left_out += ents.count(None)
        examples.append(Example(teacher(row["text"]), reference))
        gold.append([{"start": e.start_char, "end": e.end_char, "label": e.label_} for e in reference.ents])
    assert left_out < 0.05 * sum(len(row["spans"]) for row in rows)
    theirs = Scorer.score_spans(examples, "ents")

    texts = pa.array([row["text"] for row in rows], pa.string())
    record = pa.RecordBatch.from_pydict({"doc": pa.array(range(len(rows)), pa.int64()), "text": texts})
    context = Context(models=tmp_path, scratch=tmp_path, offline=True)
    annotate_step = NerSpacy(SpacyConfig(model=str(tmp_path / "teacher")))
    annotate_step.open(context)
    batch = DocBatch(record)
    batch = batch.append({"spacy__mentions": annotate_step.annotate(batch)["mentions"]})
    merge_step = NerMerge(MergeConfig(teachers=["spacy"]))
    merge_step.open(context)
    found = merge_step.annotate(batch)
    assert sum(found["rejects_count"].to_pylist()) == 0
    pq.write_table(pa.table({"text": texts, "spans": found["spans"]}), tmp_path / "pred.parquet")
    pq.write_table(pa.table({"text": texts, "spans": pa.array(gold)}), tmp_path / "gold.parquet")
    tables = read_annotated(tmp_path / "gold.parquet"), read_annotated(tmp_path / "pred.parquet")
    ours = score(*tables, "label", type_map()).to_dict()["all"]["strict"]["micro"]
    assert 0.05 < theirs["ents_f"] < 0.95
    assert [ours["precision"], ours["recall"], ours["f1"]] == pytest.approx(
        [theirs["ents_p"], theirs["ents_r"], theirs["ents_f"]]
    )
