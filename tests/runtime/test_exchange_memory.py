"""What an exchange asks for in memory is what its index takes."""

from __future__ import annotations

import dataclasses
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curate.config.execution import SlurmJobs
from curate.core import exchange, manifest
from curate.core.exchange import ExchangeReader, ExchangeWriter, reader_memory, writer_memory
from curate.core.manifest import Manifest, Shard
from curate.core.plan import OutputPlan, Phase
from curate.executors.slurm.advance import needs_of
from curate.executors.slurm.script import Place, array_script
from curate.executors.slurm.state import Estimate
from curate.planning import exchange_memory as planned
from curate.planning.exchange_memory import exchange_memory
from curate.planning.phases import phases
from curate.planning.rates import Rate, peak_bytes

OUTPUT = OutputPlan(
    "all", "/out", None, None, 256 * 2**20, 32 * 2**20, seed=1, preset=None, columns=(("text", "text"),)
)
PLACE = Place("/runs/web", "/", "web", "web.0", "/runs/web")


def corpus(shards: int, size: int, rows: int | None) -> Manifest:
    return Manifest((), tuple(Shard(n, (0,), None, 0, rows, size) for n in range(shards)), ())


def test_the_index_takes_what_was_planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "GROUPS", 2)
    for module in (exchange, planned):
        monkeypatch.setattr(module, "RUN_BYTES", 500_000)
    dice = np.random.default_rng(5)
    schema = pa.schema([pa.field("__doc", pa.int64()), pa.field("text", pa.string())])
    texts = pa.array(["x" * 190] * 2_500, pa.string())
    record = pa.RecordBatch.from_arrays([pa.array(range(2_500), pa.int64()), texts], schema=schema)
    size, batches = record.get_total_buffer_size(), 12
    corpora = corpus(2 * batches, size, 2_500)
    output = dataclasses.replace(OUTPUT, row_group_bytes=size // 100)
    keys = dice.integers(0, 2 * batches * 100, (batches, 2_500))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        with ExchangeWriter(tmp_path / "x.arrow", schema) as writer:
            for groups in keys:
                writer.append(record, groups)
        taken = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    sending, writing = exchange_memory(corpora, output)
    assert 0.8 * taken < sending < 1.6 * taken
    reader = ExchangeReader(tmp_path / "x.arrow", writer.seal)
    assert reader._directory.nbytes == reader_memory(reader._stretches)
    assert writing == pytest.approx(2 * reader._directory.nbytes, rel=0.05)  # of both units


def test_a_large_shuffle_asks_for_its_index_and_a_small_one_for_nothing() -> None:
    def needs(corpora: Manifest, output: OutputPlan) -> dict[str, float]:
        made = phases(corpora, (), (output,), None, "unicode", {})
        return {p.name: p.resources.get("memory_gb", 0) for p in made if p.kind in ("exchange", "write")}

    large = corpus(50_000, 256 * 2**20, 85_000)  # 25 GB and 8.5 million rows a unit, of 400,000 row groups
    found = needs(large, OUTPUT)
    assert found["all.exchange"] == pytest.approx(0.53, abs=0.03)
    assert found["all.write"] == pytest.approx(0.52, abs=0.03)
    assert needs(corpus(50_000, 256 * 2**20, None), OUTPUT)["all.exchange"] > found["all.exchange"]
    kept = dataclasses.replace(OUTPUT, seed=None, partition_by="language")
    assert set(needs(large, kept).values()) == {0}
    assert set(needs(corpus(3, 10**6, 300), OUTPUT).values()) == {0}
    assert exchange_memory(corpus(0, 0, 0), OUTPUT) == (0, 0)


def test_a_batch_script_asks_for_the_index_beside_what_was_measured() -> None:
    phase = Phase("all.exchange", "exchange", "", resources={"memory_gb": 0.5}, output="all")
    rate = Rate(1000, 1.0, 0.0, 1.0, 1_000_000_000, 10)
    assert peak_bytes(rate, phase) == 1_500_000_000
    assert peak_bytes(rate, dataclasses.replace(phase, kind="pass")) == 1_000_000_000
    measured = Estimate(1.0, 0.0, 1.0, peak_bytes(rate, phase))
    for estimate, expected in ((None, 1.5e9), (measured, 1.25 * 1.5e9)):
        needs = needs_of(phase, SlurmJobs(), estimate, 1.0)
        script = array_script(PLACE, SlurmJobs(), phase.name, needs, "t.json", 0, 3)
        assert f"#SBATCH --mem={-(-int(expected) // 2**20)}M" in script


def test_the_larger_of_the_last_run_and_the_joined_index_counts() -> None:
    assert writer_memory(1_000_000, 1_000) == 64_000_000
    assert writer_memory(1_000, 1_000) > 64_000
