"""Objects of a store, named and asked like files: run folders and outputs on `s3://`, `gs://` and the like.

A run folder is a `Place`: a `pathlib.Path`, or an `ObjectPath` with the same few methods. What differs between the two are
the functions here, and what each costs in requests:

    operation                  local                         store                                   requests
    size_of, read, list        stat, read, iterdir           HEAD, GET, LIST (1,000 keys each)       1
    write_whole                temporary name, rename        PUT: the old object or the new one      1
    create_exclusively         link                          PUT, If-None-Match: *                   1 (2 to remove a doubt)
    put (finished file)        it is there already           PUT, from 100 MB on multipart           1, or 2 + parts
    fetch (to a local file)    it is there already           GET                                     1
    copy                       rename                        server-side copy                        1
    remove                     unlink                        DELETE, or one for 1,000 keys           1

Nothing is renamed, appended to or locked in a store, and nothing is listed that could be remembered: an object is there at
once and whole when its upload is complete, and lists and reads after that see it (S3, GCS and the servers like them promise
as much). What fails is E506 in the store's words; a missing object is a FileNotFoundError, as for files.
"""

from __future__ import annotations

import io
import posixpath
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from curate.core.errors import CurateError, error
from curate.core.store import each, filesystem, is_url, out_of_reach, read_whole

#: What a store answers where another upload of the same name is under way or was first.
_CONFLICTS: Final = (409, 412)
#: Keys in one request to remove objects.
_REMOVED_AT_ONCE: Final = 1_000
#: Parts of a file, of 50 MB each, that s3fs holds in memory and uploads at once.
_PARTS: Final = 2
#: Requests to remove keys that the store answers it could not remove now, and seconds more to wait before each.
_REMOVALS: Final = 3
_PAUSE: Final = 1.0


class ObjectPath:
    """The name of an object, or of a folder of them, which is there as long as an object is below it."""

    __slots__ = ("url",)

    def __init__(self, url: str) -> None:
        protocol, _, rest = url.partition("://")
        self.url = f"{protocol}://{rest.strip('/')}"

    def __str__(self) -> str:
        return self.url

    def __repr__(self) -> str:
        return f"ObjectPath({self.url!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectPath) and self.url == other.url

    def __lt__(self, other: ObjectPath) -> bool:
        return self.url < other.url

    def __hash__(self) -> int:
        return hash(self.url)

    def __truediv__(self, name: str) -> ObjectPath:
        return ObjectPath(f"{self.url}/{name}")

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        return posixpath.splitext(self.name)[1]

    @property
    def parent(self) -> ObjectPath:
        protocol, _, rest = self.url.partition("://")
        return ObjectPath(f"{protocol}://{rest.rpartition('/')[0] or rest}")

    def is_relative_to(self, other: ObjectPath) -> bool:
        return f"{self.url}/".startswith(f"{other.url}/")

    def below(self, folder: ObjectPath) -> str:
        """The rest of the name under a folder that it lies in."""
        return self.url[len(folder.url) + 1 :]

    def exists(self) -> bool:
        """Whether there is an object of this name, or one below it."""
        with self._asked() as (fs, path):
            return bool(fs.exists(path))

    def is_file(self) -> bool:
        return size_of(self) is not None

    def is_dir(self) -> bool:
        with self._asked() as (fs, path):
            try:
                return bool(fs.info(path)["type"] == "directory")
            except FileNotFoundError:
                return False

    def iterdir(self) -> Iterator[ObjectPath]:
        """Objects and folders right below, in order of name; none if there are none."""
        with self._asked() as (fs, path):
            try:
                names = sorted(fs.ls(path, detail=False))
            except FileNotFoundError:
                names = []
        own = path.rstrip("/")
        yield from (self / posixpath.basename(n.rstrip("/")) for n in names if n.rstrip("/") != own)

    def glob(self, pattern: str) -> Iterator[ObjectPath]:
        """Right below, names that fit."""
        yield from (found for found in self.iterdir() if fnmatchcase(found.name, pattern))

    def rglob(self, pattern: str) -> Iterator[ObjectPath]:
        """Objects at any depth whose names fit."""
        yield from (found for found in sorted(self.sizes()) if fnmatchcase(found.name, pattern))

    def sizes(self) -> dict[ObjectPath, int]:
        """Every object below, with its bytes: one request for 1,000."""
        with self._asked() as (fs, path):
            found = fs.find(path, detail=True)
        own = path.strip("/")
        return {self / name.strip("/")[len(own) + 1 :]: int(facts["size"]) for name, facts in found.items()}

    def read_bytes(self) -> bytes:
        with self._asked() as (fs, path):
            return read_whole(fs, path)

    def read_range(self, start: int, size: int) -> bytes:
        """So many bytes from `start` on, fewer at the end."""
        if size <= 0:
            return b""
        with self._asked() as (fs, path):
            return bytes(fs.cat_file(path, start=start, end=start + size))

    def read_text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self.read_bytes().decode(encoding, errors)

    def open(self, mode: str = "r", encoding: str | None = None, errors: str | None = None) -> Any:
        """The object in memory, for reading."""
        held = io.BytesIO(self.read_bytes())
        return held if "b" in mode else io.TextIOWrapper(held, encoding=encoding or "utf-8", errors=errors)

    def unlink(self, missing_ok: bool = False) -> None:
        with self._asked() as (fs, path):
            try:
                fs.rm_file(path)
            except FileNotFoundError:
                if not missing_ok:
                    raise

    def mkdir(self, parents: bool = False, exist_ok: bool = False) -> None:
        """Folders of a store are made by what is put into them, and go with it."""

    def rmdir(self) -> None:
        """As `mkdir`."""

    @contextmanager
    def _asked(self) -> Iterator[tuple[Any, str]]:
        """The store and the name in it. E506 for what the store refuses or where it cannot be reached."""
        with stores_words(self.url):
            yield filesystem(self.url)


