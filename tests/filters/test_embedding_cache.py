"""The embedding cache: what was encoded once is found again, whole or not at all, and never makes a difference."""

from __future__ import annotations

import hashlib
import os
import resource
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.core.errors import CurateError
from curate.core.text.content import prefix_keys
from filters.encoders.cache import EMBEDDINGS, recipe_of, snapshot
from filters.encoders.encoder import Encoded
from filters.encoders.shards import GROUP, RECIPE, Rows, ShardReader, ShardWriter, shard_names
from filters.encoders.vectors import Vectors, _distinct, shared

DIMENSIONS = 8


class Spelled:
    """An encoder whose vectors are made of a digest of the text, and which says what it was asked for."""

    name = "spelled/model"
    dimensions = DIMENSIONS
    max_tokens = 5
    languages = None
    libraries = ()
    CONCURRENT = False

    def __init__(self, **settings: str) -> None:
        self.settings = settings
        self.asked: list[str] = []
        self.opened = 0

    def files(self) -> Mapping[str, Path]:
        return {"weights": Path(__file__)}

    def memory_gb(self) -> float:
        return 0.0

    def open(self) -> None:
        self.opened += 1

    def encode(self, texts: pa.StringArray, max_characters: int) -> Encoded:
        listed = texts.to_pylist()
        assert all(len(text) <= max_characters for text in listed), "they come cut"
        self.asked += listed
        vectors = np.array([vector(text) for text in listed], np.float32).reshape(-1, DIMENSIONS)
        lengths = np.array([len(text.split()) for text in listed], np.int32)
        return Encoded(vectors, np.minimum(lengths, self.max_tokens), lengths > self.max_tokens)


class Broken(Spelled):
    """One that must not be asked."""

    def encode(self, texts: pa.StringArray, max_characters: int) -> Encoded:
        raise AssertionError(f"the encoder was asked for {texts.to_pylist()[:3]}")


