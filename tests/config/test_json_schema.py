"""The schema that editors use: up to date, and of one mind with the loader."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import test_config

from curate.config.json_schema import config_schema
from curate.config.load import Loaded
from curate.config.yaml_source import parse
from curate.core.errors import Problem
from curate.stages import names

ROOT = Path(__file__).parent.parent.parent


def validator() -> Any:
    schema = config_schema(names())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_generated_files_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/build_docs.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.name)
def test_our_configs_fit_the_schema(path: Path) -> None:
    validator().validate(parse(path.read_bytes(), path.name).data)


def test_a_config_with_everything_fits_the_schema(read: Callable[..., Loaded]) -> None:
    read(test_config.GOOD)
    validator().validate(parse(test_config.GOOD, "web.yaml").data)


@pytest.mark.parametrize(
    "change",
    [
        {"nmae": "web"},
        {"steps": [{"use": "filters.gopher_quality", "min_wrds": 3}]},
        {"steps": [{"use": "filters.gopher_quality", "min_words": "3"}]},
        {"steps": [{"use": "filters.none"}]},
        {"steps": [{"select": "a", "use": "filters.select"}]},
        {"publish": [{"name": "x", "path": "y", "shard": "many"}]},
        {"publish": [{"name": "x"}]},
        {"execution": {"workers": "some"}},
        {"input": {"path": "x", "on_error": "ignore"}},
    ],
)
def test_what_the_loader_refuses_the_schema_refuses(
    problems: Callable[[str], list[Problem]], change: dict[str, Any]
) -> None:
    config = {"input": {"path": "a.parquet"}, **change}
    assert problems(json.dumps(config)) != []
    assert not validator().is_valid(config)


def test_every_key_and_option_is_described_for_the_editor() -> None:
    schema = config_schema(names())
    parts = [schema, *(d for d in schema["$defs"].values() if d.get("type") == "object")]
    without = [
        name
        for part in parts
        for name, entry in part.get("properties", {}).items()
        if not entry.get("description")
    ]
    assert without == []
