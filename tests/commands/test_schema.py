"""`curate schema`: a JSON Schema that accepts good configs and refuses bad ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

from commands.conftest import CONFIG
from curate.cli import cli
from curate.stages import names


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    result = CliRunner().invoke(cli, ["schema"], catch_exceptions=False)
    assert result.exit_code == 0
    loaded: dict[str, Any] = json.loads(result.output)
    return loaded


def test_it_is_a_schema_and_knows_every_step(schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)
    assert set(names()) <= schema["$defs"].keys()


def test_it_judges_configs(schema: dict[str, Any]) -> None:
    validator = jsonschema.Draft202012Validator(schema)
    config = YAML(typ="safe", pure=True).load(CONFIG)
    assert list(validator.iter_errors(config)) == []
    assert list(
        validator.iter_errors({**config, "steps": [{"use": "filters.gopher_quality", "min_wrds": 3}]})
    )


def test_out_writes_the_same_to_a_file(schema: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "new" / "schema.json"
    result = CliRunner().invoke(cli, ["schema", "--out", str(path)], catch_exceptions=False)
    assert result.stdout == ""
    assert str(path) in result.stderr
    assert json.loads(path.read_text(encoding="utf-8")) == schema
