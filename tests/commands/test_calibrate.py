"""Estimates: measured on a part of the input, multiplied, and near what the whole then costs."""

from __future__ import annotations

import gzip
import json
import os
import random
import resource
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from curate.cli import cli
from curate.config.execution import SlurmJobs
from curate.core.errors import CurateError
from curate.core.layout import RunFolder
from curate.executors.slurm.advance import needs_of
from curate.executors.slurm.launch import _estimates
from curate.kernels import kernel_cache
from curate.planning.preview import preview
from curate.planning.rates import Rate, add_rates, read_rates
from curate.planning.sample import sample
from curate.planning.session import Request, prepare

STEPS = """
steps:
  - {use: filters.gopher_quality}
  - {use: filters.gopher_repetition}
publish:
  - {name: out, path: out, shuffle: 1}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(
        "CURATE_KERNELS", str(kernel_cache().parent)
    )  # not below the next one, where there are none yet
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def curate(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, catch_exceptions=False)


def write(folder: Path, texts: list[str], name: str = "docs", rows: int = 100) -> None:
    (folder / "data").mkdir(exist_ok=True)
    pq.write_table(pa.table({"text": texts}), folder / "data" / f"{name}.parquet", row_group_size=rows)


def session(folder: Path, text: str = STEPS, pattern: str = "data/*"):  # type: ignore[no-untyped-def]
    (folder / "web.yaml").write_text(f"input: {{path: '{pattern}'}}\n{text}")
    return prepare(Request(folder / "web.yaml"))


def spent(config: Path, name: str) -> float:
    """CPU seconds of a whole `curate run` in a process of its own. name: of its run folder and its output."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "curate", "run", str(config), "--workers", "1", "--threads", "1"]
    command += ["--run-dir", f"runs/{name}", "--set", f"publish.out.path={name}"]
    subprocess.run(command, check=True, capture_output=True, env=dict(os.environ))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_an_estimate_is_within_twice_of_what_a_run_costs(folder: Path, sample_texts: list[str]) -> None:
    write(folder, sample_texts[:1])
    session(folder)
    start = [spent(folder / "web.yaml", f"one{i}") for i in range(2)][
        1
    ]  # the first may have to compile kernels
    write(folder, sample_texts * 5, rows=1000)
    assert "phases in" in curate("calibrate", "web.yaml", "--megabytes", "16").output
    planned = json.loads(curate("plan", "web.yaml", "--json").output)
    assert planned["estimate"]["unknown"] == []
    assert all(p["estimate"]["exact"] for p in planned["phases"])
    took = spent(folder / "web.yaml", "all") - start
    assert 0.5 < planned["estimate"]["cpu_seconds"] / took < 2, (planned["estimate"], took, start)
    written = sum(
        p.stat().st_size for place in ("runs/all/overlays", "all") for p in Path(place).rglob("*.parquet")
    )
    kept = [p for p in planned["phases"] if p["kind"] in ("pass", "write")]
    assert 0.5 < sum(p["disk_bytes"] for p in kept) / written < 2
    done = curate("plan", "web.yaml", "--json", "--run-dir", "runs/all", "--set", "publish.out.path=all")
    assert json.loads(done.output)["estimate"]["cpu_seconds"] == 0


@pytest.fixture(scope="module")
def sample_texts() -> list[str]:
    """Some 20 MB of real documents."""
    folder = Path(__file__).parents[2] / "data" / "sample"
    return [
        t
        for p in sorted(folder.glob("*.parquet"))
        for t in pq.read_table(p, columns=["text"])["text"].to_pylist()
    ]


def test_a_sample_has_row_groups_from_everywhere(folder: Path) -> None:
    for number in range(20):
        write(folder, [f"{number} {row} " + "x" * 1000 for row in range(300)], f"d{number:02d}", rows=30)
    manifest = session(folder).compiled.manifest
    part = sample(manifest, 800_000, folder)
    taken = [part.files[s.files[0]].path for s in part.shards]
    assert len(taken) == 8
    assert taken[0] < "d02"
    assert taken[-1] > "d18"
    assert all(s.rows is not None and s.rows % 30 == 0 for s in part.shards)
    assert [s.number for s in part.shards] == list(range(8))
    assert 0.8e6 < sum(s.bytes for s in part.shards) < 1.2e6
    assert sample(manifest, 1 << 40, folder) is manifest


