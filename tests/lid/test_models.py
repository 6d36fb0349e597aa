"""Models are the file that was meant, or an error says what to do: registry, `curate models`, pulling."""

import hashlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from curate.core.errors import CurateError
from curate.core.models import models_folder, pull, require, sha256
from curate.models_cli import models
from filters import registry
from lid.registry import DEFAULT, MODELS, LidModel, resolve

CONTENT = b"a model" * 100_000
CHECKSUM = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.BaseHTTPRequestHandler):
    """Gives CONTENT at /model, less than it promises at /short, and nothing elsewhere."""

    def do_GET(self) -> None:
        if self.path not in {"/model", "/short"}:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT if self.path == "/model" else CONTENT[:1000])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(timeout=10)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CURATE_MODELS", str(tmp_path / "models"))
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    return tmp_path / "models"


@pytest.fixture
def model(address: str, monkeypatch: pytest.MonkeyPatch) -> LidModel:
    """A registered model, 'tiny', that the server on the loopback gives."""
    tiny = LidModel("tiny", "tiny.bin", f"{address}/model", None, None, "CC0-1.0", "nothing")
    monkeypatch.setitem(MODELS, "tiny", tiny)
    return tiny


def run(*arguments: str) -> Result:
    return CliRunner().invoke(models, list(arguments))


def code_of(result: Result) -> str:
    assert isinstance(result.exception, CurateError), result.output
    return result.exception.problems[0].code


def help_of(result: Result) -> str:
    assert isinstance(result.exception, CurateError), result.output
    return result.exception.problems[0].help


def test_the_default_model_is_shipped_and_whole(tmp_path: Path) -> None:
    path = resolve(DEFAULT, tmp_path)
    assert sha256(path) == MODELS[DEFAULT].sha256
    assert path.stat().st_size == MODELS[DEFAULT].size
    notice = (path.parent / "LICENSE.lid.176.md").read_text(encoding="utf-8")
    assert "ShareAlike 3.0" in notice
    assert str(MODELS[DEFAULT].sha256) in notice


def test_the_registry_is_complete() -> None:
    for name, model in MODELS.items():
        assert model.name == name
        assert model.address.startswith("https://")
        assert model.sha256 is None or len(model.sha256) == 64
        assert model.licence
        assert Path(model.file).name == model.file
    assert len({model.file for model in MODELS.values()}) == len(MODELS)


@pytest.mark.parametrize(("name", "meant"), [("lid.176.bn", "lid.176.bin"), ("glotlid", "glotlid-v3")])
def test_an_unknown_name_gets_a_suggestion(tmp_path: Path, name: str, meant: str) -> None:
    with pytest.raises(CurateError) as caught:
        resolve(name, tmp_path)
    (problem,) = caught.value.problems
    assert (problem.code, problem.help) == ("C207", f"did you mean '{meant}'?")
    assert caught.value.exit_code == 2


def test_a_missing_path_lists_the_models(tmp_path: Path) -> None:
    with pytest.raises(CurateError, match="C207: '/none/of/these' is neither a model nor a file") as caught:
        resolve("/none/of/these", tmp_path)
    assert "lid.176.ftz" in caught.value.problems[0].help


def test_a_model_that_was_not_pulled_says_how(tmp_path: Path) -> None:
    with pytest.raises(CurateError) as caught:
        resolve("glotlid-v3", tmp_path)
    (problem,) = caught.value.problems
    assert (problem.code, problem.help) == ("E504", "run: curate models pull glotlid-v3")


