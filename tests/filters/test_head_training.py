"""From labels to a head: fits agree with other people's code, figures are of documents nobody trained on, and what is made
scores in a run."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.stats
import sklearn.linear_model
import sklearn.metrics
from click.testing import CliRunner

from curate.cli import cli
from curate.core.errors import CurateError
from curate.core.models import models_folder
from curate.core.stage import Context
from filters.encoders.usem3 import Usem3
from filters.heads.card import Card, Labels, TrainedOn, read_card
from filters.heads.head import read_head, write_head
from filters.heads.training import measures
from filters.heads.training.fit import _Network, class_weights, fit
from filters.heads.training.labels import read_labels
from filters.heads.training.recipe import Fit, Recipe
from filters.heads.training.train import train
from filters.quality import Quality, QualityConfig
from tests.filters.rule_cases import batch_of
from tests.filters.tiny_encoders import write_bert, write_gte, write_onnx

RNG = np.random.default_rng(7)
X = RNG.standard_normal((300, 12))
Y = np.clip(np.rint(1.5 + X[:, 0] + np.maximum(X[:, 1], 0) + 0.3 * RNG.standard_normal(300)), 0, 5)


def fitted(seed: int = 1, balance: bool = False, threshold: float | None = None, **options: Any) -> Any:
    return fit(X, Y, Fit(**options), threshold=threshold, balance=balance, seed=seed)


@pytest.mark.parametrize("balance", [False, True])
def test_ridge_is_scikit_learns(balance: bool) -> None:
    weights = class_weights(Y)
    model = sklearn.linear_model.Ridge(alpha=2.0).fit(X, Y, sample_weight=weights if balance else None)
    assert np.allclose(fitted(balance=balance, penalty=2.0).score(X), model.predict(X), atol=1e-8)
    sums = [weights[value == Y].sum() for value in np.unique(Y)]
    assert np.allclose(sums, 300 / len(sums))


@pytest.mark.parametrize(("loss", "outputs"), [("linear", 1), ("sigmoid", 1), ("mean", 4)])
def test_a_step_is_torchs(loss: Any, outputs: int) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    targets = rng.random((40, outputs))
    if loss == "mean":
        targets = np.eye(outputs)[rng.integers(0, outputs, 40)]
    network = _Network((12, 8, outputs), targets, loss, rng)
    model = torch.nn.Sequential(torch.nn.Linear(12, 8), torch.nn.ReLU(), torch.nn.Linear(8, outputs))
    for mine, theirs in zip(network.parts, model.parameters(), strict=True):
        theirs.data = torch.from_numpy(mine.copy())
    decays = [p for p in model.parameters() if p.ndim == 2], [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": p, "weight_decay": w} for p, w in zip(decays, (0.1, 0.0), strict=True)]
    optimiser = torch.optim.AdamW(groups, lr=0.01)
    x, y = X[:40].astype(np.float32), targets.astype(np.float32)
    for _ in range(5):
        network.step(x, y, np.ones(40, np.float32), 0.01, 0.1)
        said, wanted = model(torch.from_numpy(x)), torch.from_numpy(y)
        if loss == "linear":
            error = ((said - wanted) ** 2).mean() / 2
        elif loss == "sigmoid":
            error = torch.nn.functional.binary_cross_entropy_with_logits(said, wanted)
        else:
            error = torch.nn.functional.cross_entropy(said, wanted)
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
    for mine, theirs in zip(network.parts, model.parameters(), strict=True):
        assert np.allclose(mine, theirs.detach().numpy(), atol=2e-5)


@pytest.mark.parametrize(
    ("loss", "threshold", "balance"), [("mse", None, False), ("bce", 3.0, False), ("softmax", None, True)]
)
def test_a_network_learns_what_is_not_linear_and_a_seed_decides_it(
    loss: Any, threshold: float | None, balance: bool
) -> None:
    options = {
        "loss": loss,
        "hidden": (24,),
        "epochs": 40,
        "patience": 40,
        "learning_rate": 0.01,
        "batch": 32,
    }
    found = fitted(threshold=threshold, balance=balance, **options)
    scores = found.score(X)
    assert measures.spearman(scores, Y) > (0.8 if loss == "bce" else 0.88)
    again = fitted(threshold=threshold, balance=balance, **options)
    assert all(
        np.array_equal(a, b)
        for one, two in zip(found.layers, again.layers, strict=True)
        for a, b in zip(one, two, strict=True)
    )
    other = fitted(2, threshold=threshold, balance=balance, **options)
    assert not np.array_equal(other.layers[0][0], found.layers[0][0])
    if loss == "bce":
        assert scores.min() >= 0 and scores.max() <= 1  # noqa: PT018
    else:
        assert abs(scores.mean() - Y.mean()) < 0.8


def test_training_stops_when_nothing_is_gained() -> None:
    options = {"loss": "mse", "hidden": (), "epochs": 200, "learning_rate": 0.05, "batch": 64}
    assert fitted(patience=3, **options).epochs < 100
    assert fitted(patience=3, min_gain=1.0, **options).epochs <= 5


@pytest.mark.parametrize(("output", "classes"), [("sigmoid", ()), ("mean", (0.0, 1.0, 3.0))])
def test_a_head_with_such_outputs_is_written_and_read(
    tmp_path: Path, output: Any, classes: tuple[float, ...]
) -> None:
    width = len(classes) or 1
    layers = [(RNG.standard_normal((width, 512)) / 9, RNG.standard_normal(width))]
    card = Card(
        format=1, name="toy", about="t", encoder=TrainedOn(name="usem3", checksum="", max_characters=9),
        layers=(512, width), labels=Labels(about="t", minimum=0, maximum=3), output=output, classes=classes,
        metrics={}, data="", recipe="", licence="", weights_sha256="",
    )  # fmt: skip
    head = read_head(write_head(layers, card, tmp_path))
    vectors = RNG.standard_normal((70, 512)).astype(np.float32)
    logits = vectors.astype(np.float64) @ layers[0][0].astype(np.float32).T + layers[0][1].astype(np.float32)
    wanted = [
        1 / (1 + math.exp(-row[0])) if not classes
        else sum(c * math.exp(v) for c, v in zip(classes, row, strict=True)) / sum(map(math.exp, row))
        for row in logits.tolist()
    ]  # fmt: skip
    scores = head.score(vectors)
    assert np.abs(scores - wanted).max() < 1e-4
    alone = np.concatenate([head.score(vectors[at : at + 1]) for at in range(70)])
    assert alone.tobytes() == scores.tobytes()


LESSON = "The {} cell makes sugar from light, water and air; number {} shows why leaves are green in spring."
OFFER = "Buy {} now! Only {} left, cheap shoes, free shipping, click here and win a voucher today."
WORDS = ["plant", "young", "tall", "wild", "dry", "small", "broad", "old"]


def documents(rows: int) -> list[dict[str, Any]]:
    """Lessons and offers in two languages' names, some of them worth nothing to training."""
    made = []
    for n in range(rows):
        form = LESSON if n % 2 else OFFER
        label = 3 + n % 3 if n % 2 else n % 3
        language = "eng_Latn" if n % 4 < 2 else "fra_Latn"
        made.append({"text": form.format(WORDS[n % 8], n), "score": label, "lang": language})
    return made


def jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where a head was trained by command: recipe, labels, `heads/`."""
    folder = tmp_path_factory.mktemp("train")
    rows = documents(80)
    rows += [{"text": " ", "score": 1, "lang": "eng_Latn"}, {"text": "no label", "lang": "eng_Latn"}]
    rows += [{"text": "suomea", "score": 5, "lang": "fin_Latn"}]
    jsonl(folder / "labels.jsonl.gz", rows)
    recipe = folder / "head.yaml"
    recipe.write_text(
        f"name: mine\nlabels: [{{path: {folder}/labels.jsonl.gz, language: lang}}]\nthreshold: 3\nseeds: 2\n"
        f"output: {folder}/heads\n"
    )
    done = CliRunner().invoke(cli, ["train", str(recipe)], catch_exceptions=False)
    assert done.exit_code == 0
    (folder / "out.txt").write_text(done.output)
    return folder


def test_what_was_trained_is_said(trained: Path) -> None:
    said = (trained / "out.txt").read_text()
    assert "80 documents; Spearman 0." in said
    for why in ("1 blank", "1 without a label", "1 in languages that usem3 does not know"):
        assert f"left out: {why}" in said
    assert "eng_Latn" in said
    assert "fra_Latn" in said
    card = read_card(trained / "heads" / "mine.safetensors")
    assert card.metrics["spearman_mean"] > 0.6
    assert card.metrics["f1_at_threshold"] > 0.9
    assert card.metrics["eng_Latn_documents"] == 40
    assert card.metrics["spearman_of_64_labels"] == pytest.approx(card.metrics["spearman_mean"], abs=1e-3)
    page = (trained / "heads" / "mine.md").read_text()
    assert f"| spearman mean | {card.metrics['spearman_mean']:g} |" in page


def test_what_was_trained_scores_in_a_run(trained: Path, tmp_path: Path) -> None:
    step = Quality(QualityConfig(head=str(trained / "heads" / "mine.safetensors")))
    context = Context(models=models_folder(), scratch=tmp_path)
    step.artifacts(context)
    step.open(context)
    texts = [LESSON.format("new", 900), OFFER.format("hats", 900)]
    lesson, offer = step.annotate(batch_of(texts))["score"].to_pylist()
    assert lesson > offer + 1.5


def test_vectors_are_kept_and_found_again(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = {
        "name": "kept", "labels": [{"path": str(trained / "labels.jsonl.gz"), "language": "lang"}], "folds": 2,
        "seeds": 1, "cache": str(tmp_path / "cache"), "output": str(tmp_path),
    }  # fmt: skip
    first = train(Recipe.model_validate(raw))
    before = first.head.read_bytes()
    given = ["evaluate", str(trained / "labels.jsonl.gz"), "--head", str(first.head), "--language", "lang"]
    done = CliRunner().invoke(cli, [*given, "--cache", str(tmp_path / "cache")], catch_exceptions=False)
    assert "82 documents, against score" in done.output

    def encode(*arguments: object) -> None:
        raise AssertionError("it was encoded before")

    monkeypatch.setattr(Usem3, "encode", encode)
    again = train(Recipe.model_validate(raw))
    assert again.head.read_bytes() == before
    assert again.documents == first.documents == 80


@pytest.mark.parametrize(
    ("use", "write"), [("onnx", write_onnx), ("transformers", write_bert), ("packed", write_gte)]
)
def test_a_head_of_another_encoder(use: str, write: Callable[[Path], Path], tmp_path: Path) -> None:
    """Trained and applied with a tiny model of random weights; the card knows how its vectors were made."""
    if use != "onnx":
        pytest.importorskip("torch", reason="needs curate[gpu]")
    model = {"use": use, "model": str(write(tmp_path / "model")), "pooling": "mean", "max_tokens": 128}
    rows = [{"text": f"{'one two ' * (n % 7)}bridge {n}", "score": n % 7} for n in range(40)]
    labels = [{"path": str(jsonl(tmp_path / "labels.jsonl", rows))}]
    raw = {"name": "tiny", "labels": labels, "encoder": model, "seeds": 1, "output": str(tmp_path)}
    trained = train(Recipe.model_validate(raw))
    card = read_card(trained.head)
    assert card.encoder.settings["pooling"] == "mean"
    step = Quality(QualityConfig.model_validate({"head": str(trained.head), "encoder": model}))
    context = Context(models=models_folder(), scratch=tmp_path)
    step.artifacts(context)
    step.open(context)
    scores = step.annotate(batch_of([row["text"] for row in rows]))["score"].to_numpy()
    given = ["evaluate", str(tmp_path / "labels.jsonl"), "--head", str(trained.head), "--json", "--encoder"]
    done = CliRunner().invoke(cli, [*given, json.dumps(model)], catch_exceptions=False)
    found = json.loads(done.output)["raters"]["tiny"]["spearman"]
    wanted = scipy.stats.spearmanr(scores, [row["score"] for row in rows]).statistic
    assert found == pytest.approx(wanted, abs=0.01)  # a run rounds vectors to float16
    with pytest.raises(CurateError, match="E508"):
        CliRunner().invoke(cli, [*given, json.dumps({**model, "pooling": "cls"})], catch_exceptions=False)


def test_a_head_is_evaluated_with_its_own_encoder(trained: Path, tmp_path: Path) -> None:
    head = read_head(trained / "heads" / "mine.safetensors")
    other = TrainedOn(name="arctic", checksum="ab" * 32, max_characters=9)
    card = head.card.model_copy(update={"encoder": other})
    path = write_head([(np.zeros((1, 512)), np.zeros(1))], card, tmp_path)
    command = ["evaluate", str(trained / "labels.jsonl.gz"), "--head", str(path)]
    with pytest.raises(CurateError, match=r"E508.*arctic.*usem3"):
        CliRunner().invoke(cli, command, catch_exceptions=False)
    for wrong in ("{use: onxx, model: m}", "usem4", "{"):
        done = CliRunner().invoke(cli, [*command, "--encoder", wrong])
        assert done.exit_code == 2
        assert "--encoder" in done.output


def test_raters_are_compared(trained: Path, tmp_path: Path) -> None:
    rows = documents(40)
    for n, row in enumerate(rows):
        row["judge__score"] = row["score"] if n % 5 else None
        row["human_score"] = max(0, row["score"] - (n % 3 == 0))
    rows.append({"text": "suomea", "score": 2, "human_score": 2, "lang": "fin_Latn", "judge__score": None})
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, tmp_path / "labels.parquet")
    head = str(trained / "heads" / "mine.safetensors")
    given = [
        "--label",
        "human_score",
        "--label",
        "judge__score",
        "--head",
        head,
        "--language",
        "lang",
        "--threshold",
        "3",
    ]
    command = ["evaluate", str(tmp_path), *given]
    done = CliRunner().invoke(cli, [*command, "--json"], catch_exceptions=False)
    found = json.loads(done.output)
    assert found["reference"] == "human_score"
    judge, mine = found["raters"]["judge__score"], found["raters"]["mine"]
    both = [(r["judge__score"], r["human_score"]) for r in rows if r["judge__score"] is not None]
    assert judge["documents"] == len(both) == 32
    assert judge["spearman"] == pytest.approx(
        scipy.stats.spearmanr(*zip(*both, strict=True)).statistic, abs=1e-4
    )
    assert (mine["documents"], mine["not_scored"]) == (40, 1)
    assert mine["at_threshold"]["f1"] > 0.7
    assert mine["languages"]["fin_Latn"]["spearman"] is None
    assert {tuple(pair["raters"]) for pair in found["agreement"]} == {
        ("human_score", "judge__score"), ("human_score", "mine"), ("judge__score", "mine")
    }  # fmt: skip
    shown = CliRunner().invoke(cli, command, catch_exceptions=False).output
    assert "mine gives no score to 1" in shown
    with pytest.raises(CurateError, match="nothing to compare"):
        CliRunner().invoke(cli, ["evaluate", str(tmp_path), "--label", "score"], catch_exceptions=False)


def test_a_head_of_probabilities_is_held_against_labels_that_reach_its_threshold(
    trained: Path, tmp_path: Path
) -> None:
    """`loss: bce` learns whether 3 is reached: F1, calibration and agreement are about that, by scikit-learn and by hand."""
    raw = {
        "name": "yes", "labels": [{"path": str(trained / "labels.jsonl.gz")}], "threshold": 3, "folds": 2, "seeds": 1,
        "fit": {"loss": "bce", "hidden": [], "epochs": 30, "learning_rate": 0.01}, "output": str(tmp_path),
    }  # fmt: skip
    head = train(Recipe.model_validate(raw)).head
    given = [
        "evaluate",
        str(trained / "labels.jsonl.gz"),
        "--head",
        str(head),
        "--head",
        "edu-usem3",
        "--json",
    ]
    shown = CliRunner().invoke(cli, [*given, "--threshold", "3"], catch_exceptions=False)
    found = json.loads(shown.output)
    texts: list[dict[str, Any]] = [*documents(80), {"text": "no label"}, {"text": "suomea", "score": 5}]
    probability = read_head(head).score(vectors_of_texts([row["text"] for row in texts]))
    labelled = np.array(["score" in row for row in texts])
    truth = np.array([row.get("score", 0) >= 3 for row in texts])[labelled]
    said = probability[labelled] >= 0.5
    figures = found["raters"]["yes"]
    assert figures["at_threshold"]["f1"] == pytest.approx(sklearn.metrics.f1_score(truth, said), abs=1e-4)
    assert figures["at_threshold"]["f1"] > 0.8
    assert figures["at_threshold"]["positives"] == truth.sum()
    assert all(0 <= one["label"] <= 1 and 0 <= one["score"] <= 1 for one in figures["calibration"]["bins"])
    assert figures["calibration"]["error"] < 0.3, "on the labels' own scale it would be above 2"
    agreement = {tuple(pair["raters"]): pair for pair in found["agreement"]}
    assert agreement["score", "yes"]["equal"] == pytest.approx((truth == said).mean(), abs=1e-4)
    wanted = sklearn.metrics.cohen_kappa_score(truth, said, weights="quadratic")
    assert agreement["score", "yes"]["kappa"] == pytest.approx(wanted, abs=1e-4)


def vectors_of_texts(texts: list[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
    encoder = Usem3()
    encoder.open()
    return encoder.encode(pa.array(texts), 2000).embeddings.astype(np.float32)


def test_figures_that_cannot_be_said_are_null(tmp_path: Path) -> None:
    """Of a language with two labels, and of one whose labels are all the same."""
    rows = [
        {
            "text": row["text"],
            "score": 3 if n % 10 == 0 else row["score"],
            "lang": "deu_Latn" if n % 10 == 0 else "eng_Latn",
        }
        for n, row in enumerate(documents(60))
    ]
    rows += [{"text": OFFER.format("x", n), "score": n, "lang": "fra_Latn"} for n in range(2)]
    jsonl(tmp_path / "labels.jsonl", rows)
    recipe = tmp_path / "head.yaml"
    recipe.write_text(
        f"name: mine\nlabels: [{{path: {tmp_path}/labels.jsonl, language: lang}}]\nfolds: 2\nseeds: 1\noutput: {tmp_path}\n"
    )
    done = CliRunner().invoke(cli, ["train", str(recipe), "--json"], catch_exceptions=False)

    def never(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    facts = json.loads(done.output, parse_constant=never)
    assert facts["languages"]["fra_Latn"] == {"documents": 2, "spearman": None, "low": None, "high": None}
    assert facts["languages"]["deu_Latn"]["spearman"] is None
    assert facts["languages"]["eng_Latn"]["spearman"] is not None
    table = CliRunner().invoke(cli, ["train", str(recipe), "--force"], catch_exceptions=False).output
    assert "nan" not in table
    assert "nan" not in (tmp_path / "mine.md").read_text()


def test_equal_texts_are_in_one_fold(tmp_path: Path) -> None:
    """A label that is noise, but the same for a text wherever it stands: whoever has seen it once knows it."""
    rows = [{"text": OFFER.format(WORDS[n % 8], n), "score": int(RNG.integers(0, 6))} for n in range(40)]
    jsonl(tmp_path / "labels.jsonl", rows * 3)
    labels = [{"path": str(tmp_path / "labels.jsonl")}]
    recipe = Recipe.model_validate(
        {
            "name": "noise",
            "labels": labels,
            "fit": {"penalty": 1e-6},
            "seeds": 1,
            "folds": 3,
            "output": str(tmp_path),
        }
    )
    assert train(recipe).metrics["spearman_mean"] < 0.5


@pytest.mark.parametrize(
    ("rows", "code", "why"),
    [
        ([{"text": "a", "score": 1}] * 9, "D411", "there are 9, fewer than 4 for each of 5 folds"),
        ([{"text": f"text {n}", "score": 2} for n in range(30)], "D411", "all 30 of them are 2"),
        ([{"text": "a", "label": 1}], "D402", "no column 'score'"),
        ([{"text": "a", "score": "good"}], "D403", "'score' is string"),
        ([{"text": 3, "score": 1}], "D403", "'text' is double"),
        ([], "D402", "no column 'text'"),
    ],
)
def test_labels_that_teach_nothing_are_refused(
    rows: list[dict[str, Any]], code: str, why: str, tmp_path: Path
) -> None:
    jsonl(tmp_path / "labels.jsonl", rows)
    recipe = Recipe.model_validate({"name": "x", "labels": [{"path": str(tmp_path)}]})
    with pytest.raises(CurateError) as caught:
        train(recipe)
    assert caught.value.problems[0].code == code
    assert why in caught.value.problems[0].message


def test_files_that_are_no_labels_are_refused(tmp_path: Path) -> None:
    for name, data, why in [
        ("a.jsonl", b'{"text": "a"}\n{"te', "line 2"),
        ("b.jsonl", b"[1]\n", "line 1 is no JSON object"),
        ("c.jsonl.zst", b"not compressed", "cannot be read"),
        ("d.jsonl.gz", b"not compressed", "cannot be read"),
        ("e.parquet", b"PAR1", "cannot be read"),
        ("f.csv", b"text,score\n", "neither Parquet nor JSON Lines"),
    ]:
        (tmp_path / name).write_bytes(data)
        with pytest.raises(CurateError, match="D401") as caught:
            read_labels(str(tmp_path / name), text="text", columns=["score"], language=None)
        assert why in str(caught.value)
    with pytest.raises(CurateError, match="there are no labels"):
        read_labels(str(tmp_path / "*.none"), text="text", columns=None, language=None)


def test_a_recipe_is_checked_like_a_config(trained: Path, tmp_path: Path) -> None:
    recipe = trained / "head.yaml"
    with pytest.raises(CurateError, match="C205"):
        CliRunner().invoke(cli, ["train", str(recipe)], catch_exceptions=False)
    wrong = tmp_path / "head.yaml"
    wrong.write_text(recipe.read_text() + "tresholt: 3\nfit: {loss: mae}\n")
    with pytest.raises(CurateError) as caught:
        CliRunner().invoke(cli, ["train", str(wrong)], catch_exceptions=False)
    assert [(p.code, p.position.line) for p in caught.value.problems if p.position] == [
        ("C103", 6),
        ("C102", 7),
    ]
    wrong.write_text(recipe.read_text().replace("threshold: 3", "fit: {loss: bce}"))
    with pytest.raises(CurateError, match="threshold"):
        CliRunner().invoke(cli, ["train", str(wrong)], catch_exceptions=False)
