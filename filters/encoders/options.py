"""What `encoder:` in a step's options may be, and the encoder that it stands for.

    encoder: usem3
    encoder: {use: packed, model: snowflake-arctic-embed-m-v2.0, max_tokens: 8192, device: cuda, dtype: bfloat16}
    encoder: {use: transformers, model: intfloat/multilingual-e5-small, revision: <40 hexadecimal digits>, pooling: mean}
    encoder: {use: onnx, model: models/all-MiniLM-L6-v2, pooling: mean}

The options are those of the encoder alone: a key that it does not read is an unknown key.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field, StringConstraints

from curate.core.stage import StageConfig

if TYPE_CHECKING:
    from filters.encoders.encoder import Encoder

#: The encoder that comes with curate.
SHIPPED: Final = "usem3"
#: Tokens of a text that any encoder may be asked to read.
MOST_TOKENS: Final = 1 << 15
#: The fewest that it may be told to.
LEAST_TOKENS: Final = 4

Revision = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]
Pooling = Literal["cls", "mean", "last"]


class ModelOptions(StageConfig):
    """Options of every model that is a folder of files."""

    model: str = Field(
        min_length=1,
        description="A model that `curate models` lists, the folder of one, or `ORG/NAME` of a hub with its `revision`.",
    )
    revision: Revision | None = Field(
        None,
        description="The commit of `ORG/NAME`, 40 hexadecimal digits; it must be in the hub's cache on this machine.",
    )
    max_tokens: int = Field(
        512,
        ge=LEAST_TOKENS,
        le=MOST_TOKENS,
        description="Tokens of a text that are read, marks and prefix included.",
    )
    batch_tokens: int = Field(
        16_384,
        ge=1,
        le=1 << 24,
        description="Tokens that go through the model together; a longer text goes alone.",
    )


class DeviceOptions(StageConfig):
    """Options of every model that torch runs."""

    device: Literal["cpu", "cuda"] = Field("cpu", description="Where it runs.")
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="In what numbers it computes; what comes out is float32 in any case."
    )


class FolderOptions(ModelOptions):
    """Options of every encoder that is a folder of files."""

    pooling: Pooling = Field(
        "cls",
        description="Which state of the last layer is the vector: of the first token, the mean, of the last token.",
    )
    prefix: str = Field(
        "", description="What is put before each text, as the model was trained with: `passage: `."
    )
    normalize: bool = Field(True, description="Whether vectors are scaled to length 1.")


class OnnxOptions(FolderOptions):
    """An ONNX model with its tokenizer.json, on the CPU."""

    use: Literal["onnx"] = Field(description="Which encoder.")
    file: str = Field(
        "", description="The model's file in its folder; empty: `model.onnx` or `onnx/model.onnx`."
    )


class TorchOptions(DeviceOptions, FolderOptions):
    """Options of the encoders that torch runs."""


class TransformersOptions(TorchOptions):
    """Any encoder that the library transformers can load, in padded batches."""

    use: Literal["transformers"] = Field(description="Which encoder.")
    trust_remote_code: bool = Field(
        False,
        description="Whether Python code that lies beside the model may be run. It can do anything you can.",
    )


class PackedOptions(TorchOptions):
    """XLM-R, BERT, ModernBERT and GTE without padding: `filters.encoders.packed`."""

    use: Literal["packed"] = Field(description="Which encoder.")
    compile: bool = Field(
        True,
        description="Whether parts are compiled on CUDA, by Triton and a C compiler; vectors differ by rounding.",
    )


EncoderOptions = OnnxOptions | TransformersOptions | PackedOptions
Options = Literal["usem3"] | Annotated[EncoderOptions, Field(discriminator="use")]


def make_encoder(options: Options, models: Path | None = None, threads: int = 1) -> Encoder:
    """The encoder of these options, not opened; nothing heavy is imported.

    models: the folder that `curate models pull` fills. threads: that it may use on the CPU.
    """
    if isinstance(options, OnnxOptions):
        from filters.encoders.onnx import OnnxEncoder

        return OnnxEncoder(options, models, threads)
    if isinstance(options, TransformersOptions):
        from filters.encoders.transformers import TransformersEncoder

        return TransformersEncoder(options, models, threads)
    if isinstance(options, PackedOptions):
        from filters.encoders.packed import PackedEncoder

        return PackedEncoder(options, models, threads)
    from filters.encoders.usem3 import Usem3

    return Usem3()


def described(options: Options) -> Mapping[str, str]:
    """The encoder in the metadata of a column."""
    if isinstance(options, str):
        return {"encoder": options}
    named = {"encoder": options.model, "encoder_use": options.use, "pooling": options.pooling}
    return named | ({"encoder_revision": options.revision} if options.revision else {})