def test_a_giant_text_file_gives_its_beginning(folder: Path) -> None:
    (folder / "data").mkdir()
    noise = random.Random(1)
    lines = [json.dumps({"text": noise.randbytes(250).hex()}) + "\n" for _ in range(4000)]
    with gzip.open(folder / "data" / "a.jsonl.gz", "wt") as file:
        file.writelines(lines)
    manifest = session(folder).compiled.manifest
    (folder / "scratch").mkdir()
    part = sample(manifest, 300_000, folder / "scratch")
    copied = Path(part.files[0].location).read_text().splitlines(keepends=True)
    assert copied == lines[: len(copied)]
    assert 300_000 <= sum(map(len, copied)) < 301_000


def test_measuring_touches_neither_the_run_nor_its_outputs(folder: Path) -> None:
    write(folder, [f"a text of the number {row}" for row in range(500)])
    session(folder, "steps: [{use: dedup.exact, index: index}]\npublish: [{name: out, path: out}]\n")
    result = curate("calibrate", "web.yaml", "--output", "rates.json")
    assert result.exit_code == 0, result.output
    assert {p.name for p in folder.iterdir()} - {"cache"} == {"data", "rates.json", "web.yaml"}
    planned = json.loads(curate("plan", "web.yaml", "--json", "--rates", "rates.json").output)
    assert planned["estimate"]["unknown"] == []
    assert json.loads(curate("plan", "web.yaml", "--json").output)["estimate"] is None
    assert "curate calibrate web.yaml" in curate("plan", "web.yaml").output


def rate(cpu: float) -> Rate:
    return Rate(1000, cpu, 0.0, 2.0, 3_000_000_000, 100)


def test_another_threshold_takes_the_rate_of_its_like(folder: Path) -> None:
    write(folder, ["a text"] * 10)
    first = session(folder)
    add_rates(folder / "rates.json", first.compiled.plan, {"pass1": rate(5.0)})
    other = session(folder, STEPS.replace("gopher_quality}", "gopher_quality, min_words: 3}"))
    rates = read_rates(folder / "rates.json")
    assert rates is not None
    found = preview(other.compiled.plan, other.compiled.manifest, RunFolder(folder / "runs/web"), rates)
    by_name = {p["name"]: p["estimate"] for p in found["phases"]}
    size = sum(s.bytes for s in other.compiled.manifest.shards)
    assert by_name["pass1"]["exact"] is False
    assert by_name["pass1"]["cpu_seconds"] == pytest.approx(5.0 * size / 1000)
    assert by_name["out.write"] is None
    assert set(found["estimate"]["unknown"]) == {"out.count", "out.exchange", "out.write"}


def test_batch_scripts_ask_for_what_was_measured(folder: Path) -> None:
    write(folder, ["a text"] * 10)
    found = session(folder).compiled
    add_rates(folder / "cache/curate/rates.json", found.plan, {"pass1": rate(5.0)})
    size = sum(s.bytes for s in found.manifest.shards)
    estimates = _estimates(found.plan, found.manifest)
    jobs = SlurmJobs.model_validate({"cpus": 2})
    needs = needs_of(found.plan.phase("pass1"), jobs, estimates["pass1"], 0.5)
    assert needs["peak_bytes"] == 3_000_000_000
    assert needs["minutes"] == 10 + -(-(3 * (2.0 + 0.5 * 5.0 * size / 1000 / 2) + 120) // 60)
    assert needs_of(found.plan.phase("out.write"), jobs, None, 1.0) == dict(
        found.plan.phase("out.write").resources
    )


def test_a_damaged_file_of_rates(folder: Path) -> None:
    (folder / "rates.json").write_text('{"format": 1, "machines": {"x": {"f": {}}}}')
    with pytest.raises(CurateError, match="cannot be read") as caught:
        read_rates(folder / "rates.json")
    assert caught.value.problems[0].code == "E506"


def test_more_files_than_allowed(folder: Path) -> None:
    for number in range(30):
        write(folder, ["a text"], f"d{number:02d}")
    assert session(folder, STEPS + "execution: {max_files: 1000}\n").compiled.plan.name == "web"
    with pytest.raises(CurateError) as caught:
        session(folder, STEPS + "execution: {max_files: 40}\n")
    (problem,) = caught.value.problems
    assert problem.code == "C220"
    assert problem.position is not None
    assert problem.position.line == 7 + 1
