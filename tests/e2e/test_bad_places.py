"""Where files lie: odd names, loops of links, files and folders that may not be read or written, a full disk, two runs in
one folder, folders that are something else.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from tests.corpus import rows, write_jsonl, write_parquet
from tests.e2e.cli import CURATE, Fault, Place
from tests.e2e.run_folder import published, strays

CONFIG = "input: {path: in}\npublish:\n  - {name: all, path: out/all}\n"
NOBODY = 65534


def _ids(output: Path) -> list[str]:
    return sorted(pl.read_parquet(output / "*.parquet")["id"])


NAMES = [
    "a b.parquet",
    "two\nlines.parquet",
    "ünïcödé 文件.parquet",
    "-rf.parquet",
    "[a]*?.parquet",
    "%20#$HOME.parquet",
]


def test_odd_file_names(place: Place) -> None:
    for number, name in enumerate((*NAMES, os.fsdecode(b"latin-\xe9.parquet"), "--help.jsonl")):
        documents = [{"id": None, "text": f"text {number}"}]
        write = write_jsonl if name.endswith("jsonl") else write_parquet
        write(place / "in" / name, documents)
    place.config(CONFIG)
    place.run().succeeded()
    expected = [f"{name}#0" for name in (*NAMES, r"latin-\xe9.parquet", "--help.jsonl")]
    assert _ids(place / "out/all") == sorted(expected)
    assert place.run().code == 0


@pytest.mark.parametrize("name", NAMES)
def test_an_odd_file_name_in_an_error(place: Place, name: str) -> None:
    (place / "in").mkdir()
    (place / "in" / name).write_bytes(b"no Parquet")
    place.config(CONFIG)
    result = place.run()
    result.failed_with("D401", exit_code=2)


def test_loops_of_links(place: Place) -> None:
    write_parquet(place / "in/sub/a.parquet", rows("a", 6))
    (place / "in/sub/loop").symlink_to(place / "in")
    (place / "in/again.parquet").symlink_to("sub/a.parquet")
    for pattern in ("in", "in/**/*.parquet"):
        place.config(CONFIG.replace("path: in}", f"path: '{pattern}'}}"))
        place.run("--force").succeeded()
        assert _ids(place / "out/all") == sorted(row["id"] for row in rows("a", 6) if row["text"])


@pytest.mark.parametrize("kind", ["to itself", "to nothing"])
def test_a_link_that_leads_nowhere(place: Place, kind: str) -> None:
    write_parquet(place / "in/a.parquet", rows("a", 3))
    (place / "in/b.parquet").symlink_to("b.parquet" if kind == "to itself" else "nothing.parquet")
    place.config(CONFIG)
    result = place.run()
    assert result.code == 2
    assert "b.parquet" in result.err
    assert result.err.startswith(("error[D401]", "error[E506]"))


@pytest.fixture
def unprivileged(place: Place) -> Iterator[list[str]]:
    """A command prefix without root's rights over files; the place is given to that user."""
    if os.geteuid() != 0:
        yield []
        return
    if shutil.which("setpriv") is None:
        pytest.skip("permissions do not bind root, and there is no setpriv")
    for path in (place.root.parent, place.root, place.scratch):
        os.chown(path, NOBODY, NOBODY)
    opened = {folder: folder.stat().st_mode for folder in place.root.parent.parents}
    for folder, mode in opened.items():
        folder.chmod(mode | 0o011)
    prefix = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    if place.curate("--version", prefix=prefix).code != 0:
        pytest.skip("permissions do not bind root, and others cannot run curate from here")
    yield prefix
    for folder, mode in opened.items():
        folder.chmod(mode)


def _as_nobody(place: Place, prefix: list[str], *arguments: str) -> tuple[int, str]:
    own = dict.fromkeys(("HOME", "CURATE_KERNELS", "XDG_CACHE_HOME"), str(place.scratch))
    result = place.curate(*arguments, prefix=prefix, environment=own)
    return result.code, result.err


@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_may_not_be_read(place: Place, unprivileged: list[str], what: str) -> None:
    path = write_parquet(place / "in/sub/a.parquet", rows("a", 3))
    write_parquet(place / "in/b.parquet", rows("b", 3))
    (path if what == "file" else path.parent).chmod(0)
    place.config(CONFIG)
    code, err = _as_nobody(place, unprivileged, "run", "job.yaml")
    path.parent.chmod(0o755)
    assert (code, err[:11]) == (2, "error[E506]"), err
    assert "in/sub" in err
    assert not (place / "runs").exists()


@pytest.mark.parametrize("what", ["output", "run folder", "local_tmp"])
def test_what_may_not_be_written(place: Place, unprivileged: list[str], what: str) -> None:
    write_parquet(place / "in/a.parquet", rows("a", 3))
    locked = place / "locked"
    locked.mkdir()
    locked.chmod(0o555)
    place.config(
        CONFIG.replace("out/all", "locked/all" if what == "output" else "out/all")
        + ("run_dir: locked/run\n" if what == "run folder" else "")
        + ("execution: {local_tmp: locked}\n" if what == "local_tmp" else "")
    )
    code, err = _as_nobody(place, unprivileged, "run", "job.yaml")
    expected = {"output": "error[C205]", "run folder": "error[E506]", "local_tmp": "error[E506]"}[what]
    assert (code, err[:11]) == (2, expected), err
    assert "locked" in err


