"""What is published is read by the readers people use: `datasets` by configuration, datatrove, and YAML 1.1 and 1.2 parsers.

Partition values here are those that trip them up: words that YAML 1.1 takes for something else, separators, patterns.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml as yaml_1_1
from ruamel.yaml import YAML

from tests.publish.publishing import Publisher, documents

#: Values that a parser, a path or a pattern might take for something else.
ODD = (
    "no",
    "on",
    "null",
    "~",
    "1_000",
    "010",
    "0x1f",
    "1e3",
    "2024-02-29",
    "a/b",
    "..",
    ".hidden",
    "_private",
    "x*[y]?",
    "Größe 🏴",
    "with space",
    'quote"d',
    "per%cent",
    "key: value # not a comment",
)


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """`datasets.load_dataset`, offline, its cache in the test's folder."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    import datasets

    datasets.disable_progress_bars()
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)

    def load(path: Path, *name: str) -> Any:
        return datasets.load_dataset(str(path), *name, cache_dir=str(tmp_path / "hf"))

    return load


def front_matter(publisher: Publisher) -> str:
    head, matter, _ = (publisher.out / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    assert head == ""
    return matter


@pytest.mark.filterwarnings("ignore")
def test_datasets_loads_a_language_and_all_of_them(publisher: Publisher, cached: Any) -> None:
    rows = documents(60)
    publisher.input(rows)
    publisher.publish(partition_by="language", columns=["id", "text", "lang"], shard=700, shuffle=1)
    german = cached(publisher.out, "deu_Latn")
    assert list(german) == ["train"]
    assert sorted(german["train"]["id"]) == sorted(r["id"] for r in rows if r["lang"] == "deu_Latn")
    everything = cached(publisher.out)["train"]
    assert sorted(everything["id"]) == sorted(r["id"] for r in rows)
    assert dict(zip(everything["id"], everything["text"], strict=True)) == {r["id"]: r["text"] for r in rows}


@pytest.mark.filterwarnings("ignore")
def test_datasets_loads_an_output_without_partitions(publisher: Publisher, cached: Any) -> None:
    publisher.input(documents(20))
    publisher.publish(columns=["id", "text"])
    assert cached(publisher.out)["train"].num_rows == 20


@pytest.mark.filterwarnings("ignore")
def test_datasets_loads_every_odd_partition_by_its_folders_name(publisher: Publisher, cached: Any) -> None:
    publisher.input([{"id": str(n), "text": f"text {n}", "kind": value} for n, value in enumerate(ODD)])
    publisher.language = None
    publisher.publish(partition_by="kind", columns=["id", "kind"])
    folders = sorted(p.name for p in publisher.out.iterdir() if p.is_dir())
    assert len(folders) == len(ODD)
    found = {}
    for folder in folders:
        (row,) = cached(publisher.out, folder)["train"]
        found[row["kind"]] = row["id"]
    assert found == {value: str(n) for n, value in enumerate(ODD)}
    assert cached(publisher.out)["train"].num_rows == len(ODD)


@pytest.mark.filterwarnings("ignore")
def test_a_partition_called_default_does_not_hide_the_whole(publisher: Publisher, cached: Any) -> None:
    publisher.input([{"id": str(n), "text": "t", "kind": ("default", "train")[n % 2]} for n in range(6)])
    publisher.language = None
    publisher.publish(partition_by="kind", columns=["id", "kind"])
    assert cached(publisher.out)["train"].num_rows == 6
    names = [c["config_name"] for c in yaml_1_1.safe_load(front_matter(publisher))["configs"]]
    assert len(names) == len(set(names)) == 3


@pytest.mark.filterwarnings("ignore")
def test_datasets_loads_fineweb2_columns(publisher: Publisher, cached: Any) -> None:
    publisher.input(documents(12))
    publisher.publish(partition_by="language", columns="fineweb2")
    german = cached(publisher.out, "deu_Latn")["train"]
    assert german.features["language_score"].dtype == "float64"
    assert set(german["language"]) == {"deu"}


@pytest.mark.filterwarnings("ignore")
def test_datatrove_reads_every_document(publisher: Publisher) -> None:
    from datatrove.pipeline.readers import ParquetReader

    rows = documents(60)
    publisher.input(rows)
    publisher.publish(partition_by="language", columns=["id", "text", "lang"], shard=700, shuffle=1)
    reader = ParquetReader(str(publisher.out), glob_pattern="**/*.parquet")
    found = list(reader.run())
    assert sorted(d.id for d in found) == sorted(r["id"] for r in rows)
    assert {d.id: d.text for d in found} == {r["id"]: r["text"] for r in rows}
    assert {d.id: d.metadata["lang"] for d in found} == {r["id"]: r["lang"] for r in rows}


def test_the_front_matter_means_the_same_to_both_yaml_versions(publisher: Publisher) -> None:
    """Hubs read YAML 1.1, where `no` is false and `010` is eight."""
    publisher.input([{"id": str(n), "text": "t", "kind": value} for n, value in enumerate(ODD)])
    publisher.language = None
    publisher.publish(partition_by="kind", title="A: title # with, signs", licence="CC0-1.0")
    matter = front_matter(publisher)
    old = yaml_1_1.safe_load(matter)
    assert old == YAML(typ="safe", pure=True).load(matter)
    assert old["pretty_name"] == "A: title # with, signs"
    assert old["license"] == "CC0-1.0"
    assert all(isinstance(c["config_name"], str) for c in old["configs"])
    assert old["configs"][0] == {
        "config_name": "default",
        "data_files": [{"split": "train", "path": "*/*.parquet"}],
        "default": True,
    }
    assert len(old["configs"]) == len(ODD) + 1


def test_the_card_names_languages_rows_steps_and_columns(publisher: Publisher) -> None:
    publisher.input(documents(40))
    publisher.steps = [{"use": "filters.select", "as": "pick", "expression": "id != 'id|7'"}]
    publisher.publish(partition_by="language", columns=["id", "text"])
    matter = yaml_1_1.safe_load(front_matter(publisher))
    assert matter["language"] == ["deu", "eng"]
    assert matter["size_categories"] == ["n<1K"]
    text = (publisher.out / "README.md").read_text(encoding="utf-8")
    assert "| deu_Latn | 20 |" in text
    assert "| und | 10 |" in text
    assert "filters.select" in text
    assert "id\\|7" in text
    assert 'load_dataset("PATH/TO/THIS/FOLDER", "deu_Latn", split="train")' in text


def test_a_card_of_nothing_is_still_a_card(publisher: Publisher) -> None:
    publisher.input(documents(3))
    publisher.publish(where="id = 'nobody'", partition_by="language")
    assert yaml_1_1.safe_load(front_matter(publisher))["size_categories"] == ["n<1K"]


def test_a_very_long_partition_value_is_published_and_its_neighbour_too(publisher: Publisher) -> None:
    values = ["x" * 1000, "x" * 1001, "é" * 300, ""]
    publisher.input([{"id": str(n), "text": "t", "kind": value} for n, value in enumerate(values)])
    publisher.language = None
    publisher.publish(partition_by="kind", columns=["id", "kind"])
    assert len(publisher.files()) == len(values)
    assert {row["kind"]: row["id"] for row in publisher.rows()} == {v: str(n) for n, v in enumerate(values)}
    assert all(len(os.fsencode(part)) <= 255 for name in publisher.files() for part in Path(name).parts)


@pytest.mark.parametrize("column", ["n", "ok", "score", "day"])
def test_values_of_other_types_are_partitions_by_their_text(publisher: Publisher, column: str) -> None:
    import datetime

    rows = [
        {"id": str(n), "text": "t", "n": n % 2, "ok": n % 2 == 0, "score": n % 2 + 0.5,
         "day": datetime.date(2024, 1, 1 + n % 2)}
        for n in range(4)
    ]  # fmt: skip
    publisher.input(rows)
    publisher.language = None
    publisher.publish(partition_by=column, columns=["id", column])
    folders = sorted({Path(name).parent.name for name in publisher.files()})
    assert folders == {
        "n": ["0", "1"], "ok": ["false", "true"], "score": ["0.5", "1.5"], "day": ["2024-01-01", "2024-01-02"],
    }[column]  # fmt: skip
    assert len(publisher.rows()) == 4
