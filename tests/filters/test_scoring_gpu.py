"""The benchmark for GPUs runs on any machine with small layers, and both of its procedures score alike."""

from __future__ import annotations

import re

import pytest
from click.testing import CliRunner

pytest.importorskip("torch", reason="needs curate[gpu]")

from benchmarks.scoring_gpu import main  # needs torch


def test_the_gpu_benchmark_runs_small() -> None:
    result = CliRunner().invoke(main, ["--tiny"])
    assert result.exit_code == 0, result.output
    assert "| curate, packed |" in result.output
    assert "x JQL's procedure" in result.output
    assert re.search(r"encoder busy [0-9.]+%", result.output)
    apart = re.search(r"apart by at most ([0-9.]+)", result.output)
    assert apart is not None
    assert float(apart[1]) < 0.05
