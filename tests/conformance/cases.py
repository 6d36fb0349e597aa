"""The steps under test and the batches they are given.

Every step found on disk is tested with the options it has by default. A step that needs an option to be built is named
in `REQUIRED`; options that lead to other columns or other code are named in `MORE`. A new file in `filters/` needs no
entry.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from curate.core.batch import DocBatch
from curate.core.models import models_folder
from curate.core.stage import Annotator, Context
from curate.running.contract import AnyStep
from curate.running.steps import build_step
from curate.stages import kind, load, names
from filters.ner.teachers.teacher import COLUMNS
from filters.registry import JQL_ENCODER
from lid.registry import MODELS
from tests.filters.ner.pipelines import ruler
from tests.filters.tiny_encoders import write_gte, write_heads
from tests.llm_server import LlmServer

#: A spaCy pipeline that is made when it is needed.
PIPELINE = Path(tempfile.gettempdir()) / f"curate-test-pipeline-{os.getpid()}"

#: Environment variable with the address of a server that answers as long as the process lives, begun when it is needed.
JUDGE = "CURATE_TEST_JUDGE"
_serving = ExitStack()

#: Options of steps that cannot be built without.
REQUIRED: dict[str, dict[str, Any]] = {
    "filters.datatrove": {"filter": "datatrove.pipeline.filters.SamplerFilter"},
    "filters.decontaminate": {"sets": [str(Path(__file__).with_name("test_set.jsonl"))]},
    "filters.length": {"min_chars": 20},
    "filters.ner_gliner": {"model": "no/such/folder", "types": ["person"]},
    "filters.ner_judge": {"model": "toy", "server": {"base_url": f"${JUDGE}"}},
    "filters.ner_llm": {"model": "toy", "server": {"base_url": f"${JUDGE}"}},
    "filters.ner_merge": {"teachers": ["teacher", "other"]},
    "filters.ner_spacy": {"model": str(PIPELINE)},
    "filters.ner_translate": {"model": "toy", "server": {"base_url": f"${JUDGE}"}},
    "filters.llm_judge": {"model": "toy", "server": {"base_url": f"${JUDGE}"}},
    "filters.regex": {"pattern": "[#•]"},
    "filters.sample": {"rate": 0.5},
    "filters.select": {"expression": "lid__prob >= 0.5 or source == 'wiki'"},
    "filters.threshold": {"column": "lid__prob", "minimum": 0.5},
    # One model, by its name and by its path, as two: the only one that needs no download.
    "lid.ensemble": {"models": ["lid.176.ftz", str(MODELS["lid.176.ftz"].path(models_folder()))]},
}

#: Steps that cannot be opened here: no package ships a model for them, and their own tests make one.
NO_MODEL = ("filters.ner_gliner",)


def _tiny_jql() -> dict[str, Any]:
    """An encoder of the true architecture and heads, with random weights, as long as the process lives."""
    root = Path(tempfile.mkdtemp(prefix="curate-tiny-jql-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    model, heads = write_gte(root / JQL_ENCODER), write_heads(root / "heads")
    return {
        "model": str(model),
        "heads": str(heads),
        "device": "cpu",
        "dtype": "float32",
        "max_tokens": 256,
        "batch_tokens": 4096,
    }


#: Options by which a step can be opened that needs models which nobody has pulled.
MODELLED: dict[str, dict[str, Any]] = {"filters.jql": _tiny_jql()}

#: Columns that depend on the other rows by rounding: their encoder computes in batches.
ROUNDED = {"gemma_score", "mistral_score", "llama_score"}

#: Further options worth a run of their own.
MORE: dict[str, list[dict[str, Any]]] = {
    "filters.select": [{"expression": "matches(text, '^T') and not lid__lang = 'deu_Latn'"}],
    "filters.ner_relevance": [{"min_prob": 0.5, "max_characters": 50}],
    "filters.quality": [{"min_score": 0.9, "unscored": "drop", "max_characters": 50}],
    "filters.llm_judge": [{"answer": "json", "reason": False, "samples": 3, "max_invalid_frac": 1}],
    "filters.gopher_quality": [
        {"stop_words": ["the", "of", "der", "die"], "min_words": None},
        {"stop_words": {"deu_Latn": ["der", "die"]}, "min_words": 2, "max_words": 100},
        {
            "min_words": 5,
            "languages": {
                "default": {"max_symbol_word_ratio": None},
                "deu_Latn": {
                    "min_words": 90,
                    "stop_words": ["Brücke", "Ausschuss"],
                    "max_avg_word_length": 5,
                },
                "cmn_Hani": {"stop_words": {"cmn_Hani": ["桥"]}, "min_alpha_words_frac": 0.95},
            },
        },
    ],
    "filters.fineweb_quality": [
        {"line_punct_exclude_zero": True, "short_line_length": 3, "stop_chars": ["о", "...", "。"]},
        {
            "line_punct_thr": None,
            "languages": {
                "default": {"char_duplicates_ratio": 0.5, "short_line_length": 70},
                "deu_Latn": {
                    "line_punct_thr": 0.9,
                    "char_duplicates_ratio": None,
                    "line_punct_exclude_zero": True,
                },
                "cmn_Hani": {"stop_chars": ["。"], "new_line_ratio": 0.01, "short_line_thr": 1},
            },
        },
    ],
    "filters.length": [
        {"min_words": 3, "max_lines": 12, "max_chars": 900, "min_bytes": 4},
        {"max_words": 40, "languages": {"default": {"min_lines": 2}, "deu_Latn": {"max_words": None}}},
    ],
    "filters.regex": [
        {"pattern": "/[0-9]*3$", "column": "url", "keep": "matching"},
        {"pattern": "BRÜCKE|the", "ignore_case": True},
    ],
    "filters.sample": [{"rate": 1, "seed": 3, "languages": {"deu_Latn": {"rate": 0.2}, "und": {"rate": 0}}}],
    "filters.threshold": [
        {"column": "lid__prob", "languages": {"deu_Latn": {"minimum": 0.6}, "eng_Latn": {"maximum": 0.5}}},
        {"column": "doc", "minimum": 3, "maximum": 150},
    ],
    "filters.datatrove": [
        {
            "filter": "datatrove.pipeline.filters.RegexFilter",
            "arguments": {"regex_exp": "[a-z]{4} of"},
            "metadata": ["url"],
            "stats": True,
        }
    ],
    "filters.decontaminate": [{"n": 4, "max_ngrams": 8}, {"n": 5, "max_frac": 0.3}],
    "filters.ner_judge": [{"answer": "schema", "max_invalid_frac": 1}],
    "filters.ner_llm": [{"answer": "json", "types": ["city"], "max_characters": 900, "max_invalid_frac": 1}],
    "filters.ner_merge": [{"grounding": "all", "unanswered": "keep"}],
    "filters.ner_spacy": [{"model": None, "models": {"deu_Latn": str(PIPELINE)}, "batch": 1}],
    "filters.ner_translate": [{"answer": "schema", "max_invalid_frac": 1}],
    "filters.passages": [{"max_tokens": 1}, {"max_tokens": 7}],
    "filters.gopher_repetition": [
        {"top_n_grams": {"2": None, "5": 0.3}, "dup_n_grams": {"1": 0.9, "6": 0.2}, "dup_line_frac": None},
        {
            "languages": {
                "default": {"dup_line_char_frac": 0.9, "top_n_grams": {"2": None}},
                "deu_Latn": {"dup_n_grams": {"5": 0.5, "10": None}, "dup_para_frac": 0},
                "cmn_Hani": {"top_n_grams": {"3": 0.01}},
            }
        },
    ],
    "filters.c4": [
        {"filter_no_terminal_punct": False, "min_num_sentences": 3, "max_word_length": None},
        {
            "min_words_per_line": 1,
            "languages": {"deu_Latn": {"min_num_sentences": 40}, "cmn_Hani": {"min_num_sentences": None}},
        },
    ],
    "lid.fasttext": [{"top_k": 4}, {"max_bytes": 100}, {"backend": "fasttext"}],
}

#: The column that holds the language in every batch that has one.
LANGUAGE = "lid__lang"

LONG = 5_000_000

PROSE = {
    "english": "The committee of the city met on Tuesday to discuss the bridge that engineers have planned.\n"
    * 7,
    "german": "Der Ausschuss der Stadt traf sich am Dienstag, um über die neue Brücke zu sprechen.\n" * 7,
    "chinese": "委员会星期二开会讨论工程师为这条河规划的新桥。市长说旧桥不能修了。\n" * 9,
    "short": "Not much.",
    "hashes": "# tag #tag ## the of and\n" * 30,
    "bullets": "• one of the things\n- and another of those\n" * 20,
    "letter": "Nobody had told the engineers that the river would rise so early in the year.\n"
    "They had to take the scaffold down again, and with it the cranes of the harbour.\n"
    "What is to be done with the stones that have been cut is not yet known.\n",
    "ellipses": "and so it goes...\nthat is what they have…\n" * 20,
}

HOSTILE = {
    "empty": "",
    "one letter": "a",
    "full stop": ".",
    "blank": " \n\t\u3000\u00a0 ",
    "nul bytes": "a\0b\0\0 the\0",
    "only nul": "\0",
    "emoji": "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇩🇪 1️⃣ " * 5,
    "combining marks": "e\u0301\u0327\u0308 " * 20 + "\u0301" * 300,
    "right to left": "\u202eשלום עולם\u202c مرحبا بالعالم، كيف الحال؟ ۱۲۳ " * 4,
    "line endings": "one\r\ntwo\rthree\n\r\n\r\nfour\u2028five\x85six",
    "no spaces": "x" * 3000,
    "zero width": "a\u200bb\u200cc\u200dd\ufeffe\u00ad",
    "outside the plane": "𝔘𝔫𝔦 𠜎𠜱 \U0010ffff",
    "markup": '</s> __label__en <|endoftext|> {"a": 1}\n',
    "controls": "".join(map(chr, range(1, 32))) + "\x7f",
}

SMALL = {**PROSE, **HOSTILE}
_LANGUAGES = ("eng_Latn", "deu_Latn", "cmn_Hani", None, "und", "arb_Arab")


@dataclass(frozen=True)
class Case:
    """A step by name and the options it is built with."""

    name: str
    options: Mapping[str, Any]

    def build(self) -> AnyStep:
        return build_step(self.name, self.options)

    def __str__(self) -> str:
        return "-".join([self.name, *self.options])


def steps() -> list[str]:
    """Names of the steps on disk: annotators and selectors."""
    return [name for name in names(outside=False) if kind(load(name)) != "job"]


def cases() -> list[Case]:
    return [
        Case(name, {**REQUIRED.get(name, {}), **MODELLED.get(name, {}), **more})
        for name in steps()
        if name not in NO_MODEL
        for more in ({}, *MORE.get(name, ()))
    ]


def opened(case: Case, scratch: Path) -> AnyStep:
    """The step, opened as a worker opens it."""
    if case.name == "filters.ner_spacy":
        ruler(PIPELINE)
        atexit.register(shutil.rmtree, PIPELINE, ignore_errors=True)
    if "server" in case.options and JUDGE not in os.environ:
        os.environ[JUDGE] = _serving.enter_context(LlmServer(_opinion)).url
    step = case.build()
    step.open(Context(models=models_folder(), scratch=scratch, offline=True, cache=scratch))
    return step


def _opinion(request: dict[str, Any], number: int) -> str:
    """By the length of the prompt, which comes to no score one time in seven."""
    size = len(request["messages"][0]["content"]) + request["seed"]
    if "Faithfulness" in request["messages"][0]["content"]:
        found = {"faithfulness": 1 + size % 5, "completeness": 3, "missing": ["the", "x"], "wrong": [1, 9]}
        return "no idea" if "response_format" in request and size % 7 == 0 else json.dumps(found)
    if "Translate the type" in request["messages"][0]["content"]:
        return '{"translation": "Ort"}' if "response_format" in request else "Ort"
    if "named entities" in request["messages"][0]["content"]:
        if '{"entities"' not in request["messages"][0]["content"]:
            return '("committee", "ORG")\n("the", "x")'
        return "no idea" if size % 7 == 0 else '{"entities": [{"text": "the", "type": "city"}]}'
    return ("no idea", "Score: 2", '{"score": 3}')[2 if "response_format" in request else size % 7 > 0]


def record(texts: Sequence[str], start: int = 0) -> pa.RecordBatch:
    """Documents with every column that a step on disk may read."""
    rows = range(start, start + len(texts))
    return pa.RecordBatch.from_pydict(
        {
            "doc": pa.array(rows, pa.int64()),
            "id": pa.array([f"id/{row}" for row in rows], pa.string()),
            "text": pa.array(texts, pa.string()),
            "url": pa.array([None if row % 3 else f"https://example.org/{row}" for row in rows], pa.string()),
            "source": pa.array([("wiki", "docs", None)[row % 3] for row in rows], pa.string()),
            "date": pa.array(["2024-02-29"] * len(texts), pa.string()),
            "dump": pa.array([None] * len(texts), pa.string()),
            "licence": pa.array(["CC0-1.0"] * len(texts), pa.string()),
            LANGUAGE: pa.array([_LANGUAGES[row % len(_LANGUAGES)] for row in rows], pa.string()),
            "lid__prob": pa.array([None if row % 7 == 6 else row % 5 / 4 for row in rows], pa.float32()),
            "teacher__mentions": _mentions(("committee", "the", "桥", "absent", ""), rows, 5),
            "ner__spans": _spans(texts),
            "ner__nested_spans": _spans(texts),
            "other__mentions": _mentions(("The committee of", "the"), rows, 3),
        }
    )


def _spans(texts: Sequence[str]) -> pa.Array:
    """One in each text, of its first characters; every so often none is known."""
    place = pa.struct([("start", pa.int32()), ("end", pa.int32()), ("label", pa.string())])
    found = [None if n % 4 == 0 else [{"start": 0, "end": min(3, n), "label": "x"}] for n in map(len, texts)]
    return pa.array(found, pa.list_(place))


def _mentions(words: Sequence[str], rows: range, gap: int) -> pa.Array:
    """Strings that a teacher found in each row, and offsets; every so often it gave no answer."""
    said = [{"text": word, "label": "city" if i % 2 else "ORG"} for i, word in enumerate(words)]
    placed = [{"text": None, "label": "person", "start": i, "end": i + 5} for i in (0, 2, 10**6)]
    return pa.array([None if row % gap == 0 else said + placed for row in rows], COLUMNS["mentions"])


def many(rows: int) -> pa.RecordBatch:
    """So many documents, all of the small texts again and again, no two alike in what surrounds them."""
    texts = list(SMALL.values())
    return record([texts[row % len(texts)] for row in range(rows)])


def batch(documents: pa.RecordBatch, language: str | None = LANGUAGE) -> DocBatch:
    return DocBatch(documents, language=language)


def output(step: AnyStep, documents: DocBatch) -> dict[str, pa.Array]:
    """What a step returns for a batch, by local name; a selector's verdicts stand under `keep`."""
    if isinstance(step, Annotator):
        return dict(step.annotate(documents))
    return {"keep": step.keep(documents)}


def declared(step: AnyStep) -> dict[str, pa.DataType]:
    return dict(step.writes()) if isinstance(step, Annotator) else {"keep": pa.bool_()}
