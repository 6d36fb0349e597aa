"""Kernels are compiled once for all tests and their subprocesses, into the cache that the tool itself uses.

Files with `slow` tests or with whole runs come first, and a test process without work takes the last of another, so that
none is left alone at the end with a file that takes minutes. Before them come tests on the one Slurm, all in one process, as
two would wait for each other. Folders stay together, so that few processes make what the tests of a folder share.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import settings

from curate.kernels import kernel_cache, use_kernel_cache

use_kernel_cache()
pytest.register_assert_rewrite("tests.e2e.cli", "tests.e2e.killing")
# The first example loads or compiles kernels: time says nothing here.
settings.register_profile("kernels", deadline=None)
settings.load_profile("kernels")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The order that pytest-randomly has made, of files that take long and then of the others, folder after folder."""
    alone = {i.path for i in items if i.get_closest_marker("slurm")}
    slow = {i.path for i in items if i.get_closest_marker("slow") or i.path.parent.name == "e2e"}
    folders = {folder: number for number, folder in enumerate(dict.fromkeys(i.path.parent for i in items))}
    items.sort(key=lambda i: (i.path not in alone, i.path not in slow, folders[i.path.parent]))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """`-n 2` alone hands out tests by number, a third of the slow ones to one process."""
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log) if config.getoption("dist") == "load" else None


@pytest.fixture(scope="session")
def bounds_checked() -> dict[str, str]:
    """Environment of a process whose kernels check their indices.

    They are other machine code under the same names, so it lies in a cache of its own, compiled once for all tests.
    """
    return {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(kernel_cache() / "bounds-checked")}
