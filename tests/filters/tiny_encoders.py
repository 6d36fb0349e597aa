"""Encoders of the true architectures, tiny and with random weights, in folders as published models are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

#: Numbers of the marks: XLM-R's order.
START, PAD, END, UNKNOWN = 0, 1, 2, 3
PROSE = (
    "The committee of the city met on Tuesday to discuss the bridge that engineers have planned.\n" * 7,
    "Der Ausschuss der Stadt traf sich am Dienstag, um über die neue Brücke zu sprechen.\n" * 3,
    "委员会星期二开会讨论工程师为这条河规划的新桥。市长说旧桥不能修了。\n" * 9,
    "Nobody had told the engineers that the river would rise so early in the year.\n"
    "They had to take the scaffold down again, and with it the cranes of the harbour.",
    "Not much.",
)
TEXTS = [
    *PROSE,
    "a",
    "",
    "Photosynthesis turns light into chemical energy.",
    " \u200b ",
    "one two three four five six seven eight nine ten " * 6,
    "Die Brücke wurde 1903 gebaut.",
    "Die Brücke wurde 1904 gebaut.",
]


def write_tokenizer(folder: Path, marks: bool = True) -> int:
    """A tokenizer.json of single characters and words that drops what it does not know; returns its size."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE(unk_token=None))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex("\u200b"), "")])
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<s>", "<pad>", "</s>", "<unk>"], show_progress=False
    )
    tokenizer.train_from_iterator(PROSE, trainer)
    if marks:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", special_tokens=[("<s>", START), ("</s>", END)]
        )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return int(tokenizer.get_vocab_size())


def _stirred(model: Any, seed: int) -> Any:
    """Weights far enough from their start that biases, norms and attention all matter."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.15)
    return model.eval()


def write_xlm_roberta(folder: Path) -> Path:
    import transformers

    config = transformers.XLMRobertaConfig(
        vocab_size=write_tokenizer(folder), hidden_size=32, num_hidden_layers=3, num_attention_heads=4,
        intermediate_size=48, max_position_embeddings=258, type_vocab_size=1, pad_token_id=PAD,
        layer_norm_eps=1e-5,
    )  # fmt: skip
    _stirred(transformers.XLMRobertaModel(config), 1).save_pretrained(folder)
    return folder


def write_bert(folder: Path) -> Path:
    import transformers

    config = transformers.BertConfig(
        vocab_size=write_tokenizer(folder), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=48, max_position_embeddings=256, type_vocab_size=2, pad_token_id=PAD,
    )  # fmt: skip
    _stirred(transformers.BertModel(config), 2).save_pretrained(folder)
    return folder


def write_modernbert(folder: Path) -> Path:
    import transformers

    config = transformers.ModernBertConfig(
        vocab_size=write_tokenizer(folder), hidden_size=32, num_hidden_layers=4, num_attention_heads=4,
        intermediate_size=40, max_position_embeddings=256, local_attention=8, global_attn_every_n_layers=3,
        pad_token_id=PAD, bos_token_id=START, eos_token_id=END, cls_token_id=START, sep_token_id=END,
    )  # fmt: skip
    _stirred(transformers.ModernBertModel(config), 3).save_pretrained(folder)
    return folder


GTE: dict[str, Any] = {
    "model_type": "gte", "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 40,
    "max_position_embeddings": 256, "type_vocab_size": 1, "layer_norm_eps": 1e-12, "hidden_act": "gelu",
    "position_embedding_type": "rope", "rope_theta": 160000, "rope_scaling": None, "layer_norm_type": "layer_norm",
    "pack_qkv": True, "logn_attention_scale": False, "pad_token_id": PAD,
}  # fmt: skip


def gte_tensors(config: dict[str, Any], seed: int = 4, scale: float = 0.3) -> dict[str, np.ndarray]:
    """Random weights under the names that GTE's authors publish."""
    random = np.random.default_rng(seed)
    size, inner = config["hidden_size"], config["intermediate_size"]

    def drawn(*shape: int) -> np.ndarray:
        return (random.standard_normal(shape) * scale).astype(np.float32)

    made = {
        "embeddings.word_embeddings.weight": drawn(config["vocab_size"], size),
        "embeddings.LayerNorm.weight": 1 + drawn(size),
        "embeddings.LayerNorm.bias": drawn(size),
    }
    if config["type_vocab_size"]:
        made["embeddings.token_type_embeddings.weight"] = drawn(config["type_vocab_size"], size)
    for number in range(config["num_hidden_layers"]):
        name = f"encoder.layer.{number}"
        qkv, bias = drawn(3 * size, size), drawn(3 * size)
        if config["pack_qkv"]:
            made |= {f"{name}.attention.qkv_proj.weight": qkv, f"{name}.attention.qkv_proj.bias": bias}
        else:
            for at, part in enumerate("qkv"):
                made[f"{name}.attention.{part}_proj.weight"] = qkv[at * size : (at + 1) * size].copy()
                made[f"{name}.attention.{part}_proj.bias"] = bias[at * size : (at + 1) * size].copy()
        made |= {
            f"{name}.attention.o_proj.weight": drawn(size, size),
            f"{name}.attention.o_proj.bias": drawn(size),
            f"{name}.mlp.up_gate_proj.weight": drawn(2 * inner, size),
            f"{name}.mlp.down_proj.weight": drawn(size, inner),
            f"{name}.mlp.down_proj.bias": drawn(size),
        }
        for norm in ("attn_ln", "mlp_ln"):
            made |= {f"{name}.{norm}.weight": 1 + drawn(size), f"{name}.{norm}.bias": drawn(size)}
    return made


