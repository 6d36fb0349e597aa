"""A task that takes a node with two GPUs: two workers, each with one of them, in the partition for GPUs alone."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.corpus import rows, write_parquet
from tests.e2e.cli import Place
from tests.slurm.cluster import Cluster

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

CONFIG = """
input: {path: in/*.parquet}
steps:
  - {select: n >= 0, as: cpu}
  - {use: devices, as: gpu}
publish:
  - {name: all, path: out/all}
execution:
  slurm:
    common: {time: "10"}
    cpu: {partition: cpu}
    gpu: {partition: gpu, workers: 2, units_per_task: 4}
"""
#: Says which GPUs its worker sees, once both workers have one in hand.
STEP = """
import os, pathlib, time
import pyarrow as pa
from curate.core.stage import Resources, StageConfig

class Devices:
    Config, VERSION = StageConfig, 1
    def __init__(self, config): pass
    def resources(self): return Resources(memory_gb=0.3, gpus=1)
    def reads(self): return frozenset({"n"})
    def writes(self): return {"device": pa.string()}
    def artifacts(self, context): return {}
    def provenance(self): return {}
    def rules(self, language): return ()
    def open(self, context): self.seen = pathlib.Path(os.environ["SEEN"])
    def annotate(self, batch):
        own = os.environ["CUDA_VISIBLE_DEVICES"] + " " + os.environ["SLURMD_NODENAME"]
        (self.seen / own).touch()
        until = time.monotonic() + 60
        while len(list(self.seen.iterdir())) < 2 and time.monotonic() < until:
            time.sleep(0.05)
        return {"device": pa.array([own] * batch.num_rows, pa.string())}

STAGE = Devices
"""


@pytest.mark.timeout(300)
def test_each_worker_of_a_task_has_a_gpu_of_its_own(cluster: Cluster, tmp_path: Path) -> None:
    place = Place(tmp_path / "work")
    place.config(CONFIG)
    for number in range(3):
        write_parquet(place / f"in/{number}.parquet", rows(f"s{number}", 5))
    package, seen = tmp_path / "package", tmp_path / "seen"
    info = package / "devices-1.dist-info"
    info.mkdir(parents=True)
    seen.mkdir()
    (package / "devices.py").write_text(STEP)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: devices\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[curate.stages]\ndevices = devices\n")
    variables = {"PYTHONPATH": str(package), "SEEN": str(seen)}
    place.curate("run", "job.yaml", "--on", "slurm", "--wait", environment=variables).succeeded()

    assert {path.name for path in seen.iterdir()} == {"0 gpu1", "1 gpu1"}
    published = [pq.read_table(path) for path in (place / "out/all").rglob("*.parquet")]
    devices = {value for table in published for value in table.column("gpu__device").to_pylist()}
    assert devices == {"0 gpu1", "1 gpu1"}
    logs = place / "runs/job/logs/slurm"
    assert [p.name for p in logs.glob("pass2.*_*.log") if "worker" not in p.name] == [
        p.name for p in logs.glob("pass2.*_0.log")
    ]
    assert re.search(
        r"^pass2, task 0 of 1 on gpu1: units 0, 1, 2$", next(logs.glob("pass2.*_0.log")).read_text(), re.M
    )
    job = next(logs.glob("pass2.*_0.log")).name.split(".")[1].partition("_")[0]
    shown = cluster.ask("scontrol", "show", "job", job)
    assert "CPUs/Task=2" in shown
    assert re.search(r"TresPerNode=gres:gpu:2|TresPerNode=gpu:2", shown)
    assert all(p.read_text().count(" on cpu") == 1 for p in logs.glob("pass1.*_?.log"))
