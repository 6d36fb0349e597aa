"""What a config file may say: the models of everything but the steps' own options.

Field descriptions are shown in editors (`configs/schema.json`). Values are taken strictly: `"3"` is no
number and `3` no text. Paths keep their environment variables; `curate.config.environment` expands them where they
are used.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from curate.config.entry import STEP_NAME, Entry, Name, PathText, Scalar, Size, fault
from curate.config.execution import Execution
from curate.core.batch import UNICODE, Words
from curate.core.columns import DOC
from curate.core.expression.field import Condition
from curate.core.manifest import ColumnSpec, InputSpec
from curate.core.suggest import did_you_mean

PRESETS: Final = ("fineweb2",)


def written_out(data: dict[str, Any]) -> dict[str, Any]:
    """`data` with the short forms of `input:` in full: single entries as lists, `text: body` as a mapping."""
    entries = data.get("input")
    if isinstance(entries, dict):
        entries = [entries]
    if not isinstance(entries, list):
        return data
    full = []
    for entry in entries:
        if isinstance(entry, dict):
            entry = dict(entry)  # noqa: PLW2901  # the copy stands for the entry
            if isinstance(entry.get("path"), str):
                entry["path"] = [entry["path"]]
            if isinstance(entry.get("columns"), dict):
                columns = entry["columns"].items()
                entry["columns"] = {
                    name: {"field": value} if isinstance(value, str) else value for name, value in columns
                }
        full.append(entry)
    return {**data, "input": full}


class InputColumn(Entry):
    """Where a column comes from."""

    field: str = Field(min_length=1, description="The field's name in the input.")
    type: Literal["string", "int64", "float64", "bool", "list<string>"] | None = Field(
        None, description="The type to read it as; as it is, if left out."
    )


def _or_one(schema: dict[str, Any]) -> None:
    """In the JSON Schema, a list may be a single item."""
    items = schema["items"]
    also = [{key: schema.pop(key) for key in ("type", "items", "minItems") if key in schema}]
    schema["anyOf"] = [items, *also]


def _or_name(schema: dict[str, Any]) -> None:
    """In the JSON Schema, the mapping's values may be the field's name."""
    schema["additionalProperties"] = {"anyOf": [{"type": "string"}, schema["additionalProperties"]]}


class Input(Entry):
    """Files to read, all of one kind."""

    path: tuple[PathText, ...] = Field(
        (),
        description="Files or patterns to read, such as data/*.parquet; one or a list.",
        json_schema_extra=_or_one,
    )
    list: PathText | None = Field(None, description="A text file that names one path a line.")
    name: Name | None = Field(None, description="What the input is called in reports.")
    format: Literal["parquet", "jsonl"] | None = Field(
        None, description="By default what the file's name says."
    )
    columns: dict[str, InputColumn] = Field(
        {},
        description="Column → field of the input, as `text: body` or `text: {field: body, type: string}`.",
        json_schema_extra=_or_name,
    )
    set: dict[str, Scalar] = Field({}, description="Columns that have one value in all of these files.")
    on_error: Literal["fail", "quarantine"] = Field(
        "fail",
        description="What a file that cannot be read does: end the run, or go to the quarantine with what it holds. "
        "Single bad records always go there.",
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if not self.path and self.list is None:
            help = "add `path: data/*.parquet`, or `list: paths.txt`"
            raise fault("C104", "an input needs the key 'path'", help)
        if self.path and self.list is not None:
            raise fault("C102", "an input has both 'path' and 'list'", "make two inputs of it")
        for name, value in self.set.items():
            if isinstance(value, int) and not -(2**63) <= value < 2**63:
                raise fault(
                    "C102", f"the value of '{name}' under `set:` is too large for 64 bits", "put it in quotes"
                )
        for name in (*self.columns, *self.set):
            if name == DOC:
                message = f"the column '{DOC}' cannot be given; curate numbers the documents"
                raise fault("C102", message, "remove it")
            if name in self.columns and name in self.set:
                message = f"the column '{name}' is in `set:` and in `columns:`"
                raise fault("C102", message, "remove it from one of them")
        return self

    def spec(self) -> InputSpec:
        """The same for the manifest, paths as written."""
        return InputSpec(
            name=self.name,
            paths=self.path,
            list_file=self.list,
            format=self.format,
            columns={name: ColumnSpec(column.field, column.type) for name, column in self.columns.items()},
            constants=dict(self.set),
            on_error=self.on_error,
        )


class StepEntry(Entry):
    """What every entry of `steps:` may say; its other keys are the step's own options."""

    use: str = Field(
        min_length=1, description="The step: filters.gopher_quality is filters/gopher_quality.py."
    )
    as_: str | None = Field(
        None,
        alias="as",
        pattern=f"^{STEP_NAME}$",
        max_length=60,
        description="Its name, with which its columns begin; by default the last part of `use`.",
    )
    when: Condition | None = Field(
        None, description="Rows for which this is not true pass the step untouched."
    )
    mode: Literal["filter", "annotate"] = Field(
        "filter", description="`annotate` keeps the rows that the step would drop, with their reasons."
    )
    over: str | None = Field(
        None,
        min_length=1,
        description="A column of spans, such as passages__spans: the step is given these passages in the place of "
        "documents, and what it finds out stands in lists beside them.",
    )


