"""What a language model is asked to translate a label, and what of its answer is one.

In: a free label in English (`film studio`) and a language. Out: the prompt, the JSON Schema of the answer, and the label in
that language, or None.

FiNERweb (arXiv 2512.13884) publishes its labels in English and translated into the language of the text; the wording here is
ours. One label is asked about at a time, so an answer depends on label and language alone, and serves every text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, Literal

from curate.core.languages import name
from curate.core.llm.answers import whole
from filters.ner.teachers.answer import mended, without_wrapping

Form = Literal["text", "schema"]

#: Characters of a label at most: what is longer is an explanation.
MOST: Final = 80
_TASK: Final = """Translate the type of a named entity from English to {language}.

Use the noun that a dictionary or encyclopedia in {language} would use for the type, in the singular, in the usual script \
of {language}, at most four words, without article, brackets or explanation.

{form}

Type: {label}"""
_FORMS: Final[Mapping[Form, str]] = {
    "text": "Answer with the translation and nothing else.",
    "schema": 'Answer with JSON and nothing else: {"translation": "…"}',
}
SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {"translation": {"type": "string", "minLength": 1, "maxLength": MOST}},
    "required": ["translation"],
    "additionalProperties": False,
}
_QUOTES: Final = "\"'“”„‟«»‹›‘’‚`「」『』"


def translation_prompt(label: str, language: str, form: Form) -> str:
    """The user's message. language: one of our codes."""
    return _TASK.format(
        language=name(language), form=_FORMS[form], label=json.dumps(label, ensure_ascii=False)
    )


def read_translation(answer: str, form: Form) -> str | None:
    """The label; None if the answer is no single line with a letter, or longer than `MOST`."""
    text = without_wrapping(answer)
    if form == "schema":
        found = mended(text[text.find("{") : text.rfind("}") + 1])
        value = found.get("translation") if isinstance(found, dict) else None
        text = value if isinstance(value, str) else ""
    lines = whole(text).strip().splitlines()
    label = lines[0].strip().strip(_QUOTES).rstrip(".。").strip(_QUOTES).strip() if len(lines) == 1 else ""
    return label if len(label) <= MOST and any(c.isalpha() for c in label) else None
