"""A run folder in a store while Slurm works in it: from another directory too its jobs are found.

The scheduler is a few shell scripts, which know what was submitted and what the test says is queued.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from curate.cli import cli
from curate.config.execution import Slurm
from curate.core.errors import CurateError
from curate.core.layout import RunFolder
from curate.core.objects import ObjectPath
from curate.executors.slurm.notice import as_submitted, job_name, read_notice
from curate.executors.slurm.state import Settings, forget_submission, read_submission, write_settings
from curate.kernels import kernel_environment
from tests.corpus import rows, write_parquet
from tests.stores.server import Bucket

pytestmark = [pytest.mark.s3]

CONFIG = """
name: job
input: {path: HERE/in/*.parquet}
steps: [{select: n >= 1, as: young}]
publish: [{name: all, path: HERE/out/all}]
run_dir: HERE/runs/job
execution: {workers: 1}
"""
COMMANDS = {
    "sbatch": """
case " $* " in *" --test-only "*) exit 0;; esac
grep -e --chdir -e --output - >>$SAID/scripts
n=$(($(cat $SAID/number 2>/dev/null) + 1)); echo $n | tee $SAID/number
""",
    "squeue": 'cat $SAID/queue 2>/dev/null; echo "$@" >>$SAID/asked',
    "scancel": "rm -f $SAID/queue",
    "scontrol": 'echo "ClusterName = $(cat $SAID/cluster)"; echo "MaxArraySize = 1001"',
}


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which the scheduler notes what it is asked, and reads what to answer."""
    for name, text in COMMANDS.items():
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("SAID", str(tmp_path))
    for name, value in kernel_environment().items():
        monkeypatch.setenv(name, value)
    (tmp_path / "cluster").write_text("first")
    return tmp_path


def test_jobs_are_found_from_another_directory(
    said: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = said / "a", said / "b"
    here.mkdir()
    there.mkdir()
    (said / "job.yaml").write_text(CONFIG.replace("HERE", bucket.url))
    for number in range(2):
        write_parquet(said / f"in/{number}.parquet", rows(f"s{number}", 3))
    bucket.upload(said / "in", "in")
    folder = RunFolder(ObjectPath(f"{bucket.url}/runs/job"))

    def curate(*arguments: str, at: Path = there) -> Result:
        monkeypatch.chdir(at)
        return CliRunner().invoke(cli, [*arguments])

    def refused(words: str, *arguments: str) -> None:
        raised = curate(*arguments).exception
        assert isinstance(raised, CurateError), raised
        assert (raised.problems[0].code, words in str(raised)) == ("R302", True), str(raised)

    run = ("run", str(said / "job.yaml"))
    submitted = curate(*run, "--on", "slurm", at=here)
    assert submitted.exit_code == 0, submitted.exception
    scripts = (said / "scripts").read_text()
    files = as_submitted(folder).beside
    assert files.parent == here / "runs"
    assert scripts.count(f"--chdir={here}\n") == scripts.count(f"--output={files}/logs/slurm/") == 2
    queue = said / "queue"
    queue.write_text("1|0|RUNNING|None|n1\n1|1|PENDING|Resources|\n2|N/A|PENDING|Dependency|\n")

    refused("in use by 3 jobs", *run)
    joined = curate(*run, "--on", "slurm")
    assert (joined.exit_code, "jobs 1, 2;" in joined.output) == (0, True), joined.exception
    status = json.loads(curate("status", str(folder.root), "--json").stdout)
    assert (status["state"], status["queue"]["phase"], status["queue"]["working"]) == ("running", "pass1", 1)
    assert (said / "number").read_text() == "2\n"  # nothing was submitted beside it
    assert list(there.iterdir()) == []

    queue.write_text(
        "1|0|RUNNING|None|n1\n"
    )  # the job that would go on is lost: another goes on where the first began
    (said / "scripts").unlink()
    assert curate(*run, "--on", "slurm").exit_code == 0
    assert (said / "scripts").read_text().count(f"--chdir={here}\n") == 1
    assert f"--output={files}/logs/slurm/after-pass1" in (said / "scripts").read_text()
    submission = read_submission(as_submitted(folder))
    assert submission is not None
    assert submission.advance == "3"

    elsewhere = files.rename(said / "hidden")  # as on a machine that does not see the directory
    refused("which are not here", *run, "--on", "slurm")
    refused(f"in {here} of", "logs", str(folder.root), "--failed")
    refused("which are not here", "logs", str(folder.root))
    assert json.loads(curate("status", str(folder.root), "--json").stdout)["queue"]["jobs"] == ["1"]
    elsewhere.rename(files)
    (said / "cluster").write_text("second")
    monkeypatch.setenv("SLURM_CONF", "/second")
    for command in (run, (*run, "--on", "slurm"), ("cancel", str(folder.root))):
        refused("submitted to the cluster first", *command)
    monkeypatch.delenv("SLURM_CONF")
    assert queue.exists()

    # one that is killed while it submits has noted that jobs may be there
    (files / "slurm/submission.json").unlink()
    refused("in use by 1 jobs", *run)
    assert "1 job is cancelled" in curate("cancel", str(folder.root)).output
    done = curate(*run)
    assert done.exit_code == 0, done.exception
    assert bucket.keys("out/all")
    assert bucket.keys("runs/job/slurm") == []
    assert not (files / "slurm").exists()
    name = f"--name={job_name(folder)} "
    assert all(name in line for line in (said / "asked").read_text().splitlines())


def test_a_copy_of_a_run_folder_does_not_share_its_jobs(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder, copy = (RunFolder(ObjectPath(f"{bucket.url}/{name}")) for name in ("runs/job", "copy/job"))
    write_settings(folder, Settings(Slurm(), 0, None), "first")
    bucket.put("copy/job/slurm/jobs.json", bucket.read("runs/job/slurm/jobs.json"))
    noted = read_notice(folder)
    assert noted is not None
    assert (noted.name, noted.cluster, noted.directory) == (job_name(folder), "first", str(tmp_path))
    assert read_notice(copy) is None
    assert job_name(copy) != job_name(folder)
    monkeypatch.chdir("/")
    write_settings(as_submitted(folder), Settings(Slurm(), 1, None), "second")
    assert read_notice(folder) == noted  # who joins changes nothing of it
    forget_submission(as_submitted(folder))
    assert bucket.keys("runs/job/") == []
    assert read_notice(folder) is None
