"""Objects by the names of files: what each operation promises, against a real server and one that fails."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from curate.core import objects
from curate.core.errors import CurateError, error
from curate.core.exchange import ExchangeReader, ExchangeWriter
from curate.core.layout import RunFolder
from curate.core.lease import probe
from curate.core.objects import (
    ObjectPath,
    Scratch,
    Sizes,
    as_place,
    copy,
    create_exclusively,
    fetch_file,
    put_file,
    put_whole,
    read_all,
    remove,
    remove_tree,
    size_of,
)
from curate.core.store import filesystem
from curate.running.run import record_failure
from tests.stores.server import Bucket, Faulty, Rule

pytestmark = pytest.mark.s3


def test_names(bucket: Bucket) -> None:
    place = ObjectPath(f"{bucket.url}/runs/web/")
    assert str(place / "a" / "b.parquet") == f"{bucket.url}/runs/web/a/b.parquet"
    assert ((place / "b.parquet").suffix, (place / "b.parquet").parent, place.name) == (
        ".parquet",
        place,
        "web",
    )
    assert (place / "a/b").below(place) == "a/b"
    assert (place / "a").is_relative_to(place)
    assert not ObjectPath(f"{place}er").is_relative_to(place)
    assert isinstance(as_place("runs/web"), Path)


def test_what_is_there(bucket: Bucket) -> None:
    root = ObjectPath(f"{bucket.url}/runs/web")
    for key, data in {"a.json": b"1", "b/c.json": b"22", "b/d/e #?%ä.bin": b"333"}.items():
        put_whole(root / key, data)
    bucket.put("runs/website/x", b"of another folder")
    assert [p.name for p in root.iterdir()] == ["a.json", "b"]
    assert [p.name for p in root.glob("*.json")] == ["a.json"]
    assert [p.below(root) for p in root.rglob("*.json")] == ["a.json", "b/c.json"]
    assert {p.below(root): size for p, size in root.sizes().items()} == {
        "a.json": 1,
        "b/c.json": 2,
        "b/d/e #?%ä.bin": 3,
    }
    assert (size_of(root / "a.json"), size_of(root / "b"), size_of(root / "none")) == (1, None, None)
    assert ((root / "b").is_dir(), (root / "b").is_file(), (root / "none").exists()) == (True, False, False)
    assert list((root / "none").iterdir()) == []
    assert (root / "b/d/e #?%ä.bin").read_range(1, 10) == b"33"
    assert read_all([root / "a.json", root / "none", root / "b/c.json"]) == [b"1", None, b"22"]
    with pytest.raises(FileNotFoundError):
        (root / "none").read_text()
    remove_tree(root)
    assert bucket.keys() == ["runs/website/x"]


def test_a_folder_is_listed_once(faulty: Faulty, bucket: Bucket) -> None:
    root = ObjectPath(f"{bucket.url}/x")
    for n in range(20):
        bucket.put(f"x/{n}", bytes(n))
    sizes = Sizes()
    assert [sizes(root / str(n)) for n in range(21)] == [*range(20), None]
    assert sum(faulty.seen.values()) <= 2


def test_of_many_who_create_one_succeeds(bucket: Bucket) -> None:
    place = ObjectPath(f"{bucket.url}/done/000000.json")
    together = threading.Barrier(8)

    def create(n: int) -> bool:
        together.wait()
        return create_exclusively(place, b"attempt %d" % n)

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(create, range(8)))
    assert won.count(True) == 1
    assert bucket.read("done/000000.json") == b"attempt %d" % won.index(True)


@pytest.mark.parametrize("fault", ["deaf", "503", "reset"])
def test_creation_survives_a_lost_answer(fault: str, faulty: Faulty, bucket: Bucket) -> None:
    """A client that heard nothing asks again and is told that the object exists; it is its own."""
    faulty.rules.append(Rule("PUT", "/done", fault, times=1))
    assert create_exclusively(ObjectPath(f"{bucket.url}/done"), b"mine")
    assert faulty.struck[fault] == 1
    assert not create_exclusively(ObjectPath(f"{bucket.url}/done"), b"another's")


@pytest.mark.slow
def test_a_large_file_goes_and_comes_in_parts(faulty: Faulty, bucket: Bucket, tmp_path: Path) -> None:
    data = bytes(range(256)) * (101 * 4096)
    (tmp_path / "large").write_bytes(data)
    place = ObjectPath(f"{bucket.url}/large")
    faulty.rules.append(Rule("PUT", "partNumber=2", "reset", times=1))
    put_file(tmp_path / "large", place)
    assert (faulty.seen["POST"], faulty.struck["reset"]) == (2, 1)
    copy(place, place.parent / "copy")
    faulty.rules.append(Rule("GET", "/copy", "cut", times=2))
    fetch_file(place.parent / "copy", tmp_path / "back")
    assert faulty.struck["cut"] == 2
    assert (tmp_path / "back").read_bytes() == data


def test_a_file_is_fetched_once(faulty: Faulty, bucket: Bucket, tmp_path: Path) -> None:
    bucket.put("a/b", b"1")
    scratch = Scratch(tmp_path)
    found = [scratch.fetch(ObjectPath(f"{bucket.url}/a/b"), "a/b") for _ in range(3)]
    assert (found[0].read_bytes(), len(set(found))) == (b"1", 1)
    asked = sum(faulty.seen.values())
    scratch.fetch(ObjectPath(f"{bucket.url}/a/b"), "a/b")
    assert sum(faulty.seen.values()) == asked
    scratch.clear()
    assert not found[0].exists()


def test_many_are_removed_at_once(faulty: Faulty, bucket: Bucket) -> None:
    places = [ObjectPath(f"{bucket.url}/x/{n}") for n in range(30)]
    for place in places[:20]:
        bucket.put(f"x/{place.name}", b"")
    remove(places)
    assert bucket.keys() == []
    assert sum(faulty.seen.values()) == 1


def test_keys_that_are_not_removed_are_asked_for_again(
    faulty: Faulty, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 answers 200 to a bulk delete, and in it for each key."""
    monkeypatch.setattr(objects, "_PAUSE", 0.01)
    places = [ObjectPath(f"{bucket.url}/x/{n}") for n in range(3)]
    for place in places:
        bucket.put(f"x/{place.name}", b"")
    faulty.rules.append(Rule("POST", "", "keys", times=4))
    with pytest.raises(CurateError, match=r"E506.*InternalError .3 objects are not removed, such as x/0"):
        remove(places)
    remove(places)
    assert (faulty.struck["keys"], bucket.keys()) == (4, [])


