"""A Ray cluster of several nodes on this machine, each a process group of its own that a test may start late or kill."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_RAY: Final = (sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats")
_PATIENCE: Final = 60.0


@dataclass
class Nodes:
    """folder: where the nodes are started, and not where runs are. environment: of all nodes, beside this process's."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    def start_head(self, cpus: int) -> None:
        self._start("--head", f"--port={self._port}", "--include-dashboard=false", f"--num-cpus={cpus}")
        deadline = time.monotonic() + _PATIENCE
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self._port), timeout=1):
                return
            assert time.monotonic() < deadline, "Ray's head does not answer"
            time.sleep(0.2)

    def start_another(self, cpus: int, gpus: int = 0) -> int:
        """One more node; its process group."""
        return self._start(f"--address={self.address}", f"--num-cpus={cpus}", f"--num-gpus={gpus}")

    def _start(self, *options: str) -> int:
        command = [*_RAY, "--node-ip-address=127.0.0.1", *options]
        nothing = subprocess.DEVNULL
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env={**os.environ, **self.environment},
            stdin=nothing,
            stdout=nothing,
            stderr=nothing,
            start_new_session=True,
        )
        self.started.append(process)
        return process.pid

    def stop(self) -> None:
        for process in self.started:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
