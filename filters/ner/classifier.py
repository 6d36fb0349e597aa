"""Classifiers of passages as FiNERweb released them (arXiv 2512.13884): a folder that transformers loads, XLM-R or another.

    config.json         *ForSequenceClassification; how many values it gives
    tokenizer.json, model.safetensors   as every encoder that is a folder has them (`filters.encoders.folder`)

In: texts. Out: what the model gives of each, float32[n, values]; `ratings` makes of it the score, 1 to 4, and P(score ≥ 3):

    values                          score                      prob
    1, trained on 0 and 1           1 + 3 prob                 the value, within 0 and 1
    1, trained on ratings           the value, within 1 and 4  score - 2, within 0 and 1
    1, `multi_label_classification` 1 + 3 prob                 σ(value)
    2 classes: no and yes           1 + 3 prob                 softmax
    4 classes: the ratings          their mean by softmax      softmax of 3 and 4

FiNERweb's `finerweb-binary-classifier-xlmr-…` gives one value, trained on 0 and 1 with squared error, and takes passages
above .5. A model of ratings says 2.5 where 2 and 3 are as likely, hence score - 2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from filters.encoders.batches import Batch, Float32s
from filters.encoders.encoder import Settings
from filters.encoders.folder import CONFIG, unfit
from filters.encoders.options import DeviceOptions, ModelOptions, TransformersOptions
from filters.encoders.torch_device import begun, fetching, uploaded
from filters.encoders.transformers import TransformersEncoder

_KIND: Final = "ForSequenceClassification"
#: How transformers calls one probability a class, of which any number may be high.
_MULTI_LABEL: Final = "multi_label_classification"
_RATINGS: Final = np.array([1.0, 2.0, 3.0, 4.0])

Target = Literal["binary", "rating"]
Float64s = npt.NDArray[np.float64]


class ClassifierOptions(DeviceOptions, ModelOptions):
    """A classifier of passages in a folder."""

    target: Target = Field(
        "binary",
        description="What a model of one value was trained on: 0 and 1 (`binary`), or ratings from 1 to 4 (`rating`).",
    )

    def loading(self) -> TransformersOptions:
        """The same for the encoder that it is to the cache and the batches."""
        own = self.model_dump(exclude={"target"})
        return TransformersOptions.model_validate({"use": "transformers", "normalize": False, **own})


class Rated(NamedTuple):
    """score, prob: float32[n]."""

    score: Float32s
    prob: Float32s


class Classifier(TransformersEncoder):
    """A classifier as an encoder: a text's vector is what the model gives of it."""

    architecture: ClassVar[str] = "AutoModelForSequenceClassification"
    may_lack: ClassVar[tuple[str, ...]] = ()

    @property
    def settings(self) -> Settings:
        return {"values": "of the classifier", "dtype": self.options.dtype}

    @property
    def dimensions(self) -> int:
        """Values of a text; E507 if it is no classifier, or of other classes than ratings."""
        config = self.config
        kinds = config.get("architectures") or []
        if not any(str(kind).endswith(_KIND) for kind in kinds):
            raise unfit(
                self.folder / CONFIG, f"its architecture is {', '.join(kinds) or 'not said'}, no *{_KIND}"
            )
        # transformers leaves its default, two classes, out of the file.
        count = len(config["id2label"]) if config.get("id2label") else config.get("num_labels", 2)
        if count not in (1, 2, len(_RATINGS)):
            raise unfit(
                self.folder / CONFIG, f"it gives {count} values; 1, 2 or {len(_RATINGS)} can be ratings"
            )
        return int(count)

    def files(self) -> Mapping[str, Path]:
        found = super().files()
        _ = self.dimensions  # its faults are found before work starts
        return found

    def rate(self, values: Float32s, target: Target) -> Rated:
        """values: float32[n, dimensions]."""
        return ratings(values, target, sigmoid=self.config.get("problem_type") == _MULTI_LABEL)

    def _forward(self, batch: Batch) -> Callable[[], Float32s]:
        import torch

        tokens, mask = batch.padded(self.config.get("pad_token_id") or 0)
        with torch.inference_mode():
            given, here = uploaded(tokens, self._device), uploaded(mask, self._device)
            start = begun(self._device)
            values = self._model(input_ids=given, attention_mask=here).logits.float()
            return fetching(values, start, self.meter)


def ratings(values: npt.NDArray[Any], target: Target, *, sigmoid: bool = False) -> Rated:
    """Scores and probabilities of what a classifier gives; see the module's story. sigmoid: of one value, a probability."""
    exact = values.astype(np.float64)
    if exact.shape[1] == 1:
        only = exact[:, 0]
        if target == "rating":
            score = np.clip(only, _RATINGS[0], _RATINGS[-1])
            return _rated(score, np.clip(score - 2, 0, 1))
        prob = 1 / (1 + np.exp(-np.clip(only, -700, 700))) if sigmoid else np.clip(only, 0, 1)
        return _rated(1 + 3 * prob, prob)
    shares = np.exp(exact - exact.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    if exact.shape[1] == 2:
        return _rated(1 + 3 * shares[:, 1], shares[:, 1])
    return _rated((shares * _RATINGS).sum(axis=1), shares[:, 2] + shares[:, 3])


def _rated(score: Float64s, prob: Float64s) -> Rated:
    return Rated(score.astype(np.float32), prob.astype(np.float32))
