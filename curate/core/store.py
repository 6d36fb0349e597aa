"""Where bytes lie: local files and the objects of a store, by one kind of name. The only module that speaks to fsspec.

A `location` is an absolute local path or an fsspec URL (`s3://bucket/a.parquet`, `gs://…`, `hf://…`, `memory://…`). A local
name need not be UTF-8: it is held with surrogate escapes, as `os.fsdecode` gives it. `file://` URLs become local paths at
once. `curate.core.objects` has the objects of run folders and outputs, `curate.io.storage` the state of input files.

Credentials come from the environment (`AWS_…`, a profile, a role), never from a config: a URL with a name and a password in
it is refused before anything shows or stores it. Every request has a time limit, and a store that fails is asked a few
times more by its own client; what is wrong then is E506, in the store's words.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO, Final, TypeVar, cast
from urllib.parse import unquote, urlsplit

from curate.core.errors import CurateError, error

#: Small reads that wait for a disk or a network, at once.
READ_THREADS: Final = 16

#: Packages by protocol, for the advice when one is missing.
_PACKAGES: Final = {
    "s3": "curate[s3]",
    "s3a": "curate[s3]",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "hf": "huggingface_hub",
}

#: Seconds without a connection, and without a byte of an answer.
_TIMEOUTS: Final = {"connect_timeout": 10, "read_timeout": 60}
#: Attempts of S3's client at one request, unless AWS_MAX_ATTEMPTS says otherwise, each after a longer wait; and of s3fs,
#: each as many of these, for answers that break off or ask for fewer requests. A store that is away for 15 s is survived.
_ATTEMPTS: Final = "5"
_S3FS_ATTEMPTS: Final = 3

T = TypeVar("T")
R = TypeVar("R")


def is_url(path: str) -> bool:
    return "://" in path


def local_or_url(path: str) -> str:
    """The location of a path as a user writes it: absolute if local, `file://` taken off."""
    if path.startswith("file://"):
        path = unquote(urlsplit(path).path)
    return path if is_url(path) else os.path.abspath(path)


def shown(path: str) -> str:
    r"""A path that can be printed and stored as UTF-8: bytes that are not UTF-8 become `\xff`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def filesystem(url: str) -> tuple[Any, str]:
    """The fsspec file system of a URL and the path in it. E506 if its package is not installed, or for `::`."""
    import fsspec  # late: commands that need no store start sooner

    protocol = url.partition("://")[0]
    refuse_credentials(url)
    if "::" in url:  # fsspec would take what follows for another store, and do its work on what comes before
        raise error(
            "E506",
            f"{url} has `::` in it, which no name of a file or folder here may have",
            help="rename the object or the folder in the store",
            file=url,
        )
    # Listings are never remembered: others write to the same folders.
    options: dict[str, Any] = {"use_listings_cache": False}
    if protocol in ("s3", "s3a"):
        attempts = int(os.environ.get("AWS_MAX_ATTEMPTS", _ATTEMPTS))
        retries = {"max_attempts": attempts, "mode": os.environ.get("AWS_RETRY_MODE", "standard")}
        configured = fsspec.config.conf.get(protocol, {})
        options["config_kwargs"] = {**_TIMEOUTS, "retries": retries, **configured.get("config_kwargs", {})}
    try:
        fs, path = fsspec.core.url_to_fs(url, **options)
    except (ImportError, ValueError) as fault:
        package = _PACKAGES.get(protocol)
        raise error(
            "E506",
            f"cannot reach {url}: {fault}",
            help=f"pip install '{package}'" if package is not None else "install the package for this store",
            file=url,
        ) from fault
    if "config_kwargs" in options:
        fs.retries = _S3FS_ATTEMPTS
    if protocol == "hf":
        fs.dircache.clear()  # it takes no `use_listings_cache`
    return fs, path


def read_whole(fs: Any, path: str) -> bytes:
    """An object by one request: s3fs asks for the size first where it may read parts at once."""
    alone = {"max_concurrency": 1} if "s3" in fs.protocol else {}
    return bytes(fs.cat_file(path, **alone))


