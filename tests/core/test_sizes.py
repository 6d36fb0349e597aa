"""Sizes as people write them, and did-you-mean."""

from __future__ import annotations

import pytest

from curate.core.sizes import parse_size
from curate.core.suggest import did_you_mean


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("256MB", 256_000_000),
        ("256 mb", 256_000_000),
        ("1.5GB", 1_500_000_000),
        ("64MiB", 67_108_864),
        ("0.5KiB", 512),
        ("2TB", 2_000_000_000_000),
        ("10B", 10),
        ("4096", 4096),
        (4096, 4096),
    ],
)
def test_a_size_is_a_number_and_a_unit(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "MB", "10 megs", "-1MB", "1e3", "0", "0.1B", "1,5GB", "٣MB", True, "9" * 5000]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="size is"):
        parse_size(text)


@pytest.mark.parametrize(
    ("word", "candidates", "expected"),
    [
        ("treshold", ["threshold", "thread"], "threshold"),
        ("Threshold", ["threshold"], "threshold"),
        ("gopher", ["filters.gopher_quality", "dedup.exact"], "filters.gopher_quality"),
        ("minhash", ["dedup.minhash", "dedup.exact"], "dedup.minhash"),
        ("xyz", ["threshold"], None),
        ("", ["a"], None),
        ("a", [], None),
        ("x" * 100_000, ["x" * 90_000], None),
    ],
)
def test_the_nearest_candidate_is_meant(word: str, candidates: list[str], expected: str | None) -> None:
    assert did_you_mean(word, candidates) == expected
