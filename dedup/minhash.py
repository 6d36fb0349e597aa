"""`use: dedup.minhash`: of documents that are nearly equal, one survives.

    cluster        int64    smallest `doc` of its cluster; null without a near-duplicate
    cluster_size   int32    documents in it, this one included
    keep           bool     whether it survives
    survivor       int64    `doc` of the one that does; null for itself; below 0 a published one (`dedup.index`)
    partner        int64    a document it was found to be like: the survivor if it was, else the most similar one
    similarity     float32  Jaccard similarity to the survivor; null for itself, and with `verify: none`
    weight         int32    with `rehydrate`: how often it should be seen; null for the others
    reasons        list<string>   `near_duplicate` for the others

MinHash with locality-sensitive hashing (Broder 1997; Indyk and Motwani 1998) as FineWeb has it: runs of 5 words, 14
bands × 8 rows (Penedo et al. 2024, appendix E.1). The phases:

    sign      in the pass before: shingles → signature → a record for each band, evidence beside the shard
    link      by band key: a star of edges around the best document of each bucket      (`dedup.link`)
    attach, verify           pairs are compared, those under the bound fall away        (`dedup.verify`)
    cluster   one unit: connected components, or stars                                  (`dedup.clusters`)
    fetch, measure           similarity to a survivor that is several edges away        (`dedup.verify`)

`verify: signature` (the default) compares the estimates, whose standard error is .04 at 112 places: of pairs exactly
at the bound it rejects half. `verify: exact` compares the sets of shingles, in which numbers have their digits. For
bands and signatures every number is `0`, as in FineWeb: without `verify: exact` pages that differ in figures only
(results, prices, timetables) are equal. `verify: none` believes the bands. The bound is `min_similarity`, else
`threshold`, else the similarity at which bands begin to meet, (1/bands)^(1/rows), .72 at 14 × 8.

Which one survives, `keep` says (`dedup.survivors`), ties by `doc`; nothing depends on tasks, workers or the order of
work. Only documents that came this far count: what an earlier step dropped is nobody's twin. Documents without a word
are no duplicates.

Disk for a document: 16 bytes a band (24 with a `keep` that compares values), and with `verify: signature` 8 bytes and
one for each place of the signature: 224 + 120 at 14 × 8. `verify: exact` keeps 4 bytes for each word instead, 1.8 KB
for a text of 3 KB. An edge has 32 bytes, and the evidence of one document while it is compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, model_validator

from curate.core.batch import DocBatch
from curate.core.ceilings import Ceilings
from curate.core.columns import DOC, ID, REASONS, TEXT
from curate.core.stage import Context, Job, Mapper, Reduce, Resources, StageConfig
from dedup.bands import BANDS, BELIEVED, COMPARED, ROWS, band_keys, chosen
from dedup.ceiling_options import (
    CLUSTER,
    DOCUMENTS,
    FRACTION,
    MaxCluster,
    MaxRemoved,
    MaxRemovedByLanguage,
    MaxRemovedBySource,
    MinDocuments,
    ceilings_of,
)
from dedup.clusters import Cluster, components, stars
from dedup.edge_file import EdgeBatch
from dedup.evidence import Evidence, Sketches, Words
from dedup.export import Export
from dedup.index import Published, check_place
from dedup.index_options import PATHS, Against, IndexPath, check_paths
from dedup.link import Link, edges
from dedup.marks import marks, power_of_two
from dedup.records import fuller, mapped_options
from dedup.rehydrate import REHYDRATE, Rehydrate
from dedup.scopes import SCOPE, Scope, check_scope, names_of
from dedup.scopes import columns_of as scope_columns
from dedup.shingles import CHARACTERS, LONGEST, WORDS, shingles
from dedup.sign import Sign
from dedup.signature import permutations, signatures
from dedup.survivors import KEEP, Keep, check_keep, columns_of
from dedup.verify import EVIDENCE, Attach, Fetch, Measure, Verify, side_schema

KIND: Final = "dedup.minhash"
NEAR_DUPLICATE: Final = "near_duplicate"

#: Bytes of input to a document, guessed low, and band records that one partition may have (0.7 GB while linked).
_DOCUMENT_BYTES: Final = 500
_PARTITION_RECORDS: Final = 16_000_000
MOST_PARTITIONS: Final = 1024


class MinhashConfig(StageConfig):
    """Options of `dedup.minhash`."""

    LOCATIONS: ClassVar[tuple[str, ...]] = PATHS

    threshold: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None,
        description="Jaccard similarity of duplicates; chooses `bands` and `rows`, at most 112 in all.",
    )
    bands: Annotated[int, Field(ge=1, le=256)] | None = Field(
        None, description=f"Bands of a signature, {BANDS} by default; more find more. Not with `threshold`."
    )
    rows: Annotated[int, Field(ge=1, le=64)] | None = Field(
        None, description=f"Rows of a band, {ROWS} by default; more are stricter. Not with `threshold`."
    )
    words: int = Field(WORDS, ge=1, le=LONGEST, description="Words to a shingle.")
    characters: int = Field(
        CHARACTERS, ge=1, le=LONGEST, description="Characters to a shingle in scripts without spaces."
    )
    verify: Literal["none", "signature", "exact"] = Field(
        "signature",
        description="How candidates are compared: `signature` by estimate, `exact` by their shingles, `none` not at all.",
    )
    min_similarity: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None,
        description="Bound of `verify`; by default `threshold`, else (1/bands)^(1/rows).",
    )
    cluster: Literal["components", "star"] = Field(
        "components",
        description="`components`: whatever a chain of near-duplicates joins is one cluster; `star`: every removed document "
        "is at or over the bound to its own survivor.",
    )
    keep: Keep = Field(
        "first",
        description=KEEP,
    )
    scope: Scope = Field((), description=SCOPE)
    against: Against = ()
    index: IndexPath = None
    max_bucket: int = Field(
        1_000_000,
        ge=2,
        description="Documents that one bucket joins at most; a larger one is cut into several, and the cut is counted.",
    )
    max_cluster: MaxCluster = CLUSTER
    max_removed_frac: MaxRemoved = FRACTION
    max_removed_frac_by_source: MaxRemovedBySource = FRACTION
    max_removed_frac_by_language: MaxRemovedByLanguage = FRACTION
    ceiling_min_documents: MinDocuments = DOCUMENTS
    rehydrate: Rehydrate | None = Field(None, description=REHYDRATE)
    partitions: Annotated[int, Field(ge=1, le=MOST_PARTITIONS)] | None = Field(
        None,
        description="Into how many parts the records are divided; a power of two, by default from the input's size.",
    )

    @model_validator(mode="after")
    def _fits(self) -> MinhashConfig:
        if self.threshold is not None and (self.bands is not None or self.rows is not None):
            raise ValueError(
                "`threshold` chooses bands and rows: give either `threshold`, or `bands` and `rows`"
            )
        if self.cluster == "star" and self.verify == "none":
            raise ValueError("`cluster: star` needs similarities: set `verify: signature` or `exact`")
        check_paths(self.against, self.index)
        if self.min_similarity is not None and self.verify == "none":
            raise ValueError("`min_similarity` is the bound of `verify`, which is `none`")
        if self.rehydrate is not None and self.keep == "none":
            raise ValueError("`rehydrate` weighs survivors, and with `keep: none` nobody is removed")
        return self


class Parameters(NamedTuple):
    """What a config comes to. ranked: whether records carry a rank; scope: columns that must be equal."""

    bands: int
    rows: int
    bound: float
    ranked: bool
    scope: tuple[str, ...]

    @property
    def places(self) -> int:
        return self.bands * self.rows


def parameters(config: MinhashConfig) -> Parameters:
    """Bands, rows and bound of a config."""
    if config.threshold is not None:
        bands, rows = chosen(config.threshold, BELIEVED if config.verify == "none" else COMPARED)
    else:
        bands, rows = config.bands or BANDS, config.rows or ROWS
    bound = config.min_similarity or config.threshold or float((1 / bands) ** (1 / rows))
    ranked = config.keep not in ("first", "none") or bool(config.against)
    return Parameters(bands, rows, bound, ranked, names_of(config.scope))


class Minhash(Job[MinhashConfig]):
    """Removes documents that another one nearly equals."""

    Config = MinhashConfig
    VERSION: ClassVar[int] = 3

    def __init__(self, config: MinhashConfig) -> None:
        self.config = config
        self._chosen: Parameters | None = None
        self._published: Published | None = None
        if config.against:
            self._published = Published(config.against, KIND)

    @property
    def parameters(self) -> Parameters:
        if self._chosen is None:
            self._chosen = parameters(self.config)
        return self._chosen

    def resources(self) -> Resources:
        return Resources(memory_gb=2.0 if self.config.verify == "exact" else 1.0)

    def reads(self) -> frozenset[str]:
        named = {ID} if self.config.index is not None else set()
        return frozenset({TEXT}) | scope_columns(self.config.scope) | columns_of(self.config.keep) | named

    def writes(self) -> Mapping[str, pa.DataType]:
        return {
            "cluster": pa.int64(),
            "cluster_size": pa.int32(),
            "keep": pa.bool_(),
            "survivor": pa.int64(),
            "partner": pa.int64(),
            "similarity": pa.float32(),
            **({"weight": pa.int32()} if self.config.rehydrate is not None else {}),
            REASONS: pa.list_(pa.string()),
        }

    def check(self, schema: pa.Schema, language: str | None) -> None:
        check_keep(self.config.keep, schema)
        check_scope(self.config.scope, schema, language)

    def ceilings(self) -> Ceilings | None:
        return ceilings_of(self.config) if self.config.keep != "none" else None

    def provenance(self) -> Mapping[str, str]:
        chosen = self.parameters
        return {"bands": str(chosen.bands), "rows": str(chosen.rows), "bound": f"{chosen.bound:.4f}"}

    def artifacts(self, context: Context) -> Mapping[str, Path]:
        config, parameters = self.config, self._index_parameters() | {"run_words": context.words}
        files: Mapping[str, Path] = {}
        if self._published is not None:
            files = self._published.check(parameters, whole=not context.artifacts)
        if config.index is not None:
            check_place(config.index, KIND, parameters, self._published, config.against, context.run)
        return files

    def open(self, context: Context) -> None:
        self.expect(context.artifacts)

    def expect(self, artifacts: Mapping[str, str]) -> None:
        if self._published is not None:
            self._published.expect(artifacts)

    def describe(self, number: int) -> Mapping[str, Any] | None:
        return self._published.describe(number) if self._published is not None else None

    def _index_parameters(self) -> dict[str, Any]:
        """What must be equal for two documents' records to be comparable."""
        chosen = self.parameters
        return {
            "version": self.VERSION,
            "words": self.config.words,
            "characters": self.config.characters,
            "bands": chosen.bands,
            "rows": chosen.rows,
            "scope": list(chosen.scope),
            "verify": self.config.verify,
        }

    def compile(self) -> None:
        text = pa.array(["one two three four five six", "one two three four five six"], pa.string())
        batch = DocBatch(pa.RecordBatch.from_pydict({DOC: pa.array([0, 1], pa.int64()), TEXT: text}))
        shingled = shingles(batch.tokens, listed=True)
        chosen = self.parameters
        signed = signatures(shingled, *permutations(chosen.places))
        keys = band_keys(signed, chosen.bands, chosen.rows, np.zeros(2, np.uint64)).ravel()
        docs = np.repeat(np.arange(2), chosen.bands)
        found = edges([keys], [docs], [docs] if chosen.ranked else None, 2).edges
        evidence = self._evidence()
        alike = np.ones(len(found.doc), np.float32)
        if evidence is not None:
            kept = evidence.keep(shingled, signed)
            alike[:1] = evidence.compare(kept[:1], kept[1:])
        for cluster in (components, stars):
            cluster([EdgeBatch(*found, alike)])

    def partitions(self, size: int) -> int:
        return power_of_two(self.config.partitions, self._fullness(size), MOST_PARTITIONS)

    def _fullness(self, size: int) -> float:
        """How many partitions the records of so many bytes of input fill."""
        # Words are sixteen times the size of sketches, and a unit has those of its share of the documents.
        records = _PARTITION_RECORDS // (8 if self.config.verify == "exact" else 1)
        documents = size // _DOCUMENT_BYTES + (self._published.documents if self._published else 0)
        return documents * self.parameters.bands / records

    def reduce_resources(self, size: int, partitions: int) -> Resources:
        """More where a partition has more than it should: from so many documents on that there are no more partitions."""
        fullness = self._fullness(size) / partitions
        return fuller(self.resources(), 1.0, fullness)

    def mapping(self) -> Mapping[str, Any]:
        chosen, config = self.parameters, self.config
        # A threshold counts as the bands and rows that it chooses, and `keep` where records carry ranks.
        derived = {"bands": chosen.bands, "rows": chosen.rows, "keep": config.keep if chosen.ranked else None}
        others = mapped_options(config, "threshold", "min_similarity", "cluster", "max_bucket")
        return others | derived | {"indexed": config.index is not None}

    def mapper(self, partitions: int) -> Mapper:
        chosen = self.parameters
        return Sign(
            words=self.config.words,
            characters=self.config.characters,
            bands=chosen.bands,
            rows=chosen.rows,
            keep=self.config.keep if chosen.ranked else None,
            scope=chosen.scope,
            evidence=self._evidence(),
            partitions=partitions,
            exported=self.config.index is not None,
        )

    def reduces(self, partitions: int) -> tuple[Reduce, ...]:
        evidence = self._evidence()
        verified = evidence is not None
        old = self._published
        steps: list[Reduce] = [
            Link(self.config.max_bucket, partitions if verified else None, old, partitions)
        ]
        if evidence is not None:
            bound = self.parameters.bound
            steps += [Attach(partitions, evidence, old), Verify(partitions, evidence, bound, old)]
        star = self.config.cluster == "star"
        steps.append(
            Cluster(
                star=star,
                measured=verified,
                groups=partitions if verified and not star else None,
                published=old,
            )
        )
        if evidence is not None and not star:
            steps.append(Fetch(partitions, evidence, old))
            steps.append(Measure(partitions, evidence, old))
        if self.config.index is not None:
            removes, parameters = self.config.keep != "none", self._index_parameters()
            steps.append(
                Export(
                    self.config.index,
                    KIND,
                    parameters,
                    before=old,
                    key_names=["key"],
                    removes=removes,
                    worded=True,
                )
            )
        return tuple(steps)

    def named(self, docs: pa.Array, shards: int) -> pa.Array:
        return self._published.named(docs, shards) if self._published is not None else docs

    def evidence_of(self, numbers: Sequence[int]) -> pa.RecordBatch | None:
        kind = self._evidence()
        if self._published is None or kind is None:
            return None
        return self._published.evidence_of(numbers, side_schema(kind))

    def compare(self, one: pa.RecordBatch, other: pa.RecordBatch) -> npt.NDArray[np.float32] | None:
        evidence = self._evidence()
        return (
            evidence.compare(one.column(EVIDENCE), other.column(EVIDENCE)) if evidence is not None else None
        )

    def _evidence(self) -> Evidence | None:
        if self.config.verify == "none":
            return None
        return Words() if self.config.verify == "exact" else Sketches(self.parameters.places)

    def mark(self, found: pa.RecordBatch) -> Mapping[str, pa.Array]:
        removes, rehydrate = self.config.keep != "none", self.config.rehydrate
        others = ("partner", "similarity")
        return marks(found, NEAR_DUPLICATE, removes=removes, rehydrate=rehydrate, others=others)


STAGE = Minhash
