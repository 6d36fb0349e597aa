"""`--on ray` where a node is yet to come: the run waits for what the cluster adds, and GPUs are each worker's own.

The cluster has a head without a CPU; the node with two CPUs and two pretended GPUs is started once the run has begun.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.corpus import rows, write_parquet
from tests.e2e.cli import Place
from tests.e2e.ray_nodes import Nodes

pytestmark = [pytest.mark.ray, pytest.mark.slow]
pytest.importorskip("ray", reason="Ray is not installed")

CONFIG = """
input: {path: in/*.parquet}
steps:
  - {use: devices, as: cpu}
  - {use: devices, as: gpu, gpus: 1}
publish:
  - {name: all, path: out/all, columns: [id, cpu__device, gpu__device]}
execution: {workers: 2, ray: {start_timeout: 120}}
"""
#: Says which GPUs its process sees; a step that has one waits for another that has one.
STEP = """
import os, pathlib, time
import pyarrow as pa
from pydantic import Field
from curate.core.stage import Resources, StageConfig

class Config(StageConfig):
    gpus: int = Field(0, description="GPUs of a worker.")

class Devices:
    VERSION = 1
    def __init__(self, config): self.config = config
    def resources(self): return Resources(memory_gb=0.1, gpus=self.config.gpus)
    def reads(self): return frozenset({"n"})
    def writes(self): return {"device": pa.string()}
    def artifacts(self, context): return {}
    def provenance(self): return {}
    def rules(self, language): return ()
    def open(self, context): self.seen = pathlib.Path("seen")
    def annotate(self, batch):
        own = os.environ.get("CUDA_VISIBLE_DEVICES", "unset")
        if self.config.gpus:
            (self.seen / own).touch()
            until = time.monotonic() + 60
            while len(list(self.seen.iterdir())) < 2 and time.monotonic() < until:
                time.sleep(0.05)
        return {"device": pa.array([own] * batch.num_rows, pa.string())}

Devices.Config = Config
STAGE = Devices
"""


@pytest.mark.timeout(300)
def test_a_node_is_waited_for_and_its_gpus_are_shared_out(nodes: Nodes, place: Place, tmp_path: Path) -> None:
    place.config(CONFIG)
    for number in range(4):
        write_parquet(place / f"in/{number}.parquet", rows(f"s{number}", 5))
    (place / "seen").mkdir()
    package = tmp_path / "package"
    info = package / "devices-1.dist-info"
    info.mkdir(parents=True)
    (package / "devices.py").write_text(STEP)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: devices\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[curate.stages]\ndevices = devices\n")
    nodes.environment["PYTHONPATH"] = str(package)
    nodes.start_head(cpus=0)

    address = f"execution.ray.address={nodes.address}"
    options = ("--on", "ray", "--set", address)
    small = ("--set", "execution.ray.adds={nodes: 1, cpus: 2, memory: 4GB}")
    refused = place.curate("run", "job.yaml", *options, *small, environment=nodes.environment)
    refused.failed_with("E520", exit_code=2)
    assert "1 GPUs" in refused.err
    assert "phase pass2" in refused.err  # pass1 has not begun
    assert not (place / "runs/job/done").exists()

    adds = ("--set", "execution.ray.adds={nodes: 1, cpus: 2, gpus: 2, memory: 4GB}")
    run = place.start("run", "job.yaml", *options, *adds, environment=nodes.environment)
    try:
        deadline = time.monotonic() + 60
        while not (place / "runs/job/plan.json").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        nodes.start_another(cpus=2, gpus=2)
        err = run.communicate(timeout=200)[1]
    finally:
        if run.poll() is None:
            run.kill()
    assert run.returncode == 0, err

    table = pa.concat_tables(pq.read_table(path) for path in (place / "out/all").rglob("*.parquet"))
    assert set(table.column("cpu__device").to_pylist()) == {""}
    assert Counter(table.column("gpu__device").to_pylist()).keys() == {"0", "1"}
