"""SIGKILL of the parent where it works alone: while it freezes the plan, merges done-files, arranges an output into files
and moves them into place. Each moment is hit in turn; then the run is started again and must end as if nothing had
happened.
"""

from __future__ import annotations

import pytest

from tests.e2e.cli import Fault
from tests.e2e.killing import CONFIG, KILL_GROUP, KILL_SELF, Job, Outputs

RENAME = "pathlib:Path.replace"
REMOVE = "pathlib:Path.unlink"
STAGED = r"/\.some\.[^/]*staging/"  # of the renaming into place


def _at(point: str, matching: str, when: str, call: int = 1, do: str = KILL_SELF) -> Fault:
    return Fault(point, do, matching, call, when, by="parent")


@pytest.mark.slow
def test_kills_while_the_run_is_prepared(job: Job) -> None:
    job.killed(_at(RENAME, "job/plan.json", "before"))
    job.killed(_at(RENAME, "job/plan.json", "after"))
    job.killed(_at(RENAME, "job/manifest.json", "before"))
    job.killed(_at(RENAME, "job/manifest.json", "after"))
    job.killed(_at("curate.executors.local:LocalExecutor._start", "", "after", do=KILL_GROUP))
    job.finished()


@pytest.mark.slow
def test_kills_while_done_files_are_merged(job: Job) -> None:
    job.killed(_at(RENAME, "counters/ingest/all", "before"))
    job.killed(_at(RENAME, "done/ingest/all.json", "before"))
    job.killed(_at(RENAME, "counters/pass1/all", "after"))
    job.killed(_at(RENAME, "done/pass1/all.json", "after"))
    job.killed(_at(REMOVE, "done/all.count/0", "after", call=3))
    job.killed(_at(REMOVE, "counters/some.exchange/0", "before", call=2, do=KILL_GROUP))
    job.killed(_at("curate.running.run:check_books", "", "before"))
    job.finished()


@pytest.mark.slow
def test_kills_while_files_are_moved_into_place(job: Job) -> None:
    job.killed(_at(RENAME, "layout/some-", "before"))
    job.killed(_at(RENAME, "layout/some-", "after"))
    job.killed(_at(RENAME, "published/some.json", "before"))
    job.killed(_at(RENAME, STAGED, "after", call=3))
    job.killed(_at(RENAME, STAGED, "before", call=2, do=KILL_GROUP))
    job.killed(_at(RENAME, "out/some/README.md", "before"))
    job.killed(_at(RENAME, r"out/some/\.curate\.json", "after"))
    job.killed(_at(RENAME, "published/some.json", "before", call=2))
    job.killed(_at("shutil:rmtree", "exchange/some.exchange", "before"))
    job.killed(_at("shutil:rmtree", "done/some.exchange", "before"))
    job.finished()


@pytest.mark.slow
def test_kills_while_an_older_set_is_replaced(job: Job, undisturbed: Outputs) -> None:
    """The output folder holds the files of an earlier config, more of them and with other names."""
    job.place.config(CONFIG.replace("shuffle: 3", "shuffle: 4").replace("shard: 40KB", "shard: 20KB"))
    job.run().succeeded()
    assert len(job.outputs()["some"]) > len(undisturbed["some"])
    job.place.config(CONFIG)
    job.replaced = (".exchange", ".write")
    job.killed(_at(RENAME, "published/some.json", "after"))
    job.killed(_at(REMOVE, r"out/some/\w+/some-\d", "after", call=2))
    job.killed(_at(REMOVE, r"out/some/\w+/some-\d", "after", call=1, do=KILL_GROUP))
    job.killed(_at(RENAME, STAGED, "after", call=1))
    job.killed(_at(RENAME, STAGED, "after", call=2))
    job.finished()
