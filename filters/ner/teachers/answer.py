"""What a language model said, as mentions: read as asked for, else repaired by these rules and no others.

In: the text of an answer, its form (`filters.ner.teachers.prompt`), and whether it was cut off. Out: `Said`: mentions with
strings and labels, and the outcome.

    ok          the answer is what was asked for, to the letter; a Markdown fence or reasoning (`<think> … </think>`) around
                it does not count
    repaired    (json) words around it; a list without the object, or another key for it; `["Ada", "person"]` in a list, or
                `{"Ada": "person"}`, for an entity; other keys (`mention`, `entity`, `name`, `label`, `category` …); lists by
                type (`{"person": ["Ada"]}`); single quotes and Python's constants; commas too many; control characters in
                strings; objects without a list around them
                (tuples) words around them, other quotes, lists of them, brackets for parentheses
    cut_off     the server says that it ended for length, or it ends within an entity or list: the entities before that
                count; if there are none, there is no answer
    malformed   nothing like an entity, and not the empty answer: there is no answer

An entity that no rule reads, in an answer of which others are read, is a mention with that text and no label, which
grounding rejects as `no_label`: it is not lost without a trace. The same holds for an entity without a type.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Iterator
from typing import Any, Final

from curate.core.llm.answers import whole
from filters.ner.ground import Mention
from filters.ner.teachers.prompt import Form
from filters.ner.teachers.teacher import CUT_OFF, MALFORMED, OK, REPAIRED, Said

_OPENS, _CLOSES = "<think>", "</think>"
_FENCE: Final = re.compile(r"\A\s*```\w*[ \t]*\n(.*?)(?:\n[ \t]*```\s*)?\Z", re.DOTALL)
_TEXT_KEYS: Final = ("text", "mention", "entity", "name", "span", "word", "value", "entity_text")
_TYPE_KEYS: Final = ("type", "label", "entity_type", "category", "class", "tag", "entity_label")
_LIST_KEYS: Final = ("entities", "named_entities", "mentions", "results", "spans", "data")
#: A mention and its type, in quotes, in parentheses or brackets; quotes within the mention may stand as they are.
_PAIR: Final = re.compile(
    r"""[(\[]\s*(["'“”«‘`])(?P<text>(?:\\.|[^\\\n]){0,1000}?)["'“”»’`]\s*[,|:]\s*["'“”«‘`](?P<label>[^"'“”»’`()\[\]\n]{0,200})["'“”»’`]\s*[)\]]"""
)
_STRICT_PAIR: Final = re.compile(r'\(("(?:\\.|[^"\\\n])*"), ("(?:\\.|[^"\\\n])*")\)')
_OPENED: Final = re.compile(r"""[(\[]\s*["'“«‘`]""")
_NONE: Final = frozenset(("", "[]", "()", "none", "none.", "{}"))
_COMMA: Final = re.compile(r",\s*([}\]])")
#: Characters of an entity that could not be read which are kept.
_SHOWN: Final = 200
#: Characters of an answer that are looked at: what is longer is a model that repeats itself.
_MOST: Final = 200_000


def read_answer(answer: str, form: Form, cut_off: bool) -> Said:
    """What the answer says."""
    text = without_wrapping(answer)
    if not text and _OPENS in answer:  # it never came to an answer
        return Said(None, CUT_OFF if cut_off else MALFORMED)
    read, clean, complete = _tuples(text) if form == "tuples" else _json(text)
    if read is None:
        return Said(None, MALFORMED)
    found = [Mention(whole(mention.text), whole(mention.label)) for mention in read]
    if cut_off or not complete:
        return Said(found or None, CUT_OFF)
    return Said(found, OK if clean else REPAIRED)


def without_wrapping(answer: str) -> str:
    """An answer without the reasoning before it, and without a Markdown fence around it.

    Reasoning ends at the last `</think>`, opened or not: some servers put the opening into the prompt. Of an answer that
    begins with reasoning that never ends nothing is left: thoughts are no answers.
    """
    text = answer[:_MOST].rpartition(_CLOSES)[2]
    if text.lstrip().startswith(_OPENS):
        return ""
    fence = _FENCE.match(text)
    return (fence[1] if fence else text).strip()


Read = tuple[list[Mention] | None, bool, bool]  # mentions, as asked for, complete


def _tuples(text: str) -> Read:
    lines = [line for line in text.split("\n") if line.strip()]
    strict = [_STRICT_PAIR.fullmatch(line.strip()) for line in lines]
    if lines and all(strict):
        try:
            return [Mention(json.loads(m[1]), json.loads(m[2])) for m in strict if m], True, True
        except ValueError:
            pass  # an escape that JSON has not
    if text.casefold() in _NONE:
        return ([], text == "[]", True) if text else (None, False, True)
    found, end = [], 0
    for pair in _PAIR.finditer(text):
        found.append(Mention(_unescaped(pair["text"]), pair["label"]))
        end = pair.end()
    complete = _OPENED.search(text, end) is None
    if not found:
        # An entity that has begun is an answer that was cut off.
        return ([], False, False) if not complete and len(lines) == 1 else (None, False, True)
    return found, False, complete


def _unescaped(text: str) -> str:
    return text.replace('\\"', '"').replace("\\'", "'").replace("\\\\", "\\")


def _json(text: str) -> Read:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return _lenient(text)
    if isinstance(value, dict) and list(value) == ["entities"] and isinstance(value["entities"], list):
        items = value["entities"]
        if all(isinstance(item, dict) and set(item) == {"text", "type"} for item in items) and all(
            isinstance(item[key], str) for item in items for key in ("text", "type")
        ):
            return [Mention(item["text"], item["type"]) for item in items], True, True
    found = _entities(value)
    return found, False, True


def _lenient(text: str) -> Read:
    """An answer that is no JSON: the whole of it mended, else entity by entity."""
    start = min((at for at in (text.find("{"), text.find("[")) if at >= 0), default=-1)
    if start < 0:
        return ([] if text.casefold() in _NONE and text else None), False, True
    body = text[start : max(text.rfind("}"), text.rfind("]")) + 1] or text[start:]
    value = mended(body)
    if value is not None:
        found = _entities(value)
        if found is not None:
            return found, False, True
    return _each(text[start:])


def mended(text: str) -> Any:
    """The value of JSON with commas too many, control characters, or Python's notation; None if it is not even that."""
    for candidate in (text, _COMMA.sub(r"\1", text)):
        try:
            return json.loads(candidate, strict=False)
        except (ValueError, RecursionError):
            pass
    try:
        with warnings.catch_warnings(action="ignore"):  # of escapes that Python does not know
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return None


def _each(text: str) -> Read:
    """Every innermost object or list on its own; one that is not closed at the end was cut off."""
    found: list[Mention] = []
    read = 0
    opened: list[str] = []
    begin, quoted, escaped = -1, False, False
    for at, character in enumerate(text):
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == '"':
            quoted = not quoted
        elif quoted:
            continue
        elif character in "{[":
            opened.append(character)
            begin = at
        elif character in "}]":
            del opened[-1:]
            if begin >= 0:
                part = text[begin : at + 1]
                some = _entities(mended(part), within=opened[-1:] == ["["])
                if some:
                    found += some
                    read += 1
                elif part.strip("{}[] \n\t"):
                    found.append(Mention(part[:_SHOWN], ""))
            begin = -1
    complete = not opened and not quoted
    if not read and (complete or not re.match(r"[{\[]", text)):
        return None, False, True
    return found, False, complete


def _entities(value: Any, *, within: bool = False) -> list[Mention] | None:
    """The entities of a value, whatever its shape; None if it has none of those that are known.

    within: whether it is an item of a list: two strings are a mention and its type there, and two mentions elsewhere.
    """
    if isinstance(value, dict):
        for key in _LIST_KEYS:
            if isinstance(value.get(key), list | tuple | dict):
                return _entities(value[key])
        if (one := _entity(value)) is not None:
            return [one]
        return (
            list(_by_type(value)) if all(isinstance(v, str | list | tuple) for v in value.values()) else None
        )
    if isinstance(value, list | tuple):
        pair = within or isinstance(value, tuple)
        if pair and len(value) == 2 and all(isinstance(part, str) for part in value):
            return [Mention(value[0], value[1])]
        found: list[Mention] = []
        for item in value:
            if isinstance(item, str):
                found.append(Mention(item, ""))
                continue
            some = _entities(item, within=True)
            found += some if some is not None else [Mention(str(item)[:_SHOWN], "")]
        return found
    return None


def _entity(item: dict[Any, Any]) -> Mention | None:
    """An object with a text among its keys."""
    keys = {str(key).casefold(): key for key in item}
    text = next((item[keys[key]] for key in _TEXT_KEYS if isinstance(item.get(keys.get(key)), str)), None)
    if text is None:
        return None
    label = next((item[keys[key]] for key in _TYPE_KEYS if isinstance(item.get(keys.get(key)), str)), "")
    return Mention(text, label)


def _by_type(value: dict[Any, Any]) -> Iterator[Mention]:
    """`{"person": ["Ada"]}`, and `{"Ada": "person"}`."""
    for key, items in value.items():
        if isinstance(items, str):
            yield Mention(str(key), items)
            continue
        for item in items:
            if isinstance(item, dict) and (one := _entity(item)) is not None:
                yield Mention(one.text, one.label or str(key))
            else:
                yield Mention(item if isinstance(item, str) else str(item)[:_SHOWN], str(key))