#: A folder or file of a run or an output, on a disk or in a store.
Place = Path | ObjectPath


def as_place(text: str) -> Place:
    """A path as a user writes it: a URL, or a local path, absolute."""
    return ObjectPath(text) if is_url(text) else Path(text).absolute()


@contextmanager
def stores_words(url: str) -> Iterator[None]:
    """Raises E506 for what a store's library raises, but for objects that are there, or are not."""
    try:
        yield
    except (CurateError, FileNotFoundError, FileExistsError):
        raise
    except OSError as fault:
        raise refused(url, fault) from fault
    except Exception as fault:
        raise out_of_reach(url, fault) from fault


def refused(url: str, fault: OSError) -> CurateError:
    """What a store answered instead of doing what it was asked."""
    why = fault.strerror or str(fault) or type(fault).__name__
    return error(
        "E506",
        f"the store does not serve {url}: {why}",
        help="check the bucket, the credentials, and what it allows them; finished units are kept",
        file=url,
    )


def size_of(place: Place) -> int | None:
    """Bytes of a file or object; None if it is not there."""
    if isinstance(place, Path):
        try:
            return place.stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None
    with stores_words(place.url):
        fs, path = filesystem(place.url)
        try:
            facts = fs.info(path)
        except FileNotFoundError:
            return None
        return int(facts["size"]) if facts["type"] == "file" else None


class Sizes:
    """`size_of` many files, each asked for once. Of a store, a folder is listed once, and then all its files are known.

    root: a folder that is listed with all below it, where files are in many.
    """

    def __init__(self, root: Place | None = None) -> None:
        self._root = root
        self._known: dict[Path, int | None] = {}
        self._listed: dict[ObjectPath, Mapping[ObjectPath, int]] = {}
        self._named: dict[str, int | None] = {}

    def __call__(self, place: Place) -> int | None:
        if isinstance(place, Path):
            if place not in self._known:
                self._known[place] = size_of(place)
            return self._known[place]
        root = self._root
        folder = root if isinstance(root, ObjectPath) and place.is_relative_to(root) else place.parent
        if folder not in self._listed:
            self._listed[folder] = folder.sizes()
        return self._listed[folder].get(place)

    def named(self, name: str, place_of: Callable[[str], Place]) -> int | None:
        """Of a file by its name in records, of which a path is made once: that takes longer than to read a record, and packs
        are named by thousands."""
        if name not in self._named:
            place = place_of(name)
            self._named[name] = size_of(place) if isinstance(place, Path) else self(place)
        return self._named[name]


def put_whole(place: ObjectPath, data: bytes) -> None:
    """Write an object: readers see the old one or the new one."""
    with place._asked() as (fs, path):
        fs.pipe_file(path, data)


def create_exclusively(place: ObjectPath, data: bytes) -> bool:
    """Write an object unless there is one of this name. False if there is, and it is not this one.

    A client that did not hear the answer asks again, and is then refused for what it wrote itself, so it is looked at.
    """
    with place._asked() as (fs, path):
        try:
            fs.pipe_file(path, data, mode="create")
        except FileExistsError:
            return read_whole(fs, path) == data
        except OSError as fault:
            answer = getattr(fault.__cause__, "response", {}).get("ResponseMetadata", {})
            if answer.get("HTTPStatusCode") not in _CONFLICTS or not fs.exists(path):
                raise
            return read_whole(fs, path) == data
    return True


