"""Equal inputs give equal bytes, whatever the number of tasks, workers and threads.

Two inputs: a fifth of the sample that comes with the project, with its own config, and 200 shards of very different sizes
(nothing, one row, thousands; Parquet and JSON Lines), published in every way there is. All published bytes are compared, the
data card too. A run on which some tasks had nothing to do would prove nothing, so each task's rows are asserted.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.corpus import rows, uneven_sizes, write_jsonl, write_parquet
from tests.e2e.cli import Place
from tests.e2e.run_folder import done_records, published, strays, tasks

PROJECT = Path(__file__).parents[2]
#: (tasks, workers, threads) of the runs: each is more than one, and two are so at once.
WAYS = [(1, 1, 1), (7, 2, 1), (3, 2, 3)]

MANY = """
input:
  - {path: many/*.parquet, name: files}
  - {path: many/a/*.jsonl, name: a, columns: {n: {field: n, type: int64}, kind: kind}}
  - {path: many/b/*.jsonl.gz, name: b, columns: {n: {field: n, type: int64}, kind: kind}, on_error: quarantine}
language: kind
steps:
  - {select: n >= 2, as: young}
  - {use: filters.gopher_quality, as: gopher, when: kind != 'arb_Arab', min_stop_words: null}
publish:
  - {name: plain, path: out/plain, shard: 1MB}
  - {name: languages, path: out/languages, partition_by: language, shard: 200KB, row_group: 60KB, shuffle: 7}
  - {name: english, path: out/english, where: kind == 'eng_Latn' and n < 500, shuffle: 1, columns: {id: key, text: body}}
"""
OUTPUTS = ("plain", "languages", "english")


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 shards: 198 Parquet files, and two inputs of JSON Lines; some empty, some packed, some with broken lines."""
    import gzip

    folder = tmp_path_factory.mktemp("many")
    for number, size in enumerate(uneven_sizes(1, 198, 3000)):
        write_parquet(folder / f"{number:03d}.parquet", rows(f"p{number}", size), row_group_size=700)
    for number, size in enumerate(uneven_sizes(2, 10, 1500)):
        write_jsonl(folder / "a" / f"{number:02d}.jsonl", rows(f"a{number}", size))
    for number, size in enumerate(uneven_sizes(3, 10, 800)):
        plain = write_jsonl(folder / "b" / f"{number:02d}.jsonl", rows(f"b{number}", size), broken=number % 3)
        plain.with_suffix(".jsonl.gz").write_bytes(gzip.compress(plain.read_bytes(), 1))
        plain.unlink()
    return folder


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_equal_bytes_from_200_uneven_shards(memory_path: Path, many: Path) -> None:
    seen: list[dict[str, dict[str, str]]] = []
    for number_of_tasks, workers, threads in WAYS:
        place = _place(memory_path / f"{number_of_tasks}-{workers}", many=many)
        place.config(MANY)
        given = ("--tasks", str(number_of_tasks), "--threads", str(threads))
        place.run(*given, workers=workers).succeeded()
        seen.append({name: published(place / "out" / name) for name in OUTPUTS})
        assert seen[-1] == seen[0], f"{number_of_tasks} tasks, {workers} workers, {threads} threads differ"
        _every_task_worked(place / "runs/job", number_of_tasks)
        assert strays(place / "runs/job", *(place / "out" / name for name in OUTPUTS)) == []
    assert [len(seen[0][name]) > 3 for name in ("plain", "languages")] == [True, True]
    assert len(done_records(place / "runs/job")["pass1"]) == 200


def _every_task_worked(run: Path, number: int) -> None:
    """The pass over all shards is divided into exactly `number` tasks, and each met rows."""
    worked = tasks(run, "pass1")
    assert sorted(worked) == list(range(number))
    assert all(rows > 0 for rows in worked.values()), worked


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample's files, of each the first fifth of the documents, in as many row groups; those made by hand are all there.

    Documents lie in no order, so every language and kind of text is among them. Encoders take as long as all else together.
    """
    folder = tmp_path_factory.mktemp("data")
    sample = folder / "sample"
    sample.mkdir()
    for path in sorted((PROJECT / "data/sample").glob("*.parquet")):
        whole = pq.read_table(path)
        groups = pq.read_metadata(path).num_row_groups
        part = whole.slice(0, whole.num_rows // 5)
        pq.write_table(part, sample / path.name, row_group_size=-(-part.num_rows // groups))
    shutil.copy(PROJECT / "data/sample/handmade.jsonl", sample)
    return folder


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_equal_bytes_from_the_sample(tmp_path: Path, data: Path) -> None:
    seen = []
    # Fewer of the passages too, or each language would have less than are to be chosen.
    fewer = ("--set", "steps.pool.k=30", "--set", "steps.best.k=5")
    for number_of_tasks, workers, threads in WAYS:
        place = _place(tmp_path / f"{number_of_tasks}-{workers}", data=data, configs=PROJECT / "configs")
        place.config((PROJECT / "configs/web.yaml").read_text(encoding="utf-8"), "web.yaml")
        given = ("--tasks", str(number_of_tasks), "--threads", str(threads))
        place.run("web.yaml", *fewer, *given, workers=workers).succeeded()
        seen.append(published(place / "out/web/pretrain") | published(place / "out/web/ner"))
        assert seen[-1] == seen[0], f"{number_of_tasks} tasks, {workers} workers, {threads} threads differ"
        shards = len(done_records(place / "runs/web")["pass1"])
        _every_task_worked(place / "runs/web", min(number_of_tasks, shards))
    assert len(seen[0]) > 25
    dropping = {step["step"] for step in place.report("web")["steps"] if step["rows_dropped"]}
    assert dropping >= {"select", "repetition", "gopher", "fineweb", "exact", "dedup", "quantile"}


def _place(root: Path, **links: Path) -> Place:
    root.mkdir(parents=True)
    for name, target in links.items():
        (root / name).symlink_to(target)
    return Place(root)
