"""Inputs on `hf://`: the real client of huggingface_hub against a server on loopback that answers as the Hub does.

The server is a stand-in: it knows one data set and one revision, and how to list and read them.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from tests.e2e.cli import Place
from tests.stores.job import Outputs, configured, local, write_inputs

pytestmark = pytest.mark.slow

REPOSITORY = "team/corpus"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:  # as the base class calls it
        path = unquote(urlsplit(self.path).path)
        tree = re.fullmatch(rf"/api/datasets/{REPOSITORY}/tree/main/?(.*)", path)
        if tree:
            self._answer(json.dumps(self.server.listed(tree[1], "recursive=true" in self.path.lower())))
        elif path.startswith(f"/api/datasets/{REPOSITORY}"):
            self._answer(json.dumps({"id": REPOSITORY, "sha": "0" * 40}))
        else:
            found = self.server.folder / path.removeprefix(f"/datasets/{REPOSITORY}/resolve/main/")
            self._answer(found.read_bytes() if found.is_file() else None)

    do_HEAD = do_GET  # noqa: N815  # the name that http.server looks for

    def do_POST(self) -> None:
        asked = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self._answer(json.dumps([e for e in self.server.listed("", True) if e["path"] in asked["paths"]]))

    def _answer(self, content: bytes | str | None) -> None:
        data = content.encode() if isinstance(content, str) else content or b""
        part = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        self.send_response(404 if content is None else 206 if part else 200)
        if part:
            first, last = int(part[1]), min(int(part[2]), len(data) - 1)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
            data = data[first : last + 1]
            self.server.ranges += 1
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing is logged."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    folder: Path
    ranges = 0

    def listed(self, below: str, recursive: bool) -> list[dict[str, Any]]:
        """Entries as the Hub lists them."""
        base = self.folder / below
        entries: list[dict[str, Any]] = []
        for path in sorted(base.rglob("*") if recursive else base.iterdir()):
            name = path.relative_to(self.folder).as_posix()
            oid = hashlib.sha1(path.read_bytes() if path.is_file() else name.encode()).hexdigest()
            kind = {"type": "file", "size": path.stat().st_size} if path.is_file() else {"type": "directory"}
            entries.append({**kind, "oid": oid, "path": name})
        return entries


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[_Server]:
    """A hub with one data set."""
    pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.folder = tmp_path / "repository"
        server.folder.mkdir()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_inputs_are_read_as_local_ones(place: Place, hub: _Server, expected: tuple[Outputs, Outputs]) -> None:
    write_inputs(hub.folder / "in", 0, 3)
    configured(place, ".")
    config = place / "job.yaml"
    config.write_text(config.read_text().replace("./in/", f"hf://datasets/{REPOSITORY}/in/"))
    variables = {"HF_ENDPOINT": f"http://127.0.0.1:{hub.server_address[1]}", "HF_HUB_DISABLE_XET": "1"}
    place.run("job.yaml", environment=variables).succeeded()
    assert local(place) == expected[0]
    assert hub.ranges > 0, "whole files were read"