def test_a_path_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "own.bin"
    own.write_bytes(b"x")
    monkeypatch.setenv("HERE", str(tmp_path))
    assert resolve(str(own), tmp_path) == own
    assert resolve("$HERE/own.bin", tmp_path) == own


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"CURATE_MODELS": "/m", "XDG_CACHE_HOME": "/c"}, "/m"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/curate/models"),
        ({"HOME": "/h"}, "/h/.cache/curate/models"),
    ],
)
def test_where_models_are_kept(
    environment: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CURATE_MODELS", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert models_folder() == Path(expected)


def test_pull_pins_what_it_first_found(folder: Path, model: LidModel) -> None:
    result = run("pull", "tiny")
    assert result.exit_code == 0, result.output
    assert CHECKSUM in result.output
    assert (folder / "tiny.bin").read_bytes() == CONTENT
    assert (folder / "tiny.bin.sha256").read_text() == f"{CHECKSUM}  tiny.bin\n"
    assert sorted(path.name for path in folder.iterdir()) == ["tiny.bin", "tiny.bin.sha256"]
    assert run("path", "tiny").output == f"{folder / 'tiny.bin'}\n"
    assert "is here" in run("pull", "tiny").output

    (folder / "tiny.bin").write_bytes(b"changed")
    assert code_of(run("path", "tiny")) == "E505"
    assert code_of(run("pull", "tiny")) == "E505"
    with pytest.raises(CurateError, match="E505"):
        resolve("tiny", folder)


def test_pull_from_a_file(folder: Path, model: LidModel, tmp_path: Path) -> None:
    copy = tmp_path / "copy.bin"
    copy.write_bytes(CONTENT)
    assert run("pull", "tiny", "--from", str(copy)).exit_code == 0
    assert require(model, folder).read_bytes() == CONTENT
    assert copy.exists()


@pytest.mark.parametrize("way", ["network", "file"])
def test_pull_leaves_nothing_that_is_not_the_model(
    folder: Path, model: LidModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setitem(MODELS, "tiny", replace(model, sha256="0" * 64))
    copy = tmp_path / "copy.bin"
    copy.write_bytes(CONTENT)
    result = run("pull", "tiny", *(["--from", str(copy)] if way == "file" else []))
    assert code_of(result) == "E505"
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("page", ["missing", "short"])
def test_a_failed_download_is_one_error_and_no_file(
    folder: Path, model: LidModel, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    monkeypatch.setitem(MODELS, "tiny", replace(model, address=model.address.replace("model", page)))
    result = run("pull", "tiny")
    assert code_of(result) == "E503"
    assert "--from FILE" in help_of(result)
    assert list(folder.iterdir()) == []


def test_offline_says_what_to_do(folder: Path, model: LidModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "tiny", replace(model, address="http://127.0.0.1:1/model"))
    result = run("pull", "tiny")
    assert code_of(result) == "E503"
    assert "127.0.0.1:1" in str(result.exception)


def test_a_folder_that_cannot_be_written(folder: Path, model: LidModel) -> None:
    folder.parent.mkdir(exist_ok=True)
    folder.write_text("a file, no folder")
    assert code_of(run("pull", "tiny")) == "E506"


def test_progress_counts_bytes(folder: Path, model: LidModel) -> None:
    seen: list[tuple[int, int | None]] = []
    assert pull(model, folder, progress=lambda done, total: seen.append((done, total))) == CHECKSUM
    assert seen[0] == (0, len(CONTENT))
    assert seen[-1] == (len(CONTENT), len(CONTENT))


def test_list_shows_what_is_here(folder: Path, model: LidModel) -> None:
    before, _ = run("list").output, run("pull", "tiny")
    after = run("list").output
    rows = {line.split()[0]: line.split()[-1] for line in before.splitlines()}
    assert rows["NAME"] == "HERE"
    assert set(rows) == {"NAME", *MODELS, *registry.MODELS}
    assert rows["lid.176.ftz"] == "shipped"
    assert rows["tiny"] == "no"
    assert {line.split()[0]: line.split()[-1] for line in after.splitlines()}["tiny"] == "yes"


def test_a_model_of_several_files_is_pulled_as_a_folder(folder: Path, tmp_path: Path) -> None:
    name = registry.JQL_ENCODER
    copies = tmp_path / "copies"
    copies.mkdir()
    for file in ("config.json", "tokenizer.json"):
        (copies / file).write_bytes(CONTENT)
    assert code_of(run("pull", name, "--from", str(copies))) == "E503"
    assert code_of(run("path", name)) == "E504"
    (copies / "model.safetensors").write_bytes(CONTENT)
    assert run("pull", name, "--from", str(copies)).exit_code == 0
    assert run("path", name).output.strip() == str(folder / name / "model.safetensors")
    assert sorted(path.name for path in (folder / name).glob("*[!6]")) == [
        "config.json", "model.safetensors", "tokenizer.json",
    ]  # fmt: skip
    row = next(line for line in run("list").output.splitlines() if line.startswith(name))
    assert "2.1 MB" in row
    assert row.endswith("yes")
    (folder / name / "tokenizer.json").write_bytes(b"another")
    assert code_of(run("path", name)) == "E505"


def test_a_config_stands_for_the_models_of_its_steps(folder: Path, model: LidModel, tmp_path: Path) -> None:
    config = tmp_path / "job.yaml"
    steps = "[{use: lid.fasttext, model: tiny}, {use: lid.fasttext, as: two, model: tiny}, {select: two__prob > 0.5}]"
    config.write_text(f"input: {{path: none.jsonl}}\nsteps: {steps}\n")
    fetched = run("pull", str(config))
    assert fetched.exit_code == 0, fetched.output
    assert (folder / "tiny.bin").read_bytes() == CONTENT
    again = run("pull", str(config)).output
    assert again == f"every model that {config} needs is in {folder}\n"


def test_what_cannot_be_fetched_by_name_says_how_at_its_line(folder: Path, tmp_path: Path) -> None:
    config = tmp_path / "job.yaml"
    encoder = "{use: filters.quality, encoder: {use: onnx, model: org/name, revision: " + "a" * 40 + "}}"
    config.write_text(f"input: {{path: none.jsonl}}\nsteps:\n  - {encoder}\n")
    result = run("pull", str(config))
    assert code_of(result) == "E504"
    assert "hf download org/name --revision aaaa" in help_of(result)
    assert isinstance(result.exception, CurateError)
    assert result.exception.problems[0].position is not None
    assert result.exception.problems[0].position.line == 3


@pytest.mark.parametrize(("name", "code"), [("lid.176.bin", "E505"), ("lid.177.bin", "C207")])
def test_a_model_of_a_config_that_is_damaged_or_unknown_is_told_at_its_line(
    folder: Path, model: LidModel, tmp_path: Path, name: str, code: str
) -> None:
    folder.mkdir()
    (folder / "lid.176.bin").write_bytes(b"junk")
    config = tmp_path / "job.yaml"
    steps = [f"  - {{use: lid.fasttext, as: s{n}, model: {m}}}\n" for n, m in enumerate(("tiny", name))]
    config.write_text(f"input: {{path: none.jsonl}}\nsteps:\n{''.join(steps)}")
    result = run("pull", str(config))
    assert code_of(result) == code
    assert (folder / "tiny.bin").read_bytes() == CONTENT  # what can be fetched is
    assert isinstance(result.exception, CurateError)
    (problem,) = result.exception.problems
    assert problem.position is not None
    assert problem.position.line == 4


def test_names_are_checked_before_anything_is_fetched(folder: Path, model: LidModel) -> None:
    result = run("pull", "tiny", "tinny")
    assert code_of(result) == "C207"
    assert help_of(result) == "did you mean 'tiny'?"
    assert not folder.exists()
    assert run("pull", "tiny", "tiny", "--from", str(Path(__file__))).exit_code == 2
    assert run("pull").exit_code == 2


@pytest.mark.parametrize("command", [[], ["list"], ["pull"], ["path"]])
def test_every_command_has_an_example(command: list[str]) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert "Example" in result.output
    assert "\n  Example: curate models " in result.output


def test_examples_of_the_help_run(folder: Path) -> None:
    assert run("list").exit_code == 0
    assert run("pull", "lid.176.ftz").exit_code == 0
    assert run("path", "lid.176.ftz").exit_code == 0
