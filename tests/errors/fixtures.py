"""For every code of the catalogue, a situation that provokes it. Each is what could happen to a user.

A fixture gets an empty working folder and raises the error.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from curate import models_cli, stages
from curate.commands.find_run import find_run
from curate.config.execution import RayCluster, Slurm
from curate.config.load import Loaded, load
from curate.core.batch import DocBatch
from curate.core.errors import system_error
from curate.core.layout import RunFolder
from curate.core.lease import probe
from curate.core.llm.client import Client
from curate.core.llm.server import Server
from curate.core.models import models_folder, pull, require
from curate.core.objects import ObjectPath
from curate.core.plan import Phase, StepPlan
from curate.core.stage import Context
from curate.executors.local import LocalExecutor
from curate.executors.ray import RayExecutor
from curate.executors.slurm import client, element
from curate.executors.slurm.follow import why_ended
from curate.executors.slurm.state import (
    Array,
    Settings,
    Submission,
    forget_failures,
    read_submission,
    write_settings,
    write_submission,
    write_tasks,
)
from curate.planning.session import Request, prepare
from curate.running.contract import checked_column
from curate.running.driver import run_config
from curate.running.locks import locked
from curate.running.progress import Progress
from curate.views.explain import explain
from filters.encoders.cache import recipe_of
from filters.encoders.options import PackedOptions, make_encoder
from filters.encoders.usem3 import Usem3
from filters.heads.card import TrainedOn, read_card, weights_path
from filters.heads.head import write_head
from filters.heads.training.recipe import Recipe
from filters.heads.training.train import train
from filters.ner.conll import read_tagged
from tests.filters.tiny_encoders import write_gte
from tests.llm_server import LlmServer, Reply


@dataclass(frozen=True)
class Place:
    """A working folder with some documents in `data/`."""

    folder: Path
    patch: pytest.MonkeyPatch

    def documents(self, name: str = "a", **columns: list[object]) -> None:
        (self.folder / "data").mkdir(exist_ok=True)
        table = pa.table(columns or {"text": ["one two three", "four"], "n": [1, 2]})
        pq.write_table(table, self.folder / "data" / f"{name}.parquet")

    def write(self, text: str) -> Path:
        path = self.folder / "web.yaml"
        path.write_text(text)
        return path

    def load(self, text: str, *overrides: str) -> Loaded:
        return load(self.write(text), overrides)

    def check(self, text: str, *, documents: bool = True) -> None:
        """What `curate check` does."""
        if documents:
            self.documents()
        prepare(Request(self.write("input: {path: data/*.parquet}\n" + text)))


Provoke = Callable[[Place], object]
FIXTURES: dict[str, Provoke] = {}


def provokes(code: str) -> Callable[[Provoke], Provoke]:
    def register(provoke: Provoke) -> Provoke:
        assert code not in FIXTURES
        FIXTURES[code] = provoke
        return provoke

    return register


#: Faults of the config's text, and the config that has it.
CONFIGS = {
    "C101": "input: [data\n",
    "C102": "input: {path: data, on_error: ignore}",
    "C103": "input: {path: data}\nsteps: [{use: filters.gopher_quality, min_wrds: 3}]",
    "C104": "steps: []",
    "C105": "input: {path: data}\nsteps: [{use: filters.goper}]",
    "C106": "input: {path: data}\nsteps: [{select: text =}]",
    "C108": "input: {path: data}\nsteps: [{use: filters.gopher_quality}, {use: filters.gopher_quality}]",
}
#: Faults that a check of good documents finds.
PLANS = {
    "C107": "language: text\nsteps: [{select: text = 'de'}]",
    "C109": "publish: [{name: a, path: $NO_SUCH_VARIABLE/a}]",
    "C201": "steps: [{select: length > 3}]",
    "C202": "publish: [{name: a, path: out}, {name: b, path: out/b}]",
    "C205": "publish: [{name: a, path: web.yaml/a}]",
    "C206": "steps: [{select: text > 3}]",
    "C111": "steps: [{use: filters.gopher_quality, thresholds: no_such_folder}]",
    "C208": "steps: [{select: n > 3, mode: annotate}]",
}
for _code, _text in CONFIGS.items():
    provokes(_code)(lambda place, text=_text: place.load(text))
for _code, _text in PLANS.items():
    provokes(_code)(lambda place, text=_text: place.check(text))


@provokes("C110")
def _override(place: Place) -> None:
    place.load("input: {path: data}", "steps.lid.top_k=3")


@provokes("C203")
def _no_files(place: Place) -> None:
    place.check("", documents=False)


@provokes("C204")
def _two_types(place: Place) -> None:
    place.documents("b", text=["a"], n=["x"])
    place.check("")


@provokes("C207")
def _unknown_model(place: Place) -> None:
    models_cli.find("lid.177.ftz")


@provokes("C209")
def _no_index(place: Place) -> None:
    place.check("steps: [{use: dedup.exact, against: [index/2025]}]\n")


@provokes("C220")
def _too_many_files(place: Place) -> None:
    place.documents()
    prepare(Request(place.write("input: {path: data/*.parquet}\nexecution: {max_files: 1}\n")))


@provokes("R307")
def _no_run(place: Place) -> None:
    find_run("web")


@provokes("R309")
def _not_a_run_folder(place: Place) -> None:
    (place.folder / "runs/web").mkdir(parents=True)
    (place.folder / "runs/web/thesis.tex").touch()
    place.check("")


@provokes("R311")
def _everything_is_a_duplicate(place: Place) -> None:
    place.documents("b", text=["the same few words"] * 40, n=[1] * 40)
    _run(place, "steps: [{use: dedup.minhash}]\n")


@provokes("R312")
def _another_index(place: Place) -> None:
    (place.folder / "index").mkdir()
    (place.folder / "index/notes.txt").write_text("not an index")
    place.documents()
    _run(place, f"steps: [{{use: dedup.exact, index: {place.folder / 'index'}}}]\n")


@provokes("D401")
def _cut_off(place: Place) -> None:
    place.documents()
    path = place.folder / "data/a.parquet"
    (place.folder / "data/b.parquet").write_bytes(path.read_bytes()[:-20])
    place.check("")


@provokes("D402")
def _no_text(place: Place) -> None:
    place.documents("b", body=["a"])
    place.check("", documents=False)


@provokes("D403")
def _text_is_a_number(place: Place) -> None:
    place.documents("b", text=[[1, 2]])
    place.check("", documents=False)


@provokes("D410")
def _line_without_a_tag(place: Place) -> None:
    file = place.folder / "gold.conll"
    file.write_text("Bonn\tB-LOC\nliegt\n")
    read_tagged(file)


@provokes("E502")
def _broken_step(place: Place) -> None:
    (place.folder / "broken_step.py").write_text("import a_package_that_is_not_installed\n")
    info = place.folder / "broken_step-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken_step\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[curate.stages]\nbroken = broken_step\n")
    place.patch.syspath_prepend(place.folder)
    stages._outside.cache_clear()
    try:
        place.load("input: {path: data}\nsteps: [{use: broken}]")
    finally:
        stages._outside.cache_clear()


@provokes("E503")
def _no_network(place: Place) -> None:
    pull(models_cli.find("lid.176.ftz"), place.folder, source=place.folder / "nothing")


@provokes("E504")
def _not_pulled(place: Place) -> None:
    place.patch.setenv("CURATE_MODELS", str(place.folder / "models"))
    require(models_cli.find("lid.176.bin"), models_folder())


@provokes("E505")
def _another_file(place: Place) -> None:
    (place.folder / "model").write_bytes(b"not the model")
    pull(models_cli.find("lid.176.bin"), place.folder / "models", source=place.folder / "model")


@provokes("E501")
def _full_disk(place: Place) -> None:
    try:
        Path("/dev/full").write_bytes(b"x")
    except OSError as cause:
        raise system_error(cause) from cause


@provokes("E506")
def _no_folder_to_write_to(place: Place) -> None:
    (place.folder / "model").write_bytes(b"a model")
    (place.folder / "file").touch()
    pull(models_cli.find("lid.176.bin"), place.folder / "file/models", source=place.folder / "model")


@provokes("E507")
def _no_fasttext_model(place: Place) -> None:
    (place.folder / "model.bin").write_bytes(b"not a model")
    loaded = place.load(
        f"input: {{path: data}}\nsteps: [{{use: lid.fasttext, model: {place.folder}/model.bin}}]"
    )
    (step,) = loaded.config.steps
    step.stage(step.options).open(Context(models=place.folder, scratch=place.folder, offline=True))


@provokes("E508")
def _head_of_another_encoder(place: Place) -> None:
    card = read_card(weights_path("edu-usem3"))
    other = card.model_copy(update={"encoder": TrainedOn(name="arctic", checksum="0" * 64, max_characters=9)})
    head = write_head([(np.zeros((1, 512)), np.zeros(1))], other, place.folder)
    place.check(f"steps: [{{use: filters.quality, head: {head}}}]")


@provokes("D411")
def _labels_that_are_all_the_same(place: Place) -> None:
    labels = place.folder / "labels.jsonl"
    labels.write_text("".join(f'{{"text": "text {n}", "score": 1}}\n' for n in range(30)))
    train(Recipe.model_validate({"name": "mine", "labels": [{"path": str(labels)}]}))


@provokes("R313")
def _model_that_gives_no_scores(place: Place) -> None:
    place.documents(text=[f"text {n}" for n in range(30)])
    with LlmServer(["I cannot say."]) as server:
        judge = f"{{use: filters.llm_judge, model: m, server: {{base_url: '{server.url}'}}}}"
        config = place.write(f"input: {{path: data/*.parquet}}\nsteps: [{judge}]\n")
        run_config(Request(config), workers=1, tasks=None)


@provokes("E530")
def _model_server_that_is_not_there(place: Place) -> None:
    Client(Server(base_url="http://127.0.0.1:1/v1", retries=0)).ask([{"model": "m"}])


@provokes("E531")
def _model_server_with_another_key(place: Place) -> None:
    with LlmServer([Reply(status=401)]) as server:
        Client(Server(base_url=server.url)).ask([{"model": "m"}])


@provokes("E509")
def _no_gpu(place: Place) -> None:
    place.patch.setattr("torch.cuda.is_available", lambda: False)
    options = PackedOptions(
        use="packed", model=str(write_gte(place.folder / "tiny")), device="cuda", max_tokens=16
    )
    make_encoder(options).open()


@provokes("E510")
def _stranger_in_a_cache(place: Place) -> None:
    folder = recipe_of(Usem3(), 9).folder(place.folder / "shared")
    folder.mkdir(parents=True)
    (folder / "notes.txt").touch()
    place.check("steps: [{use: filters.quality, max_characters: 9, cache: shared}]")


@provokes("E511")
def _a_store_that_replaces(place: Place) -> None:
    class Replacing(MemoryFileSystem):  # type: ignore[misc]  # fsspec is untyped
        protocol = ("replacing",)

        def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: object) -> None:
            super().pipe_file(path, value, mode="overwrite")

    fsspec.register_implementation("replacing", Replacing, clobber=True)
    probe(ObjectPath("replacing://bucket/runs"), exclusive=True)


@provokes("E520")
def _no_ray_there(place: Place) -> None:
    with RayExecutor(
        place.folder,
        workers=1,
        threads=1,
        retries=0,
        config=RayCluster.model_validate({"address": "127.0.0.1:1"}),
    ):
        pass


@provokes("R301")
def _changed_input(place: Place) -> None:
    place.documents()
    request = Request(place.write("input: {path: data/*.parquet}"))
    session = prepare(request)
    session.folder.root.mkdir(parents=True)
    session.folder.manifest.write_text(session.compiled.manifest.to_json())
    place.documents("b", text=["new"])
    prepare(request)


@provokes("R302")
def _in_use(place: Place) -> None:
    folder = RunFolder(place.folder / "runs/web")
    with locked(folder), locked(folder):
        pass


@provokes("E521")
def _no_slurm(place: Place) -> None:
    place.patch.setenv("PATH", str(place.folder))
    client.max_array_size()


def _command(place: Place, name: str, script: str) -> None:
    """A command of Slurm's that says what a cluster would."""
    path = place.folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    place.patch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")


