"""Do our rules decide as datatrove's? Documents are compared by id, never by count.

    python benchmarks/agreement.py --cache /tmp/answers /tmp/corpus/heldout/*.parquet

For every file (Parquet or .jsonl.zst, named after its language) and each of the four FineWeb filters, C4 also with all its
rules, both sides get the same documents, parameters and stop words, and each filter sees the original texts:

    fed       our rules on datatrove's own words: only the rules can differ
    verdict   end to end, our `spacy-like` words: dropped by both or by none
    first     end to end: the same reason too, ours being the first of our list
    text      of the documents that both keep, C4's rewritten texts that are equal byte for byte

A second table has for every reason the ids that each side drops with it, and |A∩B| / |A∪B|: where few documents are dropped,
a high share of equal verdicts says little. `--differences` lists each differing id with its cause:

    words       the word lists differ; the first difference is shown: theirs | ours
    sentences   equal words, and the number of sentences is in question
    rule        equal words: the rules differ
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import click
import pyarrow as pa

sys.path[:0] = [str(Path(__file__).parents[1])]

from curate.kernels import use_kernel_cache  # noqa: E402  # after the path is set

use_kernel_cache()  # numba looks where it is when it is imported
from benchmarks.peer.answers import answers, language_of  # noqa: E402  # after the path is set
from benchmarks.peer.filters import (  # noqa: E402  # after the path is set
    Verdict,
    annotate,
    batch_of,
    ours,
    stop_words_of,
)
from benchmarks.peer.tokens import NotInTextError, with_words  # noqa: E402  # after the path is set
from benchmarks.peer.versions import versions  # noqa: E402  # after the path is set

#: Rows of a batch, so that the hash sets of one are small.
BATCH = 500


@dataclass(frozen=True)
class Difference:
    """A document about which the sides differ. `None` is a document kept."""

    language: str
    filter: str
    how: str
    id: str
    theirs: str | None
    ours: str | None
    cause: str


@dataclass
class Compared:
    """A filter on one corpus. pairs: (id, their reason, our reason) of each document."""

    name: str
    fed: list[tuple[str, str | None, str | None]]
    pairs: list[tuple[str, str | None, str | None]]
    texts: list[bool]


def compare(table: pa.Table, language: str) -> tuple[list[Compared], list[Difference], list[bool]]:
    """Every filter that both sides have, on a corpus with datatrove's answers; and for each document whether both sides cut
    it into the same words."""
    steps = ours(stop_words_of(language))
    results = {name: Compared(name, [], [], []) for name in steps}
    differences: list[Difference] = []
    same_words: list[bool] = []
    for start in range(0, table.num_rows, BATCH):
        part = table.slice(start, BATCH)
        ids, texts = part["id"].to_pylist(), part["text"].to_pylist()
        words = part["words"].to_pylist()
        batch = batch_of(texts, language, "spacy-like")
        found = annotate(steps, batch)
        mine_words = [[w.decode() for w in batch.tokens.of(row)] for row in range(len(texts))]
        same_words += [list(one) == other for one, other in zip(words, mine_words, strict=True)]
        try:
            fed: dict[str, list[Verdict]] | None = annotate(steps, with_words(batch, words))
        except NotInTextError as fault:
            fed = None
            print(f"{language}: datatrove's words cannot be fed: {fault}", file=sys.stderr)
        for name in steps:
            reasons, rewritten = part[name].to_pylist(), part[f"{name}_text"].to_pylist()
            for row, (id, reason, text) in enumerate(zip(ids, reasons, rewritten, strict=True)):
                mine = found[name][row]
                results[name].pairs.append((id, reason, mine.reason))
                equal = mine.text == text
                if reason is None and mine.reason is None and name.startswith("c4"):
                    results[name].texts.append(equal)
                if reason != mine.reason or (reason is None and not equal):
                    cause = cause_of(words[row], mine_words[row], (reason, mine.reason))
                    differences.append(
                        Difference(language, name, "own words", id, reason, mine.reason, cause)
                    )
                if fed is not None:
                    given = fed[name][row]
                    results[name].fed.append((id, reason, given.reason))
                    if reason != given.reason or (reason is None and given.text != text):
                        cause = "sentences" if "too_few_sentences" in (reason, given.reason) else "rule"
                        differences.append(Difference(language, name, "fed", id, reason, given.reason, cause))
    return list(results.values()), differences, same_words


def cause_of(theirs: Sequence[str], mine: Sequence[str], reasons: tuple[str | None, str | None]) -> str:
    """Why a document is judged differently, as far as its words tell."""
    for at, (one, other) in enumerate(zip([*theirs, ""], [*mine, ""], strict=False)):
        if one != other:
            return f"words: {' '.join(theirs[at : at + 3])[:60]} | {' '.join(mine[at : at + 3])[:60]}"
    return "sentences" if "too_few_sentences" in reasons else "rule"


def share(values: Iterable[bool]) -> str:
    every = list(values)
    return f"{100 * sum(every) / len(every):.2f} %" if every else "-"


def filter_table(results: Sequence[Compared]) -> Iterator[str]:
    yield "| filter | documents | datatrove drops | fed: verdict and reason | verdict | first reason | text |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for result in results:
        cells = [
            result.name,
            str(len(result.pairs)),
            str(sum(theirs is not None for _, theirs, _ in result.pairs)),
            share(theirs == mine for _, theirs, mine in result.fed),
            share((theirs is None) == (mine is None) for _, theirs, mine in result.pairs),
            share(theirs == mine for _, theirs, mine in result.pairs),
            share(result.texts),
        ]
        yield f"| {' | '.join(cells)} |"


def reason_table(results: Sequence[Compared]) -> Iterator[str]:
    yield "| filter | reason | datatrove | curate | both | Jaccard |"
    yield "|---|---|---:|---:|---:|---:|"
    for result in results:
        dropped = (
            {id for id, theirs, _ in result.pairs if theirs},
            {id for id, _, mine in result.pairs if mine},
        )
        yield _reason_row(result.name, "*any*", *dropped)
        reasons = Counter(reason for _, theirs, mine in result.pairs for reason in (theirs, mine) if reason)
        for reason in sorted(reasons):
            with_it = (
                {id for id, theirs, _ in result.pairs if theirs == reason},
                {id for id, _, mine in result.pairs if mine == reason},
            )
            yield _reason_row(result.name, reason, *with_it)


def _reason_row(name: str, reason: str, theirs: set[str], mine: set[str]) -> str:
    either = theirs | mine
    jaccard = f"{len(theirs & mine) / len(either):.3f}" if either else "-"
    return f"| {name} | {reason} | {len(theirs)} | {len(mine)} | {len(theirs & mine)} | {jaccard} |"


@click.command(help=(__doc__ or "").split("\n", maxsplit=1)[0])
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option(
    "--cache", required=True, type=click.Path(path_type=Path), help="Folder for datatrove's answers."
)
@click.option("--megabytes", type=float, help="Take so much text of each file, from its start.")
@click.option("--differences", type=click.File("w"), help="Write every differing id with its cause, as TSV.")
@click.option("--reasons/--no-reasons", default=True, show_default=True, help="The table of reasons too.")
def main(
    files: tuple[Path, ...],
    cache: Path,
    megabytes: float | None,
    differences: TextIO | None,
    reasons: bool,
) -> None:
    print(f"{versions()}\n\n    {' '.join(['python', *sys.argv])}")
    if differences is not None:
        print("language", "filter", "how", "id", "datatrove", "curate", "cause", sep="\t", file=differences)
    for file in files:
        language = language_of(file)
        try:
            table = answers(file, megabytes, cache)
        except (
            ImportError
        ) as fault:  # datatrove's tokenizer of that language is a package that is not installed
            print(f"\n### {language}: {file.name}, not compared: {fault}")
            continue
        size = sum(len(text.encode()) for text in table["text"].to_pylist()) / 1e6
        results, found, same = compare(table, language)
        print(f"\n### {language}: {file.name}, {size:.1f} MB\n")
        print(*filter_table(results), sep="\n")
        print(f"\nDocuments cut into the same words: {share(same)} of {len(same)}.")
        if reasons:
            print(*["", *reason_table(results)], sep="\n")
        causes = Counter((d.filter, d.how, d.cause.split(":")[0]) for d in found)
        if causes:
            print(
                "\nDiffering documents: "
                + ", ".join(f"{f} ({h}, {c}) {n}" for (f, h, c), n in sorted(causes.items()))
            )
        if differences is not None:
            for d in found:
                cells = (d.language, d.filter, d.how, d.id, d.theirs or "kept", d.ours or "kept", d.cause)
                print(*(" ".join(cell.split()) for cell in cells), sep="\t", file=differences)


if __name__ == "__main__":
    main()
