"""`curate heads import`: published layouts become heads with the same scores, and what is not safe is refused."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from curate.core.errors import CurateError
from filters.heads.commands import command
from filters.heads.head import read_head
from filters.registry import FINEWEB_EDU_HEAD, JQL_ENCODER, JQL_HEADS, MODELS
from tests.filters.tiny_encoders import write_gte

torch = pytest.importorskip("torch", reason="needs curate[gpu]")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, ["import", *map(str, arguments)])


def refused(*arguments: object) -> str:
    result = run(*arguments)
    assert isinstance(result.exception, CurateError), result.output
    (problem,) = result.exception.problems
    assert problem.code == "E507"
    return problem.message


class RegressionHead(torch.nn.Module):
    """JQL's head as its authors define it: two layers, ReLU between."""

    def __init__(self, size: int = 768, hidden: int = 1000) -> None:
        super().__init__()
        self.layer1 = torch.nn.Linear(size, hidden)
        self.layer2 = torch.nn.Linear(hidden, 1)

    def forward(self, x: Any) -> Any:
        return self.layer2(torch.relu(self.layer1(x)))


def lightning(head: Any, **more: Any) -> dict[str, Any]:
    """A checkpoint as PyTorch Lightning writes it."""
    optimizer = torch.optim.AdamW(head.parameters(), lr=5e-4)
    return {
        "epoch": 19, "global_step": 8000, "pytorch-lightning_version": "2.5.0", "state_dict": head.state_dict(),
        "loops": {"fit_loop": {"state_dict": {}}}, "lr_schedulers": [], "optimizer_states": [optimizer.state_dict()],
        "callbacks": {"EarlyStopping{'monitor': 'spearman'}": {"best_score": torch.tensor(0.74), "patience": 5}},
        "hparams_name": "kwargs", "hyper_parameters": {"input_dim": 768, "hidden_dim": 1000, "learning_rate": 5e-4},
        **more,
    }  # fmt: skip


