"""Shards that are sent together to the files of an output give the same files as shards that are sent alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from curate.core import manifest
from tests.publish.publishing import Publisher


@pytest.mark.parametrize("shuffle", [1, None])
def test_runs_of_shards_give_the_same_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shuffle: int | None
) -> None:
    found = []
    for groups in (500, 2):
        monkeypatch.setattr(manifest, "GROUPS", groups)
        publisher = Publisher(tmp_path / str(groups), monkeypatch)
        for number in range(5):
            rows = [
                {"id": f"{number}-{n}", "text": f"text {n} " * (number + 1), "lang": ("deu", "eng")[n % 2]}
                for n in range(7 * number)
            ]
            publisher.input(rows or [{"id": "x", "text": "one", "lang": "deu"}], f"{number}.parquet")
        chosen = {} if shuffle is None else {"shuffle": shuffle}
        publisher.publish(partition_by="lang", shard="1KB", **chosen)
        found.append({name: data for name, data in publisher.bytes().items() if name.endswith(".parquet")})
    assert found[0] == found[1]
    assert len(found[0]) == 4