def vector(text: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    if "nan" in text:
        return np.full(DIMENSIONS, np.nan, np.float32)
    digest = hashlib.sha256(text.encode()).digest()[: 4 * DIMENSIONS]
    values = np.frombuffer(digest, "<u4").astype(np.float32) - 2**31
    return values / np.linalg.norm(values)


def vectors_of(
    encoder: Spelled, base: Path | None, names: tuple[str, ...] | None = None, most: int = 40
) -> Vectors:
    """Of the recipe's folder as it stands now, unless names are given."""
    recipe = recipe_of(encoder, most)
    folder = recipe.folder(base) if base is not None else None
    if names is None:
        names = shard_names(folder) if folder is not None else ()
    return Vectors(encoder, recipe, folder, names)


def unit(vectors: Vectors, *batches: list[str]) -> tuple[list[Encoded], Counter[str]]:
    counts: Counter[str] = Counter()
    vectors.begin()
    made = [vectors.encode(pa.array(batch, pa.string()), counts) for batch in batches]
    return made, counts + Counter(vectors.finish())


def same(one: Encoded, other: Encoded) -> bool:
    return all(a.dtype == b.dtype and a.tobytes() == b.tobytes() for a, b in zip(one, other, strict=True))


TEXTS = ["one", "two words", "", "three words and more of them than are read", "日本 " * 30, "one"]


def test_what_was_encoded_once_is_not_encoded_again(tmp_path: Path) -> None:
    first = Spelled()
    (made,), counts = unit(vectors_of(first, tmp_path), TEXTS)
    assert counts == {"encoded": 5, "cached": 5}
    assert first.asked == ["one", "two words", "", TEXTS[3][:40], TEXTS[4][:40]]
    (found,), counts = unit(vectors_of(Broken(), tmp_path), TEXTS[::-1])
    assert counts == {"reused": 5}
    assert same(Encoded(*(part[::-1] for part in found)), made)
    (alone,), _ = unit(vectors_of(Spelled(), None), TEXTS)
    assert same(alone, made), "no cache and an empty one give what a full one gives"
    rounded = np.stack([vector(text[:40]) for text in TEXTS]).astype(np.float16).astype(np.float32)
    assert (made.embeddings == rounded).all()


def test_whether_a_text_was_read_whole_is_said_of_the_text_and_not_of_what_was_cut(tmp_path: Path) -> None:
    texts = ["x" * 40, "x" * 41, "a b c d e f", "a b"]
    expected = [False, True, True, False]
    (made,), _ = unit(vectors_of(Spelled(), tmp_path), texts)
    assert made.truncated.tolist() == expected
    (found,), _ = unit(vectors_of(Broken(), tmp_path), texts)
    assert found.truncated.tolist() == expected
    assert found.n_tokens.tolist() == [1, 1, 5, 2]


def test_two_steps_on_one_encoder_encode_once(tmp_path: Path) -> None:
    """Also where the second sees fewer documents, or others too."""
    one, other = Spelled(prefix="t2"), Spelled(prefix="t2")
    first, second = shared(one, 40, tmp_path, ()), shared(other, 40, tmp_path, ())
    assert first is second
    first.begin()
    ours, theirs = Counter[str](), Counter[str]()
    for number in range(5):
        texts = [f"{number} {i}" for i in range(20)]
        first.encode(pa.array(texts), ours)
        second.encode(pa.array([*texts[::3], f"{number} more"]), theirs)
    counts = ours + theirs
    assert (one.opened, other.opened) == (1, 0)
    assert len(one.asked) == len(set(one.asked)) == 105
    assert other.asked == []
    assert counts == {"encoded": 105, "reused": 35}
    assert shared(Spelled(prefix="t3"), 40, tmp_path, ()) is not first
    assert shared(Spelled(prefix="t2"), 41, tmp_path, ()) is not first


class Meeting(Spelled):
    """One that works when so many threads have come to it."""

    CONCURRENT = True

    def __init__(self, threads: int) -> None:
        super().__init__()
        self._all = threading.Barrier(threads, timeout=30)

    def encode(self, texts: pa.StringArray, max_characters: int) -> Encoded:
        self._all.wait()
        return super().encode(texts, max_characters)


def test_a_text_that_threads_make_at_once_is_kept_once(tmp_path: Path) -> None:
    vectors = Vectors(Meeting(3), recipe_of(Spelled(), 9), tmp_path)
    texts = pa.array(["a", "b b", "c"])
    vectors.begin()
    threads = [threading.Thread(target=vectors.encode, args=(texts, Counter())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert vectors.finish() == {"cached": 3}
    (name,) = shard_names(tmp_path)
    assert sum(map(len, ShardReader(tmp_path / name, DIMENSIONS).key_groups())) == 3


def test_a_unit_finds_the_snapshot_and_not_what_came_later(tmp_path: Path) -> None:
    unit(vectors_of(Spelled(), tmp_path), ["a", "b"])
    frozen = shard_names(recipe_of(Spelled(), 40).folder(tmp_path))
    unit(vectors_of(Spelled(), tmp_path), ["b", "c"])
    for _ in range(2):
        encoder = Spelled()
        unit(vectors_of(encoder, tmp_path, frozen), ["a", "b", "c"])
        assert encoder.asked == ["c"]
    assert len(shard_names(recipe_of(Spelled(), 40).folder(tmp_path))) == 2, "equal keys make one shard"


def test_what_another_unit_made_is_forgotten(tmp_path: Path) -> None:
    encoder = Spelled()
    vectors = vectors_of(encoder, tmp_path)
    unit(vectors, ["a"])
    unit(vectors, ["a"])
    assert encoder.asked == ["a", "a"]
    vectors.begin()
    vectors.encode(pa.array(["unfinished"]), Counter())
    assert unit(vectors, ["b"])[1] == {"encoded": 1, "cached": 1}
    folder = recipe_of(encoder, 40).folder(tmp_path)
    assert len(shard_names(folder)) == 2
    assert [path.name for path in folder.glob(".*")] == []


@pytest.mark.parametrize("alone", [True, False])
def test_what_is_encoded_together_does_not_depend_on_other_batches(alone: bool, tmp_path: Path) -> None:
    """An encoder whose vectors depend on nothing but the text may find those of an earlier batch; of another one they could
    be there or not, as the threads have it."""
    encoder = Spelled()
    encoder.CONCURRENT = alone
    vectors = vectors_of(encoder, tmp_path)
    made, counts = unit(vectors, ["a", "b"], ["b", "c"])
    assert encoder.asked == (["a", "b", "c"] if alone else ["a", "b", "b", "c"])
    assert counts["cached"] == len(encoder.asked)
    assert same(unit(vectors_of(Broken(), tmp_path), ["b", "c"])[0][0], made[1])
    order = vectors_of(Spelled(), tmp_path / "other")
    unit(order, ["b", "c"], ["a", "b"] if not alone else ["a"])
    names = [shard_names(recipe_of(encoder, 40).folder(base)) for base in (tmp_path, tmp_path / "other")]
    assert names[0] == names[1], "the order is not in the name"


def test_other_recipes_have_other_folders(tmp_path: Path) -> None:
    unit(vectors_of(Spelled(pooling="cls"), tmp_path), ["a"])
    for encoder, most in ((Spelled(pooling="mean"), 40), (Spelled(pooling="cls"), 41)):
        unit(vectors_of(encoder, tmp_path, most=most), ["a"])
        assert encoder.asked == ["a"]
    folders = sorted((tmp_path / EMBEDDINGS).iterdir())
    assert len(folders) == 3
    assert all(folder.name.startswith("spelled-model-") for folder in folders)
    assert all('"checksum"' in (folder / RECIPE).read_text() for folder in folders)


def test_vectors_that_are_no_numbers_are_not_kept(tmp_path: Path) -> None:
    encoder = Spelled()
    (made,), counts = unit(vectors_of(encoder, tmp_path), ["a", "nan", "nan and more"])
    assert np.isnan(made.embeddings).all(axis=1).tolist() == [False, True, True]
    assert counts["cached"] == 1
    again = Spelled()
    unit(vectors_of(again, tmp_path), ["a", "nan"])
    assert again.asked == ["nan"]


def rows(count: int, seed: int = 0) -> Rows:
    chance = np.random.default_rng(seed)
    keys = chance.integers(0, 2**64, (count, 2), np.uint64)
    vectors = chance.standard_normal((count, DIMENSIONS)).astype(np.float16)
    tokens = chance.integers(0, 9000, count).astype(np.int32)
    return Rows(keys, tokens, chance.integers(0, 2, count).astype(np.bool_), vectors)


def written(folder: Path, whole: Rows, *cuts: int) -> Path:
    before = set(shard_names(folder))
    writer = ShardWriter(folder, DIMENSIONS)
    for start, end in zip((0, *cuts), (*cuts, len(whole.keys)), strict=True):
        writer.append(whole.part(slice(start, end)))
    writer.commit()
    (name,) = set(shard_names(folder)) - before
    return folder / name


def test_a_shard_has_the_rows_that_were_appended_however_they_came(tmp_path: Path) -> None:
    whole = rows(2 * GROUP + 100)
    path = written(tmp_path / "a", whole, 0, 3, 2 * GROUP + 50)
    assert path.read_bytes() == written(tmp_path / "b", whole).read_bytes()
    reader = ShardReader(path, DIMENSIONS)
    assert [len(keys) for keys in reader.key_groups()] == [GROUP, GROUP, 100]
    assert (np.concatenate(reader.key_groups()) == whole.keys).all()
    read = [reader.group(number) for number in range(reader.groups)]
    for position, part in enumerate(whole):
        found = np.concatenate([group[position] for group in read])
        assert found.dtype == part.dtype
        assert found.tobytes() == part.tobytes()
    table = pa.ipc.open_file(path).read_all()
    assert table.schema.field("vector").type == pa.list_(pa.field("item", pa.float16(), False), DIMENSIONS)


def test_vectors_come_from_the_right_rows_of_large_shards(tmp_path: Path) -> None:
    encoder = Spelled()
    texts = [f"text {number}" for number in range(GROUP + 700)]
    (made,), _ = unit(vectors_of(encoder, tmp_path), texts)
    unit(vectors_of(encoder, tmp_path), [f"other {number}" for number in range(10)])
    order = np.random.default_rng(1).permutation(len(texts))
    (found,), counts = unit(vectors_of(Broken(), tmp_path), [texts[i] for i in order])
    assert counts == {"reused": len(texts)}
    assert (found.embeddings == made.embeddings[order]).all()


@pytest.mark.parametrize("damage", ["cut", "keys", "vectors", "nothing", "dimensions"])
def test_a_damaged_shard_is_an_error_that_names_it(tmp_path: Path, damage: str) -> None:
    unit(vectors_of(Spelled(), tmp_path), [f"text {number}" for number in range(200)])
    folder = recipe_of(Spelled(), 40).folder(tmp_path)
    path = folder / shard_names(folder)[0]
    data = bytearray(path.read_bytes())
    if damage == "cut":
        data = data[: len(data) // 2]
    elif damage == "nothing":
        data = bytearray()
    elif damage == "dimensions":
        writer = ShardWriter(tmp_path / "wide", DIMENSIONS + 1)
        wide = np.zeros((1, DIMENSIONS + 1), np.float16)
        writer.append(Rows(*rows(1)[:3], wide))
        writer.commit()
        data = bytearray((tmp_path / "wide" / shard_names(tmp_path / "wide")[0]).read_bytes())
    else:
        key, _ = prefix_keys(pa.array(["text 7"]), 40)
        sought = key[0, :1].tobytes() if damage == "keys" else vector("text 7").astype(np.float16).tobytes()
        at = data.index(sought)
        data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(CurateError, match="E510") as raised:
        unit(vectors_of(Spelled(), tmp_path), ["text 7"])
    assert path.name in raised.value.problems[0].message


def test_strangers_are_errors_and_hidden_files_are_not(tmp_path: Path) -> None:
    unit(vectors_of(Spelled(), tmp_path), ["a"])
    folder = recipe_of(Spelled(), 40).folder(tmp_path)
    (folder / ".half.tmp").write_bytes(b"a killed process left it")
    old = folder / ".old.tmp"
    old.write_bytes(b"and this one long ago")
    os.utime(old, (0, 0))
    assert len(snapshot(folder)) == 1
    unit(vectors_of(Spelled(), tmp_path), ["b"])
    assert sorted(path.name for path in folder.glob(".*")) == [".half.tmp"]
    (folder / "data.parquet").touch()
    with pytest.raises(CurateError, match=r"E510: .*data\.parquet"):
        snapshot(folder)


def test_a_folder_that_cannot_be_made_is_found_before_work_starts(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CurateError, match="E506"):
        snapshot(tmp_path / "file" / "below")
    assert snapshot(tmp_path / "new" / "below") == ()
    assert not (tmp_path / "new").exists()


@contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    """What a full disk does: a write fails in the middle."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_stops_the_caching_and_not_the_work(tmp_path: Path) -> None:
    texts = [f"text {number}" for number in range(2 * GROUP)]
    batches = [texts[:GROUP], texts[GROUP:], ["and more"]]
    expected, _ = unit(vectors_of(Spelled(), None), *batches)
    for size in (100_000, 300_000 - 30_000):  # in the first batch, and in the second
        vectors = vectors_of(Spelled(), tmp_path)
        with no_file_longer_than(size):
            made, counts = unit(vectors, *batches)
        assert counts == {"encoded": 2 * GROUP + 1, "not_cached": 2 * GROUP + 1}
        assert all(same(one, other) for one, other in zip(made, expected, strict=True))
        folder = recipe_of(Spelled(), 40).folder(tmp_path)
        assert shard_names(folder) == ()
        assert [path.name for path in folder.iterdir()] == [RECIPE]
    few = [f"few {number}" for number in range(1000)]  # held until the unit ends
    with no_file_longer_than(8_000):
        assert unit(vectors, few)[1] == {"encoded": 1000, "not_cached": 1000}
    assert [path.name for path in folder.iterdir()] == [RECIPE]
    assert unit(vectors, ["later"])[1] == {"encoded": 1, "cached": 1}, "there is room again"


def test_runs_may_write_at_once(tmp_path: Path) -> None:
    start = threading.Barrier(4)

    def work(number: int) -> None:
        vectors = vectors_of(Spelled(), tmp_path)
        start.wait()
        for step in range(6):
            unit(vectors, [f"common {step}"], [f"own {number} {step}"] if number % 2 else [])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    folder = recipe_of(Spelled(), 40).folder(tmp_path)
    assert len(shard_names(folder)) == 6 * 3, "of the same texts one shard"
    everything = [f"common {i}" for i in range(6)] + [f"own {n} {i}" for n in (1, 3) for i in range(6)]
    assert unit(vectors_of(Broken(), tmp_path), everything)[1] == {"reused": 18}


@given(
    st.lists(st.text(st.sampled_from("aé日😀"), max_size=24), max_size=12),
    st.integers(1, 20),
    st.integers(0, 3),
)
def test_keys_are_those_of_the_first_characters(texts: list[str], most: int, skip: int) -> None:
    keys, cut = prefix_keys(pa.array(["", *texts], pa.string()).slice(min(skip, len(texts))), most)
    shown = ["", *texts][min(skip, len(texts)) :]
    assert cut.tolist() == [len(text) > most for text in shown]
    alone, _ = prefix_keys(pa.array([text[:most] for text in shown], pa.string()), 1000)
    assert (keys == alone).all()
    for i, one in enumerate(shown):
        for j, other in enumerate(shown):
            assert (keys[i].tolist() == keys[j].tolist()) == (one[:most] == other[:most])


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=12))
def test_distinct_keys_come_in_the_order_of_the_texts(pairs: list[tuple[int, int]]) -> None:
    """Upper halves alone may be equal."""
    keys = np.array(pairs, np.uint64).reshape(-1, 2)
    first, place = _distinct(keys)
    assert (keys[first[place]] == keys).all()
    assert (np.diff(first) > 0).all()
    halves = {}
    for high, low in pairs:
        halves.setdefault(high, set()).add(low)
    if all(len(lows) == 1 for lows in halves.values()):
        assert len(first) == len(set(pairs))