def write_gte(folder: Path, prefix: str = "", **changes: Any) -> Path:
    from safetensors.numpy import save_file

    config = {**GTE, "vocab_size": write_tokenizer(folder), **changes}
    (folder / "config.json").write_text(json.dumps(config))
    made = {prefix + name: tensor for name, tensor in gte_tensors(config).items()}
    save_file(made, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def write_onnx(folder: Path, output: str = "last_hidden_state", width: int = 6) -> Path:
    """A model whose state of a token is a row of a table plus a part of the mean of its text's rows (mask respected)."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    table = np.random.default_rng(5).standard_normal((write_tokenizer(folder), width)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["wide"]),
        helper.make_node("Mul", ["rows", "wide"], ["seen"]),
        helper.make_node("ReduceSum", ["seen", "middle"], ["sum"], keepdims=1),
        helper.make_node("Tanh", ["sum"], ["all"]),
        helper.make_node("Add", ["rows", "all"], ["states"]),
    ]
    if output == "sentence_embedding":
        nodes.append(helper.make_node("Squeeze", ["all", "middle"], [output]))
        made = helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", width])
    else:
        nodes.append(helper.make_node("Identity", ["states"], [output]))
        made = helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", "length", width])
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])
            for name in ("input_ids", "attention_mask")
        ],
        [made],
        [
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(np.array([2]), "last"),
            numpy_helper.from_array(np.array([1]), "middle"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.save(model, str(folder / "model.onnx"))
    np.save(folder / "table.npy", table)
    (folder / "config.json").write_text(json.dumps({"hidden_size": width, "pad_token_id": PAD}))
    return folder


def write_heads(folder: Path, size: int = GTE["hidden_size"]) -> Path:
    """The three heads of `filters.jql`, with random weights and cards as the importer writes them."""
    from filters.heads.card import Card, Labels, TrainedOn
    from filters.heads.head import write_head
    from filters.registry import JQL_ENCODER, JQL_TEACHERS

    random = np.random.default_rng(6)
    for name in JQL_TEACHERS.values():
        layers = [
            (random.standard_normal((b, a)).astype(np.float32), random.standard_normal(b).astype(np.float32))
            for a, b in ((size, 10), (10, 1))
        ]
        trained = TrainedOn(
            name=JQL_ENCODER, checksum="", max_characters=65_536,
            settings={"pooling": "cls", "prefix": "", "normalize": True},
        )  # fmt: skip
        card = Card(
            format=1, name=name, about="a test", encoder=trained, layers=(size, 10, 1),
            labels=Labels(about="none", minimum=0, maximum=5), metrics={}, data="none", recipe="random",
            licence="Apache-2.0", weights_sha256="",
        )  # fmt: skip
        write_head(layers, card, folder)
    return folder
