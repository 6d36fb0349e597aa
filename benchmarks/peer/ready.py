"""Single parts on both sides: language identification, and the rules alone, where words, lines and sentences cost nothing.

Everything is in this process, one thread, CPU seconds; ours are the best of the rounds after one that loads the kernels,
datatrove's and fastText's a single round (they have nothing to warm up but imports, which are done before). Language
identification remembers words, so every round has a step that has seen nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.peer.filters import ENGLISH, FINEWEB, batch_of, judge, ours, stop_words_of, theirs
from benchmarks.peer.tokens import with_words
from curate.core.batch import DocBatch
from curate.core.models import models_folder
from curate.core.stage import Annotator, Context
from curate.stages import load

ROWS = 2000


def seconds(work: Callable[[], object], rounds: int = 1) -> float:
    """CPU seconds of the fastest round."""
    found = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def parts(texts: Sequence[str], rows: int = ROWS) -> Iterator[Sequence[str]]:
    for start in range(0, len(texts), rows):
        yield texts[start : start + rows]


def lid_step(**options: Any) -> Annotator[Any]:
    stage = load("lid.fasttext")
    step: Annotator[Any] = stage(stage.Config(**options))
    step.open(Context(models=models_folder(), scratch=Path(), offline=True))
    return step


def identification(texts: Sequence[str], model: Path, rounds: int) -> dict[str, float]:
    """CPU seconds to identify all texts: by our step, and by the library, called for each text and with a list."""
    import fasttext

    fasttext.FastText.eprint = lambda *_: None
    library = fasttext.load_model(str(model))
    lines = [text.replace("\n", " ") for text in texts]
    batches = [batch_of(part, ENGLISH, "spacy-like") for part in parts(texts)]
    lid_step().annotate(batches[0])

    def fresh_round() -> float:
        step = lid_step()
        return seconds(lambda: [step.annotate(batch) for batch in batches])

    return {
        "lid.fasttext": min(fresh_round() for _ in range(rounds)),
        "fastText, best label": seconds(lambda: [library.predict(line) for line in lines]),
        "fastText, best label, all texts in a list": seconds(lambda: library.predict(lines)),
        "fastText, every label, as datatrove asks": seconds(
            lambda: [library.predict(line, k=-1) for line in lines]
        ),
    }


def rules(texts: Sequence[str], rounds: int) -> dict[str, tuple[float, float]]:
    """Filter → CPU seconds of our kernels on datatrove's words, and of datatrove's filter given them."""
    from datatrove.utils.text import split_into_sentences, split_into_words

    words = [split_into_words(text, ENGLISH) for text in texts]
    stop_words = stop_words_of(ENGLISH)
    steps, filters = ours(stop_words), theirs(ENGLISH, stop_words)
    batches: list[DocBatch] = []
    for number, part in enumerate(parts(texts)):
        batch = with_words(batch_of(part, ENGLISH, "spacy-like"), words[number * ROWS : (number + 1) * ROWS])
        _ = batch.tokens.hashes, batch.lines, batch.text_bytes
        batches.append(batch)
    sentences = {
        line: split_into_sentences(line, ENGLISH)
        for text in texts
        for line in _lines_of_c4(filters["c4"], text)
    }
    ready = iter(words)
    given: dict[str, Sequence[str]] = {}

    def next_words(text: str, language: str) -> Sequence[str]:
        return given["words"]

    found = {}
    with ExitStack() as stack:
        for module in ("gopher_repetition_filter", "gopher_quality_filter", "fineweb_quality_filter"):
            stack.enter_context(patch(f"datatrove.pipeline.filters.{module}.split_into_words", next_words))
        stack.enter_context(
            patch(
                "datatrove.pipeline.filters.c4_filters.split_into_sentences", lambda line, _: sentences[line]
            )
        )
        for name in FINEWEB:
            if name not in steps:
                continue
            ready = iter(words)
            step, filter = steps[name], filters[name]

            def their_round(filter: Any = filter, ready: Iterator[Sequence[str]] = ready) -> None:
                for text in texts:
                    given["words"] = next(ready)
                    judge(filter, text)

            step.annotate(batches[0])
            mine = seconds(lambda step=step: [step.annotate(batch) for batch in batches], rounds)  # type: ignore[misc]
            found[name] = mine, seconds(their_round)
    return found


def _lines_of_c4(filter: Any, text: str) -> list[str]:
    """The lines of which C4's filter counts the sentences."""
    from datatrove.data import Document

    seen: list[str] = []

    def note(line: str, language: str) -> list[str]:
        seen.append(line)
        return [line] * 5

    with patch("datatrove.pipeline.filters.c4_filters.split_into_sentences", note):
        filter.filter(Document(text=text, id=""))
    return seen
