"""The generated reference pages are up to date, and their examples are valid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from curate.config.load import load
from scripts.build_reference import EXAMPLES, GENERATED, SECTIONS, keys
from tests.docs.snippets import ROOT


@pytest.mark.parametrize("page", GENERATED)
def test_the_page_is_up_to_date(page: str) -> None:
    assert (ROOT / page).read_text(encoding="utf-8") == GENERATED[page](), (
        "run: python scripts/build_reference.py"
    )


def test_every_example_is_of_a_key_that_exists() -> None:
    for section, model, _ in SECTIONS:
        assert [key for key, *_ in keys(section, model)] == list(EXAMPLES[section])


@pytest.mark.parametrize(("section", "key"), [(s, k) for s, examples in EXAMPLES.items() for k in examples])
def test_an_example_is_a_valid_config(section: str, key: str, tmp_path: Path) -> None:
    yaml = YAML(typ="safe")
    example: dict[str, Any] = yaml.load(EXAMPLES[section][key])
    assert list(example) == [key]
    config: dict[str, Any] = {
        "input": {"path": "data/*.parquet"},
        "steps": [{"use": "filters.gopher_quality"}],
        "publish": [{"name": "all", "path": "out/all"}],
        "execution": {},
    }
    if section == "The whole file":
        config |= example
    elif section == "input":
        config["input"] = example if key == "list" else config["input"] | example
    elif section == "execution":
        config["execution"] = example
    elif section == "execution.slurm":
        config["execution"] = {"slurm": example}
    elif section.startswith("execution.slurm: "):
        config["execution"] = {"slurm": dict.fromkeys(("common", "cpu", "gpu"), example)}
    else:
        config[section][0] |= example
    file = tmp_path / "example.yaml"
    with file.open("w", encoding="utf-8") as stream:
        yaml.dump(config, stream)
    load(file)
