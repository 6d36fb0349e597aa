"""Let a language model translate the labels of a data set into the languages of its texts, as FiNERweb does (arXiv
2512.13884): beside the free label, which stays as it is.

In: the spans that a step `filters.ner_merge` made, and the language of the passage. Out, per passage:

    spans, nested_spans   list<SPAN>   those of the step `merge`, each with one field more:
                                       translation: string   the label in the passage's language; null if there is none
    translations_count    int32        spans with a translation

Where the passage is in `source` (English) the translation is the label. Where its language is not known there is none; nor
where the model's answer is no label (longer than 80 characters, several lines). Spans are counted as `translated` or
`invalid`, answers that ended early as `cut_off`. If more than `max_invalid_frac` of the answers are no labels, beyond doubt,
the run stops (R313), as in all steps that ask: a label's answer counts once, however many spans have the label.

Each worker asks about a label once for each language, and about none that was answered before it started: answers are
kept by model, prompt and parameters in `cache`, as those of `filters.ner_llm` are. The model stands in the metadata of
the columns. Current taggers score .02 to .09 F1 lower where they are evaluated with translated labels (FiNERweb);
publish both, and choose at the export with `--by translation`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import pyarrow as pa
from pydantic import Field, field_validator

from curate.core.batch import DocBatch
from curate.core.columns import UNDETERMINED, qualified
from curate.core.languages import is_language, suggest
from curate.core.llm.answers import Answer
from curate.core.llm.asking import Asking, AskingStep
from filters.ner.annotations import MERGED_SPAN
from filters.ner.teachers.translating import SCHEMA, Form, read_translation, translation_prompt

LAYERS: Final = ("spans", "nested_spans")
TRANSLATED_SPAN: Final = pa.struct([*MERGED_SPAN, pa.field("translation", pa.string())])

Pair = tuple[str, str]  # label, language


class NerTranslateConfig(Asking):
    """Options of `filters.ner_translate`."""

    samples: int = Field(1, ge=1, le=1, description="One; several answers are several steps.")
    temperature: float = Field(
        0.0, ge=0, le=10, allow_inf_nan=False, description="0: always the likeliest token."
    )
    max_tokens: int = Field(64, ge=1, le=1 << 20, description="Tokens of an answer at most.")
    merge: str = Field("ner", min_length=1, description="Name of the step `filters.ner_merge`.")
    source: str = Field("eng_Latn", description="The language of the labels.")
    answer: Form = Field(
        "text",
        description="`schema`: the server holds the answer to a JSON Schema; `text`: a line is asked for.",
    )

    @field_validator("source")
    @classmethod
    def _known(cls, value: str) -> str:
        if not is_language(value) or value == UNDETERMINED:
            near = suggest(value)
            raise ValueError(f"'{value}' is no language" + (f"; did you mean '{near}'?" if near else ""))
        return value


class NerTranslate(AskingStep[NerTranslateConfig]):
    """Lets a language model translate the labels of spans."""

    Config = NerTranslateConfig
    VERSION: ClassVar[int] = 1
    INVALID: ClassVar[str] = "are no translated label"
    FORM: ClassVar[str] = "schema"

    def __init__(self, config: NerTranslateConfig) -> None:
        super().__init__(config)
        #: What this process knows, so that a batch asks for new labels alone.
        self._said: dict[Pair, str | None] = {}

    def reads(self) -> frozenset[str]:
        return frozenset(qualified(self.config.merge, layer) for layer in LAYERS)

    def writes(self) -> Mapping[str, pa.DataType]:
        return {**dict.fromkeys(LAYERS, pa.list_(TRANSLATED_SPAN)), "translations_count": pa.int32()}

    def provenance(self) -> Mapping[str, str]:
        return {**super().provenance(), "labels_in": self.config.source}

    def annotate(self, batch: DocBatch) -> Mapping[str, pa.Array]:
        rows = batch.num_rows
        languages = batch.languages.to_pylist() if batch.languages is not None else [None] * rows
        layers = {name: batch.column(qualified(self.config.merge, name)).to_pylist() for name in LAYERS}
        labels = {
            (span["label"], language)
            for spans in layers.values()
            for row, language in zip(spans, languages, strict=True)
            for span in row or ()
            if self._is_translated(span["label"], language)
        }
        said = self._ask(sorted(labels))
        made = {
            name: [
                None if row is None else [self._span(span, language, said) for span in row]
                for row, language in zip(spans, languages, strict=True)
            ]
            for name, spans in layers.items()
        }
        counts = [
            sum(span["translation"] is not None for name in LAYERS for span in made[name][row] or ())
            for row in range(rows)
        ]
        kind = pa.list_(TRANSLATED_SPAN)
        columns: dict[str, pa.Array] = {name: pa.array(made[name], kind) for name in LAYERS}
        return {**columns, "translations_count": pa.array(counts, pa.int32())}

    def _is_translated(self, label: str | None, language: str | None) -> bool:
        known = language is not None and language != UNDETERMINED and is_language(language)
        return known and language != self.config.source and bool((label or "").strip())

    def _span(
        self, span: Mapping[str, Any], language: str | None, said: Mapping[Pair, str | None]
    ) -> dict[str, Any]:
        label = span["label"]
        if language == self.config.source:
            return {**span, "translation": label}
        pair = (label, language or "")
        if pair in said:
            self.counts["invalid" if said[pair] is None else "translated"] += 1
        return {**span, "translation": said.get(pair)}

    def _ask(self, pairs: Sequence[Pair]) -> dict[Pair, str | None]:
        """The translation of each label into a language."""
        config = self.config
        new = [pair for pair in pairs if pair not in self._said]
        form = SCHEMA if config.answer == "schema" else None
        requests = [
            config.request(translation_prompt(label, language, config.answer), schema=form)
            for label, language in new
        ]

        def seen(number: int, answer: Answer) -> None:
            self._said[new[number]] = self._read(answer)

        if new:
            self.client.ask(requests, seen)
        return {pair: self._said[pair] for pair in pairs}

    def _read(self, answer: Answer) -> str | None:
        """What an answer says. R313 if too many say nothing."""
        whole = answer.text is not None and answer.finish != "length"
        label = read_translation(answer.text or "", self.config.answer) if whole else None
        self.counts["cut_off"] += answer.finish == "length"
        self.count(answer, valid=label is not None)
        return label


STAGE = NerTranslate
