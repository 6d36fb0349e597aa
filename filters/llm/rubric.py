"""A rubric: what a language model is asked about a text, and what counts as an answer.

A YAML file with `about`, `minimum`, `maximum` and `criteria`. The model is shown the criteria, then the text, then in which
form to answer: the criteria come first because servers keep what prompts begin with. Two forms:

    line   reasons, then a line `Score: 3`; any server and model
    json   {"reason": "…", "score": 3}, to which the server is told to hold the model (`response_format: json_schema`)

An answer is valid if it has a whole number from minimum to maximum in its place; JQL (arXiv 2505.22232, section 3) throws
away what is out of range too. Nothing is guessed: "three", "3.5" or "2 or 3" is no score.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from curate.core.errors import CurateError, error
from curate.core.llm.answers import whole
from curate.core.suggest import did_you_mean, or_list

RUBRICS: Final = Path(__file__).parent / "rubrics"
#: Words of its reasons that a model is asked for.
_WORDS: Final = 80
#: Characters of a reason that are kept.
_REASON: Final = 2000
#: The last of these counts: models like to repeat the scale before they answer. `3/5` is a score if 5 is the maximum.
_LINE: Final = r"score\W{0,8}?(-?[0-9]+(?:\.[0-9]+)?)(?!\s*(?:/(?!\s*%d\b)|[0-9-]|to\b|or\b|\.[0-9]))"

Form = Literal["line", "json"]
Text = Annotated[str, Field(min_length=1)]


class Rubric(BaseModel):
    """A rubric's file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    about: Text
    minimum: int = Field(ge=-100, le=100)
    maximum: int = Field(ge=-100, le=100)
    criteria: Text

    def prompt(self, text: str, form: Form, *, reason: bool) -> str:
        """The message for a text."""
        scale = f"whole number from {self.minimum} to {self.maximum}"
        if form == "json":
            why = f'"reason": "<at most {_WORDS} words>", ' if reason else ""
            how = f'Answer with a JSON object and nothing else: {{{why}"score": <{scale}>}}'
        else:
            why = f"First give your reasons in at most {_WORDS} words. Then end" if reason else "Answer only"
            how = f"{why} with a line of this form: Score: <{scale}>"
        return f"{self.criteria.strip()}\n\nThe text:\n<text>\n{text}\n</text>\n\n{how}\n"

    def answer_schema(self, *, reason: bool) -> dict[str, Any]:
        """JSON Schema of an answer in the form `json`."""
        score = {"type": "integer", "enum": list(range(self.minimum, self.maximum + 1))}
        properties = {**({"reason": {"type": "string"}} if reason else {}), "score": score}
        return {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }

    def verdict(self, answer: str, form: Form) -> Verdict | None:
        """What an answer says, or None if it is invalid."""
        found = _from_json(answer) if form == "json" else _from_line(answer, self.maximum)
        if found is None or not self.minimum <= found.score <= self.maximum:
            return None
        return found._replace(reason=whole(found.reason))


class Verdict(NamedTuple):
    """score: as given. reason: what was said for it, which may be empty."""

    score: int
    reason: str


def _from_line(answer: str, maximum: int) -> Verdict | None:
    found = list(re.finditer(_LINE % maximum, answer, re.IGNORECASE))
    match = found[-1] if found else None
    if match is None or not float(match[1]).is_integer():
        return None
    return Verdict(int(float(match[1])), answer[: match.start()].strip(" \n\t*#_")[:_REASON])


def _from_json(answer: str) -> Verdict | None:
    """The object in an answer; a fence or words around it do no harm."""
    start, end = answer.find("{"), answer.rfind("}")
    try:
        found = json.loads(answer[start : end + 1], strict=False)
        score = found["score"]
        if isinstance(score, str) and re.fullmatch(r"-?\d{1,9}", score, re.ASCII):
            score = int(score)
        if isinstance(score, bool) or not isinstance(score, int | float) or score != int(score):
            return None
        reason = found.get("reason", "")
        return Verdict(int(score), reason[:_REASON] if isinstance(reason, str) else "")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return None


def shipped() -> list[str]:
    """Names of the rubrics that come with curate."""
    return sorted(path.stem for path in RUBRICS.glob("*.yaml"))


def rubric_path(rubric: str) -> Path:
    """Where a rubric lies: a shipped one by name, any other by its file's path. C207 if there is neither."""
    path = RUBRICS / f"{rubric}.yaml"
    if "/" not in rubric and path.is_file():
        return path
    if rubric.endswith((".yaml", ".yml")):
        path = Path(rubric).expanduser()
        if path.is_file():
            return path
        raise error(
            "C207", f"there is no rubric at {path}", help="give the path of a YAML file", option="rubric"
        )
    near = did_you_mean(rubric, shipped())
    raise error(
        "C207",
        f"there is no rubric '{rubric}'",
        help=f"did you mean '{near}'?" if near else f"use {or_list(shipped())}, or the path of a YAML file",
        option="rubric",
    )


def read_rubric(path: Path) -> Rubric:
    """The rubric of a file; E507 if it is none."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        rubric = Rubric.model_validate(YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8")))
    except (YAMLError, UnicodeDecodeError, OSError) as cause:
        raise _unfit(path, " ".join(str(cause).split())[:200]) from cause
    except ValidationError as cause:
        first = cause.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise _unfit(path, f"{place}: {first['msg']}") from cause
    if rubric.minimum >= rubric.maximum:
        raise _unfit(path, f"maximum: {rubric.maximum} is not above {rubric.minimum}")
    return rubric


def _unfit(path: Path, why: str) -> CurateError:
    return error(
        "E507",
        f"{path} is not a rubric: {why}",
        help="it needs `about`, `minimum`, `maximum` and `criteria`; filters/llm/rubrics/edu.yaml is one",
        file=str(path),
        option="rubric",
    )
