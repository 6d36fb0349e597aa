"""Kernels are compiled once for all tests and their subprocesses, into the cache that the tool itself uses."""

from __future__ import annotations

from curate.kernels import use_kernel_cache

use_kernel_cache()
