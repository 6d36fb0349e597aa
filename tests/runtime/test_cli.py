"""The command line: light to start, every command explains itself with an example that runs, errors are never tracebacks."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from curate.cli import COMMANDS, cli, main
from tests.runtime.project import Project

HEAVY = {
    "pyarrow",
    "numpy",
    "numba",
    "polars",
    "pydantic",
    "rich",
    "fasttext",
    "ruamel",
    "fsspec",
    "datatrove",
    "torch",
}


def commands() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command and sub-command, with the words that name it."""
    context = click.Context(cli)
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        yield (name,), command
        if isinstance(command, click.Group):
            for sub in command.list_commands(context):
                found = command.get_command(context, sub)
                assert found is not None
                yield (name, sub), found


ALL = [pytest.param(words, command, id=" ".join(words)) for words, command in commands()]


def curate(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "curate", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        timeout=120,
    )


def examples(command: click.Command) -> list[str]:
    return re.findall(r"^\s*(?:Examples?:)?\s*(curate [a-z].*)$", command.help or "", re.MULTILINE)


def test_help_imports_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "curate", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {
        line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line
    }
    assert "click" in imported
    assert imported & HEAVY == set()


def test_help_lists_every_command_with_one_line() -> None:
    text = CliRunner().invoke(cli, ["--help"]).output
    for name, (_, line) in COMMANDS.items():
        assert name in text
        assert line.endswith(".")
    assert "curate run configs/web.yaml" in text


def test_the_version_is_the_packages() -> None:
    from curate import __version__

    assert __version__ in CliRunner().invoke(cli, ["--version"]).output


@pytest.mark.parametrize(("words", "command"), ALL)
def test_every_command_has_help_with_an_example(words: tuple[str, ...], command: click.Command) -> None:
    result = CliRunner().invoke(cli, [*words, "--help"])
    assert result.exit_code == 0
    assert CliRunner().invoke(cli, [*words, "-h"]).output == result.output
    found = examples(command)
    assert found, "the help has no example"
    for example in found:
        assert example.startswith(" ".join(("curate", *words)))


@pytest.fixture
def worked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory, home at once, with the files and folders that examples name."""
    (tmp_path / "runs" / "web").mkdir(parents=True)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "web.yaml").touch()
    (tmp_path / "lid.176.bin").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(("words", "command"), ALL)
def test_every_example_is_a_command_line_that_parses(
    words: tuple[str, ...], command: click.Command, worked: Path
) -> None:
    for example in examples(command):
        given = [word.replace("~", str(worked)) for word in shlex.split(example)[1 + len(words) :]]
        if not isinstance(command, click.Group):
            command.make_context(words[-1], given, parent=click.Context(cli, **cli.context_settings))


@pytest.mark.parametrize(("words", "command"), ALL)
def test_every_option_says_what_it_does(words: tuple[str, ...], command: click.Command) -> None:
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert parameter.help, f"{parameter.opts} has no help"
            assert parameter.help.rstrip().endswith((".", "]"))


def test_an_unknown_command_suggests_the_one_that_is_meant() -> None:
    result = CliRunner().invoke(cli, ["rnu"])
    assert result.exit_code == 2
    assert "there is no command 'rnu'" in result.output
    assert "'run'" in result.output
    assert CliRunner().invoke(cli, ["zzzzzz"]).exit_code == 2


def test_no_command_at_all_shows_the_help() -> None:
    assert "Commands" in CliRunner().invoke(cli, []).output


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["run", "none.yaml"], 2, "C101"),
        (["check", "none.yaml"], 2, "C101"),
        (["plan", "none.yaml"], 2, "C101"),
        (["report", "none"], 1, "R307"),
        (["status", "none"], 1, "R307"),
        (["explain", "none", "id"], 1, "R307"),
        (["inspect", "none"], 1, "R307"),
        (["stages", "filters.gopher"], 2, "C105"),
        (["models", "path", "lid.177.ftz"], 2, "C207"),
        (["run"], 2, "CONFIG"),
        (["run", "--wrokers", "2"], 2, "--workers"),
        (["task", "none", "--phase", "pass1", "--task", "0", "--tasks", "1"], 1, "R307"),
    ],
)
def test_what_is_wrong_is_said_without_a_traceback(
    arguments: list[str],
    status: int,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What the installed command calls, in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["curate", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    shown = capsys.readouterr()
    assert ended.value.code == status, shown.err
    assert says in shown.err
    assert "Traceback" not in shown.err
    assert shown.out == ""


def test_a_run_folder_without_a_plan_is_no_run_for_a_task(tmp_path: Path) -> None:
    done = curate("task", str(tmp_path), "--phase", "pass1", "--task", "0", "--tasks", "1")
    assert "Traceback" not in done.stderr
    assert "R307" in done.stderr
    assert done.returncode == 1


def test_faults_of_a_config_are_shown_with_their_lines_and_end_with_2(project: Project) -> None:
    project.config["steps"][1]["min_wrods"] = 3
    project.config["publish"][0]["columns"] = ["texxt"]
    done = curate("check", str(project.file))
    assert done.returncode == 2
    assert "error[C103]: unknown key 'min_wrods'" in done.stderr
    assert "did you mean 'min_words'?" in done.stderr
    assert re.search(r"--> \S*tiny\.yaml:\d+:\d+", done.stderr)
    assert "Traceback" not in done.stderr


def test_check_says_what_it_found_and_what_to_type_next(project: Project) -> None:
    done = curate("check", str(project.file))
    assert done.returncode == 0
    assert "1 files" in done.stdout or "1 file" in done.stdout
    assert f"curate run {project.file}" in done.stdout
    assert not (project.root / "run").exists()


def test_run_status_and_task_agree_on_what_is_done(project: Project) -> None:
    """Exit status 0 when done, and again when there is nothing left to do."""
    first = curate("run", str(project.file), "--workers", "1")
    assert first.returncode == 0, first.stderr
    assert curate("status", str(project.root / "run")).returncode == 0
    assert curate("run", str(project.file)).returncode == 0
    task = curate("task", str(project.root / "run"), "--phase", "pass1", "--task", "0", "--tasks", "1")
    assert task.returncode == 0
    assert "0 units done" in task.stderr
    wrong = curate("task", str(project.root / "run"), "--phase", "pass9", "--task", "0", "--tasks", "1")
    assert wrong.returncode == 2
    assert "pass1" in wrong.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "CONFIG", "--run-dir", "FILE/run"],
        ["plan", "CONFIG", "--run-dir", "FILE/run"],
        ["run", "CONFIG", "--run-dir", "FILE/run"],
        ["schema", "--out", "FILE/schema.json"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_path_that_cannot_be_used_is_named(
    arguments: list[str],
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = project.root / "notes.txt"
    file.write_text("mine", encoding="utf-8")
    given = [a.replace("CONFIG", str(project.file)).replace("FILE", str(file)) for a in arguments]
    monkeypatch.setattr(sys, "argv", ["curate", *given])
    with pytest.raises(SystemExit) as ended:
        main()
    shown = capsys.readouterr().err
    assert ended.value.code == 2
    assert "E506" in shown
    assert str(file) in shown
    assert file.read_text(encoding="utf-8") == "mine"
