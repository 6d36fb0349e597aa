"""`--on ray`: the same bytes as on this machine alone, and what goes wrong on a cluster ends as it does there.

A real Ray: each run starts one with `address: local`, or joins two nodes that the test starts in another folder.
Actors inherit the faults of `injected/sitecustomize.py` from the process that starts the cluster.
"""

from __future__ import annotations

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.corpus import TEXTS, write_parquet
from tests.e2e.cli import Fault, Place
from tests.e2e.killing import KILL_SELF, Job, Outputs
from tests.e2e.ray_nodes import Nodes
from tests.e2e.run_folder import done_records

pytestmark = [pytest.mark.ray, pytest.mark.slow]
pytest.importorskip("ray", reason="Ray is not installed")

ON_RAY = ("--on", "ray", "--set", "execution.ray.address=local")
SCORING = """
input: {path: texts/*.parquet}
steps:
  - {use: filters.quality, as: edu, max_characters: 60}
publish:
  - {name: scored, path: out/scored}
"""
COMMIT = "curate.core.commit:write_done"


@pytest.fixture
def ray_job(place: Place, undisturbed: Outputs, ray_folder: str) -> Job:
    """A job whose runs start a Ray of their own."""
    # When their raylet is killed with SIGKILL, Ray's own agents need a minute or two to notice.
    place.lingering = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
    return Job(place, undisturbed, *ON_RAY)


def test_the_same_bytes_and_only_what_is_missing(ray_job: Job) -> None:
    """A worker stands still, one is lost while it works, one between writing and committing; the whole run is killed, then
    continued."""
    ray_job.options += ("--set", "execution.ray.unit_timeout=8")
    stopped = Fault("curate.running.task:Worker._work", "kill SIGSTOP SELF", r"^pass1 2 ", call=1)
    ray_job.killed(stopped, Fault("curate.core.compaction:compact", KILL_SELF, r"^some.exchange"))
    ray_job.finished(
        Fault(COMMIT, KILL_SELF, r"^some.write ", call=1),
        Fault("curate.running.task:Worker._work", KILL_SELF, r"^all.write 1 ", call=1),
    )


def test_what_encoders_did_is_told_of_actors_too(ray_job: Job) -> None:
    """Each actor measures its units; done-files, report, status and the progress line have what all of them did."""
    place = ray_job.place
    for number, names in enumerate((("near one", "cyrillic"), ("han", "exact one"))):
        write_parquet(place / f"texts/{number}.parquet", [{"id": n, "text": TEXTS[n]} for n in names])
    place.config(SCORING, "scoring.yaml")
    result = place.run("scoring.yaml", *ON_RAY, workers=2)
    result.succeeded()
    columns = [pq.read_table(path)["edu__n_tokens"] for path in (place / "out/scored").rglob("*.parquet")]
    tokens = sum(pc.sum(column).as_py() for column in columns)
    units = [
        record["facts"]["encoders"]["usem3"]
        for record in done_records(place / "runs/scoring")["pass1"].values()
    ]
    assert len(units) == 2
    assert sum(unit["tokens"] for unit in units) == tokens > 0
    (entry,) = place.report("scoring")["encoders"]
    assert (entry["encoder"], entry["tokens"]) == ("usem3", tokens)
    assert 0 < entry["busy_share"] <= 1
    assert place.curate("status", "scoring", "--json").json["encoders"] == [entry]
    assert "encoders busy" in result.err


def test_a_unit_that_always_kills_its_worker_ends_the_run(ray_job: Job) -> None:
    result = ray_job.run(
        Fault("curate.running.task:Worker._work", KILL_SELF, r"^pass1 2 ", call=0), workers=1
    )
    result.failed_with("R304", exit_code=1)
    assert "3 times on the same unit" in result.err
    assert "file p/2.parquet" in result.err


def test_a_failing_task_shows_its_own_error(ray_job: Job) -> None:
    fault = Fault("curate.running.task:Worker._work", "exit 7", r"^pass1 2 ", call=1)
    result = ray_job.run(fault, workers=1)
    result.failed_with("R303", exit_code=1)
    assert "CalledProcessError" in result.err
    assert "unit 2" in result.err
    logs = list((ray_job.run_folder / "logs").glob("worker-ray-*.log"))
    assert any("CalledProcessError" in log.read_text() for log in logs)


def test_a_library_that_ends_the_process_ends_the_run(ray_job: Job) -> None:
    """`sys.exit` in a step: nobody but the worker itself can tell of it."""
    fault = Fault("curate.running.task:Worker._work", "exit SYSTEM", r"^pass1 2 ", call=1)
    result = ray_job.run(fault, workers=1)
    result.failed_with("R303", exit_code=1)
    assert "SystemExit" in result.err


def test_a_cluster_that_runs_already_loses_a_node(ray_job: Job, nodes: Nodes) -> None:
    """Its nodes were started elsewhere, and relative paths mean what they mean where the run was started. The run is
    interrupted first."""
    nodes.start_head(cpus=1)
    second = nodes.start_another(cpus=1)
    options = ("--on", "ray", "--set", f"execution.ray.address={nodes.address}")
    job = Job(ray_job.place, ray_job.undisturbed, *options)
    (job.place / "bounds.yaml").write_text("default: {min_words: 0}\n")
    stopped = Fault("curate.running.progress:Progress.unit_done", "kill SIGINT GROUP", call=2)
    job.run(stopped).failed_with("R310", exit_code=3)
    lost = Fault("curate.core.compaction:compact", f"kill -9 -{second}", r"^pass1", by="parent")
    result = job.run(lost)  # tasks of nodes that were started without faults note nothing down
    result.succeeded()
    assert len(list((job.run_folder / "logs").glob("worker-ray-*"))) >= 2, "the second node did nothing"
    assert job.outputs() == job.undisturbed


def test_no_cluster_at_the_address(ray_job: Job) -> None:
    result = ray_job.place.run("--on", "ray", "--set", "execution.ray.address=127.0.0.1:1")
    result.failed_with("E520", exit_code=2)
    assert "127.0.0.1:1" in result.err
