"""Runs with everything in a store: the bytes of a local run, whatever is killed and however the store fails."""

from __future__ import annotations

import gc
import json
import os
import signal
import time
from typing import Any

import pytest
from click.testing import CliRunner

from curate.cli import cli
from curate.core.errors import CurateError
from curate.planning.session import Request, prepare
from tests.e2e.cli import Fault, Place
from tests.e2e.killing import KILL_SELF
from tests.stores.job import Outputs, configured, write_inputs
from tests.stores.server import SECRET, Bucket, Faulty, Rule

pytestmark = [pytest.mark.s3, pytest.mark.slow]


def asked(place: Place, *arguments: str) -> tuple[int, Any]:
    """A command that only reads, in this process; its JSON."""
    result = CliRunner().invoke(cli, [*arguments, "--json"], env={"TMPDIR": str(place.scratch)})
    return result.exit_code, json.loads(result.stdout)


def attempts(bucket: Bucket) -> dict[tuple[str, int], str]:
    """(phase, unit) → the attempt whose outputs count."""
    found = {}
    for key in (k for k in bucket.keys("runs/job/done/") if not k.endswith("/summary.json")):
        raw = json.loads(bucket.read(key))
        for record in raw if isinstance(raw, list) else [raw]:
            found[key.split("/")[3], record["unit"]] = record["attempt"]
    return found


def test_the_bytes_of_a_local_run(place: Place, bucket: Bucket, expected: tuple[Outputs, Outputs]) -> None:
    """Killed with SIGKILL in the middle, taken up again, asked about, and run with more input."""
    configured(place, bucket.url)
    write_inputs(place / "in", 0, 3)
    bucket.upload(place / "in", "in")
    process = place.start("run", "job.yaml", "--workers", "2")
    deadline = time.monotonic() + 200
    while not bucket.keys("runs/job/done/pass2/") and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    said = "".join(process.communicate())
    assert process.returncode == -signal.SIGKILL, said
    done = attempts(bucket)

    run = f"{bucket.url}/runs/job"
    code, status = asked(place, "status", run)
    assert (code, status["state"], status["holder"]) == (3, "pending", None)
    # A worker that loses its unit to another's done-file at the last moment, one that dies, and the end.
    result = place.run(
        "job.yaml",
        workers=2,
        faults=[Fault("curate.core.commit:write_done", KILL_SELF, r"^some.write ", call=1)],
    )
    result.succeeded()
    said += result.out + result.err
    assert {key: a for key, a in attempts(bucket).items() if key in done} == done, "done again"
    assert bucket.content("out") == expected[0]

    assert asked(place, "status", run)[1]["state"] == "done"
    assert asked(place, "report", run)[1]["balanced"]
    (life,) = asked(place, "explain", run, "0-5")[1]
    assert all(p["path"].startswith(f"{bucket.url}/out/") for p in life["published"])
    assert asked(place, "inspect", run, "--quarantined")[1]

    write_inputs(place / "in", 3, 4)
    bucket.upload(place / "in", "in")
    again = place.run("job.yaml", "--update")
    again.succeeded()
    said += again.out + again.err
    assert bucket.content("out") == expected[1]

    gc.collect()  # scratch folders of what was asked in this process go with their owners, not while files are read
    keys = bucket.keys("runs/") + bucket.keys("out/")
    assert [key for key in keys if "lock" in key or "staging" in key or "probe" in key] == []
    files = [path for path in (*place.root.rglob("*"), *place.scratch.rglob("*")) if path.is_file()]
    held = [bucket.read(key) for key in keys] + [path.read_bytes() for path in files] + [said.encode()]
    assert not any(word in content for content in held for word in (SECRET.encode(), b"AKIDTEST"))


def test_a_store_that_fails(
    place: Place, faulty: Faulty, bucket: Bucket, expected: tuple[Outputs, Outputs]
) -> None:
    """For ever in the middle of a phase: an error in the store's words, and what is done stays. Now and then: nothing."""
    configured(place, bucket.url)
    write_inputs(place / "in", 0, 3)
    bucket.upload(place / "in", "in")
    faulty.rules.append(Rule("PUT", "/overlays/pass2/", "403", skip=2))
    result = place.run("job.yaml")
    result.failed_with("E506", exit_code=1)
    assert "Access Denied" in result.err
    assert "pass2" in result.err
    done = attempts(bucket)
    assert 0 < len([unit for phase, unit in done if phase == "pass2"]) < 6

    faulty.rules[:] = [
        Rule("PUT", "", "503", skip=3, every=9),
        Rule("PUT", "/done/", "deaf", skip=1, every=5),
        Rule("GET", "", "reset", skip=5, every=23),
        Rule("GET", ".parquet", "cut", skip=3, every=11),
        Rule("HEAD", "", "reset", skip=4, every=17),
    ]
    place.run("job.yaml").succeeded()
    assert min(faulty.struck[fault] for fault in ("503", "deaf", "reset", "cut")) > 1
    assert {key: a for key, a in attempts(bucket).items() if key in done} == done
    assert bucket.content("out") == expected[0]


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (Rule("*", "", "key"), "Access Key Id you provided does not exist"),
        (Rule("PUT", "", "403"), "Access Denied"),
    ],
)
def test_nothing_begins_where_it_cannot_end(
    rule: Rule, words: str, place: Place, faulty: Faulty, bucket: Bucket
) -> None:
    write_inputs(place / "in", 0, 1)
    configured(place, bucket.url)
    bucket.upload(place / "in", "in")
    faulty.rules.append(Rule(**vars(rule)))
    with pytest.raises(CurateError, match="E506") as caught:
        prepare(Request(place / "job.yaml"))
    assert caught.value.exit_code == 2
    assert words in str(caught.value)
    faulty.rules.clear()
    assert bucket.keys("runs/") + bucket.keys("out/") == []


def test_places_that_are_in_each_other_s_way(place: Place, bucket: Bucket) -> None:
    write_inputs(place / "in", 0, 1)
    bucket.upload(place / "in", "in/deep")
    for publish, what in (
        ("runs/job/out", "lie in each other"),
        ("in/deep/out", "written into"),
        ("in", "written around"),
    ):
        place.config(
            f"input: [{{path: {bucket.url}/in/deep}}]\nsteps: [{{select: n > 3, as: late}}]\n"
            f"publish: [{{name: all, path: {bucket.url}/{publish}}}]\nrun_dir: {bucket.url}/runs/job\n"
        )
        with pytest.raises(CurateError, match=f"C202.*{what}"):
            prepare(Request(place / "job.yaml"))


def test_two_runs_at_once(place: Place, bucket: Bucket) -> None:
    """Of a folder and of an output: the second is told who is there."""
    from curate.core.layout import RunFolder
    from curate.core.objects import ObjectPath
    from curate.running.locks import holder, locked

    folder = RunFolder(ObjectPath(f"{bucket.url}/runs/job"))
    with locked(folder):
        assert f"process {os.getpid()}" in (holder(folder) or "")
        with pytest.raises(Exception, match=f"R302.*in use by process {os.getpid()}"), locked(folder):
            pass
    assert holder(folder) is None
    assert bucket.keys() == []
