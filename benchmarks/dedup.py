"""Fuzzy deduplication: CPU seconds by phase, rates, and how linking and clustering grow.

    python benchmarks/dedup.py signature                     MB/s on tokens already made
    python benchmarks/dedup.py pipeline --documents 50000    Parquet to verdict, by phase; with --peer PYTHON, which has
                                                             datatrove and spaCy, datatrove's four steps on the first of them
    python benchmarks/dedup.py whole --documents 50000       all of `curate run` up to its verdicts, less its start
    python benchmarks/dedup.py scale --documents 10000000    link and cluster on records made directly

All figures are CPU seconds of one process on one thread; compiled kernels are loaded before the clock starts. Documents
are made of the words of `data/sample` (English), about 3 KB each, a fifth of them edited copies of others. `scale`
is `benchmarks/dedup_scale.py`.
"""

from __future__ import annotations

import json
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.dedup_scale import scale  # noqa: E402  # after the path is set
from curate.core.batch import DocBatch  # noqa: E402  # after the path is set

BANDS = 14


def documents(count: int, seed: int = 1) -> list[str]:
    """Texts of about 3 KB; every fifth is an earlier one with a few words changed."""
    rng = random.Random(seed)
    texts = pq.read_table(ROOT / "data/sample/docs-00001.parquet", columns=["text"])["text"].to_pylist()
    words = " ".join(text for text in texts if text and text.isascii()).split(" ")
    made: list[str] = []
    for number in range(count):
        if number % 5 == 4:
            copy = rng.choice(made[-5000:]).split(" ")
            for _ in range(rng.choice((0, 1, 3, 6, 10, 20))):
                copy[rng.randrange(len(copy))] = rng.choice(words)
        else:
            # Stretches of a few words, so that runs of five repeat between documents as they do in real text.
            copy = []
            length = rng.randint(240, 540)
            while len(copy) < length:
                start = rng.randrange(len(words) - 30)
                copy += words[start : start + rng.randint(2, 12)]
        made.append(" ".join(copy))
    return made


def cpu() -> float:
    return time.process_time()


def best(work: Callable[[], object], runs: int = 5) -> float:
    seconds = []
    for _ in range(runs + 1):
        start = cpu()
        work()
        seconds.append(cpu() - start)
    return min(seconds[1:])


@click.group()
def main() -> None:
    """Measure fuzzy deduplication."""
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, numpy {np.__version__}"
    )


@main.command()
def signature() -> None:
    """Shingles, signatures and band keys on ready tokens."""
    from dedup.bands import band_keys
    from dedup.shingles import shingles
    from dedup.signature import permutations, signatures, sketches

    texts = documents(10_000)
    size = sum(len(text.encode()) for text in texts) / 1e6
    batch = DocBatch(
        pa.RecordBatch.from_pydict({"doc": pa.array(range(len(texts))), "text": pa.array(texts)})
    )
    tokens, parameters = batch.tokens, permutations(BANDS * 8)
    found = shingles(tokens)
    signed = signatures(found, *parameters)
    scope = np.zeros(len(texts), np.uint64)
    rows = {
        "tokens": lambda: DocBatch(batch.record).tokens,
        "shingles": lambda: shingles(tokens),
        "signatures": lambda: signatures(found, *parameters),
        "band keys, sketches": lambda: (band_keys(signed, BANDS, 8, scope), sketches(signed)),
        "all but tokens": lambda: band_keys(signatures(shingles(tokens), *parameters), BANDS, 8, scope),
    }
    print(f"{size:.0f} MB, {len(tokens) / 1e6:.1f} M tokens, {len(found.values) / 1e6:.1f} M shingles\n")
    print("| kernel | MB/s |\n|---|---|")
    for name, work in rows.items():
        print(f"| {name} | {size / best(work):.0f} |", flush=True)


CONFIG = """
name: dedup
input: {{path: {source}}}
steps:
  - {{use: {use}, as: dedup{options}}}
publish:
  - {{name: out, path: {target}}}
"""


@main.command()
@click.option("--documents", "count", default=50_000, show_default=True)
@click.option(
    "--peer", type=click.Path(exists=True, path_type=Path), help="A Python that has datatrove and spaCy."
)
@click.option("--peer-documents", default=1000, show_default=True)
def pipeline(count: int, peer: Path | None, peer_documents: int) -> None:
    """Parquet to verdict, by phase."""
    texts = documents(count)
    size = sum(len(text.encode()) for text in texts) / 1e6
    print(f"{count:,} documents, {size:.0f} MB, {size * 1e6 / count:.0f} bytes each")
    rate: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        table = pa.table({"id": [str(i) for i in range(count)], "text": texts})
        pq.write_table(table, root / "in.parquet", row_group_size=2000)
        variants = {
            "exact": ("dedup.exact", ""),
            "minhash, verify: signature": ("dedup.minhash", ""),
            "minhash, verify: exact": ("dedup.minhash", ", verify: exact"),
            "minhash, verify: none": ("dedup.minhash", ", verify: none"),
        }
        for name, (use, options) in variants.items():
            text = CONFIG.format(source=root / "in.parquet", use=use, options=options, target=root / "out")
            (root / "config.yaml").write_text(text)
            for run in ("warm", name):
                seconds = phases(root / "config.yaml", root / f"run-{use}-{len(options)}-{run[:4]}")
            print(f"\n{name}\n\n| phase | CPU s | µs a document |\n|---|---|---|")
            for phase, spent in seconds.items():
                print(f"| {phase} | {spent:.2f} | {spent / count * 1e6:.2f} |")
            total = sum(seconds.values())
            rate[name] = count / total
            print(
                f"| all | {total:.2f} | {total / count * 1e6:.2f} |\n\n{rate[name]:,.0f} documents per CPU-second"
            )
        if peer is not None:
            pq.write_table(table.slice(0, peer_documents), root / "peer.parquet")
            program = [str(peer), "-c", PEER, str(root / "peer.parquet"), str(root / "peer")]
            found = subprocess.run(program, check=True, capture_output=True, text=True, cwd=root)
            seconds = json.loads(found.stdout.splitlines()[-1])
            total = sum(seconds.values())
            print(
                f"\ndatatrove on {peer_documents:,} of them: {total:.1f} CPU s, {peer_documents / total:.1f} a second"
            )
            print(
                ", ".join(
                    f"{name} {spent / peer_documents * 1e6:.0f} µs a document"
                    for name, spent in seconds.items()
                )
            )
            for name, ours in rate.items():
                print(f"{name}: {ours * total / peer_documents:.0f} times")