def _published_columns(value: Any) -> Any:
    """A preset's name, a list of columns, or column → published name."""
    if isinstance(value, str) and value not in PRESETS:
        near = did_you_mean(value, PRESETS)
        raise fault(
            "C102",
            f"there is no preset of columns '{value[:60]}'",
            f"did you mean '{near}'?"
            if near
            else f"presets: {', '.join(PRESETS)}; or write a list: [id, text]",
        )
    if isinstance(value, dict | list) and not value:
        raise fault("C102", "no column is published", "leave `columns:` out to publish all of them")
    names = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if not isinstance(value, str | list | dict | None) or not all(isinstance(n, str) and n for n in names):
        raise fault(
            "C102", "columns takes a preset, a list of columns, or a mapping of column to published name"
        )
    published = list(names)
    for name in published:
        if published.count(name) > 1:
            raise fault("C102", f"two columns are published as '{name}'", "give one of them another name")
    return tuple(value) if isinstance(value, list) else value


_COLUMNS_SCHEMA: Final = {
    "anyOf": [
        {"enum": list(PRESETS)},
        {"type": "array", "items": {"type": "string"}, "minItems": 1},
        {"type": "object", "additionalProperties": {"type": "string"}, "minProperties": 1},
    ]
}


class Publish(Entry):
    """One data set that a run writes."""

    name: Name = Field(description="What the data set is called.")
    path: PathText = Field(description="The folder to write it to.")
    where: Condition | None = Field(None, description="Only rows for which this is true.")
    unit: str = Field(
        "documents",
        min_length=1,
        description="What a row is: `documents`, or a column of spans such as passages__spans for a row a passage.",
    )
    top: dict[str, Any] | None = Field(
        None,
        description="Only the best: the options of `filters.top`, such as {by: ner__score, k: 2500, per: language}.",
    )
    partition_by: str | None = Field(
        None, min_length=1, description="`language` or a column: a folder for each of its values."
    )
    shard: Size = Field(
        "256MB", validate_default=True, description="About how large a file is before compression."
    )
    row_group: Size = Field("32MB", validate_default=True, description="About how large a row group is.")
    shuffle: Annotated[int, Field(ge=0, lt=2**63)] | None = Field(
        None, description="Seed of a global shuffle; without it, rows stay in the order of the input."
    )
    columns: Annotated[Any, BeforeValidator(_published_columns), WithJsonSchema(_COLUMNS_SCHEMA)] = Field(
        None,
        description="A preset (fineweb2), a list of columns, or column → published name; by default all.",
    )
    licence: str | None = Field(None, description="The licence that the data card states.")
    title: str | None = Field(None, description="The title of the data card.")


class ConfigFile(Entry):
    """A config, but for the options of its steps."""

    name: Name | None = Field(None, description="The run's name; by default the file's name without .yaml.")
    language: str | None = Field(
        None,
        min_length=1,
        description="The column with each document's language; by default the first LID step's.",
    )
    words: Words = Field(
        UNICODE,
        description="What the rules count as a word: `unicode`, the same for every language, or `spacy-like`, what "
        "spaCy's tokenizers and so datatrove's filters take for one.",
    )
    input: tuple[Input, ...] = Field(
        min_length=1,
        description="What to read: one mapping with `path:`, or a list of them.",
        json_schema_extra=_or_one,
    )
    steps: tuple[StepEntry, ...] = Field((), description="What is done to each document, in this order.")
    publish: tuple[Publish, ...] = Field((), description="The data sets to write.")
    execution: Execution = Field(
        default_factory=lambda: Execution.model_validate({}), description="How the run uses the machine."
    )
    run_dir: PathText | None = Field(None, description="The run folder; by default runs/<name>.")