def put_file(local: Path, place: ObjectPath) -> None:
    """Upload a finished file; it is there at once when all of it has arrived."""
    with place._asked() as (fs, path):
        fs.put_file(str(local), path, **({"max_concurrency": _PARTS} if "s3" in fs.protocol else {}))


def fetch_file(place: ObjectPath, local: Path) -> None:
    """Download an object, by one answer: s3fs goes on where that breaks off, which it does not do for parts of its own."""
    with place._asked() as (fs, path):
        fs.get_file(path, str(local), **({"max_concurrency": 1} if "s3" in fs.protocol else {}))


def copy(source: Place, target: ObjectPath) -> None:
    """Copy within a store, without the bytes passing through here; it is there at once when all of it is."""
    if isinstance(source, Path):
        put_file(source, target)
        return
    with target._asked() as (fs, path):
        fs.cp_file(filesystem(source.url)[1], path)


def remove(places: Iterable[Place]) -> None:
    """Remove files and objects; those that are gone already are no fault."""
    objects = []
    for place in places:
        if isinstance(place, Path):
            place.unlink(missing_ok=True)
        else:
            objects.append(place)
    for _, found in groupby(sorted(objects), key=_bucket):  # a request is about one bucket
        same = list(found)
        for start in range(0, len(same), _REMOVED_AT_ONCE):
            some = same[start : start + _REMOVED_AT_ONCE]
            with some[0]._asked() as (fs, _):
                paths = [filesystem(o.url)[1] for o in some]
                if "s3" in fs.protocol:
                    _remove_from_bucket(fs, paths)
                else:
                    each(lambda o: o.unlink(missing_ok=True), some)


def _remove_from_bucket(fs: Any, paths: Sequence[str]) -> None:
    """Remove up to 1,000 objects of a bucket of S3. The store answers for each key: those it could not remove are asked for
    again, and what is left then is an OSError."""
    keys = [fs.split_path(path)[1] for path in paths]
    faults: list[dict[str, str]] = []
    for attempt in range(_REMOVALS):
        time.sleep(attempt * _PAUSE)
        some = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
        faults = fs.call_s3("delete_objects", Bucket=fs.split_path(paths[0])[0], Delete=some).get(
            "Errors", []
        )
        keys = [fault["Key"] for fault in faults]
        if not keys:
            return
    why = faults[0].get("Message") or faults[0].get("Code")
    raise OSError(None, f"{why} ({len(keys)} objects are not removed, such as {keys[0]})")


def _bucket(place: ObjectPath) -> list[str]:
    """Store and bucket of an object."""
    return place.url.split("/", 3)[:3]


def remove_tree(place: Place) -> None:
    """Remove a folder and what is in it."""
    if isinstance(place, ObjectPath):
        remove(place.sizes())
    elif place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


def read_all(places: Sequence[Place]) -> list[bytes | None]:
    """The content of small files, in order; None for those that are gone. Of a store, several at once."""

    def read(place: Place) -> bytes | None:
        with suppress(FileNotFoundError):
            return place.read_bytes()
        return None

    if not places or isinstance(places[0], Path):
        return [read(place) for place in places]
    return each(read, places)


class Scratch:
    """A local folder for files on their way to a store or from it; made when it is needed, gone with its owner."""

    def __init__(self, base: Path | None = None) -> None:
        self._base = base
        self._root: Path | None = None

    @property
    def root(self) -> Path:
        if self._root is None:
            self._root = Path(tempfile.mkdtemp(prefix="curate-objects-", dir=self._base))
            weakref.finalize(self, shutil.rmtree, self._root, ignore_errors=True)
        return self._root

    def fetch(self, place: Place, name: str) -> Path:
        """A local file with the content of `place`: itself if it is local. name: of the copy, below the folder."""
        if isinstance(place, Path):
            return place
        local = self.root / "fetched" / name
        if not local.exists():
            local.parent.mkdir(parents=True, exist_ok=True)
            draft = local.with_name(f".{local.name}.tmp")
            fetch_file(place, draft)
            draft.replace(local)
        return local

    def clear(self) -> None:
        """Remove the files."""
        if self._root is not None:
            for path in self._root.iterdir():
                shutil.rmtree(path, ignore_errors=True)
