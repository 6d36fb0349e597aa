"""`configs/ner.yaml`: passages as a run publishes them become a dataset that `datasets` loads, by real teachers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML

from tests.e2e.cli import Place
from tests.filters.ner.pipelines import ruler
from tests.llama import llama_server

CONFIG = Path(__file__).parents[3] / "configs" / "ner.yaml"
TEXTS = {
    "eng_Latn": "Ada met Bob in Bonn. The committee of St. Gallen wrote to Ada.",
    "arb_Arab": "ذهب محمد إلى Bonn.",
    "cmn_Hani": "委员会星期二在北京开会。",
    "deu_Latn": "Nichts, was einen Namen hätte.",
}


def passages(folder: Path, copies: int, languages: int = len(TEXTS)) -> list[dict[str, Any]]:
    """Passages as a run publishes them, with columns of its steps."""
    rows = []
    for n in range(copies):
        for language, text in list(TEXTS.items())[:languages]:
            start = 10 * (n % 3)
            row = {
                "id": f"d{n // 3}-{language}#{n % 3}",
                "text": text,
                "start": start,
                "end": start + len(text),
            }
            row |= {"source_doc": n // 3, "url": f"https://h{n // 6}.org/{n // 3}", "language": language}
            rows.append({**row, "licence": "CC0-1.0", "dump": None, "ner__score": 3.5})
    folder.mkdir(parents=True)
    schema = pa.schema(
        [
            *((name, pa.string()) for name in ("id", "text", "url", "language", "licence", "dump")),
            *((name, pa.int32()) for name in ("start", "end")),
            ("source_doc", pa.int64()),
            ("ner__score", pa.float32()),
        ]
    )
    pq.write_table(pa.Table.from_pylist(rows, schema), folder / "ner-00000-of-00001.parquet")
    return rows


def config(place: Place, teacher: dict[str, Any]) -> str:
    """The shipped config with another teacher, whose outcomes are published."""
    yaml = YAML(typ="safe")
    found = yaml.load(CONFIG.read_text(encoding="utf-8"))
    merge = {**found["steps"][-1], "teachers": ["llm"], "unanswered": "keep"}
    found["steps"] = [{**teacher, "as": "llm"}, merge]
    found["publish"][0]["columns"]["llm__outcome"] = "outcome"
    with (place / "ner.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(found, file)
    return "ner.yaml"


def annotated(place: Place) -> list[dict[str, Any]]:
    """What was published; every span is where it says."""
    found: list[dict[str, Any]] = []
    for file in sorted((place / "out/ner/annotated").rglob("*.parquet")):
        found += pq.ParquetFile(file).read().to_pylist()
    for row in found:
        for span in [*(row["spans"] or ()), *(row["nested"] or ())]:
            assert row["text"][span["start"] : span["end"]] == span["text"] != ""
    return found


@pytest.mark.filterwarnings("ignore")
def test_a_spacy_teacher_makes_a_dataset_that_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(tmp_path / "work")
    rows = passages(place / "out/web/ner", 18)
    model = ruler(tmp_path / "ruler")
    place.curate("run", CONFIG, "--workers", "1", "--set", f"steps.spacy.model={model}").succeeded()
    found = annotated(place)
    assert sorted((r["id"], r["text"]) for r in found) == sorted((r["id"], r["text"]) for r in rows)
    by_language = {row["language"]: [s["text"] for s in row["spans"]] for row in found}
    assert by_language == {
        "eng_Latn": ["Ada", "Bob", "Bonn", "committee", "St. Gallen", "Ada"],
        "arb_Arab": ["محمد", "Bonn"],
        "cmn_Hani": [],  # to a pipeline without rules for Chinese, the line is one word
        "deu_Latn": [],
    }
    done = place.curate(
        *(
            "ner",
            "export",
            "out/ner/annotated",
            "set",
            "--format",
            "datasets",
            "--dev",
            "0.3",
            "--test",
            "0.3",
        )
    )
    done.succeeded()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    loaded = datasets.load_dataset(str(place / "set"), "eng_Latn", cache_dir=str(tmp_path / "hf"))
    assert sum(map(len, loaded.values())) == 18
    documents = [set(part["source_doc"]) for part in loaded.values()]
    assert len(documents) > 1
    assert sum(map(len, documents)) == len(set.union(*documents))


def test_a_real_llama_cpp_server_is_a_teacher(tmp_path: Path) -> None:
    """A model of 135 million parameters: only that every answer has an outcome, and every mention a place or a reason."""
    place = Place(tmp_path / "work")
    rows = passages(place / "out/web/ner", 1, languages=2)
    teacher: dict[str, Any] = {
        "use": "filters.ner_llm",
        "model": "smollm2",
        "answer": "schema",
        "types": ["person", "city"],
        "max_tokens": 32,
        "max_invalid_frac": 1,
        "server": {"base_url": "$NER_SERVER", "concurrency": 1, "timeout": 60},
    }
    with llama_server() as url:
        name = config(place, teacher)
        place.curate("run", name, "--workers", "1", environment={"NER_SERVER": url}).succeeded()
    found = annotated(place)
    assert len(found) == len(rows)
    assert {row["outcome"] for row in found} <= {"ok", "repaired", "cut_off", "malformed"}
    assert all((row["spans"] is None) <= (row["outcome"] in {"cut_off", "malformed"}) for row in found)
