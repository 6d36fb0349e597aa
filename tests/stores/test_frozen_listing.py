"""A bucket of many keys is listed by one request for 1,000 and nothing else: a server that only lists, over real HTTP."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest

from curate.io.patterns import expand
from curate.io.storage import state
from tests.stores.server import Bucket, Faulty

pytestmark = pytest.mark.s3
pytest.importorskip("s3fs", reason="s3fs is not installed: pip install 'curate[s3]'")

KEYS = 10_000


class _Lister(BaseHTTPRequestHandler):
    """`corpus/0000000.parquet` and so on, in pages of 1,000 with continuation tokens."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[Counter[str]] = Counter()

    def do_HEAD(self) -> None:
        self.asked["HEAD"] += 1
        self._answer(404, b"")

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        assert "list-type" in query, self.path
        self.asked["LIST"] += 1
        if not "corpus/".startswith(query.get("prefix", [""])[0]):
            self._answer(200, b"<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>")
            return
        first = int(query.get("continuation-token", ["0"])[0])
        last = min(first + 1000, KEYS)
        more = f"<NextContinuationToken>{last}</NextContinuationToken>" if last < KEYS else ""
        entries = "".join(
            f"<Contents><Key>corpus/{n:07d}.parquet</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>&quot;{n:032x}&quot;</ETag><Size>{n}</Size><StorageClass>STANDARD</StorageClass></Contents>"
            for n in range(first, last)
        )
        text = (
            f"<ListBucketResult><IsTruncated>{str(bool(more)).lower()}</IsTruncated>{more}"
            f"<KeyCount>{last - first}</KeyCount>{entries}</ListBucketResult>"
        )
        self._answer(200, text.encode())

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing is logged."""


@pytest.fixture
def lister(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    import s3fs

    _Lister.asked = Counter()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Lister)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_address[1]}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "tester")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    s3fs.S3FileSystem.clear_instance_cache()
    yield _Lister.asked
    s3fs.S3FileSystem.clear_instance_cache()
    server.shutdown()
    server.server_close()


def test_a_listing_costs_one_request_for_1_000_keys(lister: Counter[str]) -> None:
    began = time.process_time()
    found = expand("s3://bucket/corpus/*.parquet")
    assert len(found.locations) == len(found.facts) == KEYS
    assert found.locations[-1] == f"s3://bucket/corpus/{KEYS - 1:07d}.parquet"
    assert lister["LIST"] <= KEYS // 1000 + 3
    assert lister["HEAD"] <= 2
    assert time.process_time() - began < 20


def test_what_was_listed_is_not_asked_again(faulty: Faulty, bucket: Bucket) -> None:
    """The state of a listed file is one request if it is small, two if it is not; equal to that without a list."""
    sizes = {"in/a.jsonl": 10, "in/b/c.jsonl": 70_000, "in/d.jsonl": 200_000, "in/e.jsonl": 0}
    for key, size in sizes.items():
        bucket.put(key, bytes(n % 251 for n in range(size)))
    found = expand(f"{bucket.url}/in")
    assert [location.rpartition("/in/")[2] for location in found.locations] == [
        "a.jsonl",
        "b/c.jsonl",
        "d.jsonl",
        "e.jsonl",
    ]
    faulty.seen.clear()
    listed = [state(location, found.facts[location]) for location in found.locations]
    assert faulty.seen == {"GET": 4}
    assert listed == [state(location) for location in found.locations]
