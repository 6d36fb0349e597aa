"""Commands that compute nothing do not wait for numba: it takes a third of what they need to start."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys
import curate.planning.lint, curate.planning.session, curate.running.driver
import curate.views.explain, curate.views.inspection, curate.views.report, curate.views.status
import filters.gopher_quality, filters.select, filters.threshold, lid.ensemble, lid.fasttext
print([name for name in ("numba", "datatrove", "fasttext", "polars", "spacy") if name in sys.modules])
"""


def test_commands_and_configs_need_no_kernels() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
