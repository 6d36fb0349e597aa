"""The embedding cache: vectors that an encoder has made, found again by the text that they are of.

    <folder>/embeddings/<encoder>-<digest>/encoder.json      what decides a vector: the recipe
                                          /<digest>.arrow    shards (`filters.encoders.shards`)

A recipe is the encoder's name, the checksum of its files, its settings (pooling, prefix, numbers that it computes with), the
versions of its libraries, and how many characters and tokens of a text it reads. Another recipe has another folder, so
vectors never mix.

The folder may be shared by any number of runs, also at the same time. What a run may look up is frozen in its plan
(`snapshot`), so a unit that is done twice finds the same, whatever others have written meanwhile; what it encodes becomes a
shard when the unit ends. Where a key is in several shards, the first one by name counts.

Memory: 16 bytes for each row of the snapshot in every worker (1.6 GB for 100 million; 56 while they are sorted), and 8
record batches (34 MB of 512 values). Vectors are read when they are asked for, 4,096 rows at a time; a corpus that comes in
the order in which it was encoded reads each once.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from curate.core.commit import temporary_name
from curate.core.errors import error
from curate.core.layout import new_attempt
from curate.core.libraries import library_files
from filters.encoders.encoder import Encoder, checksum
from filters.encoders.shards import GROUP, RECIPE, Keys, Rows, ShardReader, shard_names, unfit

Int64s = npt.NDArray[np.int64]

#: Below the cache folder of a run, or a folder that `cache:` names.
EMBEDDINGS: Final = "embeddings"
#: Raised when equal recipes would give other vectors for reasons of our own.
_FORMAT: Final = 1
#: Record batches whose rows are held, files that are open, and bits of a place that number a row of its shard.
_KEPT_GROUPS: Final = 8
_OPEN_FILES: Final = 32
_ROW_BITS: Final = 36


@dataclass(frozen=True)
class Recipe:
    """What decides a vector, and so the folder."""

    encoder: str
    checksum: str
    dimensions: int
    max_characters: int
    max_tokens: int
    settings: Mapping[str, Any]
    libraries: Mapping[str, str]
    format: int = _FORMAT

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"

    def folder(self, base: Path) -> Path:
        """Its place below a cache folder."""
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", self.encoder).lstrip(".-")[:60]
        return base / EMBEDDINGS / f"{name}-{hashlib.sha256(self.to_json().encode()).hexdigest()[:16]}"


def recipe_of(encoder: Encoder, max_characters: int) -> Recipe:
    """The recipe of an encoder that reads so many characters of a text; it need not be open."""
    versions = {}
    for role, path in library_files(*encoder.libraries).items():
        found = re.search(r"^Version: (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        versions[role.removeprefix("library/")] = found[1] if found else ""
    return Recipe(
        encoder.name,
        checksum(encoder.files()),
        encoder.dimensions,
        max_characters,
        encoder.max_tokens,
        dict(encoder.settings),
        versions,
    )


def snapshot(folder: Path) -> tuple[str, ...]:
    """Names of the shards that a recipe's folder has now. E506 if it can neither be read nor made."""
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    wanted = os.R_OK | os.X_OK if existing == folder else os.W_OK | os.X_OK
    if not existing.is_dir() or not os.access(existing, wanted):
        raise error(
            "E506",
            f"the embedding cache {folder} cannot be used: {existing} is no folder that may be "
            f"{'read' if existing == folder else 'written'}",
            help="name another folder with `cache:`, or `cache: false`",
            option="cache",
        )
    return shard_names(folder)


def write_recipe(recipe: Recipe, folder: Path) -> None:
    """Say in the folder what its vectors are, for people; written once."""
    path = folder / RECIPE
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        draft = temporary_name(path).with_suffix(f".{new_attempt()}.tmp")
        draft.write_text(recipe.to_json(), encoding="utf-8")
        draft.replace(path)


class Index:
    """Key → place, an int64; -1 where it has none. keys: uint64[n, 2]; of equal ones the first counts.

    16 bytes a key: the upper halves, ascending, and the places. Whether the lower half is the right one, who has the row
    must look.
    """

    def __init__(self, keys: Keys, places: Int64s) -> None:
        order = np.argsort(keys[:, 0], kind="stable")
        self._high = keys[order, 0]
        self._places = places[order]

    def find(self, keys: Keys) -> Int64s:
        at = np.searchsorted(self._high, keys[:, 0])
        there = at < len(self._high)
        there[there] = self._high[at[there]] == keys[there, 0]
        found = np.full(len(keys), -1, np.int64)
        found[there] = self._places[at[there]]
        return found


class Snapshot:
    """The shards that may be looked up. E510 if one of them is not what it was."""

    def __init__(self, folder: Path, names: Sequence[str], dimensions: int) -> None:
        self._paths = [folder / name for name in names]
        self._open: OrderedDict[int, ShardReader] = OrderedDict()
        self._held: OrderedDict[tuple[int, int], Rows] = OrderedDict()
        self._dimensions = dimensions
        keys, places = [np.zeros((0, 2), np.uint64)], [np.zeros(0, np.int64)]
        for shard, path in enumerate(self._paths):
            parts = ShardReader(path, dimensions).key_groups()
            if any(len(part) != GROUP for part in parts[:-1]):
                raise unfit(path, f"a record batch has not {GROUP} rows")
            keys += parts
            places.append((shard << _ROW_BITS) + np.arange(sum(map(len, parts)), dtype=np.int64))
        self._index = Index(np.concatenate(keys), np.concatenate(places))

    def find(self, keys: Keys, into: Rows) -> npt.NDArray[np.bool_]:
        """bool[n]: which of these keys it has; their rows are put into `into`."""
        places = self._index.find(keys)
        found = np.flatnonzero(places >= 0)
        order = found[np.argsort(places[found], kind="stable")]
        shard, row = places[order] >> _ROW_BITS, places[order] & ((1 << _ROW_BITS) - 1)
        have = np.zeros(len(keys), np.bool_)
        starts = np.flatnonzero(np.diff(shard, prepend=-1) | np.diff(row // GROUP, prepend=-1))
        for start, end in pairwise([*starts, len(order)]):
            rows = self._group(int(shard[start]), int(row[start]) // GROUP)
            to, at = order[start:end], row[start:end] % GROUP
            same = rows.keys[at, 1] == keys[to, 1]
            have[to[same]] = True
            into.put(to[same], rows.part(at[same]))
        return have

    def _group(self, shard: int, number: int) -> Rows:
        key = (shard, number)
        if key not in self._held:
            self._held[key] = self._reader(shard).group(number)
            while len(self._held) > _KEPT_GROUPS:
                self._held.popitem(last=False)
        self._held.move_to_end(key)
        return self._held[key]

    def _reader(self, shard: int) -> ShardReader:
        if shard not in self._open:
            self._open[shard] = ShardReader(self._paths[shard], self._dimensions)
            while len(self._open) > _OPEN_FILES:
                self._open.popitem(last=False)
        self._open.move_to_end(shard)
        return self._open[shard]