def refuse_credentials(url: str) -> None:
    """E506 for a URL with a password in it; the message leaves it out."""
    protocol, _, rest = url.partition("://")
    first = rest.partition("/")[0]
    secret, at, host = first.rpartition("@")
    # A password with a slash in it ends the first part early: what follows the colon is then no port.
    _, colon, port = host.rpartition(":")
    broken = bool(colon) and not port.isdecimal() and not host.endswith("]")
    if protocol != "hf" and ((at and ":" in secret) or broken):
        raise error(
            "E506",
            f"{protocol}://…{'' if broken else '@' + host} has a name and a password in it, and configs and plans keep none",
            help="put the credentials into the environment, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        )


@contextlib.contextmanager
def reaching(location: str) -> Iterator[None]:
    """Turns what goes wrong with a file or a store into D401 or E506."""
    try:
        yield
    except CurateError:
        raise
    except OSError as fault:
        raise unreadable(location, fault) from fault
    except Exception as fault:
        if not is_url(location):
            raise
        raise out_of_reach(location, fault) from fault


def out_of_reach(location: str, fault: Exception) -> CurateError:
    """E506 for what a store's library raises: its own errors (no credentials, no network), which are no `OSError`."""
    message = f"{location} cannot be reached: {type(fault).__name__}: {fault}"
    return error("E506", message, help="check the network and the credentials", file=location)


def open_binary(location: str) -> BinaryIO:
    """Opens for reading, without read-ahead in stores: the readers here ask for what they need."""
    with reaching(location):
        if is_url(location):
            fs, path = filesystem(location)
            return cast(BinaryIO, fs.open(path, "rb", cache_type="none"))
        return open(location, "rb")


def create_binary(location: str) -> BinaryIO:
    """Opens for writing, replacing what is there."""
    if is_url(location):
        fs, path = filesystem(location)
        return cast(BinaryIO, fs.open(path, "wb"))
    return open(location, "wb")


def unreadable(location: str, fault: OSError) -> CurateError:
    """The error for a file that cannot be opened: D401 if it is not there, E506 if it may not be read."""
    name = shown(location)
    if isinstance(fault, FileNotFoundError):
        if not is_url(location) and os.path.islink(location):
            target = shown(os.readlink(location))
            return error(
                "D401",
                f"{name} is a link to {target}, which does not exist",
                help="repair or remove the link",
                file=name,
            )
        return error("D401", f"{name} does not exist", help="check the path", file=name)
    if is_url(location):
        why = fault.strerror or str(fault) or type(fault).__name__
        help = "check the credentials, and what the bucket allows them"
        return error("E506", f"the store does not serve {name}: {why}", help=help, file=name)
    if isinstance(fault, PermissionError):
        return error(
            "E506",
            f"{name} may not be read: permission denied",
            help=f"give read access, such as `chmod a+r`: {name}",
            file=name,
        )
    return error(
        "E506",
        f"{name} cannot be read: {fault.strerror or fault}",
        help="check the disk or the store",
        file=name,
    )


def each(function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """`function` of every item, in order, in threads; the `CurateError`s of all items are raised as one."""

    def attempt(item: T) -> R | CurateError:
        try:
            return function(item)
        except CurateError as fault:
            return fault

    size = max(
        1, len(items) // (8 * READ_THREADS)
    )  # thousands of local files are looked at in less than a hand-over takes
    parts = [items[start : start + size] for start in range(0, len(items), size)]
    with ThreadPoolExecutor(max_workers=READ_THREADS) as pool:
        outcomes = [
            outcome for part in pool.map(lambda part: list(map(attempt, part)), parts) for outcome in part
        ]
    raise_all(outcome for outcome in outcomes if isinstance(outcome, CurateError))
    return cast("list[R]", outcomes)


def raise_all(faults: Iterable[CurateError]) -> None:
    """Raises the problems of all faults as one error; returns if there are none."""
    problems = [problem for fault in faults for problem in fault.problems]
    if problems:
        raise CurateError(problems)
