"""Finished runs whose measurements are known, for `curate thresholds`: a toy filter takes them from columns of the input, so
that polars can count what each rule drops.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from click.testing import Result

from tests.commands.toy_filters import install

Invoke = Callable[..., Result]

CONFIG = """\
name: {name}
language: lid__lang
input: {{path: {name}/*.parquet}}
steps:
  - {{use: toy_lid, as: lid}}
  - {{select: lid__prob >= 0.5 and text is not null}}
  - {{use: toy_measure, as: m, when: source != 'exempt'}}
execution: {{workers: 1}}
"""
#: A run without language identification.
PLAIN = """\
name: plain
input: {path: main/*.parquet}
steps: [{use: toy_measure, as: m}]
execution: {workers: 1}
"""

#: Column, side and bound of each rule in English, as the toy has them.
RULES: dict[str, tuple[str, str, float]] = {
    "short": ("length", "minimum", 10),
    "long": ("length", "maximum", 90),
    "frac": ("frac", "maximum", 0.4),
    "twin": ("twin", "maximum", 0.4),
    "top_2": ("frac", "maximum", 0.5),
    "top_3": ("twin", "maximum", 0.4),
}


def corpus(seed: int, size: int = 1_500) -> pl.DataFrame:
    """Documents in four languages of which each is a little different; some measurements are null or nan."""
    random = np.random.default_rng(seed)
    names = ["eng_Latn", "deu_Latn", "fra_Latn", "ita_Latn"]
    which = random.choice(4, size, p=[0.4, 0.3, 0.28, 0.02])
    frac = random.beta(1.0 + which, 5, size)
    frac[random.random(size) < 0.05] = np.nan
    frame = pl.DataFrame(
        {
            "text": "some text",
            "language": [names[w] for w in which],
            "prob": np.clip(random.normal(0.8 - 0.1 * which, 0.15, size), 0, 1),
            "length": random.integers(0, 100 + 20 * which, size),
            "frac": frac,
            "twin": random.beta(2, 5, size),
            "source": np.where(random.random(size) < 0.1, "exempt", "web"),
        }
    )
    twin = pl.when(pl.int_range(pl.len()) % 10 > 0).then("twin")
    return frame.with_columns(twin, language=pl.when(pl.int_range(pl.len()) > 2).then("language"))


def finished_runs(root: Path) -> Path:
    """The folder with the finished runs `main`, `wiki` (a reference corpus) and `plain`."""
    (root / "packages").mkdir()
    install(root / "packages")
    for seed, name in enumerate(("main", "wiki")):
        (root / name).mkdir()
        frame = corpus(seed)
        frame[:700].write_parquet(root / name / "a.parquet")
        frame[700:].write_parquet(root / name / "b.parquet")
        (root / f"{name}.yaml").write_text(CONFIG.format(name=name), encoding="utf-8")
    (root / "plain.yaml").write_text(PLAIN, encoding="utf-8")
    for name in ("main", "wiki", "plain"):
        in_place(root, "run", f"{name}.yaml")
    return root


def in_place(root: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(root / "packages")}
    command = [sys.executable, "-m", "curate", *arguments]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def reached(seed: int, language: str) -> pl.DataFrame:
    """Documents that the filter measured, with null for nan."""
    seen = (pl.col("prob") >= 0.5) & (pl.col("source") != "exempt")
    return corpus(seed).filter(seen, language=language).with_columns(pl.col("frac").fill_nan(None))


def fails(frame: pl.DataFrame, column: str, side: str, bound: float) -> int:
    value = pl.col(column)
    return frame.filter(value < bound if side == "minimum" else value > bound).height


def rules_of(table: Mapping[str, Any], language: str, step: str = "m") -> dict[str, dict[str, Any]]:
    [entry] = [f for f in table["languages"][language]["filters"] if f["step"] == step]
    return {rule["rule"]: rule for rule in entry["rules"]}
