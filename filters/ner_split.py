"""Put documents into train, dev and test parts by host, so that a test set can be kept out of everything else.

In: `url`, and the column that names the document: `source_doc` over passages, and where the rows are published passages that
have it and are published as rows again; else the document's own number, which is the `source_doc` of passages that are cut
from it. Out, per document:

    split   string   `train`, `dev`, `test`
    test    bool     whether it is in the test part

The rule is that of `curate ner export` (`filters.ner.splits`): documents of one host are in one part, and a document without
address is hashed by its name. So what this step marks in a run that publishes passages beside pretraining data is what an
export with the same shares and seed, of the passages that the run publishes, has as its test part:

    - {use: filters.ner_split, as: held, test: 0.01}
    publish:
      - {name: pretrain, path: out/pretrain, where: not held__test}

Work: one hash for each host and document of a batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from curate.core.batch import DocBatch
from curate.core.columns import DOC
from curate.core.errors import error
from curate.core.passages import SOURCE_DOC
from curate.core.stage import Annotator, StageConfig
from filters.ner.splits import AUTHORITY, TEST, Group, Shares, group_key, host_of, part_of

_MOST_SEED = 2**63 - 1


class SplitConfig(StageConfig):
    """The shares of the parts."""

    dev: float = Field(0.0, ge=0, le=1, description="Share of hosts, and of documents without one, for dev.")
    test: float = Field(
        0.1, ge=0, le=1, description="Share of hosts, and of documents without one, for test."
    )
    seed: int = Field(1, ge=0, le=_MOST_SEED, description="Another seed gives other parts.")
    group: Group = Field(
        "host",
        description="What stays together: pages of a `host`; or, where hosts are few, passages of a `document` alone.",
    )
    document: str | None = Field(
        None,
        min_length=1,
        description="Column that names the document of a row without host; left out: `source_doc` if there is one, as in "
        "published passages, and no output cuts the row into passages of its own; else the row's own number.",
    )

    @model_validator(mode="after")
    def _not_more_than_all(self) -> SplitConfig:
        if self.dev + self.test > 1:
            raise ValueError(f"dev {self.dev} and test {self.test} are together more than 1")
        return self

    def settled(self, schema: pa.Schema) -> SplitConfig:
        """By `source_doc` where it is. C206 if the column is none that names something."""
        name = self.document or (SOURCE_DOC if SOURCE_DOC in schema.names else DOC)
        kind = schema.field(name).type if name in schema.names else pa.string()
        binary = (
            pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
        )
        if pa.types.is_nested(kind) or binary:
            raise error(
                "C206",
                f"'{name}' is {kind}, and names no document",
                help="set `document:` to a column of numbers or strings, such as id",
                option="document",
            )
        return self.model_copy(update={"document": name})


class NerSplit(Annotator[SplitConfig]):
    """Puts documents into train, dev and test parts by host."""

    Config = SplitConfig
    VERSION: ClassVar[int] = 2

    def __init__(self, config: SplitConfig) -> None:
        self.config = config
        self._document = config.document or DOC

    def reads(self) -> frozenset[str]:
        return frozenset({"url", DOC, self._document})

    def writes(self) -> Mapping[str, pa.DataType]:
        return {"split": pa.string(), "test": pa.bool_()}

    def annotate(self, batch: DocBatch) -> Mapping[str, pa.Array]:
        by_host = self.config.group == "host"
        own = batch.column(DOC).cast(pa.string())  # a row without a document's name goes by its number
        split = _parts(
            batch.column("url") if by_host else pa.nulls(batch.num_rows, pa.string()),
            pc.coalesce(batch.column(self._document).cast(pa.string()), own),
            Shares(self.config.dev, self.config.test),
            self.config.seed,
        )
        return {"split": split, "test": pc.equal(split, TEST)}


def _parts(urls: pa.StringArray, documents: pa.StringArray, shares: Shares, seed: int) -> pa.StringArray:
    """The part of each row, looked up once for each host."""
    authorities = pc.struct_field(pc.extract_regex(urls, AUTHORITY), "authority").dictionary_encode()
    hosts = [host_of(authority) for authority in authorities.dictionary.to_pylist()]
    by_host = [None if host is None else part_of(group_key(host, None) or "", shares, seed) for host in hosts]
    split = pa.array(by_host, pa.string()).take(authorities.indices)
    alone = np.flatnonzero(split.is_null().to_numpy(zero_copy_only=False))
    if not len(alone):
        return split
    names = documents.take(pa.array(alone)).to_pylist()
    parts = [part_of(group_key(None, name) or "", shares, seed) for name in names]
    mask = split.is_null()
    return pc.replace_with_mask(split, mask, pa.array(parts, pa.string()))


STAGE = NerSplit
