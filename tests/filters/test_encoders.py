"""Encoders in folders: they agree with their references, batches change nothing, bad folders say what is wrong."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import TypeAdapter, ValidationError

from curate.core.errors import CurateError
from filters.encoders.cache import recipe_of
from filters.encoders.encoder import Encoded, checksum
from filters.encoders.options import EncoderOptions, Options, make_encoder
from filters.encoders.tokens import Tokenizer
from filters.encoders.vectors import Vectors
from tests.filters import tiny_encoders as tiny

torch = pytest.importorskip("torch", reason="needs curate[gpu]")
pytest.importorskip("transformers", reason="needs curate[gpu]")
pytest.importorskip("onnxruntime", reason="needs curate[onnx]")
pytest.importorskip("onnx", reason="makes tiny ONNX models")

from filters.encoders.packed import packed_model  # noqa: E402  # needs torch
from filters.encoders.packed_weights import Tensors  # noqa: E402  # needs torch

WRITERS = {
    "xlm-roberta": tiny.write_xlm_roberta,
    "bert": tiny.write_bert,
    "modernbert": tiny.write_modernbert,
    "gte": tiny.write_gte,
}
Float64s = np.ndarray


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("encoders")
    made = {name: write(root / name) for name, write in WRITERS.items()}
    return made | {"onnx": tiny.write_onnx(root / "onnx")}


def options(use: str, model: Path | str, **more: Any) -> EncoderOptions:
    adapter: TypeAdapter[EncoderOptions] = TypeAdapter(Options)
    return adapter.validate_python({"use": use, "model": str(model), "max_tokens": 64, **more})


def opened(use: str, model: Path | str, **more: Any) -> Any:
    encoder = make_encoder(options(use, model, **more))
    encoder.open()
    return encoder


def encoded(use: str, model: Path | str, texts: list[str] = tiny.TEXTS, **more: Any) -> Encoded:
    return opened(use, model, **more).encode(pa.array(texts, pa.string()), 65_536)


def cosines(a: Encoded, b: Encoded) -> Float64s:
    read = a.n_tokens > 0
    return np.einsum("ij,ij->i", a.embeddings[read].astype(np.float64), b.embeddings[read].astype(np.float64))


@pytest.mark.parametrize("pooling", ["cls", "mean", "last"])
@pytest.mark.parametrize("name", ["xlm-roberta", "bert", "modernbert"])
def test_packed_is_what_the_padded_library_makes(folders: dict[str, Path], name: str, pooling: str) -> None:
    """Both through our own batches, and the library once more alone with its own masks."""
    import transformers

    packed = encoded("packed", folders[name], pooling=pooling, batch_tokens=200)
    padded = encoded("transformers", folders[name], pooling=pooling, batch_tokens=300)
    assert packed.n_tokens.tolist() == padded.n_tokens.tolist()
    assert packed.truncated.tolist() == padded.truncated.tolist()
    assert cosines(packed, padded).min() > 0.9999
    assert np.abs(packed.embeddings - padded.embeddings).max() < 1e-5
    assert len(np.unique(packed.embeddings.round(4), axis=0)) >= len(tiny.TEXTS) - 2  # they tell texts apart
    model = transformers.AutoModel.from_pretrained(folders[name]).eval()
    encoder = opened("packed", folders[name])
    for row, text in enumerate(tiny.TEXTS):
        (ids,) = encoder._tokenizer.encode([text]).ids
        if len(ids):
            with torch.inference_mode():
                states = model(input_ids=torch.tensor(ids[None].astype(np.int64))).last_hidden_state[0]
            vector = {"cls": states[0], "mean": states.mean(0), "last": states[-1]}[pooling]
            assert (
                torch.nn.functional.cosine_similarity(vector, torch.tensor(packed.embeddings[row]), 0)
                > 0.9999
            )


def gte_reference(config: dict[str, Any], tensors: dict[str, np.ndarray], ids: np.ndarray) -> Float64s:
    """GTE's published definition, one text at a time in float64, in the plainest way."""
    from math import erf

    w = {name: tensor.astype(np.float64) for name, tensor in tensors.items()}
    heads, size = config["num_attention_heads"], config["hidden_size"]
    width, inner = size // heads, config["intermediate_size"]

    def norm(x: Float64s, name: str) -> Float64s:
        centred = x - x.mean(1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(1, keepdims=True) + config["layer_norm_eps"])
        return scaled * w[name + ".weight"] + w[name + ".bias"]

    def turned(x: Float64s) -> Float64s:
        out = np.empty_like(x)
        theta, scaling = config["rope_theta"], config["rope_scaling"]
        for pair in range(width // 2):
            step = theta ** (-2 * pair / width)
            if scaling:
                factor, mixed = scaling["factor"], scaling.get("mixed_b")
                if mixed is None:
                    step = (theta * factor) ** (-2 * pair / width) / factor ** (2 / width)
                else:
                    step /= np.exp(np.log(factor) / (width / 2) ** mixed * (pair + 1) ** mixed)
            angle = np.arange(len(x)) * step
            one, two = x[:, pair], x[:, pair + width // 2]
            out[:, pair] = one * np.cos(angle) - two * np.sin(angle)
            out[:, pair + width // 2] = two * np.cos(angle) + one * np.sin(angle)
        return out

    x = w["embeddings.word_embeddings.weight"][ids]
    if config["type_vocab_size"]:
        x = x + w["embeddings.token_type_embeddings.weight"][0]
    x = norm(x, "embeddings.LayerNorm")
    for layer in range(config["num_hidden_layers"]):
        name = f"encoder.layer.{layer}"
        if config["pack_qkv"]:
            qkv = x @ w[f"{name}.attention.qkv_proj.weight"].T + w[f"{name}.attention.qkv_proj.bias"]
        else:
            parts = [
                x @ w[f"{name}.attention.{p}_proj.weight"].T + w[f"{name}.attention.{p}_proj.bias"]
                for p in "qkv"
            ]
            qkv = np.concatenate(parts, 1)
        context = np.empty_like(x)
        for head in range(heads):
            at = slice(head * width, (head + 1) * width)
            q, k, v = (
                turned(qkv[:, :size][:, at]),
                turned(qkv[:, size : 2 * size][:, at]),
                qkv[:, 2 * size :][:, at],
            )
            scores = np.exp(q @ k.T / np.sqrt(width))
            context[:, at] = scores / scores.sum(1, keepdims=True) @ v
        out = context @ w[f"{name}.attention.o_proj.weight"].T + w[f"{name}.attention.o_proj.bias"]
        x = norm(x + out, f"{name}.attn_ln")
        both = x @ w[f"{name}.mlp.up_gate_proj.weight"].T
        gate = np.vectorize(lambda value: value * (1 + erf(value / 2**0.5)) / 2)(both[:, inner:])
        down = (both[:, :inner] * gate) @ w[f"{name}.mlp.down_proj.weight"].T + w[
            f"{name}.mlp.down_proj.bias"
        ]
        x = norm(x + down, f"{name}.mlp_ln")
    return x


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"pack_qkv": False, "type_vocab_size": 0, "model_type": "new"},
        {"rope_scaling": {"type": "ntk", "factor": 8.0}, "rope_theta": 20000},
        {"rope_scaling": {"type": "ntk", "factor": 4.0, "mixed_b": 0.6}, "prefix": "new."},
    ],
    ids=["arctic", "unpacked", "gte-multilingual", "mixed"],
)
def test_packed_gte_is_its_published_definition(tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = tiny.write_gte(tmp_path, **changes)
    config = json.loads((folder / "config.json").read_text())
    tensors = tiny.gte_tensors(config)
    encoder = opened("packed", folder, batch_tokens=150, normalize=False)
    found = encoder.encode(pa.array(tiny.TEXTS, pa.string()), 65_536)
    for row, text in enumerate(tiny.TEXTS):
        (ids,) = encoder._tokenizer.encode([text]).ids
        if len(ids):
            wanted = gte_reference(config, tensors, ids)[0]
            assert np.abs(found.embeddings[row] - wanted).max() < 1e-4


def test_onnx_pools_what_the_model_gives(folders: dict[str, Path], tmp_path: Path) -> None:
    table = np.load(folders["onnx"] / "table.npy")
    encoder = opened("onnx", folders["onnx"])
    tokens = encoder._tokenizer.encode(tiny.TEXTS).ids
    for pooling in ("cls", "mean", "last"):
        found = encoded("onnx", folders["onnx"], pooling=pooling, batch_tokens=100, normalize=False)
        for row, ids in enumerate(tokens):
            if not len(ids):
                assert not found.embeddings[row].any()
                continue
            states = table[ids] + np.tanh(table[ids].sum(0))
            wanted = {"cls": states[0], "mean": states.mean(0), "last": states[-1]}[pooling]
            assert np.abs(found.embeddings[row] - wanted).max() < 1e-5
    ready = tiny.write_onnx(tmp_path / "ready", "sentence_embedding")
    vectors = encoded("onnx", ready, ["one two", "a"]).embeddings
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    for row, ids in enumerate(encoder._tokenizer.encode(["one two", "a"]).ids):
        summed = np.tanh(table[ids].sum(0))
        assert np.abs(vectors[row] - summed / np.linalg.norm(summed)).max() < 1e-5


@pytest.mark.parametrize(
    ("use", "name"), [("packed", "gte"), ("packed", "modernbert"), ("transformers", "bert"), ("onnx", "onnx")]
)
def test_batches_change_nothing_but_rounding(folders: dict[str, Path], use: str, name: str) -> None:
    together = encoded(use, folders[name], tiny.TEXTS * 3, batch_tokens=4096)
    small = encoded(use, folders[name], tiny.TEXTS * 3, batch_tokens=1)
    again = encoded(use, folders[name], tiny.TEXTS * 3, batch_tokens=4096)
    assert together.embeddings.tobytes() == again.embeddings.tobytes()
    assert np.abs(together.embeddings - small.embeddings).max() < 1e-5
    assert together.n_tokens.tolist() == small.n_tokens.tolist()
    assert np.allclose(np.linalg.norm(together.embeddings[together.n_tokens > 0], axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(("use", "name"), [("packed", "gte"), ("transformers", "bert"), ("onnx", "onnx")])
def test_tokens_and_busy_seconds_are_told(use: str, name: str, folders: dict[str, Path]) -> None:
    encoder = opened(use, folders[name], batch_tokens=500)
    start = time.perf_counter()
    found = encoder.encode(pa.array(tiny.TEXTS * 3, pa.string()), 65_536)
    passed = time.perf_counter() - start
    tokens, busy, _ = encoder.meter.take()
    assert tokens == found.n_tokens.sum()
    assert 0 < busy < passed
    assert encoder.meter.take() == (0, 0.0, 0.0)


def test_what_holds_nothing_is_not_read_and_what_is_long_is_cut(folders: dict[str, Path]) -> None:
    texts = ["", " \u200b ", "\u9f98", "one two", "one " * 500]
    for prefix in ("", "the "):
        found = encoded("packed", folders["xlm-roberta"], texts, max_tokens=20, prefix=prefix)
        assert (found.n_tokens > 0).tolist() == [False, False, False, True, True]
        assert found.n_tokens[4] == 20
        assert found.truncated.tolist() == [False, False, False, False, True]
        assert not found.embeddings[:3].any()
    (huge,) = encoded("packed", folders["xlm-roberta"], ["one " * 15_000_000], max_tokens=20).truncated
    assert huge
    encoder = opened("packed", folders["xlm-roberta"], max_tokens=20)
    ids = encoder._tokenizer.encode(["one " * 500]).ids[0]
    assert (ids[0], ids[-1]) == (tiny.START, tiny.END)
    cut = encoder.encode(pa.array(["one two three", "one"]), 3)
    assert cut.truncated.tolist() == [True, False]
    assert cut.embeddings[0].tolist() == cut.embeddings[1].tolist()
    assert len(encoder.encode(pa.array([], pa.string()), 100).embeddings) == 0


@pytest.mark.parametrize(
    ("use", "name"), [("transformers", "xlm-roberta"), ("packed", "xlm-roberta"), ("onnx", "onnx")]
)
def test_more_tokens_than_a_model_has_positions_are_refused(
    use: str, name: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    """When the run is planned. XLM-R counts from behind the padding token, so 258 positions are for 256 tokens."""
    folder = tmp_path / name
    shutil.copytree(folders[name], folder)
    if use == "onnx":
        more = {"max_position_embeddings": 256, "model_type": "bert"}
        config = json.loads((folder / "config.json").read_text()) | more
        (folder / "config.json").write_text(json.dumps(config))
    make_encoder(options(use, folder, max_tokens=256)).files()
    with pytest.raises(CurateError, match=r"E507.* has 256 positions, and max_tokens is 257") as caught:
        make_encoder(options(use, folder, max_tokens=257)).files()
    assert "`max_tokens: 256`" in caught.value.problems[0].help
    long = encoded(use, folder, ["one two three " * 200], max_tokens=256)
    assert long.n_tokens.tolist() == [256]


def test_a_text_of_one_token_behind_a_prefix_is_read(tmp_path: Path) -> None:
    """Byte-level BPE joins the blank of the prefix and the text: as many tokens as the prefix has alone."""
    from tokenizers import Tokenizer as Library
    from tokenizers import decoders, models, pre_tokenizers, trainers

    library = Library(models.BPE())
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    letters = pre_tokenizers.ByteLevel.alphabet()
    library.train_from_iterator(
        ["query: a", "query: b"] * 9, trainers.BpeTrainer(initial_alphabet=letters, show_progress=False)
    )
    library.save(str(tmp_path / "tokenizer.json"))
    tokenizer = Tokenizer(tmp_path / "tokenizer.json", 16, "query: ", 1)
    assert len(library.encode("query: a").ids) == len(library.encode("query: ").ids)
    assert [len(ids) > 0 for ids in tokenizer.encode(["a", "", "a b"]).ids] == [True, False, True]


def test_a_prefix_is_put_before_each_text(folders: dict[str, Path]) -> None:
    plain = encoded("packed", folders["bert"], ["the one two"], max_tokens=64)
    prefixed = encoded("packed", folders["bert"], ["one two"], prefix="the ", max_tokens=64)
    assert plain.embeddings.tolist() == prefixed.embeddings.tolist()


def test_the_next_window_is_cut_while_the_model_works(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two threads of a worker, one model: the second has its tokens before its turn, and both get their own vectors."""
    encoder = opened("packed", folders["gte"])
    windows = [pa.array(tiny.TEXTS, pa.string()), pa.array(tiny.TEXTS[::-1], pa.string())]
    wanted = [encoder.encode(window, 65_536).embeddings for window in windows]
    vectors = Vectors(encoder, recipe_of(encoder, 65_536), None)
    vectors.begin()
    turn = threading.Event()
    forward, tokens, calls = encoder._forward, encoder._tokenizer.encode, []

    def slow(batch: Any) -> Any:
        assert turn.wait(30), "the other window's tokens are cut meanwhile"
        return forward(batch)

    def counted(texts: list[str]) -> Any:
        made = tokens(texts)
        calls.append(len(texts))
        if len(calls) == 2:
            turn.set()
        return made

    monkeypatch.setattr(encoder, "_forward", slow)
    monkeypatch.setattr(encoder._tokenizer, "encode", counted)
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(lambda window: vectors.encode(window, Counter()), windows))
    assert calls == [len(set(tiny.TEXTS))] * 2
    for one, other in zip(found, wanted, strict=True):
        assert np.abs(one.embeddings - other).max() < 1e-3  # rounded to float16


class Limited:
    """A model with room for so many tokens at once; what it says of a text is a function of its tokens."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.sizes: list[int] = []
        self.refused = 0

    def states(self, tokens: Any, layout: Any) -> Any:
        if len(tokens) > self.room:
            self.refused += 1
            raise torch.OutOfMemoryError(f"no room for {len(tokens)} tokens")
        self.sizes.append(len(tokens))
        turned = torch.arange(1, 33)[None, :] * (tokens[:, None] + layout.positions[:, None] + 1)
        return torch.sin(turned.float())


def test_batches_that_do_not_fit_are_halved(folders: dict[str, Path]) -> None:
    texts = pa.array(tiny.TEXTS * 4, pa.string())
    encoder = opened("packed", folders["gte"], pooling="mean", batch_tokens=2000)
    encoder._model = Limited(10**9)
    wanted = encoder.encode(texts, 65_536)
    encoder._model = Limited(150)
    found = encoder.encode(texts, 65_536)
    assert encoder._model.refused
    assert max(encoder._model.sizes) <= 150
    assert sum(encoder._model.sizes) == found.n_tokens.sum() == wanted.n_tokens.sum()
    assert np.abs(found.embeddings - wanted.embeddings).max() < 1e-6
    encoder._model = Limited(10)
    with pytest.raises(CurateError, match=r"E509.*64 tokens"):
        encoder.encode(texts, 65_536)


def problem(encoder: Any) -> tuple[str, str, str]:
    with pytest.raises(CurateError) as caught:
        encoder.open()
    (found,) = caught.value.problems
    return found.code, found.message, found.help


def test_folders_that_lack_files_name_them(folders: dict[str, Path], tmp_path: Path) -> None:
    code, message, _ = problem(make_encoder(options("packed", tmp_path)))
    assert code == "E507"
    assert "lacks config.json and tokenizer.json and model.safetensors" in message
    broken = tmp_path / "broken"
    broken.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (broken / name).write_bytes((folders["gte"] / name).read_bytes())
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (broken / "model.safetensors.index.json").write_text(json.dumps(index))
    (broken / "model-00001-of-00002.safetensors").touch()
    assert (
        "lacks model-00002-of-00002.safetensors" in problem(make_encoder(options("transformers", broken)))[1]
    )
    whole = (folders["gte"] / "model.safetensors").read_bytes()
    (broken / "model.safetensors").write_bytes(whole[:1000])
    assert "no safetensors file" in problem(make_encoder(options("packed", broken)))[1]
    (broken / "tokenizer.json").write_text("{}")
    assert "tokenizers does not read it" in problem(make_encoder(options("packed", broken)))[1]
    (broken / "model.onnx").write_bytes(b"no model")
    (broken / "tokenizer.json").write_bytes((folders["gte"] / "tokenizer.json").read_bytes())
    assert "onnxruntime does not load it" in problem(make_encoder(options("onnx", broken)))[1]
    (broken / "config.json").write_text("[]")
    (broken / "model.safetensors").write_bytes(whole)
    assert "no JSON object" in problem(make_encoder(options("packed", broken)))[1]


def test_models_that_have_no_packed_form_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    for changes, why in [
        ({"model_type": "t5"}, "'t5' has no packed form"),
        ({"hidden_act": "swish2"}, "activation 'swish2'"),
        ({"layer_norm_type": "rms_norm"}, "layer_norm_type 'rms_norm'"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2}}, "rope_scaling"),
        ({"num_attention_heads": 5}, "multiple of 5 heads"),
        ({"max_position_embeddings": 32}, "32 positions"),
    ]:
        folder = tiny.write_gte(tmp_path / str(len(why)), **changes)
        code, message, _ = problem(make_encoder(options("packed", folder)))
        assert code == "E507"
        assert why in message
    config = json.loads((folders["gte"] / "config.json").read_text())
    with pytest.raises(KeyError, match="word_embeddings"):
        packed_model(config, Tensors({}, None, None))


def test_a_vocabulary_larger_than_the_weights_is_refused(tmp_path: Path) -> None:
    folder = tiny.write_gte(tmp_path, vocab_size=100)
    assert "100 rows" in problem(make_encoder(options("packed", folder)))[1]


def test_a_gpu_that_is_not_there_is_an_error(folders: dict[str, Path]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    for use, name in (("packed", "gte"), ("transformers", "bert")):
        code, message, help = problem(make_encoder(options(use, folders[name], device="cuda")))
        assert code == "E509"
        assert "CUDA" in message
        assert "device: cpu" in help


def test_models_of_a_hub_are_pinned_and_never_fetched(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    commit = "0123456789abcdef0123456789abcdef01234567"
    code, message, help = problem(make_encoder(options("packed", "toy/tiny-gte")))
    assert (code, "pinned" in message, "40 hexadecimal" in help) == ("C207", True, True)
    code, _, help = problem(make_encoder(options("packed", "toy/tiny-gte", revision=commit)))
    assert (code, help) == ("E504", f"run: hf download toy/tiny-gte --revision {commit}")
    with pytest.raises(ValidationError, match="revision"):
        options("packed", "toy/tiny-gte", revision="main")
    snapshots = tmp_path / "hub/models--toy--tiny-gte/snapshots"
    snapshots.mkdir(parents=True)
    (snapshots / commit).symlink_to(folders["gte"])
    encoder = opened("packed", "toy/tiny-gte", revision=commit)
    assert encoder.name == "tiny-gte"
    assert make_encoder(options("packed", snapshots / commit)).name == "tiny-gte"
    assert checksum(encoder.files()) == checksum(make_encoder(options("packed", folders["gte"])).files())


def test_code_beside_a_model_is_not_run_unless_asked_for(folders: dict[str, Path], tmp_path: Path) -> None:
    """The folder's own class leaves a mark where it is imported."""
    folder = tmp_path / "own"
    folder.mkdir()
    for path in folders["bert"].iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config", "AutoModel": "mine.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    mark = tmp_path / "was-run"
    (folder / "mine.py").write_text(
        "import pathlib, transformers\n"
        f"pathlib.Path({str(mark)!r}).touch()\n"
        "class Config(transformers.BertConfig):\n    model_type = 'mine'\n"
        "class Model(transformers.BertModel):\n    config_class = Config\n"
    )
    encoder = make_encoder(options("transformers", folder))
    assert problem(encoder)[0] == "E507"
    assert not mark.exists()
    assert "code/mine.py" not in encoder.files()
    trusted = opened("transformers", folder, trust_remote_code=True)
    assert mark.exists()
    assert "code/mine.py" in trusted.files()
    plain = encoded("transformers", folders["bert"])
    assert np.allclose(trusted.encode(pa.array(tiny.TEXTS), 65_536).embeddings, plain.embeddings, atol=1e-6)


def test_options_belong_to_their_encoder() -> None:
    for given, why in [
        ({"use": "onnx", "model": "x", "trust_remote_code": True}, "trust_remote_code"),
        ({"use": "packed", "model": "x", "pooling": "max"}, "pooling"),
        ({"use": "packed"}, "model"),
        ({"use": "sentence", "model": "x"}, "use"),
    ]:
        with pytest.raises(ValidationError, match=why):
            TypeAdapter(Options).validate_python(given)


def test_half_precision_is_near(folders: dict[str, Path]) -> None:
    exact = encoded("packed", folders["gte"])
    near = encoded("packed", folders["gte"], dtype="bfloat16")
    assert near.embeddings.dtype == np.float32
    assert cosines(exact, near).min() > 0.99
