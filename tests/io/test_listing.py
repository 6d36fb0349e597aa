"""Which files an input means, and what a run makes of inputs that changed."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import fsspec
import pytest

from curate.core.errors import CurateError
from curate.core.manifest import Manifest
from curate.io.listing import compare, list_input
from tests.io.inputs import input_spec, plan, write_parquet


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """data/{a,b}.parquet, data/de/{a.parquet,c.jsonl.gz}, hidden and foreign files beside them."""
    data = tmp_path / "data"
    for name in (
        "b.parquet",
        "a.parquet",
        "de/a.parquet",
        "_draft.parquet",
        ".hidden/x.parquet",
        "_tmp/x.parquet",
    ):
        write_parquet(data / name, {"text": [name]})
    (data / "de/c.jsonl.gz").write_text('{"text": "plain inside"}\n')
    (data / "README.md").write_text("# not data\n")
    return data


def paths(*patterns: Path | str, **changes: Any) -> list[str]:
    return [file.path for file in list_input(input_spec(*patterns, **changes), 0)]


def test_a_folder_is_searched_by_suffix_without_hidden_and_underscore_names(corpus: Path) -> None:
    assert paths(corpus) == ["a.parquet", "b.parquet", "de/a.parquet", "de/c.jsonl.gz"]


def test_a_file_is_called_by_its_basename(corpus: Path) -> None:
    assert paths(corpus / "de/a.parquet") == ["a.parquet"]
    assert paths(corpus / "_draft.parquet") == ["_draft.parquet"]


def test_the_inputs_name_comes_before_the_path(corpus: Path) -> None:
    assert paths(corpus / "*.parquet", name="web")[0] == "web/_draft.parquet"


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.parquet", ["_draft.parquet", "a.parquet", "b.parquet"]),
        ("?.parquet", ["a.parquet", "b.parquet"]),
        ("[b-z].parquet", ["b.parquet"]),
        ("**/a.parquet", ["a.parquet", "de/a.parquet"]),
        ("*/a.parquet", ["de/a.parquet"]),
        ("**/*.parquet", ["_draft.parquet", "_tmp/x.parquet", "a.parquet", "b.parquet", "de/a.parquet"]),
        (".hid*/*.parquet", [".hidden/x.parquet"]),
        ("d*", ["de/a.parquet", "de/c.jsonl.gz"]),
    ],
)
def test_a_pattern_means_what_it_says(corpus: Path, pattern: str, expected: list[str]) -> None:
    assert paths(corpus / pattern) == expected


def test_a_name_that_exists_is_no_pattern(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a[1].parquet", {"text": ["x"]})
    assert paths(tmp_path / "a[1].parquet") == ["a[1].parquet"]


def test_a_pattern_that_matches_a_foreign_file_says_so(corpus: Path) -> None:
    with pytest.raises(CurateError, match=r"D401: .*README\.md is neither Parquet nor JSON Lines"):
        paths(corpus / "*")


def test_a_file_without_a_suffix_is_known_by_its_content(tmp_path: Path) -> None:
    write_parquet(tmp_path / "part-0", {"text": ["x"]})
    (tmp_path / "part-1").write_text(' {"text": "x"}')
    assert [file.format for file in list_input(input_spec(tmp_path / "part-*"), 0)] == ["parquet", "jsonl"]


def test_format_overrules_the_name(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("")
    assert list_input(input_spec(tmp_path / "a.txt", format="jsonl"), 0)[0].format == "jsonl"


def test_several_patterns_share_a_folder_and_read_a_file_once(corpus: Path) -> None:
    both = paths(corpus / "de/*.parquet", corpus / "a.parquet", corpus / "**/a.parquet")
    assert both == ["a.parquet", "de/a.parquet"]


def test_two_inputs_may_read_the_same_file(corpus: Path) -> None:
    manifest = plan(input_spec(corpus / "a.parquet"), input_spec(corpus / "a.parquet", name="again"))
    assert [(file.input, file.path) for file in manifest.files] == [(0, "a.parquet"), (1, "again/a.parquet")]


def test_links_that_loop_are_survived_and_a_linked_file_is_read_once(corpus: Path) -> None:
    for name in ("loop", "de/loop", "de/again"):
        (corpus / name).symlink_to(corpus)
    (corpus / "z.parquet").symlink_to(corpus / "a.parquet")
    assert paths(corpus) == ["a.parquet", "b.parquet", "de/a.parquet", "de/c.jsonl.gz"]
    assert paths(corpus / "**/a.parquet") == ["a.parquet", "de/a.parquet"]


def test_a_broken_link_is_named(corpus: Path) -> None:
    (corpus / "gone.parquet").symlink_to("nowhere")
    with pytest.raises(CurateError, match=r"D401: .*gone\.parquet is a link to nowhere"):
        paths(corpus)


@pytest.mark.parametrize("name", ["with space.parquet", "new\nline.parquet", "größe.parquet", "名.parquet"])
def test_any_name_is_read(tmp_path: Path, name: str) -> None:
    write_parquet(tmp_path / name, {"text": ["x"]})
    assert paths(tmp_path) == [name]
    assert plan(input_spec(tmp_path)).files[0].rows == 1


def test_a_name_that_is_not_utf8_is_read_and_shown_escaped(tmp_path: Path) -> None:
    good = write_parquet(tmp_path / "x.parquet", {"text": ["x"]})
    os.rename(good, os.fsencode(tmp_path) + b"/\xff.parquet")
    manifest = plan(input_spec(tmp_path))
    assert (manifest.files[0].path, manifest.files[0].rows) == (r"\xff.parquet", 1)
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_nothing_matched_names_the_nearest_folder(corpus: Path) -> None:
    with pytest.raises(CurateError) as caught:
        paths(corpus / "fr/2024/*.parquet")
    problem = caught.value.problems[0]
    assert problem.code == "C203"
    assert "fr/2024/*.parquet" in problem.message
    assert problem.help.endswith(str(corpus))


def test_all_inputs_that_match_nothing_are_named_at_once(corpus: Path) -> None:
    with pytest.raises(CurateError) as caught:
        plan(input_spec(corpus / "x*"), input_spec(corpus / "a.parquet"), input_spec(corpus / "y*"))
    assert [problem.code for problem in caught.value.problems] == ["C203", "C203"]


def test_what_may_not_be_read_is_e506() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        locked = Path(folder) / "locked"
        write_parquet(locked / "a.parquet", {"text": ["x"]})
        write_parquet(Path(folder) / "b.parquet", {"text": ["x"]}).chmod(0o000)
        locked.chmod(0o000)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        try:
            for pattern in ("locked", "locked/a.parquet", "*/*.parquet", "b.parquet"):
                with pytest.raises(CurateError, match=r"E506: .* may not be read"):
                    paths(f"{folder}/{pattern}")
        finally:
            if root:
                os.seteuid(0)
            locked.chmod(0o755)


def test_a_list_file_gives_one_path_a_line(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(corpus)
    (corpus / "list.txt").write_text(f"# comment\n\n  de/a.parquet\r\n{corpus}/b.parquet\n./b.parquet\n")
    assert paths(list_file="list.txt") == ["b.parquet", "de/a.parquet"]


def test_missing_entries_of_a_list_are_named_by_line(corpus: Path) -> None:
    (corpus / "list.txt").write_text(f"{corpus}/x.parquet\n{corpus}/a.parquet\n\n{corpus}/y.parquet\n")
    with pytest.raises(CurateError) as caught:
        paths(list_file=str(corpus / "list.txt"))
    assert [problem.context["line"] for problem in caught.value.problems] == [1, 4]
    assert "line 4" in caught.value.problems[1].message


def test_an_empty_list_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("# nothing yet\n")
    with pytest.raises(CurateError, match="C203"):
        paths(list_file=str(tmp_path / "list.txt"))


def test_urls_are_files_folders_and_patterns_too(memory: Any) -> None:
    for name in ("de/a.jsonl", "de/b.jsonl", "_old/x.jsonl", "c.jsonl"):
        memory.pipe(f"/corpus/{name}", b'{"text": "x"}\n')
    assert paths("memory://corpus") == ["c.jsonl", "de/a.jsonl", "de/b.jsonl"]
    assert paths("memory://corpus/**/[ab].jsonl") == ["de/a.jsonl", "de/b.jsonl"]
    assert paths("memory://corpus/de/a.jsonl") == ["a.jsonl"]
    with pytest.raises(CurateError, match="C203"):
        paths("memory://corpus/*.parquet")


def test_file_urls_are_local_paths(corpus: Path) -> None:
    spec = input_spec(f"file://{corpus}/a.parquet")
    assert list_input(spec, 0)[0].location == str(corpus / "a.parquet")


def test_a_store_whose_package_is_missing_is_e506() -> None:
    with pytest.raises(CurateError, match="E506"):
        paths("nosuchstore://bucket/a.parquet")


def test_what_a_store_raises_is_e506() -> None:
    class Refusing(fsspec.AbstractFileSystem):
        protocol = "refusing"

        def info(self, path: str, **options: Any) -> dict[str, Any]:
            raise RuntimeError("no credentials")

    fsspec.register_implementation("refusing", Refusing, clobber=True)
    with pytest.raises(CurateError, match=r"E506: .*"):
        paths("refusing://bucket/*.parquet")


def test_touched_files_are_unchanged(corpus: Path) -> None:
    before = plan(input_spec(corpus))
    os.utime(corpus / "a.parquet", ns=(1, 1))
    after = plan(input_spec(corpus), previous=before)
    assert after.shards == before.shards
    assert after.files[0].stamp == "1"


def test_moved_inputs_are_unchanged(corpus: Path, tmp_path: Path) -> None:
    before = plan(input_spec(corpus))
    corpus.rename(tmp_path / "moved")
    after = plan(input_spec(tmp_path / "moved"), previous=before)
    assert after.shards == before.shards
    assert after.files[0].location == str(tmp_path / "moved/a.parquet")
    assert [after.shard_identity(shard.number) for shard in after.shards] == [
        before.shard_identity(shard.number) for shard in before.shards
    ]


def test_changes_are_told_apart(corpus: Path) -> None:
    before = plan(input_spec(corpus))
    (corpus / "b.parquet").unlink()
    write_parquet(corpus / "a.parquet", {"text": ["another text"]})
    write_parquet(corpus / "new.parquet", {"text": ["new"]})
    changes = compare(before, list_input(input_spec(corpus), 0))
    assert [file.path for file in changes.added] == ["new.parquet"]
    assert [file.path for file in changes.removed] == ["b.parquet"]
    assert [(old.path, new.path) for old, new in changes.changed] == [("a.parquet", "a.parquet")]


def test_same_size_other_content_is_a_change(corpus: Path) -> None:
    target = corpus / "de/c.jsonl.gz"
    before = plan(input_spec(corpus))
    stamp = target.stat().st_mtime_ns
    target.write_text(target.read_text().replace("plain", "Plain"))
    os.utime(target, ns=(stamp, stamp))
    with pytest.raises(CurateError, match=r"R301: .*\n  de/c\.jsonl\.gz: other content, same size"):
        plan(input_spec(corpus), previous=before)


def test_new_files_stop_the_run_and_name_update(corpus: Path) -> None:
    before = plan(input_spec(corpus))
    for i in range(12):
        write_parquet(corpus / f"new{i:02}.parquet", {"text": ["x"]})
    with pytest.raises(CurateError) as caught:
        plan(input_spec(corpus), previous=before)
    problem = caught.value.problems[0]
    assert problem.code == "R301"
    assert "12 new" in problem.message
    assert problem.message.count("\n") == 11  # ten files and "and 2 more"
    assert "`--update`" in problem.help


def test_update_keeps_known_shards_and_appends_new_ones(corpus: Path) -> None:
    before = plan(input_spec(corpus))
    write_parquet(corpus / "0.parquet", {"text": ["sorts first"]})
    (corpus / "0.jsonl").write_text('{"text": "x"}\n')
    after = plan(input_spec(corpus), previous=before, update=True)
    assert after.files[: len(before.files)] == before.files
    assert after.shards[: len(before.shards)] == before.shards
    assert after.ingest[: len(before.ingest)] == before.ingest
    assert [file.path for file in after.files[len(before.files) :]] == ["0.jsonl", "0.parquet"]
    assert plan(input_spec(corpus), previous=after, update=False) == after


@pytest.mark.parametrize("damage", ["remove", "rewrite"])
def test_update_does_not_take_removed_or_changed_files(corpus: Path, damage: str) -> None:
    before = plan(input_spec(corpus))
    (corpus / "b.parquet").unlink()
    if damage == "rewrite":
        write_parquet(corpus / "b.parquet", {"text": ["a longer text than before"]})
    with pytest.raises(CurateError) as caught:
        plan(input_spec(corpus), previous=before, update=True)
    assert caught.value.problems[0].code == "R301"
    assert "`--force`" in caught.value.problems[0].help


def test_adding_a_pattern_keeps_known_paths(tmp_path: Path) -> None:
    for year in ("2023", "2024"):
        write_parquet(tmp_path / year / "0.parquet", {"text": [year]})
    before = plan(input_spec(tmp_path / "2023/*.parquet"))
    both = input_spec(tmp_path / "2023/*.parquet", tmp_path / "2024/*.parquet")
    after = plan(both, previous=before, update=True)
    assert [file.path for file in after.files] == ["0.parquet", "2024/0.parquet"]
    assert after.shards[:1] == before.shards
