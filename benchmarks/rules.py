"""How fast the FineWeb chain is, and how fast datatrove's is: LID, four filters, Parquet out, on the same documents.

    python -m venv /tmp/peer && . /tmp/peer/bin/activate
    pip install -c constraints.txt -e . 'datatrove==0.10.1' 'fasttext-numpy2==0.10.4' 'xxhash<4' spacy regex nltk
    pip install tldextract fasteners pyahocorasick lxml resiliparse jieba sudachipy sudachidict_core pythainlp
    python benchmarks/build_corpus.py /tmp/corpus --per-package 15
    python benchmarks/build_corpus.py /tmp/corpus --clean /tmp/corpus/eng_Latn.parquet
    python benchmarks/rules.py /tmp/corpus/eng_Latn.parquet /tmp/corpus/eng_Latn_clean.parquet

One interpreter runs both sides. Every row is a process of its own with one task, one worker, one thread at a time; seconds
are CPU, user and system, children included. What is paid once (imports, models, spaCy's rules, kernels from their cache) is
measured apart, for `curate run` by a run on one document, and so is compiling kernels into an empty cache. datatrove gets
the first `--peer-megabytes` of a corpus, which are a random sample because corpora are in seeded random order; rates are
compared in MB of text a second. Its Parquet files are compressed as ours are (zstd).

    datatrove               its pipeline classes from documents in memory (reading is free for it) to its ParquetWriter
    datatrove, whitespace   the same, spaCy's tokenizer replaced by `str.split`
    curate run              the command: manifest, plan, worker, ledger, report, and published files
    curate, steps           our steps on the same batches without the runner, documents in memory as on the other side
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import click

ROOT = Path(__file__).parents[1]
COPIES = 4
sys.path[:0] = [str(ROOT)]

from benchmarks.peer.chain import first_texts  # noqa: E402  # after the path is set
from benchmarks.peer.versions import versions  # noqa: E402  # after the path is set

CONFIG = """
name: rules
words: spacy-like
input: {{path: {source}}}
steps:
  - {{use: lid.fasttext, as: lid}}
  - {{select: lid__lang = 'eng_Latn' and lid__prob >= 0.65}}
  - {{use: filters.gopher_repetition}}
  - {{use: filters.gopher_quality}}
  - {{use: filters.c4, filter_no_terminal_punct: false}}
  - {{use: filters.fineweb_quality}}
publish:
  - {{name: out, path: {target}}}
"""


@dataclass
class Cost:
    """Seconds of CPU and of the clock, and the largest resident set of a process, of a command and its children.

    A child's largest resident set is at least what this process held when it started it: it must stay small.
    """

    cpu: float
    wall: float
    peak_mb: float
    output: str


@dataclass
class Row:
    name: str
    megabytes: float
    rows: int
    setup: float
    run: float
    peak_mb: float

    @property
    def rate(self) -> float:
        return self.megabytes / self.run


def cost(command: list[str], **environment: str) -> Cost:
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            sys.exit(f"{' '.join(command)} failed:\n{errors.read()[-3000:]}")
    took = time.perf_counter() - start
    return Cost(usage.ru_utime + usage.ru_stime, took, usage.ru_maxrss / 1024, output)


def chain(side: str, corpus: Path, scratch: Path, megabytes: float | None) -> dict[str, Any]:
    """What `benchmarks.peer.chain` prints."""
    command = [sys.executable, "-m", "benchmarks.peer.chain", side, str(corpus), str(scratch / side)]
    limit = [] if megabytes is None else ["--megabytes", str(megabytes)]
    found: dict[str, Any] = json.loads(cost([*command, *limit]).output.splitlines()[-1])
    return found


def curate(corpus: Path, scratch: Path, workers: int = 1, **environment: str) -> tuple[Cost, int]:
    """A whole `curate run` from nothing, and the rows it published."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        place = Path(folder)
        config = place / "rules.yaml"
        config.write_text(CONFIG.format(source=corpus, target=place / "out"))
        command = [sys.executable, "-m", "curate", "run", str(config), "--run-dir", str(place / "run")]
        found = cost([*command, "--workers", str(workers), "--threads", "1"], **environment)
        import pyarrow.dataset as ds

        return found, ds.dataset(place / "out", exclude_invalid_files=True).count_rows()


