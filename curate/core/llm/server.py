"""Options of a step that asks a language model.

What decides the answers (`Sampling`: the model, its temperature, …) stands among the step's own options and is in its
fingerprint. Where and how the server is asked (`server:`) is in none: a run may go on with another address, and its units
that are done stay. Two servers can have different models of one name, so answers are kept by server too: by its `id`, else
by `base_url` as it is written; of `$JUDGE_URL` that is the variable's name, whatever address it has today. The key of a
server is never in a config, only the name of the environment variable that holds it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, field_validator

from curate.core.errors import error
from curate.core.stage import StageConfig

#: A seed is counted up from by the sample's number; servers take 32 bits.
_MOST_SEED: Final = 2**31 - 1_000

_NO_CREDENTIALS: Final = "an address has no name or password in it, as it stands in plans and errors"
_KEY_HELP: Final = "give the server's key by `api_key_env`, and the address without what stands before the @"


class Server(BaseModel):
    """Where an OpenAI-compatible server is and how it is asked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: str = Field(
        description="Its address up to `/v1`, such as `http://127.0.0.1:8000/v1`; `$NAME` takes it from the environment."
    )
    id: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="What the server's answers are kept by, beside the request; null: `base_url` as it is written here. "
        "Give one if a server comes back at another address.",
    )
    api_key_env: str | None = Field(
        None, min_length=1, description="Environment variable that holds the key; null: none is sent."
    )
    concurrency: int = Field(8, ge=1, le=1024, description="Requests of one worker at a time.")
    retries: int = Field(
        6, ge=0, le=100, description="Further tries of a request after 429, a server's fault or silence."
    )
    backoff: float = Field(
        1.0,
        gt=0,
        le=60,
        description="Seconds before the first retry; each next one waits twice as long, up to 60.",
    )
    timeout: float = Field(120, gt=0, le=86_400, description="Seconds that one request may take.")
    deadline: float = Field(
        900, gt=0, le=86_400, description="Seconds that one answer may take, with all its retries."
    )
    prompt_price: float = Field(
        0, ge=0, allow_inf_nan=False, description="Price of a million tokens of prompt."
    )
    completion_price: float = Field(
        0, ge=0, allow_inf_nan=False, description="Price of a million tokens of answer."
    )

    @field_validator("base_url")
    @classmethod
    def _is_address(cls, value: str) -> str:
        if not value.startswith(("http://", "https://", "$")):
            raise ValueError("it begins with http://, https:// or $")
        if _has_credentials(value):
            raise ValueError(_NO_CREDENTIALS)
        return value

    def address(self) -> str:
        """The base address without a slash at its end.

        If it comes from a variable: C109 if that is not set, C102 if there is a password in it.
        """
        value = self.base_url
        if value.startswith("$"):
            name = value[1:].strip("{}")
            value = _variable(name, "the server's address")
            if _has_credentials(value):
                raise error("C102", f"the environment variable {name}: {_NO_CREDENTIALS}", help=_KEY_HELP)
        return value.rstrip("/")

    @property
    def identity(self) -> str:
        """By which its answers are told from those of another server that calls its model the same."""
        return self.id if self.id is not None else self.base_url.rstrip("/")

    def key(self) -> str | None:
        """The server's key; C109 if its variable is not set."""
        return None if self.api_key_env is None else _variable(self.api_key_env, "the server's key")


def _has_credentials(address: str) -> bool:
    """Whether there is a name or password before the host. The plan, errors and logs show addresses."""
    return "@" in re.split(r"[/?#]", address.partition("://")[2], maxsplit=1)[0]


def _variable(name: str, what: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise error(
            "C109",
            f"the environment variable {name} is not set; it has {what}",
            help=f"export {name}=…",
        )
    return value


class Sampling(StageConfig):
    """Options that decide what a model answers; base of the options of a step that asks one."""

    model: str = Field(min_length=1, description="The model, as the server calls it.")
    server: Server = Field(description="Where the server is and how it is asked.")
    samples: int = Field(1, ge=1, le=99, description="Answers to each prompt, with seeds counted up.")
    temperature: float = Field(
        0.7, ge=0, le=10, allow_inf_nan=False, description="0: always the likeliest token."
    )
    max_tokens: int = Field(512, ge=1, le=1 << 20, description="Tokens of an answer at most.")
    seed: int = Field(1, ge=0, le=_MOST_SEED, description="Of the first sample.")
    extra: Annotated[
        dict[str, Any], Field(description="Further fields of each request, as the server has them.")
    ] = Field(default_factory=dict)

    def request(
        self, prompt: str, sample: int = 0, *, schema: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """The body of a request. prompt: the user's message. schema: JSON Schema that the server holds the answer to."""
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "seed": self.seed + sample,
        }
        if schema is not None:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "answer", "strict": True, "schema": dict(schema)},
            }
        return body | self.extra