@provokes("E522")
def _dead_controller(place: Place) -> None:
    said = "slurm_load_ctl_conf error: Unable to contact slurm controller (connect failure)"
    _command(place, "scontrol", f"echo '{said}' >&2; exit 1")
    client.max_array_size()


@provokes("E523")
def _unknown_partition(place: Place) -> None:
    _command(place, "sbatch", "echo 'sbatch: error: invalid partition specified: gpus' >&2; exit 1")
    client.submit("#!/bin/sh")


def _submitted(place: Place) -> RunFolder:
    """A run of which a phase was submitted, and nothing is in the queue any more."""
    folder = RunFolder(_run(place))
    _command(place, "squeue", "true")
    forget_failures(folder)
    write_settings(folder, Settings(Slurm.model_validate({}), 0, None))
    name = write_tasks(folder, "pass1", [[0]])
    write_submission(folder, Submission("pass1", name, (Array("7", 0, 1),), "8"))
    (done,) = (folder.root / "done" / "pass1").iterdir()
    done.unlink()
    return folder


@provokes("R320")
def _too_little_time(place: Place) -> None:
    folder = _submitted(place)
    tasks = read_submission(folder)
    assert tasks is not None
    element.ended(folder.root, tasks.tasks, 0, 137, late=True)
    raise why_ended(folder)


