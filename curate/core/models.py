"""Models: what is known of a downloadable file, where it lies, and that it is the right one.

A registry (`lid.registry`) is a dict of `Model` by name. A model is either shipped in a package or pulled
into the models folder: `$CURATE_MODELS`, else `$XDG_CACHE_HOME/curate/models`, else `~/.cache/curate/models`.

    <folder>/<file>          the model, written under another name and renamed once its checksum is right
    <folder>/<file>.sha256   the checksum found when it was pulled, as `sha256sum --check` reads it

A checksum that the registry states is binding. Where it states none, the first pull records what it found,
and from then on that binds: a file that changes later is an error, not a new model.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from curate.core.errors import error

CHUNK_BYTES: Final = 1 << 20
#: Seconds without an answer after which a download is given up.
TIMEOUT: Final = 60.0


@dataclass(frozen=True)
class Model:
    """A file that steps load by name. size: bytes, None if unknown; shipped: the folder it comes in; others: files that
    belong to it, such as a tokenizer.
    """

    name: str
    file: str
    address: str
    size: int | None
    sha256: str | None
    licence: str
    about: str
    shipped: Path | None = None
    others: tuple[Model, ...] = ()

    def path(self, folder: Path) -> Path:
        """Where it lies, or would lie once it is pulled into the folder."""
        return (self.shipped or folder) / self.file

    def parts(self) -> tuple[Model, ...]:
        """Every file of it, itself last."""
        return (*self.others, self)


def models_folder() -> Path:
    """Where models are pulled to."""
    if own := os.environ.get("CURATE_MODELS"):
        return Path(own).expanduser()
    caches = os.environ.get("XDG_CACHE_HOME")
    return (Path(caches) if caches else Path.home() / ".cache") / "curate" / "models"


def require(model: Model, folder: Path) -> Path:
    """The path of a model, verified with all its files; E504 if it was not pulled, E505 if its content is not its own."""
    for other in model.others:
        require(other, folder)
    path = model.path(folder)
    if not path.is_file():
        raise error(
            "E504",
            f"model '{model.name}' is not in {folder}",
            help=f"run: curate models pull {model.name}",
            file=str(path),
            model=model.name,
        )
    expected = _expected(model, path)
    if expected is not None:
        _check(model, path, sha256(path), expected)
    return path


def pull(
    model: Model,
    folder: Path,
    *,
    source: Path | None = None,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> str:
    """Fetches a model, from its address or from a local copy, and gives its SHA-256.

    progress: called with the bytes that are there and the bytes expected. E503 if the source cannot be read,
    E505 if what it gave is not the model, E501 if the folder's disk is full, E506 if it may not be written;
    the folder is then as it was before.
    """
    path = model.path(folder)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    found = hashlib.sha256()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            for chunk in _read(model, source, progress):
                found.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        expected = _expected(model, path)
        if expected is not None:
            _check(model, source or Path(model.file), found.hexdigest(), expected)
        part.replace(path)
        _pin(path).write_text(f"{found.hexdigest()}  {path.name}\n", encoding="ascii")
    except OSError as fault:
        raise error(
            "E501" if fault.errno in {errno.ENOSPC, errno.EDQUOT} else "E506",
            f"cannot write model '{model.name}' to {folder}: {fault.strerror or fault}",
            help="set CURATE_MODELS to a folder with room that you may write to",
            file=str(path),
        ) from fault
    finally:
        with suppress(OSError):
            part.unlink()
    return found.hexdigest()


def sha256(path: Path) -> str:
    """SHA-256 of a file's content; remembered while its size and time of change stay the same."""
    status = path.stat()
    return _sha256(path, status.st_size, status.st_mtime_ns)


@cache
def _sha256(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _pin(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _expected(model: Model, path: Path) -> str | None:
    if model.sha256 is not None:
        return model.sha256
    pin = _pin(path)
    return pin.read_text(encoding="ascii", errors="replace").partition(" ")[0] if pin.is_file() else None


def _check(model: Model, path: Path, found: str, expected: str) -> None:
    if found != expected:
        raise error(
            "E505",
            f"{path} is not model '{model.name}': SHA-256 {found}, expected {expected}",
            help=f"remove the file and its .sha256, then run: curate models pull {model.name}",
            file=str(path),
        )


def _read(model: Model, source: Path | None, progress: Callable[[int, int | None], None]) -> Iterator[bytes]:
    """Chunks of the source; E503 for any fault in reading it."""
    import http.client
    import urllib.error
    import urllib.request

    where = str(source or model.address)
    done = 0
    try:
        opened: Any = source.open("rb") if source else urllib.request.urlopen(model.address, timeout=TIMEOUT)
        with opened as stream:
            stated = source.stat().st_size if source else stream.headers.get("Content-Length")
            total = model.size if stated is None else int(stated)
            progress(0, total)
            while chunk := stream.read(CHUNK_BYTES):
                done += len(chunk)
                progress(done, total)
                yield chunk
        if stated is not None and done != total:
            raise OSError(f"it ended after {done:,} of {total:,} bytes")
    except (OSError, http.client.HTTPException) as fault:
        reason = fault.reason if isinstance(fault, urllib.error.URLError) else fault
        if isinstance(fault, urllib.error.HTTPError):
            reason = f"{fault.code} {reason}"
            fault.close()
        raise error(
            "E503",
            f"cannot read model '{model.name}' from {where}: {reason}",
            help="check the file"
            if source
            else f"fetch it where there is a network, then run: curate models pull {model.name} --from FILE",
        ) from fault
