"""A real S3 server on loopback: moto's, in a thread of the test process, spoken to over HTTP by commands and tests alike."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cli import Place
from tests.stores.job import Outputs, configured, local, write_inputs
from tests.stores.server import SECRET, Bucket, Faulty

_numbers = itertools.count()


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """The server's URL."""
    pytest.importorskip("s3fs", reason="s3fs is not installed: pip install 'curate[s3]'")
    server = pytest.importorskip(
        "moto.server", reason="moto is not installed: pip install 'moto[s3]' flask flask-cors"
    )
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "work")


@pytest.fixture(scope="session")
def expected(tmp_path_factory: pytest.TempPathFactory) -> tuple[Outputs, Outputs]:
    """What a local run publishes, and what it does after two more files of each kind have been taken in."""
    place = Place(tmp_path_factory.mktemp("local") / "work")
    write_inputs(place / "in", 0, 3)
    configured(place, ".")
    place.run("job.yaml").succeeded()
    before = local(place)
    write_inputs(place / "in", 3, 4)
    place.run("job.yaml", "--update").succeeded()
    return before, local(place)


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """An empty bucket, and the environment by which everything here finds it."""
    made = Bucket(endpoint, f"bucket-{next(_numbers)}")
    _use(endpoint, monkeypatch)
    yield made
    _forget()


@pytest.fixture
def faulty(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[Faulty]:
    """The same server behind a proxy that fails as it is told."""
    with Faulty(bucket.endpoint) as proxy:
        _use(proxy.endpoint, monkeypatch)
        yield proxy
        _forget()


def _use(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "AKIDTEST",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "2",
    }.items():
        monkeypatch.setenv(name, value)
    _forget()


def _forget() -> None:
    """fsspec keeps a store's client for as long as the process lives; the next test has another address."""
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