@pytest.fixture
def small_disk(place: Place) -> Iterator[Path]:
    """A disk of 2 MB."""
    folder = place / "small"
    folder.mkdir()
    mounted = os.geteuid() == 0 and _succeeds("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder))
    if not mounted:
        pytest.skip("a small disk can only be mounted by root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("what", ["run folder", "output", "both"])
def test_a_full_disk_stops_the_run_and_space_lets_it_go_on(place: Place, small_disk: Path, what: str) -> None:
    for number in range(4):
        write_parquet(place / f"in/{number}.parquet", rows(f"p{number}", 1500))
    write_jsonl(place / "in/big.jsonl", rows("j", 1500))
    place.config(
        CONFIG.replace("out/all", "small/all" if what != "run folder" else "out/all").replace(
            "all}", "all, shuffle: 1}"
        )
        + ("run_dir: small/run\n" if what != "output" else "")
    )
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1_900_000 if what == "run folder" else 1_990_000))
    result = place.run(workers=2)
    result.failed_with("E501", exit_code=1)
    assert "free some space" in result.err
    ballast.unlink()
    _succeeds("mount", "-o", "remount,size=100m", str(small_disk))
    place.run(workers=2).succeeded()
    output = place / ("out/all" if what == "run folder" else "small/all")
    run = place / ("runs/job" if what == "output" else "small/run")
    expected = [
        row["id"] for seed in ("p0", "p1", "p2", "p3", "j") for row in rows(seed, 1500) if row["text"]
    ]
    assert _ids(output) == sorted(expected)
    assert strays(run, output) == []


def test_a_limit_on_file_sizes_stops_the_run(place: Place) -> None:
    """RLIMIT_FSIZE, as batch systems set it."""
    if shutil.which("prlimit") is None:
        pytest.skip("there is no prlimit")
    write_parquet(place / "in/a.parquet", rows("a", 3000))
    place.config(CONFIG)
    result = place.curate("run", "job.yaml", prefix=["prlimit", "--fsize=100000"])
    assert result.code == 1
    assert "File too large" in result.err
    place.run().succeeded()


def test_two_runs_in_one_folder(place: Place) -> None:
    """The second one is refused at once, and does the first no harm."""
    write_parquet(place / "in/a.parquet", rows("a", 10))
    place.config(CONFIG)
    second = f"cd {place.root}; env -u CURATE_TEST_FAULTS {CURATE} run job.yaml 2> second.err; echo $? > second.code"
    place.run(faults=[Fault("curate.running.run:run_phase", second, "all.count", by="parent")]).succeeded()
    assert (place / "second.code").read_text() == "1\n"
    assert "error[R302]" in (place / "second.err").read_text()
    assert "process " in (place / "second.err").read_text()
    assert place.report()["state"] == "done"
    assert strays(place / "runs/job", place / "out/all") == []


@pytest.mark.parametrize(
    "content", [{"thesis.tex": "x"}, {"manifest.json": "{}"}, {"manifest.json": "{", "plan.json": "{"}]
)
def test_a_run_folder_that_is_something_else(place: Place, content: dict[str, str]) -> None:
    write_parquet(place / "in/a.parquet", rows("a", 10))
    place.config(CONFIG)
    (place / "mine").mkdir()
    for name, text in content.items():
        (place / "mine" / name).write_text(text)
    result = place.run("--run-dir", "mine")
    result.failed_with("R309", exit_code=1)
    assert {p.name: p.read_text() for p in (place / "mine").iterdir()} == content


def test_force_does_not_empty_a_folder_that_is_something_else(place: Place) -> None:
    write_parquet(place / "in/a.parquet", rows("a", 10))
    place.config(CONFIG)
    (place / "mine").mkdir()
    (place / "mine/thesis.tex").write_text("x")
    result = place.run("--run-dir", "mine", "--force")
    assert (place / "mine/thesis.tex").read_text() == "x"
    result.failed_with("R309", exit_code=1)


@pytest.mark.parametrize("output", ["in", "in/out", ".", "runs/job", "runs/job/out", "runs"])
def test_outputs_in_inputs_and_run_folders(place: Place, output: str) -> None:
    write_parquet(place / "in/a.parquet", rows("a", 10))
    place.config(CONFIG.replace("out/all", output))
    place.run().failed_with("C202", exit_code=2)


def test_an_output_under_a_file(place: Place) -> None:
    write_parquet(place / "in/a.parquet", rows("a", 10))
    (place / "out").write_text("a file")
    place.config(CONFIG)
    place.run().failed_with("C205", exit_code=2)


def test_an_output_that_holds_other_data(place: Place) -> None:
    write_parquet(place / "in/a.parquet", rows("a", 10))
    other = write_parquet(place / "out/all/other.parquet", rows("b", 1))
    place.config(CONFIG)
    before = published(place / "out/all")
    result = place.run()
    result.failed_with("C205", exit_code=2)
    assert other.name in result.err
    assert published(place / "out/all") == before