def test_objects_of_two_buckets_and_two_stores_are_removed(bucket: Bucket) -> None:
    """A record of a published file names one in the output's bucket and counters in the run folder's."""
    other = Bucket(bucket.endpoint, f"{bucket.name}-other")
    memory = ObjectPath("memory://bucket/n")
    put_whole(memory, b"")
    for there in (bucket, other):
        for n in range(3):
            there.put(f"x/{n}", b"")
    remove([memory, *(ObjectPath(f"{b.url}/x/{n}") for n in range(2) for b in (bucket, other))])
    assert (bucket.keys(), other.keys(), size_of(memory)) == (["x/2"], ["x/2"], None)


def test_an_exchange_file_is_read_by_ranges(faulty: Faulty, bucket: Bucket, tmp_path: Path) -> None:
    import numpy as np
    import pyarrow as pa

    rows = np.random.default_rng(1).integers(0, 1 << 60, 120_000)
    record = pa.RecordBatch.from_pydict({"n": rows})
    with ExchangeWriter(tmp_path / "x.arrow", record.schema) as writer:
        writer.append(record, rows % 7)
    place = ObjectPath(f"{bucket.url}/x.arrow")
    put_file(tmp_path / "x.arrow", place)
    asked = sum(faulty.seen.values())
    reader = ExchangeReader(place, writer.seal)
    (found,) = reader.batches(3)
    assert found.column(0).to_pylist() == [int(n) for n in rows if n % 7 == 3]
    assert sum(faulty.seen.values()) - asked <= 5
    bucket.put("x.arrow", (tmp_path / "x.arrow").read_bytes()[:-9])
    with pytest.raises(CurateError, match="R306"):
        ExchangeReader(place, writer.seal)
    bucket.client.delete_object(Bucket=bucket.name, Key="x.arrow")
    with pytest.raises(CurateError, match="R306"):
        ExchangeReader(place, writer.seal)


