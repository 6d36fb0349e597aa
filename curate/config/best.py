"""`top:` of an output, written out as a step.

    publish: [{name: ner, unit: passages__spans, where: end > 9, top: {by: ner__score, k: 9}}]

is short for

    steps:   [… {use: filters.top, as: ner_top, over: passages__spans, when: end > 9, by: ner__score, k: 9, mode: annotate}]
    publish: [{name: ner, unit: passages__spans, where: ner_top__keep}]

The step comes after all others and drops nothing, so other outputs do not see it.
"""

from __future__ import annotations

import re
from typing import Any, Final

from curate.config.yaml_source import KeyPath, Source

TOP: Final = "filters.top"


def without_top(source: Source) -> Source:
    """The source with a step in the place of each `top:`. What is no mapping is left for the model to refuse."""
    outputs, steps = source.data.get("publish"), source.data.get("steps", [])
    if not isinstance(outputs, list) or not isinstance(steps, list):
        return source
    published, added = [], list(steps)
    moves: dict[KeyPath, KeyPath] = {}
    for index, entry in enumerate(outputs):
        top = entry.get("top") if isinstance(entry, dict) else None
        if not isinstance(top, dict):
            published.append(entry)
            continue
        name = f"{_step_name(str(entry.get('name')))}_top"
        step: dict[str, Any] = {"use": TOP, "as": name, "mode": "annotate", **top}
        if entry.get("unit", "documents") != "documents":
            step["over"] = entry["unit"]
        place: KeyPath = ("publish", index)
        at: KeyPath = ("steps", len(added))
        if "where" in entry:
            step["when"] = entry["where"]
            moves[*place, "where"] = (*at, "when")
        moves[*place, "top"] = at
        moves |= {(*place, "top", key): (*at, key) for key in top}
        added.append(step)
        kept = {key: value for key, value in entry.items() if key != "top"}
        published.append({**kept, "where": f"{name}__keep"})
    if not moves:
        return source
    return source.renamed({**source.data, "steps": added, "publish": published}, moves, [])


def _step_name(output: str) -> str:
    """What a step can be called that belongs to the output."""
    name = re.sub("[^a-z0-9]+", "_", output.lower()).strip("_")
    return name if re.match("[a-z]", name) else f"output_{name}".rstrip("_")