def test_jqls_checkpoint_gives_jqls_scores(tmp_path: Path) -> None:
    torch.manual_seed(1)
    head = RegressionHead().to(torch.bfloat16)  # exact in float32
    torch.save(lightning(head), tmp_path / "edu-gemma-snowflake-balanced.ckpt")
    result = run(tmp_path / "edu-gemma-snowflake-balanced.ckpt", tmp_path / "heads")
    assert result.exit_code == 0, result.output
    assert "768 -> 1000 -> 1" in result.output
    made = read_head(tmp_path / "heads/edu-gemma-snowflake-balanced.safetensors")
    assert made.card.name == "edu-gemma-snowflake-balanced"
    assert made.card.encoder.name == JQL_ENCODER
    assert made.card.encoder.settings == {"pooling": "cls", "prefix": "", "normalize": True}
    assert (made.card.labels.minimum, made.card.labels.maximum) == (0, 5)
    vectors = np.random.default_rng(1).standard_normal((200, 768)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    with torch.inference_mode():
        wanted = head.to(torch.float32)(torch.from_numpy(vectors))[:, 0].numpy()
    scores = made.score(vectors)
    assert np.abs(scores - wanted).max() < 1e-5
    assert len(np.unique(scores)) == 200  # no steps of 1/64


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_fineweb_edus_classifier_gives_its_logits(tmp_path: Path, file: str) -> None:
    transformers = pytest.importorskip("transformers", reason="needs curate[gpu]")
    torch.manual_seed(2)
    config = transformers.BertConfig(
        vocab_size=50,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        num_labels=1,
    )
    model = transformers.BertForSequenceClassification(config).eval()
    if file == "model.safetensors":
        model.save_pretrained(tmp_path)
    else:
        torch.save(model.state_dict(), tmp_path / file)
    result = run(tmp_path / file, tmp_path / "heads")
    assert result.exit_code == 0, result.output
    made = read_head(tmp_path / "heads" / f"{Path(file).stem}.safetensors")
    assert made.card.encoder.settings == {"pooling": "cls", "prefix": "", "normalize": False}
    with torch.inference_mode():
        ids = torch.arange(40).view(4, 10)
        wanted = model(input_ids=ids).logits[:, 0].numpy()
        states = model.bert(input_ids=ids).last_hidden_state[:, 0].numpy()
    assert np.abs(made.score(states) - wanted).max() < 1e-5
    alone = np.concatenate([made.score(states[at : at + 1]) for at in range(4)])
    assert alone.tobytes() == made.score(states).tobytes()


class Malicious:
    """What a pickle can do when it is opened."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def test_a_pickle_that_would_run_something_is_refused(tmp_path: Path) -> None:
    mark = tmp_path / "was-run"
    torch.save(lightning(RegressionHead(4, 3), evil=Malicious(mark)), tmp_path / "new.ckpt")
    torch.save(Malicious(mark), tmp_path / "old.ckpt", _use_new_zipfile_serialization=False)
    (tmp_path / "plain.ckpt").write_bytes(pickle.dumps(Malicious(mark)))
    for name in ("new", "old", "plain"):
        message = refused(tmp_path / f"{name}.ckpt")
        assert "refused" in message
        assert "more than weights" in message
        assert "weights_only" not in message  # torch's advice to switch it off is not passed on
    assert not mark.exists()
    assert not list(tmp_path.glob("*.safetensors"))


def test_files_that_are_no_heads_say_why(tmp_path: Path) -> None:
    def saved(name: str, what: Any) -> Path:
        torch.save(what, tmp_path / name)
        return tmp_path / name

    assert "known layouts" in refused(saved("other.pt", {"a": torch.zeros(2)}))
    assert "holds a list" in refused(saved("list.pt", [1, 2]))
    wide = {"layer1.weight": torch.zeros(3, 4), "layer1.bias": torch.zeros(3)}
    wide |= {"layer2.weight": torch.zeros(2, 3), "layer2.bias": torch.zeros(2)}
    assert "2 values" in refused(saved("wide.pt", wide))
    apart = {**wide, "layer2.weight": torch.zeros(1, 5), "layer2.bias": torch.zeros(1)}
    assert "behind 3 values" in refused(saved("apart.pt", apart))
    infinite = {**wide, "layer2.weight": torch.full((1, 3), torch.inf), "layer2.bias": torch.zeros(1)}
    assert "not finite" in refused(saved("infinite.pt", infinite))
    whole = saved("whole.pt", wide).read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.pt").touch()
    (tmp_path / "text.safetensors").write_text("no tensors")
    for name in ("cut.pt", "empty.pt", "text.safetensors", "nowhere.pt"):
        assert "cannot be imported" in refused(tmp_path / name)


def test_registered_heads_are_made_beside_their_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CURATE_MODELS", str(tmp_path / "models"))
    result = run(JQL_HEADS)
    assert isinstance(result.exception, CurateError)
    assert result.exception.problems[0].help == f"run: curate models pull {JQL_HEADS}"
    for part in MODELS[JQL_HEADS].parts():
        path = part.path(tmp_path / "models")
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(lightning(RegressionHead(32, 5)), path)
    encoder = write_gte(tmp_path / JQL_ENCODER)
    assert run(JQL_HEADS, "--encoder", encoder).exit_code == 0
    made = sorted((tmp_path / "models" / JQL_HEADS).glob("*.safetensors"))
    assert [path.stem for path in made] == [
        f"edu-{t}-snowflake-balanced" for t in ("gemma", "llama", "mistral")
    ]
    assert all(len(read_head(path).card.encoder.checksum) == 64 for path in made)
    classifier = MODELS[FINEWEB_EDU_HEAD].path(tmp_path / "models")
    classifier.parent.mkdir()
    from safetensors.numpy import save_file

    tensors = {
        "bert.pooler.dense.weight": (4, 4),
        "bert.pooler.dense.bias": (4,),
        "classifier.weight": (1, 4),
    }
    save_file(
        {n: np.ones(s, np.float32) for n, s in {**tensors, "classifier.bias": (1,)}.items()}, classifier
    )
    assert run(FINEWEB_EDU_HEAD).exit_code == 0
    assert read_head(classifier.with_name(f"{FINEWEB_EDU_HEAD}.safetensors")).card.activation == "tanh"
    assert run(classifier).exit_code == 2  # it would overwrite the model