@main.command()
@click.option("--documents", "count", default=50_000, show_default=True)
def whole(count: int) -> None:
    """CPU of `curate run` and all its workers, a document: what a run of so many takes more than one of a tenth.

    Nothing is published, since verdicts are what is measured: `where` is true of no document.
    """
    texts = documents(count)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        print("\n| step | first | a tenth, CPU s | all, CPU s | µs a document more |\n|---|---|---|---|---|")
        for use, options in (
            ("dedup.exact", ""),
            ("dedup.minhash", ""),
            ("dedup.minhash", ", verify: exact"),
        ):
            spent = []
            for rows in (count // 10, count // 10, count):  # the first one compiles
                table = pa.table({"id": [str(i) for i in range(rows)], "text": texts[:rows]})
                pq.write_table(table, root / "in.parquet", row_group_size=2000)
                text = CONFIG.format(
                    source=root / "in.parquet", use=use, options=options, target=root / "out"
                )
                (root / "config.yaml").write_text(text)
                spent.append(_run_of(root / "config.yaml", root / "run"))
                shutil.rmtree(root / "run")
                shutil.rmtree(root / "out")
            more = (spent[2] - spent[1]) / (count - count // 10) * 1e6
            print(
                f"| {use}{options} | {spent[0]:.2f} | {spent[1]:.2f} | {spent[2]:.2f} | {more:.2f} |",
                flush=True,
            )


def _run_of(config: Path, folder: Path) -> float:
    """CPU seconds of a run with one worker: the command and every process that it starts."""
    before = os.times()
    command = [sys.executable, "-m", "curate", "run", str(config), "--run-dir", str(folder), "--workers", "1"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def phases(config: Path, folder: Path) -> dict[str, float]:
    """CPU seconds of the phases up to the marks, in this process."""
    from curate.core.commit import write_atomically
    from curate.planning.session import Request, prepare
    from curate.running.task import Worker

    session = prepare(Request(config, run_dir=folder))
    plan, manifest = session.compiled.plan, session.compiled.manifest
    folder.mkdir()
    write_atomically(session.folder.plan, plan.to_json())
    write_atomically(session.folder.manifest, manifest.to_json())
    worker = Worker(folder)
    seconds: dict[str, float] = {}
    for phase in plan.phases:
        if phase.kind in ("pass", "reduce"):
            units = range(phase.partitions) if phase.kind == "reduce" else [s.number for s in manifest.shards]
            start = cpu()
            worker.run(phase.name, list(units), 0, lambda *_: None)
            seconds[phase.name] = cpu() - start
    worker.close()
    return seconds


PEER = """
import json, sys, time
from pathlib import Path
import pyarrow.parquet as pq
from datatrove.data import Document
from datatrove.pipeline.dedup import MinhashDedupSignature, MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.utils.hashing import HashConfig
source, out = sys.argv[1], Path(sys.argv[2])
config = MinhashConfig(hash_config=HashConfig(precision=64))
warm = MinhashDedupSignature(str(out / "warm"), config=config)
warm.run(iter([Document(text="a few words to load the tokenizer with", id="0")]), 0, 1)
seconds = {}
def timed(name, work):
    start = time.process_time()
    work()
    seconds[name] = time.process_time() - start
def texts():
    for number, text in enumerate(pq.read_table(source)["text"].to_pylist()):
        yield Document(text=text, id=str(number))
step = MinhashDedupSignature(str(out / "sig"), config=config)
timed("signature", lambda: step.run(texts(), 0, 1))
def buckets():
    for bucket in range(config.num_buckets):
        MinhashDedupBuckets(str(out / "sig"), str(out / "buckets"), config=config).run(None, bucket, config.num_buckets)
timed("buckets", buckets)
timed("cluster", lambda: MinhashDedupCluster(str(out / "buckets"), str(out / "remove"), config=config).run(None, 0, 1))
timed("filter", lambda: list(MinhashDedupFilter(str(out / "remove")).run(texts(), 0, 1)))
print(json.dumps(seconds))
"""


main.add_command(scale)


if __name__ == "__main__":
    main()
