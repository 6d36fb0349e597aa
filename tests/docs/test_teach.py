"""docs/teach.md has every key of a recipe and of `server:`, with its default, and no other."""

from __future__ import annotations

import json
import re

import pytest
from pydantic import BaseModel

from curate.core.llm.server import Server
from filters.heads.training.recipe import Fit, Labelled, Recipe
from tests.docs.snippets import ROOT

PAGE = (ROOT / "docs" / "teach.md").read_text(encoding="utf-8")
TABLES = [
    dict(re.findall(r"^\| `(\w+)` \| ([^|]*) \|", block, re.MULTILINE))
    for block in re.findall(r"(?:^\|.*\n)+", PAGE, re.MULTILINE)
]


@pytest.mark.parametrize("model", [Server, Recipe, Labelled, Fit])
def test_a_table_has_the_keys_and_defaults_of(model: type[BaseModel]) -> None:
    (table,) = [t for t in TABLES if set(t) == set(model.model_fields)]
    schema = model.model_json_schema()
    for key, default in table.items():
        if key in schema.get("required", ()):
            assert default == "required"
        elif key != "fit":
            assert json.loads(default.strip("`")) == schema["properties"][key]["default"]
