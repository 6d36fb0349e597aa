"""Scoring on a GPU: the packed encoder's share of the matrix rate, the heads' share of the time, and JQL's procedure.

    python benchmarks/scoring_gpu.py            on a machine with a GPU, an H100 or the like; about two minutes
    python benchmarks/scoring_gpu.py --tiny     on any, to see that it works: small layers, few documents, no figures

Weights are random, of the true architecture of arctic-embed-m-v2.0 (GTE, 12 layers of 768, 250,048 tokens), so figures are
those of the real model and scores mean nothing. The tokenizer is trained on the sample. Documents are pieces of the sample
with lengths drawn from a log-normal of 690 tokens on average (what JQL reports for FineWeb-2), at most 8,192.

    rate       bf16 products of two 8,192 x 8,192 matrices, the best of five seconds
    share      arithmetic of the encoder's layers (products and attention of each text with itself) / time / rate
    curate     as a run does it with two threads: windows of 8 MiB of text, the tokens of the next cut while the GPU has
               one, vectors rounded to float16, three heads in float32 on the CPU beside the GPU's next batches
    heads      what they add to the time: the same once without them. Their CPU seconds are shown too: they need a part of
               a core, and hide behind the GPU as long as there is a second thread
    busy       share of the time in which the GPU computed, by its own clock
    JQL        its procedure at its true settings (arXiv 2505.22232, JQL-Annotation-Pipeline): 1,000 documents a batch in
               the order they come, tokenised in line, copied and unpadded on the device, attention without padding,
               nothing compiled, heads in bf16, one number at a time back. Its attention is xformers'; torch's own kernel
               for lengths that vary stands for it

Everything is measured in one run on the same documents, after a warm-up on some of them. Aims: a share of 55 %, heads under
1 %, 3 x JQL's procedure.
"""

from __future__ import annotations

import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import Any

import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from curate.kernels import use_kernel_cache  # noqa: E402  # after the path is set

use_kernel_cache()

from curate.running.threads import Threads  # noqa: E402  # after the path is set

CONFIG: dict[str, Any] = {
    "model_type": "gte", "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
    "intermediate_size": 3072, "max_position_embeddings": 8192, "type_vocab_size": 1, "layer_norm_eps": 1e-12,
    "hidden_act": "gelu", "position_embedding_type": "rope", "rope_theta": 160000, "rope_scaling": None,
    "layer_norm_type": "layer_norm", "logn_attention_scale": False, "vocab_size": 250_048, "pad_token_id": 1,
}  # fmt: skip
TINY: dict[str, Any] = {
    "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96, "vocab_size": 2000,
}  # fmt: skip
MEAN_TOKENS, MOST_TOKENS = 690, 8192
HEADS = 3
#: Of the packed model, what is compiled on a GPU.
PARTS = ("_rotated", "_gate", "_sum")


