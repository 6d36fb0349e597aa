"""A server of chat completions on this machine that does what a test tells it to, well or badly.

    with LlmServer(lambda request, number: "Score: 3") as server:
        … server.url … server.requests …

`behave` is given the body of a request and its number, from 0, and returns the text of the answer, or a `Reply`. An
iterable of them may be given instead; the last is repeated.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Reply:
    """What is sent. text: of the answer, put into a chat completion unless `body` is given.

    hang: say nothing until the server is stopped. cut: send so many bytes of the body and close the connection.
    """

    text: str = ""
    status: int = 200
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    hang: bool = False
    cut: int | None = None
    finish: str = "stop"


Behaviour = Callable[[dict[str, Any], int], str | Reply]


class LlmServer:
    """Serves while it is entered. requests: bodies that came, in order; headers: theirs; most: at one time."""

    def __init__(self, behave: Behaviour | Sequence[str | Reply]) -> None:
        self._behave = behave if callable(behave) else lambda _, n: behave[min(n, len(behave) - 1)]
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def __enter__(self) -> LlmServer:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body in one packet: two would wait for one another, 40 ms

            def do_POST(self) -> None:
                outer._serve(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Listening(ThreadingHTTPServer):
            request_queue_size = 128  # by default 5 may wait, and the next is turned away

        self._http = Listening(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._http.block_on_close = False
        self._http.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients go away on purpose
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        with self._lock:
            number = len(self.requests)
            self.requests.append(body)
            self.headers.append(dict(handler.headers))
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            found = self._behave(body, number)
            reply = Reply(found) if isinstance(found, str) else found
            if reply.hang:
                self._stopped.wait()
                handler.close_connection = True
                return
            self._send(handler, reply, body)
        finally:
            with self._lock:
                self._now -= 1

    def _send(self, handler: BaseHTTPRequestHandler, reply: Reply, asked: Mapping[str, Any]) -> None:
        data = reply.body if reply.body is not None else completion(reply, asked)
        handler.send_response(reply.status)
        for name, value in reply.headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data if reply.cut is None else data[: reply.cut])
        if reply.cut is not None:
            handler.close_connection = True


def completion(reply: Reply, asked: Mapping[str, Any]) -> bytes:
    """A chat completion; tokens are words."""
    prompt = " ".join(message["content"] for message in asked.get("messages", ()))
    usage = {"prompt_tokens": len(prompt.split()), "completion_tokens": len(reply.text.split())}
    message = {"role": "assistant", "content": reply.text}
    choice = {"index": 0, "message": message, "finish_reason": reply.finish}
    return json.dumps({"object": "chat.completion", "choices": [choice], "usage": usage}).encode()
