"""`read` takes an input the whole way from paths to rows; `memory` is a store that is not a disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import fsspec
import pytest

from curate.core.manifest import InputSpec
from tests.io.inputs import Read, plan


@pytest.fixture
def read(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Read]:
    def run(*specs: InputSpec, **options: Any) -> Read:
        return Read(tmp_path_factory.mktemp("ingested"), specs, plan(*specs), **options)

    return run


@pytest.fixture
def memory() -> Iterator[Any]:
    """fsspec's in-memory store, emptied afterwards."""
    store = fsspec.filesystem("memory")
    store.store.clear()
    yield store
    store.store.clear()