def write_model(folder: Path, config: dict[str, Any], texts: list[str]) -> None:
    """config.json, a tokenizer of the texts, and random weights under the published names."""
    import torch
    from safetensors.torch import save_file
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    size = min(32_000, config["vocab_size"])
    marks = ["<s>", "<pad>", "</s>", "<unk>"]
    tokenizer.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=size, special_tokens=marks, show_progress=False)
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps(config))
    torch.manual_seed(0)
    wide, inner = config["hidden_size"], config["intermediate_size"]
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (config["vocab_size"], wide),
        "embeddings.token_type_embeddings.weight": (1, wide),
        "embeddings.LayerNorm.weight": (wide,),
        "embeddings.LayerNorm.bias": (wide,),
    }
    for number in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{number}"
        shapes |= {
            f"{layer}.attention.qkv_proj.weight": (3 * wide, wide),
            f"{layer}.attention.qkv_proj.bias": (3 * wide,),
            f"{layer}.attention.o_proj.weight": (wide, wide),
            f"{layer}.attention.o_proj.bias": (wide,),
            f"{layer}.mlp.up_gate_proj.weight": (2 * inner, wide),
            f"{layer}.mlp.down_proj.weight": (wide, inner),
            f"{layer}.mlp.down_proj.bias": (wide,),
        }
        shapes |= {
            f"{layer}.{n}.{part}": (wide,) for n in ("attn_ln", "mlp_ln") for part in ("weight", "bias")
        }
    tensors = {
        name: torch.ones(shape) if "weight" in name and len(shape) == 1 else torch.randn(shape) * 0.02
        for name, shape in shapes.items()
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def pieces(texts: list[str], count: int, mean_characters: float) -> list[str]:
    """Documents with log-normal lengths, cut from the texts one behind the other."""
    random = np.random.default_rng(7)
    sizes = random.lognormal(0, 1, count)
    sizes = np.maximum(sizes * mean_characters / sizes.mean(), 20).astype(np.int64)
    whole = "\n".join(texts)
    starts = random.integers(0, max(1, len(whole) - int(sizes.max())), count)
    return [whole[start : start + size] for start, size in zip(starts, sizes, strict=True)]


def arithmetic(config: dict[str, Any], lengths: np.ndarray) -> float:
    """Floating-point operations of the layers for texts of these lengths."""
    wide, inner = config["hidden_size"], config["intermediate_size"]
    token = 2 * (wide * 3 * wide + wide * wide + wide * 2 * inner + inner * wide)
    lengths = lengths.astype(np.float64)
    return float(config["num_hidden_layers"] * (token * lengths.sum() + 4 * wide * (lengths**2).sum()))


def timed(work: Callable[[], Any], device: Any) -> tuple[float, Any]:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize()
    before = time.perf_counter()
    made = work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - before, made


def matrix_rate(device: Any, dtype: Any, size: int, seconds: float) -> float:
    """Operations a second of a product of two square matrices."""
    import torch

    one, two = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best, end = np.inf, time.perf_counter() + seconds
    while time.perf_counter() < end:
        taken, _ = timed(lambda: [torch.mm(one, two) for _ in range(5)], device)
        best = min(best, taken / 5)
    return 2 * size**3 / best


def windows_of(documents: list[str], size: int) -> list[pa.StringArray]:
    """The documents in order, cut where so many bytes of text are together."""
    ends = np.cumsum([len(text.encode()) for text in documents])
    cuts = np.unique(np.searchsorted(ends, np.arange(size, ends[-1] + size, size)) + 1)
    starts = [0, *np.minimum(cuts, len(documents)).tolist()]
    return [pa.array(documents[a:b], pa.string()) for a, b in pairwise(starts) if b > a]


def scored(encoder: Any, windows: list[pa.StringArray], heads: list[Any]) -> tuple[Any, list[Any], float]:
    """Tokens of each document, scores of each head, and the heads' CPU seconds."""
    turn, threads = Lock(), Threads(2)

    def work(texts: pa.StringArray) -> tuple[Any, list[Any], float]:
        encode = encoder.begin(texts, 1 << 16)
        with turn:
            encoded = encode()
        vectors = encoded.embeddings.astype(np.float16).astype(np.float32)
        before = time.thread_time()
        scores = [head.score(vectors) for head in heads]
        return encoded.n_tokens, scores, time.thread_time() - before

    tokens, scores, seconds = zip(*threads.in_order(windows, work, lambda _: 1), strict=True)
    threads.close()
    return (
        np.concatenate(tokens),
        [np.concatenate(column) for column in zip(*scores, strict=True)],
        sum(seconds),
    )


def jql(
    texts: list[str], tokenizer: Any, model: Any, heads: list[Any], device: Any, batch: int
) -> list[list[float]]:
    """JQL's procedure; scores of each head."""
    import torch

    from filters.encoders.packed_attention import Layout

    scores: list[list[float]] = [[] for _ in heads]
    for first in range(0, len(texts), batch):
        found = tokenizer.encode_batch(texts[first : first + batch])
        tokens = torch.tensor([made.ids for made in found]).to(device)
        mask = torch.tensor([made.attention_mask for made in found]).to(device)
        with torch.inference_mode():
            lengths = mask.sum(-1).tolist()
            layout = Layout(np.array(lengths), device)
            states = model.states(tokens[mask.bool()], layout)
            vectors = torch.nn.functional.normalize(states[layout.ends[:-1]], dim=1)
            for head, column in zip(heads, scores, strict=True):
                column += [value.item() for value in head(vectors).cpu().squeeze(1)]
    return scores


@click.command(help=__doc__)
@click.option("--tiny", is_flag=True, help="Small layers and few documents, on the CPU if there is no GPU.")
@click.option("--count", default=20_000, help="Documents.")
@click.option("--batch-tokens", default=131_072, help="Token budget of a batch.")
def main(tiny: bool, count: int, batch_tokens: int) -> None:
    import torch
    from tokenizers import Tokenizer

    from filters.encoders.options import PackedOptions, make_encoder
    from filters.encoders.packed import packed_model
    from filters.encoders.packed_parts import Fused
    from filters.encoders.packed_weights import read_tensors
    from filters.heads.checkpoints import imported
    from filters.heads.head import Head

    cuda = torch.cuda.is_available()
    if not cuda and not tiny:
        raise click.UsageError("torch finds no GPU here; --tiny runs anywhere")
    device = torch.device("cuda" if cuda else "cpu")
    dtype = torch.bfloat16 if cuda else torch.float32
    config = CONFIG | (TINY if tiny else {})
    count, batch = (48, 16) if tiny else (count, 1000)
    what = torch.cuda.get_device_name() if cuda else platform.machine()
    print(
        f"{what}; Python {platform.python_version()}, torch {torch.__version__}, {torch.get_num_threads()} threads"
    )
    sample = sorted((ROOT / "data/sample").glob("docs-*.parquet"))[:1]
    texts = pq.read_table(sample[0], columns=["text"])["text"].to_pylist()[: 100 if tiny else 3000]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_model(folder, config, texts)
        library = Tokenizer.from_file(str(folder / "tokenizer.json"))
        trial = texts[:100]
        a_token = sum(map(len, trial)) / sum(len(made.ids) for made in library.encode_batch(trial))
        documents = pieces(texts, count, a_token * (60 if tiny else MEAN_TOKENS))
        options = {
            "use": "packed", "model": str(folder), "max_tokens": MOST_TOKENS, "device": device.type,
            "dtype": "bfloat16" if cuda else "float32", "batch_tokens": 2048 if tiny else batch_tokens,
        }  # fmt: skip
        encoder: Any = make_encoder(PackedOptions.model_validate(options), None, torch.get_num_threads())
        encoder.open()
        torch_heads = []
        heads = []
        for number in range(HEADS):
            layers = torch.nn.Sequential(
                torch.nn.Linear(config["hidden_size"], 1000), torch.nn.ReLU(), torch.nn.Linear(1000, 1)
            )
            state = {
                f"layer{1 + at // 2}.{n}": p for at in (0, 2) for n, p in layers[at].state_dict().items()
            }
            torch.save({"state_dict": state}, folder / f"{number}.ckpt")
            loaded, card = imported(folder / f"{number}.ckpt")
            heads.append(Head(card, loaded))
            torch_heads.append(layers.to(device=device, dtype=dtype))
        plain: Any = packed_model(config, read_tensors(encoder.files(), device, dtype))  # not compiled
    library.enable_truncation(MOST_TOKENS)
    library.enable_padding(pad_id=config["pad_token_id"])
    column = pa.array(documents, pa.string())
    warm = min(count, 4 * batch if cuda else batch)
    encoder.encode(column[:warm], 1 << 16)
    encoder.meter.take()
    windows = windows_of(documents, 1 << 13 if tiny else 1 << 23)
    heads[0].score(np.zeros((9, config["hidden_size"]), np.float32))
    jql(documents[:batch], library, plain, torch_heads, device, batch)

    rate = matrix_rate(device, dtype, 256 if tiny else 8192, 0.1 if tiny else 5)
    ours, (n_tokens, scores, heads_cpu) = timed(lambda: scored(encoder, windows, heads), device)
    busy = encoder.meter.take().busy / ours
    headless, _ = timed(lambda: scored(encoder, windows, []), device)
    theirs, wanted = timed(lambda: jql(documents, library, plain, torch_heads, device, batch), device)
    work = arithmetic(config, n_tokens)
    tokens = int(n_tokens.sum())
    print(
        f"{count} documents, {tokens / count:.0f} tokens a document, {work / tokens / 1e6:.0f} MFLOP a token"
    )
    print("| | seconds | documents/min | tokens/s | share of the matrix rate |\n|---|---:|---:|---:|---:|")
    for name, taken in (("curate, packed", ours), ("JQL's procedure", theirs)):
        line = f"{count / taken * 60:,.0f} | {tokens / taken:,.0f} | {work / taken / rate:.1%}"
        print(f"| {name} | {taken:.2f} | {line} |")
    added = max(0.0, (ours - headless) / ours)
    print(f"matrix rate {rate / 1e12:.2f} TFLOP/s; encoder busy {busy:.1%} of the time")
    made_of = [getattr(encoder._model, part) for part in PARTS]
    compiled = sum(isinstance(part, Fused) for part in made_of)
    print(f"{compiled} of {len(PARTS)} parts compiled")
    print(f"heads add {added:.2%} to the time; {heads_cpu:.2f} CPU s, {heads_cpu / ours:.1%} of a core")
    print(f"{theirs / ours:.2f} x JQL's procedure")
    apart = max(float(np.abs(a - np.array(b)).max()) for a, b in zip(scores, wanted, strict=True))
    print(f"scores apart by at most {apart:.4f}")


if __name__ == "__main__":
    main()
