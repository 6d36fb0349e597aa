"""What a run asks Slurm for, read from its batch scripts and from what the shell does with them; no cluster is needed."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from curate.config.execution import Slurm, SlurmJobs
from curate.config.load import load_source
from curate.config.yaml_source import parse
from curate.core.errors import CurateError
from curate.core.layout import RunFolder
from curate.core.plan import Phase
from curate.executors.slurm.advance import chunks, needs_of, span
from curate.executors.slurm.notice import job_name
from curate.executors.slurm.script import Place, advance_script, array_script
from curate.executors.slurm.state import Estimate, Settings, forget_submission, write_settings

PLACE = Place("/runs/my 5% web", "/my work", "web", "web.0123456789", "/runs/my 5% web")


def jobs(**given: Any) -> SlurmJobs:
    return SlurmJobs.model_validate(given)


def options(script: str) -> list[str]:
    return [line.removeprefix("#SBATCH ") for line in script.splitlines() if line.startswith("#SBATCH")]


def array(section: SlurmJobs, needs: dict[str, float] | None = None) -> list[str]:
    return options(array_script(PLACE, section, "pass1", needs or {}, "pass1-0.json", 0, 3))


@pytest.mark.parametrize(
    ("sizes", "workers", "expected"),
    [([6, 2, 4], 1, 12), ([6, 2, 4], 2, 6), ([9, 2, 1], 2, 9), ([6, 2, 4], 8, 6)],
)
def test_workers_share_the_units_of_a_task(sizes: list[int], workers: int, expected: float) -> None:
    assert span(sizes, workers) == expected


@pytest.mark.parametrize(("warning", "minutes"), [(None, 10 + 12), (600, 10 + 20)])
def test_the_time_limit_has_room_for_the_warning(warning: int | None, minutes: int) -> None:
    phase = Phase("all.write", "write", "", resources={})
    needs = needs_of(phase, jobs(warning=warning), Estimate(300.0, 0.0, 50.0, 1), 0.5)
    assert needs["minutes"] == minutes


@pytest.mark.parametrize(
    ("tasks", "limit", "expected"),
    [
        (1, 1001, [(0, 1)]),
        (1001, 1001, [(0, 1001)]),
        (1500, 1001, [(0, 1001), (1001, 499)]),
        (5, 2, [(0, 2), (2, 2), (4, 1)]),
    ],
)
def test_no_index_reaches_the_limit(tasks: int, limit: int, expected: list[tuple[int, int]]) -> None:
    assert list(chunks(tasks, limit)) == expected
    assert all(count - 1 < limit for _, count in expected)


def test_every_key_is_asked_for() -> None:
    asked = array(
        jobs(
            account="nlp", qos="long", partition="a,b", constraint="x&y", gres="gpu:a100:2", time="1-00:00:00",
            memory="2GiB", cpus=4, max_running=7, warning=300, args=["--exclude=n[1-2]", "--exclusive"],
        )
    )  # fmt: skip
    for option in (
        "--account=nlp", "--qos=long", "--partition=a,b", "--constraint='x&y'", "--gres=gpu:a100:2", "--time=1-00:00:00",
        "--mem=2048M", "--cpus-per-task=4", "--array=0-2%7", "--signal=B:USR1@300", "--exclude='n[1-2]'", "--exclusive",
        "--chdir='/my work'", "--open-mode=append", "--requeue", "--job-name=web.0123456789",
        "--output='/runs/my 5%% web/logs/slurm/pass1.%A_%a.log'",
    ):  # fmt: skip
        assert option in asked, option


def test_memory_and_gpus_follow_the_steps() -> None:
    asked = array(jobs(), {"memory_gb": 2.5, "gpus": 1})
    assert "--mem=3338M" in asked
    assert "--gres=gpu:1" in asked
    assert "--gres=gpu:1" not in array(jobs(), {"memory_gb": 2.5, "gpus": 0})


def test_the_job_after_an_array_waits_for_all_of_it_and_is_small() -> None:
    asked = options(advance_script(PLACE, jobs(cpus=16, memory="64GB", gres="gpu:1"), "pass1", ["7", "9"]))
    for option in (
        "--dependency=afterok:7:9",
        "--kill-on-invalid-dep=yes",
        "--cpus-per-task=1",
        "--mem=3815M",
    ):
        assert option in asked, option
    assert not any("gres" in option or "array" in option for option in asked)


def test_memory_grows_with_the_shards_of_the_run() -> None:
    large = dataclasses.replace(PLACE, shards=100_000)
    for given, expected in (({}, 2099), ({"memory": "4GB"}, 3815), ({"memory": "500MB"}, 2099)):
        assert f"--mem={expected}M" in options(advance_script(large, jobs(**given), "pass1", ["7"]))
    assert "--mem=954M" in options(advance_script(PLACE, jobs(), "pass1", ["7"]))
    assert "--mem=2099M" in options(array_script(large, jobs(), "pass1", {}, "t.json", 0, 3))


@pytest.mark.parametrize(
    ("section", "gpus", "expected"),
    [
        ({"workers": 4, "cpus": 8}, 1, ("--gres=gpu:4", "--cpus-per-task=32", "--mem=27085M")),
        ({"gres": "gpu:a100:4", "cpus": 2}, 1, ("--gres=gpu:a100:4", "--cpus-per-task=8", "--mem=20218M")),
        ({"gres": "gpu:4", "memory": "20GB"}, 2, ("--gres=gpu:4", "--cpus-per-task=2", "--mem=19074M")),
        ({"gres": "gpu:h100,nvme:1"}, 1, ("--gres=gpu:h100,nvme:1", "--cpus-per-task=1", "--mem=4769M")),
        ({"workers": 2}, 0, ("--cpus-per-task=2", "--mem=9537M")),
    ],
)
def test_a_task_asks_for_all_of_its_workers(
    section: dict[str, Any], gpus: int, expected: tuple[str, ...]
) -> None:
    needs = {"memory_gb": 4.0, "gpus": float(gpus)}
    asked = array(jobs(**section), needs)
    assert {o for o in asked if o.startswith(("--gres", "--cpus", "--mem"))} == set(expected)
    workers = int(expected[-2].rpartition("=")[2]) // section.get("cpus", 1)
    script = array_script(PLACE, jobs(**section), "pass1", needs, "pass1-0.json", 0, 3)
    assert f"--workers {workers} --gpus {gpus} --threads {section.get('cpus', 1)}" in script


def test_a_throttle_holds_over_chunks() -> None:
    def script(before: str | None) -> str:
        return array_script(PLACE, jobs(max_running=7), "pass1", {}, "t.json", 5, 3, before)

    assert "--dependency=afterany:41" in options(script("41"))
    assert not any("--dependency" in option for option in options(script(None)))


def test_the_job_between_phases_is_outside_the_container() -> None:
    section = jobs(container=["apptainer", "exec", "x.sif"], python="/opt/inside/python")
    for again in (False, True):
        script = advance_script(PLACE, section, "pass1", ["7"], again=again)
        assert f"exec {sys.executable} -m" in script
        assert "x.sif" not in script
        assert ("--again" in script, "--dependency=afterany:7" in script) == (again, again)


def test_jobs_of_a_run_have_one_name_whatever_its_folder_is_called(tmp_path: Path) -> None:
    root = tmp_path / "a, b" / "web,x y"
    root.mkdir(parents=True)
    (tmp_path / "link").symlink_to(root.parent)
    names = {
        job_name(RunFolder(path))
        for path in (root, tmp_path / "link/web,x y", root / "../web,x y", root / "../../link/web,x y")
    }
    assert len(names) == 1
    assert re.fullmatch(r"web_x_y\.[0-9a-f]{10}", names.pop())


def test_the_name_of_jobs_stays_what_it_was_when_they_were_submitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(tmp_path / "web")
    name = job_name(folder)
    write_settings(folder, Settings(Slurm(), 0, None))
    shutil.copytree(folder.root, tmp_path / "copy" / "web")
    monkeypatch.setattr(os.path, "realpath", lambda path: f"/export{path}")  # as another node mounts it
    assert job_name(folder) == name
    write_settings(folder, Settings(Slurm(), 1, None))
    assert job_name(folder) == name
    assert job_name(RunFolder(tmp_path / "copy" / "web")) != name
    forget_submission(folder)
    assert job_name(folder) != name


def test_a_section_goes_over_what_is_common() -> None:
    slurm = Slurm.model_validate(
        {
            "common": {"account": "nlp", "partition": "std", "setup": ["a"], "args": ["--x=1"]},
            "gpu": {"partition": "gpu", "setup": ["b"], "args": ["--y=2"]},
        }
    )
    gpu, cpu = slurm.section("gpu"), slurm.section("cpu")
    assert (gpu.account, gpu.partition, gpu.setup, gpu.args) == ("nlp", "gpu", ("a", "b"), ("--x=1", "--y=2"))
    assert (cpu.partition, cpu.setup) == ("std", ("a",))


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("args: [--array=0-9]", "--array is decided by the run", 4),
        ("time: soon", "a time limit is written like", 4),
        ("partion: cpu", "unknown key 'partion'", 4),
        (
            "time: '2:00', warning: 120",
            "the time limit 2:00 is 120 s, and tasks are warned 120 s before it",
            4,
        ),
        ("cpus: 0", "must be greater than or equal to 1", 4),
    ],
)
def test_faults_name_their_line(text: str, message: str, line: int) -> None:
    config = f"input: {{path: a}}\nexecution:\n  slurm:\n    cpu: {{{text}}}\n"
    with pytest.raises(CurateError) as caught:
        load_source(parse(config, "web.yaml"))
    (problem,) = caught.value.problems
    assert message in problem.message
    assert problem.position is not None
    assert problem.position.line == line


def shell(tmp_path: Path, section: SlurmJobs, **environment: str) -> subprocess.CompletedProcess[str]:
    """What a node does with a batch script."""
    place = Place(str(tmp_path), "/", "web", "web.0123456789", str(tmp_path))
    script = array_script(place, section, "pass1", {}, "pass1-0.json", 5, 3)
    return subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "SLURM_ARRAY_TASK_ID": "2", "TMPDIR": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def interpreter(tmp_path: Path, text: str) -> str:
    path = tmp_path / "python"
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_setup_and_container_come_before_the_work(tmp_path: Path) -> None:
    python = interpreter(tmp_path, 'echo "$IMAGE $LOADED $3 $4 $5 $6"')
    done = shell(
        tmp_path, jobs(python=python, setup=["export LOADED=yes"], container=["env", "IMAGE=curate.sif"])
    )
    assert done.stdout == f"curate.sif yes work {tmp_path} pass1-0.json 7\n"
    assert (done.returncode, list(tmp_path.glob("curate-*"))) == (0, [])  # scratch is removed


def test_scratch_in_local_tmp_goes_too_and_a_strange_tmpdir_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "local").mkdir()
    python = interpreter(
        tmp_path, f'mkdir {tmp_path}/local/mine; echo {tmp_path}/local/mine > "$8/local_tmp"; echo "$TMPDIR"'
    )
    done = shell(tmp_path, jobs(python=python, setup=["set -eu"]), TMPDIR="/not/on/this/node")
    assert (done.returncode, done.stdout) == (0, "/tmp\n")
    assert list((tmp_path / "local").iterdir()) == []


@pytest.mark.parametrize(("status", "asked"), [(0, False), (1, False), (75, True), (137, True)])
def test_what_ends_otherwise_is_asked_about(tmp_path: Path, status: int, asked: bool) -> None:
    python = interpreter(tmp_path, f'if [ "$3" = ended ]; then echo "$@"; exit 9; fi\nexit {status}')
    done = shell(tmp_path, jobs(python=python))
    assert done.returncode == (9 if asked else status)
    assert (f"ended {tmp_path} pass1-0.json 7 --status {status}" in done.stdout) == asked


def test_the_warning_reaches_the_work_and_the_shell_waits_for_it(tmp_path: Path) -> None:
    python = interpreter(
        tmp_path,
        'if [ "$3" = ended ]; then echo "$@"; exit 0; fi\n'
        "trap 'warned=1' USR1\nkill -USR1 $PPID\nwhile [ -z \"$warned\" ]; do sleep 0.05; done\nsleep 0.3\nexit 75",
    )
    done = shell(tmp_path, jobs(python=python, warning=30, setup=["set -e"]))
    assert done.returncode == 0
    assert done.stdout.endswith("--status 75 --late\n")


def test_no_task_begins_after_one_has_failed(tmp_path: Path) -> None:
    (tmp_path / "slurm/failed").mkdir(parents=True)
    (tmp_path / "slurm/failed/pass1-1-0.json").touch()  # of a submission before this one
    begun = shell(tmp_path, jobs(python=interpreter(tmp_path, "echo begun")))
    assert (begun.returncode, begun.stdout) == (0, "begun\n")
    (tmp_path / "slurm/failed/pass1-0-12.json").touch()
    done = shell(tmp_path, jobs(python="/nowhere/python"))
    assert (done.returncode, done.stdout) == (1, "another task has failed: this one does not start\n")