@pytest.mark.parametrize(
    ("method", "fault", "words"),
    [
        ("PUT", "403", "Access Denied"),
        ("*", "key", "Access Key Id you provided does not exist"),
        ("*", "503", "reduce your request rate"),
        ("*", "reset", "endpoint URL"),
    ],
)
def test_a_store_that_refuses_is_an_error_in_its_words(
    method: str, fault: str, words: str, faulty: Faulty, bucket: Bucket
) -> None:
    faulty.rules.append(Rule(method, "", fault))
    with pytest.raises(CurateError, match="E506") as caught:
        probe(ObjectPath(f"{bucket.url}/runs/web"), exclusive=True)
    assert words in str(caught.value)
    assert sum(faulty.struck.values()) < 40


def test_a_failure_that_cannot_be_noted_is_still_the_failure(faulty: Faulty, bucket: Bucket) -> None:
    """The note is taken while the failure is on its way to the user, and must not take its place."""
    faulty.rules.append(Rule("*", "", "503"))
    record_failure(RunFolder(ObjectPath(f"{bucket.url}/run")), error("R301", "unit 7 failed"))
    assert faulty.struck["503"] > 0


def test_a_bucket_that_is_not_there(bucket: Bucket) -> None:
    with pytest.raises(CurateError, match=r"E506.*no place.*bucket does not exist"):
        probe(ObjectPath("s3://no-such-bucket/runs/web"), exclusive=True)


@pytest.mark.parametrize(
    "url", ["s3://key:hidden@bucket/a", "https://user:hidden@host:80/x.parquet", "s3://key:hid/den@bucket/a"]
)
def test_a_password_in_a_url_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(CurateError, match=r"E506.*password") as caught:
        filesystem(url)
    assert "hid" not in str(caught.value)


def test_a_name_with_two_colons_is_not_taken_for_two(bucket: Bucket) -> None:
    bucket.put("a", b"the user's")
    with pytest.raises(CurateError, match=r"E506.*/a::b/.* has `::`"):
        probe(ObjectPath(f"{bucket.url}/a::b"), exclusive=False)
    assert bucket.read("a") == b"the user's"


def test_a_port_is_no_password() -> None:
    assert filesystem("memory://host:8080/a")[0].protocol == "memory"


def test_a_store_that_creates_twice_is_no_place_for_a_run() -> None:
    class Careless(MemoryFileSystem):  # type: ignore[misc]  # fsspec is untyped
        protocol = ("careless",)

        def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: object) -> None:
            super().pipe_file(path, value, mode="overwrite")

    fsspec.register_implementation("careless", Careless, clobber=True)
    with pytest.raises(CurateError, match="E511"):
        probe(ObjectPath("careless://x/runs"), exclusive=True)
    probe(ObjectPath("careless://x/out"), exclusive=False)
    assert Careless.store == {}


def test_listings_of_a_hub_are_not_remembered() -> None:
    pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    fs, _ = filesystem("hf://datasets/some/corpus/a.parquet")
    fs.dircache["datasets/some/corpus"] = []
    again, _ = filesystem("hf://datasets/some/corpus/a.parquet")
    assert not again.dircache
