"""The dataset card `README.md` of an output: its YAML front matter makes each partition a named configuration, so that
`datasets.load_dataset(path, "deu_Latn")` works on the folder as it is.

Format: huggingface.co/docs/hub/datasets-manual-configuration.
"""

from __future__ import annotations

import json

from curate import __version__
from curate.core.columns import UNDETERMINED
from curate.core.passages import Beside
from curate.core.plan import OutputPlan, Plan
from curate.io.publish import FileLayout, folder_name

#: Upper bounds of the Hub's size categories.
_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
    (100_000_000, "10M<n<100M"),
    (1_000_000_000, "100M<n<1B"),
    (10_000_000_000, "1B<n<10B"),
    (100_000_000_000, "10B<n<100B"),
    (1_000_000_000_000, "100B<n<1T"),
)


def dataset_card(plan: Plan, output: OutputPlan, layout: FileLayout) -> str:
    """The whole text of the card; it depends on the data and the config alone."""
    rows = sum(p.rows for p in layout.partitions)
    return f"---\n{_front_matter(plan, output, layout, rows)}---\n\n{_body(plan, output, layout, rows)}"


def _front_matter(plan: Plan, output: OutputPlan, layout: FileLayout, rows: int) -> str:
    """Written by hand with every string quoted: loaders read YAML 1.1, to which a bare `no` or `1_000` is no string."""
    lines = [f"pretty_name: {_quoted(output.title or f'{plan.name} {output.name}')}"]
    if output.licence:
        lines.append(f"license: {_quoted(output.licence)}")
    if output.partition_by is not None and output.partition_by in (plan.language, _languages(plan, output)):
        languages = sorted({p.value.split("_")[0] for p in layout.partitions if p.value != UNDETERMINED})
        lines += ["language:", *(f"- {_quoted(language)}" for language in languages)] if languages else []
    category = next((name for bound, name in _SIZES if rows < bound), "n>1T")
    lines += ["size_categories:", f"- {_quoted(category)}", "configs:"]
    if output.partition_by is None:
        lines += _config("default", "*.parquet", default=True)
    else:
        lines += _config("default", "*/*.parquet", default=True)
        for folder in (folder_name(p.value) for p in layout.partitions):
            # `default` is taken by the whole; no folder begins with a bare `%`
            lines += _config(folder if folder != "default" else "%default", f"{folder}/*.parquet")
    return "\n".join(lines) + "\n"


def _languages(plan: Plan, output: OutputPlan) -> str | None:
    """The column with the languages of passages."""
    return Beside.of(plan.steps, output.unit).language if output.unit is not None else None


def _config(name: str, path: str, *, default: bool = False) -> list[str]:
    """One configuration: a name by which `datasets` loads these files."""
    lines = [
        f"- config_name: {_quoted(name)}",
        "  data_files:",
        '  - split: "train"',
        f"    path: {_quoted(path)}",
    ]
    return [*lines, "  default: true"] if default else lines


def _quoted(text: str) -> str:
    """A double-quoted YAML string; JSON's are."""
    return json.dumps(text)


def _body(plan: Plan, output: OutputPlan, layout: FileLayout, rows: int) -> str:
    lines = [f"# {output.title or f'{plan.name}: {output.name}'}", ""]
    unit = "documents" if output.unit is None else "passages"
    lines += [f"{rows:,} {unit}, made with curate {__version__}.", ""]
    lines += [f"| partition | {unit} | bytes of text | files |", "|---|---:|---:|---:|"]
    for partition in layout.partitions:
        name = partition.value or "all"
        lines.append(f"| {_cell(name)} | {partition.rows:,} | {partition.bytes:,} | {partition.files} |")
    lines += ["", "## How it was made", "", "| step | what | options |", "|---|---|---|"]
    for step in plan.steps:
        options = ", ".join(f"{k}={v!r}" for k, v in sorted(step.portable_options.items()))
        lines.append(f"| {step.name} | `{step.use}` version {step.version} | {_cell(options) or '—'} |")
    lines += ["", "## Columns", ""]
    lines += [f"- `{name}`" for name, _ in output.columns]
    first = layout.partitions[0]
    config = f', "{folder_name(first.value)}"' if output.partition_by is not None else ""
    lines += ["", "## Loading", "", "```python", "from datasets import load_dataset", ""]
    lines += [f'data = load_dataset("PATH/TO/THIS/FOLDER"{config}, split="train")', "```", ""]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
