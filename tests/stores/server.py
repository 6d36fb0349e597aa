"""Buckets as the tests see them (by boto3, not by the code under test), and a proxy that makes a store fail.

proxy.rules.append(Rule("PUT", "/done/", "503", times=2))       the first two of these get 503
503 · 403 · reset (no answer) · cut (half of the body) · deaf (the store does it, the answer is lost) · hang
keys (200, and in the body that no key of a bulk delete could be removed)
"""

from __future__ import annotations

import http.client
import re
import socket
import struct
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

SECRET: Final = "SecretThatStandsNowhere"

_BODIES: Final = {
    "503": (503, "SlowDown", "Please reduce your request rate."),
    "500": (500, "InternalError", "We encountered an internal error. Please try again."),
    "403": (403, "AccessDenied", "Access Denied"),
    "key": (403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records."),
}


class Bucket:
    """One bucket of the server."""

    def __init__(self, endpoint: str, name: str) -> None:
        import boto3

        self.endpoint = endpoint
        self.name = name
        self.url = f"s3://{name}"
        self.client: Any = boto3.client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id="tester",
            aws_secret_access_key="tester",
            region_name="us-east-1",
        )
        self.client.create_bucket(Bucket=name)

    def keys(self, prefix: str = "") -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def read(self, key: str) -> bytes:
        content: bytes = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return content

    def put(self, key: str, data: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=data)

    def upload(self, folder: Path, prefix: str) -> None:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(f"{prefix}/{path.relative_to(folder).as_posix()}", path.read_bytes())

    def content(self, prefix: str) -> dict[str, bytes]:
        """Everything below a prefix."""
        return {key.removeprefix(f"{prefix}/"): self.read(key) for key in self.keys(f"{prefix}/")}


@dataclass
class Rule:
    """What happens to requests of a method (`*`: any) whose path has `part`; `times` of them, after `skip`."""

    method: str
    part: str
    fault: str
    times: int = 1 << 30
    skip: int = 0
    every: int = 1


@dataclass
class Faulty:
    """The proxy. rules: tried in order; seen: how often each method was asked, struck: how often it was made to fail."""

    target: str
    rules: list[Rule] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    struck: Counter[str] = field(default_factory=Counter)

    def __enter__(self) -> Faulty:
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def fault(self, method: str, path: str) -> str | None:
        with self._lock:
            self.seen[method] += 1
            for rule in self.rules:
                if rule.method in ("*", method) and rule.part in path:
                    if rule.skip:
                        rule.skip -= 1
                    elif rule.times > 0:
                        rule.times -= 1
                        rule.skip = rule.every - 1
                        self.struck[rule.fault] += 1
                        return rule.fault
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    proxy: Faulty

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _pass_on(self) -> None:
        fault = self.server.proxy.fault(self.command, self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if fault == "hang":
            time.sleep(3600)
        if fault == "reset":
            self._reset()
            return
        if fault in _BODIES:
            status, code, message = _BODIES[fault]
            text = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
            self._answer(status, {"Content-Type": "application/xml"}, text)
            return
        if fault == "keys":
            keys = re.findall(rb"<Key>.*?</Key>", body)
            errors = b"".join(b"<Error>%s<Code>InternalError</Code></Error>" % key for key in keys)
            self._answer(
                200, {"Content-Type": "application/xml"}, b"<DeleteResult>%s</DeleteResult>" % errors
            )
            return
        target = urlsplit(self.server.proxy.target)
        store = http.client.HTTPConnection(target.hostname or "", target.port, timeout=60)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in ("connection", "expect")}
        store.request(self.command, self.path, body, headers)
        answer = store.getresponse()
        content = answer.read()
        store.close()
        if fault == "deaf":
            self._reset()
            return
        dropped = ("transfer-encoding", "connection", "content-length", "date", "server")
        kept = {k: v for k, v in answer.getheaders() if k.lower() not in dropped}
        length = answer.getheader("Content-Length") if self.command == "HEAD" else None
        self._answer(answer.status, kept, content, length, cut=fault == "cut")

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass_on  # noqa: N815  # names of the base class

    def _answer(
        self,
        status: int,
        headers: dict[str, str],
        content: bytes,
        length: str | None = None,
        *,
        cut: bool = False,
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", length or str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if cut else content)
        if cut:
            self._reset()

    def _reset(self) -> None:
        """Close with RST, as a store that fell over."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing is logged."""