def one_document(scratch: Path) -> Path:
    """A corpus of one document that passes everything, for what a run costs whatever it reads."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from benchmarks.peer.chain import WARM

    path = scratch / "one.parquet"
    pq.write_table(pa.table({"id": ["one"], "text": [WARM]}), path)
    return path


def chain_table(corpus: Path, scratch: Path, peer_megabytes: float, rounds: int) -> None:
    one = one_document(scratch)
    with tempfile.TemporaryDirectory(dir=scratch) as empty:
        cold = curate(one, scratch, CURATE_KERNELS=empty)[0].cpu
    start = median(curate(one, scratch)[0].cpu for _ in range(rounds))
    rows: list[Row] = []
    kept: dict[str, set[str]] = {}
    given: set[str] = set()
    for side, name in (("spacy", "datatrove"), ("whitespace", "datatrove, whitespace")):
        found = chain(side, corpus, scratch, peer_megabytes)
        kept[side], given = set(found["ids"]), set(found["given"])
        rows.append(
            Row(name, found["megabytes"], len(found["ids"]), found["setup"], found["run"], found["peak_mb"])
        )
    steps = min(
        (chain("steps", corpus, scratch, None) for _ in range(rounds)), key=lambda found: found["run"]
    )
    size = steps["megabytes"]
    runs = [curate(corpus, scratch) for _ in range(rounds)]
    cpu, peak = median(found.cpu for found, _ in runs), max(found.peak_mb for found, _ in runs)
    rows.append(Row("curate run", size, runs[0][1], start, cpu - start, peak))
    rows.append(Row("curate, steps", size, len(steps["ids"]), steps["setup"], steps["run"], steps["peak_mb"]))
    print(f"\n### The chain on {corpus.name}, {size:.0f} MB\n")
    print(
        "| | MB | documents left | set-up CPU s | run CPU s | MB/CPU s | × datatrove | × whitespace | peak MB |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for row in rows:
        ratios = " | ".join(f"{row.rate / base.rate:.1f}" for base in rows[:2])
        print(
            f"| {row.name} | {row.megabytes:.1f} | {row.rows} | {row.setup:.1f} | {row.run:.2f} | {row.rate:.2f} | {ratios} "
            f"| {row.peak_mb:.0f} |"
        )
    print(
        f"\nCompiling the kernels into an empty cache and a run of one document: {cold:.0f} CPU s, once for a version."
    )
    mine = set(steps["ids"]) & given
    print(
        f"Of the {len(given)} documents that datatrove was given it keeps {len(kept['spacy'])}, curate {len(mine)}, "
        f"both {len(mine & kept['spacy'])}."
    )
    parts = sorted(steps["steps"].items(), key=lambda part: -part[1])
    print("Steps, CPU s: " + ", ".join(f"{name} {took:.2f}" for name, took in parts) + ".")


def parts_tables(corpus: Path, megabytes: float, rounds: int) -> None:
    from benchmarks.peer.ready import identification, rules

    texts = [text for _, text in first_texts(corpus, megabytes)]
    size = sum(len(text.encode()) for text in texts) / 1e6
    print(f"\n### Single parts on {size:.1f} MB of {corpus.name}\n")
    print("| language identification, full text, lid.176.ftz | MB/CPU s | × |\n|---|---:|---:|")
    found = identification(texts, ROOT / "lid" / "models" / "lid.176.ftz", rounds)
    for name, took in found.items():
        print(f"| {name} | {size / took:.1f} | {found['fastText, best label'] / took:.1f} |")
    print("\n| rules on ready words | curate MB/CPU s | datatrove MB/CPU s | × |\n|---|---:|---:|---:|")
    both = rules(texts, rounds)
    for name, (mine, theirs) in both.items():
        print(f"| {name} | {size / mine:.0f} | {size / theirs:.2f} | {theirs / mine:.0f} |")
    if both:
        mine, theirs = (sum(took[side] for took in both.values()) for side in (0, 1))
        print(f"| together | {size / mine:.0f} | {size / theirs:.2f} | {theirs / mine:.0f} |")


def workers_table(corpus: Path, scratch: Path, rounds: int) -> None:
    """Two workers and one on four copies of the corpus, so that there are enough shards to share."""
    one = one_document(scratch)
    copies = scratch / "copies"
    copies.mkdir()
    for number in range(COPIES):
        shutil.copy(corpus, copies / f"{number}.parquet")
    print(
        f"\n### Workers on {COPIES} copies of {corpus.name}\n\n| | wall s | of it start | net |\n|---|---:|---:|---:|"
    )
    net = {}
    for workers in (1, 2):
        start = median(curate(one, scratch, workers)[0].wall for _ in range(rounds))
        whole = min(curate(copies / "*.parquet", scratch, workers)[0].wall for _ in range(rounds))
        net[workers] = whole - start
        print(f"| {workers} worker{'s' * (workers > 1)} | {whole:.1f} | {start:.1f} | {net[workers]:.1f} |")
    print(
        f"\nTwo workers: {net[1] / net[2]:.2f} × one. Load of the machine besides: {os.getloadavg()[2]:.1f} (15 minutes)."
    )


@dataclass
class Pass:
    """A run with so many threads: seconds of the clock in its pass, seconds of CPU and the largest resident set in all."""

    wall: float
    cpu: float
    peak_mb: float
    files: dict[str, str]


def passed(corpus: Path, scratch: Path, threads: int) -> Pass:
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        place = Path(folder)
        config = place / "rules.yaml"
        config.write_text(CONFIG.format(source=corpus, target=place / "out"))
        command = [sys.executable, "-m", "benchmarks.peer.phases", str(config), str(place / "run")]
        found = cost([*command, "--threads", str(threads)])
        seconds = json.loads(found.output.splitlines()[-1])
        files = {
            p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in (place / "out").glob("*.parquet")
        }
        return Pass(seconds["pass1"], found.cpu, found.peak_mb, files)


def threads_table(corpus: Path, scratch: Path, rounds: int) -> None:
    """One thread and two in one worker, by turns, the best of each: other work on the machine only takes away."""
    one = one_document(scratch)
    start: dict[int, list[Pass]] = {1: [], 2: []}
    whole: dict[int, list[Pass]] = {1: [], 2: []}
    for _ in range(rounds):
        for threads in (1, 2):
            start[threads].append(passed(one, scratch, threads))
            whole[threads].append(passed(corpus, scratch, threads))
    if any(found.files != whole[1][0].files for found in (*whole[1], *whole[2])):
        sys.exit("the published files differ")
    print(f"\n### Threads of one worker on {corpus.name}, best of {rounds} by turns\n")
    print("| threads | pass, wall s | of it start | net | CPU s of the whole run, net | peak MB |")
    print("|---|---:|---:|---:|---:|---:|")
    net = {}
    for threads in (1, 2):
        wall, began = (min(found.wall for found in runs[threads]) for runs in (whole, start))
        cpu = min(found.cpu for found in whole[threads]) - min(found.cpu for found in start[threads])
        peak = max(found.peak_mb for found in whole[threads])
        net[threads] = wall - began
        row = (
            f"{wall:.2f}",
            f"{began:.2f}",
            f"{net[threads]:.2f}",
            f"{cpu:.2f}",
        )
        print(f"| {threads} | {' | '.join(row)} | {peak:.0f} |")
    print(
        f"\nTwo threads: {net[1] / net[2]:.2f} × one, the same bytes. Load of the machine: {os.getloadavg()[0]:.1f}."
    )


@click.command(help=(__doc__ or "").split("\n", maxsplit=1)[0])
@click.argument("corpora", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option(
    "--peer-megabytes", default=15.0, show_default=True, help="Text that datatrove gets of each corpus."
)
@click.option("--part-megabytes", default=15.0, show_default=True, help="Text for single parts.")
@click.option("--rounds", default=3, show_default=True, help="Rounds of ours.")
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(["chain", "parts", "workers", "threads"]),
    default=["chain", "parts", "workers", "threads"],
)
def main(
    corpora: tuple[Path, ...],
    peer_megabytes: float,
    part_megabytes: float,
    rounds: int,
    only: tuple[str, ...],
) -> None:
    from curate.kernels import use_kernel_cache

    use_kernel_cache()
    print(f"{versions()}\n\n    {' '.join(['python', *sys.argv])}")
    with tempfile.TemporaryDirectory() as scratch:
        for corpus in corpora if "chain" in only else ():
            chain_table(corpus.absolute(), Path(scratch), peer_megabytes, rounds)
        for corpus in corpora if "parts" in only else ():
            parts_tables(corpus, part_megabytes, rounds)
        if "workers" in only:
            workers_table(corpora[0].absolute(), Path(scratch), rounds)
        if "threads" in only:
            threads_table(corpora[0].absolute(), Path(scratch), rounds)


if __name__ == "__main__":
    main()
