"""The dataset card of annotated texts: `README.md`, with a configuration for each language in its front matter.

In: the rows that were written, language by language. Out: Markdown with the rows and spans of each language, type and
script, the judge's findings where the rows have some (`filters.ner_judge`), and the columns.

Format: huggingface.co/docs/hub/datasets-manual-configuration.
"""

from __future__ import annotations

import json
import urllib.parse
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa

from curate import __version__
from filters.ner.types import CORE, TypeMap, span_type

#: Column of spans without a core type.
_OTHER: Final = "other"
#: Columns of `filters.ner_judge`, and how they begin where a run did not publish them under other names.
_JUDGED: Final = ("faithfulness", "completeness", "missing", "wrong")
_JUDGE: Final = "judge__"
#: Further columns of it, which the card does not show.
_BESIDE: Final = ("unfounded_count", "outcome")
#: Configuration of all languages together.
ALL: Final = "all"


def judge_columns(names: Sequence[str]) -> list[str]:
    """Those that say what a judge found of a passage as a whole."""
    judged = {*_JUDGED, _BESIDE[0], *(f"{_JUDGE}{key}" for key in (*_JUDGED, *_BESIDE))}
    return [name for name in names if name in judged]


@dataclass
class Counts:
    """What was written. rows: language → part → rows. types: language → core type → spans. labels: standard type → spans.
    judged: language → what the judge found: sums, and `texts` and `entities` that were judged."""

    rows: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    types: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    labels: Counter[str] = field(default_factory=Counter)
    judged: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    @property
    def total_rows(self) -> int:
        return sum(sum(parts.values()) for parts in self.rows.values())

    @property
    def total_spans(self) -> int:
        return sum(sum(types.values()) for types in self.types.values())

    def add(self, language: str, part: str, rows: Sequence[Mapping[str, Any]], types: TypeMap) -> None:
        """Counts rows of one language and part."""
        self.rows[language][part] += len(rows)
        for row in rows:
            for span in row["spans"] or ():
                standard = span_type(span, "standard", types)
                core = span_type(span, "core", types)
                self.types[language][core or _OTHER] += 1
                self.labels[standard or _OTHER] += 1

    def add_judgement(self, language: str, row: Mapping[str, Any]) -> None:
        """Counts what a judge found of a passage, if the row says it."""
        found = {key: row[name] for key in _JUDGED for name in row if name in (key, f"{_JUDGE}{key}")}
        if found.get("faithfulness") is None or found.get("completeness") is None:
            return
        sums = self.judged[language]
        sums["texts"] += 1
        sums["entities"] += len(row["spans"] or ())
        sums["faithfulness"] += found["faithfulness"]
        sums["completeness"] += found["completeness"]
        sums["missing"] += len(found.get("missing") or ())
        sums["wrong"] += len(found.get("wrong") or ())


def dataset_card(counts: Counts, schema: pa.Schema, title: str, license: str | None) -> str:
    """The whole text; it depends on the data alone."""
    return f"---\n{_front_matter(counts, title, license)}---\n\n{_body(counts, schema, title)}"


def _front_matter(counts: Counts, title: str, license: str | None) -> str:
    """Every string is quoted: loaders read YAML 1.1, to which a bare `no` is no string."""
    lines = [f"pretty_name: {_quoted(title)}"]
    if license:
        lines.append(f"license: {_quoted(license)}")
    lines += ["task_categories:", '- "token-classification"', "language:"]
    lines += [f"- {_quoted(code)}" for code in sorted({name.split("_")[0] for name in counts.rows})]
    lines.append("configs:")
    parts = sorted({part for parts in counts.rows.values() for part in parts})
    every = {
        part: [data_file(name, part) for name in sorted(counts.rows) if part in counts.rows[name]]
        for part in parts
    }
    lines += [*_config(ALL, every), "  default: true"]
    for language in sorted(counts.rows):
        lines += _config(
            folder_name(language),
            {part: [data_file(language, part)] for part in sorted(counts.rows[language])},
        )
    return "\n".join(lines) + "\n"


def data_file(language: str, part: str) -> str:
    """Where a language's part lies in the folder."""
    return f"data/{folder_name(language)}/{folder_name(part)}.parquet"


def folder_name(language: str) -> str:
    """A language as folder and configuration are named, a part as its file: what a name cannot have is percent-encoded."""
    quoted = urllib.parse.quote(language, safe="") or "%"
    return quoted.replace(".", "%2E") if quoted.startswith(".") else quoted