@provokes("R321")
def _jobs_are_gone(place: Place) -> None:
    raise why_ended(_submitted(place))


def _run(place: Place, text: str = "") -> Path:
    """A finished run in the folder; returns its root."""
    place.documents()
    place.patch.setattr("curate.running.driver.show_report", lambda folder: None)
    run_config(Request(place.write("input: {path: data/*.parquet}\n" + text)), workers=1, tasks=None)
    return place.folder / "runs" / "web"


@provokes("R303")
def _step_breaks_its_contract(place: Place) -> None:
    plan = StepPlan("toy", "filters.toy", {}, 1, "annotator", None, False, (), {}, "filters.toy")
    batch = DocBatch(pa.RecordBatch.from_pydict({"text": ["a", "b"]}))
    checked_column(plan, "words_count", pa.array([1]), pa.int64(), batch)


@provokes("R304")
def _worker_cannot_live(place: Place) -> None:
    executor = LocalExecutor(
        place.folder,
        logs=place.folder / "logs",
        workers=1,
        threads=1,
        retries=0,
        environment={},
        scratch=place.folder / "tmp",
    )
    with Progress() as listener, executor:
        executor.run(Phase("pass1", "pass", ""), [[0]], listener, lambda unit: {})


@provokes("R305")
def _numbers_that_do_not_add_up(place: Place) -> None:
    root = _run(place)
    (counters,) = (root / "counters" / "pass1").iterdir()
    text = counters.read_text()
    assert '"rows_kept": 2' in text
    counters.write_text(text.replace('"rows_kept": 2', '"rows_kept": 1'))
    _run(place)


@provokes("R306")
def _damaged_done_file(place: Place) -> None:
    root = _run(place)
    (done,) = (root / "done" / "pass1").iterdir()
    done.write_text("{")
    _run(place)


@provokes("R308")
def _no_such_document(place: Place) -> None:
    explain(_run(place), "no such id")


@provokes("R310")
def _interrupted(place: Place) -> None:
    def stop(*arguments: object) -> None:
        signal.raise_signal(signal.SIGTERM)

    place.patch.setattr("curate.running.progress.Progress.phase_started", stop)
    _run(place)
