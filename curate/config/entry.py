"""What every part of a config is made of: strict, frozen models, and values that several of them have."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from curate.core.sizes import parse_size

NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._\-]*"
STEP_NAME: Final = r"[a-z][a-z0-9]*(_[a-z0-9]+)*"


def _size(value: Any) -> Any:
    """Bytes of `256MB`; whatever is no size is left for the model to refuse."""
    return parse_size(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else value


def fault(code: str, message: str, help: str = "") -> PydanticCustomError:
    """What a validator raises for a problem of another code than C102."""
    return PydanticCustomError("curate", "{message}", {"message": message, "code": code, "help": help})


SIZE_SCHEMA: Final = {
    "anyOf": [{"type": "string", "pattern": r"^[0-9.]+ ?[KMGTkmgt]?[Ii]?[Bb]?$"}, {"type": "integer"}]
}
Size = Annotated[int, BeforeValidator(_size), Field(ge=1), WithJsonSchema(SIZE_SCHEMA)]
PathText = Annotated[str, Field(min_length=1)]
Name = Annotated[str, Field(pattern=f"^{NAME}$", max_length=100)]
Scalar = str | int | float | bool


class Entry(BaseModel):
    """Base of every part of a config: unknown keys are errors, values cannot change."""

    model_config = ConfigDict(extra="forbid", frozen=True)
