"""Encoders and heads that `curate models pull` fetches by name.

| name | what | tokens | notes |
|---|---|---|---|
| snowflake-arctic-embed-m-v2.0 | encoder, GTE, 768 values | 8,192 | JQL's (arXiv 2412.04506) |
| snowflake-arctic-embed-m | encoder, BERT, 768 values | 512 | FineWeb-Edu's (arXiv 2405.05374) |
| jql-edu-heads | three heads for arctic-embed-m-v2.0 | | checkpoints, for `curate heads import` (arXiv 2505.22232) |
| fineweb-edu-classifier | a head for arctic-embed-m | | a whole model, for `curate heads import` (arXiv 2406.17557) |

An encoder is a folder of its name with config.json, tokenizer.json and weights. Encoders are fetched at the commit that
stands here; what is not pinned by a commit is pinned by what the first pull finds (`curate.core.models`).
"""

from __future__ import annotations

from typing import Final

from curate.core.models import Model

JQL_ENCODER: Final = "snowflake-arctic-embed-m-v2.0"
JQL_HEADS: Final = "jql-edu-heads"
FINEWEB_EDU_ENCODER: Final = "snowflake-arctic-embed-m"
FINEWEB_EDU_HEAD: Final = "fineweb-edu-classifier"
#: Teacher → checkpoint of its balanced Edu head, which was distilled from that model's labels.
JQL_TEACHERS: Final = {
    teacher: f"edu-{teacher}-snowflake-balanced" for teacher in ("gemma", "mistral", "llama")
}


def _of_hub(
    name: str, repository: str, commit: str, files: tuple[str, ...], licence: str, about: str
) -> Model:
    """A folder of files; the last one stands for all."""
    base = f"https://huggingface.co/{repository}/resolve/{commit}"

    def part(path: str, others: tuple[Model, ...] = ()) -> Model:
        file = f"{name}/{path.rpartition('/')[2]}"
        return Model(name, file, f"{base}/{path}", None, None, licence, about, others=others)

    *others, last = files
    return part(last, tuple(part(path) for path in others))


_FOLDER: Final = ("config.json", "tokenizer.json", "model.safetensors")

MODELS: Final[dict[str, Model]] = {
    model.name: model
    for model in (
        _of_hub(
            JQL_ENCODER,
            "Snowflake/snowflake-arctic-embed-m-v2.0",
            "95c2741480856aa9666782eb4afe11959938017f",
            _FOLDER,
            "Apache-2.0",
            "encoder, 768 values, 74 languages",
        ),
        _of_hub(
            FINEWEB_EDU_ENCODER,
            "Snowflake/snowflake-arctic-embed-m",
            "cc17beacbac32366782584c8752220405a0f3f40",
            _FOLDER,
            "Apache-2.0",
            "encoder, 768 values, English",
        ),
        _of_hub(
            JQL_HEADS,
            "Jackal-AI/JQL-Edu-Heads",
            "main",
            tuple(f"checkpoints/{file}.ckpt" for file in JQL_TEACHERS.values()),
            "see the hub",
            "three educational heads",
        ),
        _of_hub(
            FINEWEB_EDU_HEAD,
            "HuggingFaceFW/fineweb-edu-classifier",
            "main",
            ("model.safetensors",),
            "Apache-2.0",
            "educational head, English",
        ),
    )
}