def _config(name: str, files: Mapping[str, Sequence[str]]) -> list[str]:
    lines = [f"- config_name: {_quoted(name)}", "  data_files:"]
    for part, paths in files.items():
        lines += [f"  - split: {_quoted(part)}", "    path:", *(f"    - {_quoted(path)}" for path in paths)]
    return lines


def _quoted(text: str) -> str:
    """A double-quoted YAML string; JSON's are."""
    return json.dumps(text)


def _body(counts: Counts, schema: pa.Schema, title: str) -> str:
    rows, spans = counts.total_rows, counts.total_spans
    lines = [
        f"# {title}",
        "",
        f"{rows:,} texts with {spans:,} named entities, made with curate {__version__}.",
    ]
    lines += ["", "## Languages", ""]
    kinds = [*CORE, _OTHER]
    parts = sorted({part for parts in counts.rows.values() for part in parts})
    lines += _table(
        ("language", *parts, "entities", *kinds),
        (
            (name, *(counts.rows[name][part] for part in parts), *_kinds(counts.types[name], kinds))
            for name in sorted(counts.rows)
        ),
    )
    scripts: dict[str, list[str]] = defaultdict(list)
    for name in counts.rows:
        scripts[name.partition("_")[2] or "unknown"].append(name)
    lines += ["", "## Scripts", ""]
    lines += _table(
        ("script", "languages", "texts", "entities", *kinds),
        (
            (
                script,
                len(names),
                sum(sum(counts.rows[name].values()) for name in names),
                *_kinds(sum((counts.types[name] for name in names), Counter()), kinds),
            )
            for script, names in sorted(scripts.items())
        ),
    )
    lines += _translations(schema)
    lines += ["", "## Types", ""]
    lines += _table(("type", "entities"), counts.labels.most_common())
    if counts.judged:
        lines += ["", "## Judged", "", _judge_note(schema), ""]
        lines += _table(
            ("language", "texts", "faithfulness", "completeness", "missing", "wrong", "of entities"),
            (
                (name, sums["texts"], *_means(sums), sums["missing"], sums["wrong"], sums["entities"])
                for name, sums in sorted(counts.judged.items())
            ),
        )
    lines += ["", "## Columns", "", *(f"- `{name}`" for name in schema.names)]
    first = min(counts.rows) if counts.rows else ALL
    lines += ["", "## Loading", "", "```python", "from datasets import load_dataset", ""]
    lines += [f'data = load_dataset("PATH/TO/THIS/FOLDER", {_quoted(folder_name(first))})', "```", ""]
    return "\n".join(lines)


def _means(sums: Counter[str]) -> tuple[str, str]:
    """Mean faithfulness and completeness."""
    return f"{sums['faithfulness'] / sums['texts']:.2f}", f"{sums['completeness'] / sums['texts']:.2f}"


def _translations(schema: pa.Schema) -> list[str]:
    """What is said of translated labels, if the spans have some."""
    kind = schema.field("spans").type
    if not (pa.types.is_list(kind) and kind.value_type.get_field_index("translation") >= 0):
        return []
    facts = schema.field("spans").metadata or {}
    by = (
        f"the language model {facts[b'curate.model'].decode()}"
        if b"curate.model" in facts
        else "a language model"
    )
    return [
        "",
        "## Labels",
        "",
        f"`label` is free; `translation` is the label in the text's language, by {by}.",
    ]


def _judge_note(schema: pa.Schema) -> str:
    """Who judged, if the column says it."""
    for name in ("faithfulness", f"{_JUDGE}faithfulness"):
        facts = schema.field(name).metadata if name in schema.names else None
        if facts and b"curate.model" in facts:
            model = facts[b"curate.model"].decode()
            return f"By the language model {model}, on a sample of each language; 1 is worst, 5 best."
    return "By a language model, on a sample of each language; 1 is worst, 5 best."


def _kinds(types: Counter[str], kinds: Sequence[str]) -> tuple[int, ...]:
    return sum(types.values()), *(types[kind] for kind in kinds)


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """A Markdown table; numbers are aligned to the right."""
    lines = [f"| {' | '.join(head)} |", "|---|" + "---:|" * (len(head) - 1)]
    for row in rows:
        cells = [f"{cell:,}" if isinstance(cell, int) else str(cell).replace("|", "\\|") for cell in row]
        lines.append(f"| {' | '.join(cells)} |")
    return lines
