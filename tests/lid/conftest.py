"""Classifiers that know each label by one word."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from curate.core.stage import Context


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(models=tmp_path / "models", scratch=tmp_path)


@pytest.fixture
def classifier(tmp_path: Path) -> Callable[..., Path]:
    """Writes a fastText classifier with a softmax: a word's vector is its axis, and points to its labels.

    Written byte by byte, since training is not reproducible: the binding starts from memory as it finds it.
    For a text of unknown words such a model gives no label at all.
    """

    def written(word_of: dict[str, str], file: str = "own.bin") -> Path:
        words = sorted(set(word_of.values()))
        axes = np.eye(len(words), dtype=np.float32)
        outputs = np.stack([20 * axes[words.index(word)] for word in word_of.values()])
        softmax, supervised = 3, 3
        # dim, ws, epoch, minCount, neg, wordNgrams, loss, model, bucket, minn, maxn, lrUpdateRate, t
        arguments = struct.pack("<12id", len(words), 5, 1, 1, 5, 1, softmax, supervised, 0, 0, 0, 100, 1e-4)
        sizes = struct.pack("<3i2q", len(words) + len(word_of), len(words), len(word_of), 1, -1)
        entries = [(word, 0) for word in words] + [(f"__label__{label}", 1) for label in word_of]
        dictionary = b"".join(text.encode() + b"\0" + struct.pack("<qb", 1, kind) for text, kind in entries)
        matrices = b"".join(struct.pack("<?2q", False, *m.shape) + m.tobytes() for m in (axes, outputs))
        path = tmp_path / file
        path.write_bytes(struct.pack("<2i", 793712314, 12) + arguments + sizes + dictionary + matrices)
        return path

    return written
