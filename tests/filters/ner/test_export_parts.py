"""Exports for training: what `datasets` and spaCy read is what was annotated, and no host or document is in two parts."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import spacy
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.tokens import DocBin

from curate.cli import cli
from curate.core.errors import CurateError
from filters.ner.annotations import MERGED_SPAN
from filters.ner.export import read_tokens
from filters.ner.export_spacy import words_of
from filters.ner.gold import TOKEN
from filters.ner.sentences import sentence_places, split_row
from filters.ner.splits import PARTS, Shares, assign, group_key, host_of, part_of
from tests.filters.ner.tagged import imported, mentions

SCHEMA = pa.schema(
    [
        ("text", pa.string()),
        ("tokens", pa.list_(TOKEN)),
        ("spans", pa.list_(MERGED_SPAN)),
        ("nested", pa.list_(MERGED_SPAN)),
        *((name, pa.string()) for name in ("language", "url", "source_doc")),
        ("start", pa.int32()),
        ("end", pa.int32()),
    ]
)


def places(text: str, *parts: str) -> list[dict[str, int]]:
    """Where the parts stand, one behind the other."""
    found, at = [], 0
    for part in parts:
        at = text.index(part, at)
        found.append({"start": at, "end": at + len(part)})
        at += len(part)
    return found


def row(number: int, language: str = "eng_Latn", **more: Any) -> dict[str, Any]:
    text = f"Ada met Bob.  Then St. Gallen\nwon {number}."
    tokens = places(text, "Ada", "met", "Bob", ".", "Then", "St", ".", "Gallen", "won", str(number), ".")
    label = {"text": "", "standard": None, "core": None, "teachers": ["a"], "agreement": 1.0, "votes": []}
    spans = [
        {**tokens[0], **label, "label": "person"},
        {**tokens[2], **label, "label": "person"},
        {"start": tokens[5]["start"], "end": tokens[7]["end"], **label, "label": "city"},
    ]
    return {
        "text": text,
        "tokens": tokens,
        "spans": spans,
        "nested": [{**tokens[7], **label, "label": "person"}],
        "language": language,
        "url": f"https://www.host{number % 40}.org/{number}",
        "source_doc": f"d{number}",
        "start": 100,
        "end": 100 + len(text),
        **more,
    }


def write(folder: Path, rows: list[dict[str, Any]]) -> Path:
    """What a run publishes: a folder for each language."""
    for language in sorted({str(r["language"]) for r in rows}):
        (folder / language).mkdir(parents=True, exist_ok=True)
        mine = [r for r in rows if str(r["language"]) == language]
        pq.write_table(pa.Table.from_pylist(mine, SCHEMA), folder / language / "ner-00000-of-00001.parquet")
    (folder / "README.md").write_text("a card")
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["ner", "export", *map(str, arguments)], catch_exceptions=False)


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`datasets.load_dataset`, offline, its cache in the test's folder."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    import datasets

    datasets.disable_progress_bars()
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)

    def loaded(path: Path, *name: str) -> Any:
        return datasets.load_dataset(str(path), *name, cache_dir=str(tmp_path / "hf"))

    return loaded


@pytest.mark.filterwarnings("ignore")
def test_three_hundred_languages_load_each_by_its_name(tmp_path: Path, load: Any) -> None:
    codes = [f"{a}{b}{c}_Latn" for a in "abcdefg" for b in "hijklmn" for c in "opqrstu"] + ["und", "nob_Latn"]
    assert len(codes) >= 300
    rows = [row(number, code) for number, code in enumerate(codes)]
    rows += [row(number, "deu_Latn") for number in range(200)]
    source = tmp_path / "run"
    source.mkdir()
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), source / "all.parquet")
    done = run(source, tmp_path / "set", "--format", "datasets", "--dev", 0.2, "--test", 0.2)
    assert f"{len(rows):,} sentences and {3 * len(rows):,} spans" in done.output
    german = load(tmp_path / "set", "deu_Latn")
    assert set(german) == set(PARTS)
    assert sum(map(len, german.values())) == 200
    assert german["test"].column_names == [*SCHEMA.names, "split"]
    first = german["test"][0]
    assert [first["text"][s["start"] : s["end"]] for s in first["spans"]] == ["Ada", "Bob", "St. Gallen"]
    assert first["spans"][0]["teachers"] == ["a"]
    hosts = {part: {host_of(url) for url in german[part]["url"]} for part in german}
    assert sum(map(len, hosts.values())) == len(set.union(*hosts.values()))
    assert len(next(iter(load(tmp_path / "set", "und").values()))) == 1
    card = (tmp_path / "set" / "README.md").read_text()
    assert f"{len(rows):,} texts with {3 * len(rows):,} named entities" in card


def test_the_card_counts_by_language_type_and_script(tmp_path: Path) -> None:
    rows = [row(1, "deu_Latn"), row(2, "deu_Latn"), row(3, "srp_Cyrl", spans=[])]
    run(
        write(tmp_path / "run", rows),
        tmp_path / "set",
        "--format",
        "datasets",
        "--title",
        "No",
        "--licence",
        "no",
    )
    card = (tmp_path / "set" / "README.md").read_text()
    assert 'pretty_name: "No"\nlicense: "no"\n' in card
    assert "| deu_Latn | 2 | 6 | 4 | 2 | 0 | 0 | 0 |" in card
    assert "| srp_Cyrl | 1 | 0 | 0 | 0 | 0 | 0 | 0 |" in card
    assert "| Latn | 1 | 2 | 6 | 4 | 2 | 0 | 0 | 0 |" in card
    assert "| person | 4 |" in card
    again = pq.read_table(tmp_path / "set" / "data" / "deu_Latn" / "train.parquet")
    assert again.drop_columns("split").to_pylist() == pa.Table.from_pylist(rows[:2], SCHEMA).to_pylist()


def test_spacy_reads_the_text_its_entities_and_nested_spans(tmp_path: Path) -> None:
    run(write(tmp_path / "run", [row(7)]), tmp_path / "a.spacy", "--format", "spacy", "--by", "core")
    (doc,) = DocBin().from_disk(tmp_path / "a.spacy").get_docs(spacy.blank("en").vocab)
    assert doc.text == row(7)["text"]
    assert [(e.text, e.label_) for e in doc.ents] == [("Ada", "PER"), ("Bob", "PER"), ("St. Gallen", "LOC")]
    assert [(s.text, s.label_) for s in doc.spans["sc"]][-1] == ("Gallen", "PER")
    run(write(tmp_path / "two", [row(7)]), tmp_path / "b.spacy", "--format", "spacy", "--by", "core")
    assert (tmp_path / "a.spacy").read_bytes() == (tmp_path / "b.spacy").read_bytes()


@settings(max_examples=200, deadline=None)
@given(st.text("a \n.é\u200bไ北", max_size=12), st.data())
def test_spacy_words_give_the_text_again(text: str, data: st.DataObject) -> None:
    bounds = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=8)))
    tokens = [{"start": a, "end": b} for a, b in zip(bounds[::2], bounds[1::2], strict=False)]
    words, spaces, found = words_of(text, tokens)
    assert "".join(w + " " * s for w, s in zip(words, spaces, strict=True)) == text
    assert [words[a] for a, _ in found] == [text[t["start"] : t["end"]] for t in tokens]


@pytest.mark.filterwarnings("ignore")
def test_a_spacy_pipeline_trains_on_the_parts(tmp_path: Path) -> None:
    """One epoch, by `spacy train` as a user runs it, with a small tagger."""
    from spacy.cli.init_config import init_config
    from spacy.cli.train import train

    source = write(tmp_path / "run", [row(number) for number in range(60)])
    run(source, tmp_path / "parts", "--format", "spacy", "--by", "core", "--dev", 0.2, "--test", 0.1)
    config = init_config(lang="en", pipeline=["ner"], optimize="efficiency")
    config["training"].update(max_epochs=1, max_steps=0, eval_frequency=1)
    config["components"]["tok2vec"]["model"]["embed"].update(width=16, rows=[50] * 4)
    config["components"]["tok2vec"]["model"]["encode"].update(width=16, depth=1)
    config.to_disk(tmp_path / "config.cfg")
    files = {f"paths.{part}": str(tmp_path / "parts" / f"{part}.spacy") for part in ("train", "dev")}
    train(tmp_path / "config.cfg", tmp_path / "model", overrides=files)
    model = spacy.load(tmp_path / "model" / "model-last")
    assert set(model.get_pipe("ner").labels) == {"PER", "LOC"}  # type: ignore[attr-defined]


def test_parts_of_one_file_formats(tmp_path: Path) -> None:
    rows = [row(number, ("eng_Latn", "deu_Latn")[number % 2]) for number in range(80)]
    source = write(tmp_path / "run", rows)
    arguments = (source, tmp_path / "parts", "--dev", 0.3, "--test", 0.3, "--language", "deu_Latn")
    done = run(*arguments)
    counts = {p: (tmp_path / "parts" / f"{p}.bio").read_text().count("\tB-city") for p in PARTS}
    assert sum(counts.values()) == 40
    assert min(counts.values()) > 0
    assert f"parts: dev {counts['dev']}, test {counts['test']}, train {counts['train']}" in done.output
    with pytest.raises(CurateError, match="C205"):
        run(*arguments)
    (tmp_path / "parts" / "mine.txt").write_text("x")
    with pytest.raises(CurateError, match="no export wrote"):
        run(*arguments, "--force")
    (tmp_path / "parts" / "mine.txt").unlink()
    before = (tmp_path / "parts" / "test.bio").read_bytes()
    assert run(*arguments, "--force").exit_code == 0
    assert (tmp_path / "parts" / "test.bio").read_bytes() == before
    assert run(*arguments, "--force", "--seed", 5).exit_code == 0
    assert (tmp_path / "parts" / "test.bio").read_bytes() != before


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--dev", 0.6, "--test", 0.6), "together more than 1"),
        (("--language", "fra_Latn"), "its languages: eng_Latn"),
        (("--format", "datasets", "--by", "core"), "has all kinds of labels"),
    ],
)
def test_arguments_that_do_not_fit(tmp_path: Path, more: tuple[object, ...], message: str) -> None:
    done = run(write(tmp_path / "run", [row(1)]), tmp_path / "x", *more)
    assert done.exit_code == 2
    assert message in done.output


def test_types_are_those_of_the_run_unless_given(tmp_path: Path) -> None:
    """A run had a map of its own: `starship` is a product to it and nothing to ours."""
    made = row(1)
    made["spans"][0] |= {"label": "starship", "standard": "product", "core": "MISC"}
    source = write(tmp_path / "run", [made])
    run(source, tmp_path / "core.bio", "--by", "core")
    assert "Ada\tB-MISC\n" in (tmp_path / "core.bio").read_text()
    run(source, tmp_path / "set", "--format", "datasets")
    assert "| product | 1 |" in (tmp_path / "set" / "README.md").read_text()
    (tmp_path / "types.tsv").write_text("starship\tperson\n")
    own = ("--types", tmp_path / "types.tsv")
    run(source, tmp_path / "own.bio", "--by", "standard", *own)
    assert "Ada\tB-person\n" in (tmp_path / "own.bio").read_text()
    run(source, tmp_path / "own", "--format", "datasets", *own)
    assert "| person | 2 |" in (tmp_path / "own" / "README.md").read_text()
    (written,) = pq.read_table(tmp_path / "own" / "data" / "eng_Latn" / "train.parquet").to_pylist()
    assert (written["spans"][0]["standard"], written["spans"][0]["core"]) == ("person", "PER")


def test_labels_that_would_break_lines(tmp_path: Path) -> None:
    made = row(1)
    for span, label in zip(made["spans"], ("film\tstudio", " a\nB-x\u2028", " \n"), strict=True):
        span["label"] = label
    done = run(write(tmp_path / "run", [made]), tmp_path / "a.bio")
    sentences, repairs = imported(tmp_path / "again", tmp_path / "a.bio")
    assert mentions(sentences[0]) == [("Ada", "film studio"), ("Bob", "a B-x")]
    assert repairs == []
    assert "in 3 labels whitespace became one space\nleft out: 1 spans without type" in done.output


def test_parts_without_addresses_are_by_document_or_the_export_says_so(tmp_path: Path) -> None:
    rows = [row(n, url=None, id=f"d{n // 4}#{n % 4}", source_doc=n // 4) for n in range(80)]
    for left_out, alone in (((), 0), (("source_doc",), 0), (("source_doc", "id"), 80)):
        table = pa.Table.from_pylist(rows, schema=None).drop_columns(["url", "nested", *left_out])
        pq.write_table(table, tmp_path / "made.parquet")
        arguments = ("--format", "datasets", "--dev", 0.3, "--test", 0.3, "--force")
        done = run(tmp_path / "made.parquet", tmp_path / "set", *arguments)
        assert (f"{alone} texts have neither `url` nor a document" in done.output) == bool(alone)
        parts = [
            {r["text"] for r in pq.read_table(path).to_pylist()}
            for path in (tmp_path / "set" / "data" / "eng_Latn").iterdir()
        ]
        documents = [{int(text.split()[-1][:-1]) // 4 for text in part} for part in parts]
        assert len(documents) == 3
        assert (sum(map(len, documents)) == 20) == (not alone)


def test_texts_of_one_host_are_parted_by_document_if_asked(tmp_path: Path) -> None:
    rows = [row(n, url="https://a.org/x", source_doc=f"d{n // 2}") for n in range(80)]
    source = write(tmp_path / "run", rows)
    done = run(source, tmp_path / "one", "--dev", 0.3, "--test", 0.3)
    assert "dev is empty: hosts are few or large; try --group document" in done.output
    done = run(source, tmp_path / "parts", "--dev", 0.3, "--test", 0.3, "--group", "document")
    assert "is empty" not in done.output
    parts = [(tmp_path / "parts" / f"{part}.bio").read_text() for part in PARTS]
    found = [{n for n in range(80) if f"\n{n}\tO\n" in p} for p in parts]
    assert sum(map(len, found)) == 80
    assert sum(len({n // 2 for n in some}) for some in found) == 40
    assert all(found)


def test_folders_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CurateError, match="no Parquet files"):
        read_tokens(tmp_path / "empty")
    write(tmp_path / "run", [row(1)])
    pq.write_table(pa.table({"text": [1], "tokens": [1], "spans": [1]}), tmp_path / "run" / "odd.parquet")
    with pytest.raises(CurateError, match="differ in their columns"):
        read_tokens(tmp_path / "run")


def test_a_file_is_not_put_in_the_place_of_a_folder(tmp_path: Path) -> None:
    made = write(tmp_path / "made", [row(n) for n in range(3)])
    run(made, tmp_path / "set", "--format", "datasets")
    with pytest.raises(CurateError, match=r"C205.*set is a folder"):
        run(made, tmp_path / "set", "--force")
    run(made, tmp_path / "set", "--format", "datasets", "--force")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made", "set"]


def test_an_earlier_export_stays_if_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = write(tmp_path / "made", [row(n) for n in range(3)])
    run(made, tmp_path / "set", "--format", "datasets")
    before = (tmp_path / "set" / "README.md").read_bytes()
    replace = Path.replace

    def failing(self: Path, target: Path) -> Path:
        if self.name == "set.part":
            raise OSError("no")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(OSError, match="no"):
        run(made, tmp_path / "set", "--format", "datasets", "--force", "--title", "Another")
    assert (tmp_path / "set" / "README.md").read_bytes() == before


def test_a_split_of_the_data_names_a_file_in_the_folder(tmp_path: Path) -> None:
    table = pa.Table.from_pylist([row(n) for n in range(3)], SCHEMA)
    splits = pa.array(["a/b", "../../x", "dev"])
    pq.write_table(table.append_column("split", splits), tmp_path / "made.parquet")
    run(tmp_path / "made.parquet", tmp_path / "deep" / "set", "--format", "datasets")
    found = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.parquet"))
    data = "deep/set/data/eng_Latn"
    names = ("%2E%2E%2F%2E%2E%2Fx", "a%2Fb", "dev")
    assert found == [*(f"{data}/{name}.parquet" for name in names), "made.parquet"]


def test_sentences_keep_tokens_and_spans(tmp_path: Path) -> None:
    (source,) = pa.Table.from_pylist([row(7)], SCHEMA).to_pylist()
    parts = list(split_row(source, ["tokens", "spans", "nested"]))
    assert [part["text"] for part in parts] == ["Ada met Bob.", "Then St. Gallen", "won 7."]
    assert [part["start"] for part in parts] == [100, 114, 130]
    found = [[p["text"][s["start"] : s["end"]] for s in p["spans"]] for p in parts]
    assert found == [["Ada", "Bob"], ["St. Gallen"], []]
    assert parts[1]["nested"][0]["start"] == 9
    run(write(tmp_path / "run", [row(7)]), tmp_path / "a.bio", "--sentences")
    assert (tmp_path / "a.bio").read_text().count("# text = ") == 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("He left. She stayed.", ["He left.", "She stayed."]),
        ('"Go!" he said. "No." She', ['"Go!" he said.', '"No."', "She"]),
        ("e.g. this, approx. ten", ["e.g. this, approx. ten"]),
        ("他说。「好！」她走了。", ["他说。", "「好！」", "她走了。"]),
        ("नमस्ते। कैसे हो?\r\nअच्छा", ["नमस्ते।", "कैसे हो?", "अच्छा"]),
        ("مرحبا؟ نعم", ["مرحبا؟", "نعم"]),
        ("see example.com/?a for 3.5 of it", ["see example.com/?a for 3.5 of it"]),
        (" \n ", []),
    ],
)
def test_where_sentences_end(text: str, expected: list[str]) -> None:
    assert [text[start:end] for start, end in sentence_places(text, [])] == expected


@settings(max_examples=100, deadline=None)
@given(st.text("aB.! \n。」é", max_size=30), st.data())
def test_no_marked_place_is_cut_or_lost(text: str, data: st.DataObject) -> None:
    ends = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=6)))
    marks = list(zip(ends[::2], ends[1::2], strict=False))
    found = sentence_places(text, marks)
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(found))
    for start, end in marks:
        assert any(a <= start and end <= b for a, b in found)
    outside = set(range(len(text))) - {i for start, end in found for i in range(start, end)}
    assert all(text[i].isspace() for i in outside)


keys = st.none() | st.sampled_from("abcdefgh")


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(keys, keys), max_size=30), st.integers(0, 2**63 - 1), st.permutations(range(30)))
def test_no_host_or_document_is_in_two_parts(
    rows: list[tuple[str | None, str | None]], seed: int, order: list[int]
) -> None:
    shares = Shares(0.3, 0.3)
    parts = assign([host for host, _ in rows], [document for _, document in rows], shares, seed)
    for column in (0, 1):
        for key in {pair[column] for pair in rows} - {None}:
            assert len({part for pair, part in zip(rows, parts, strict=True) if pair[column] == key}) == 1
    mixed = [i for i in order if i < len(rows) and rows[i] != (None, None)]
    again = assign([rows[i][0] for i in mixed], [rows[i][1] for i in mixed], shares, seed)
    assert again == [parts[i] for i in mixed]


def test_parts_have_about_their_shares_and_more_dev_leaves_test_alone() -> None:
    hosts = [f"host{i}.org" for i in range(4000)]
    documents = [None] * len(hosts)
    parts = assign(hosts, documents, Shares(0.1, 0.2), 1)
    assert parts.count("test") == pytest.approx(800, abs=80)
    assert parts.count("dev") == pytest.approx(400, abs=60)
    more = assign(hosts, documents, Shares(0.5, 0.2), 1)
    assert [p == "test" for p in more] == [p == "test" for p in parts]
    key = group_key("host1.org", "x")
    assert key is not None
    assert part_of(key, Shares(0.1, 0.2), 1) == parts[1]


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://www.Example.org:80/a?b", "example.org"),
        ("http://user@de.example.org./", "de.example.org"),
        ("example.org/a", "example.org"),
        ("https://[::1", None),
        ("https://例え.jp/", "例え.jp"),
        ("http:///a", None),
        ("example.org/a//b", "example.org"),
        ("localhost:8080", "localhost"),
        ("", None),
        (None, None),
    ],
)
def test_hosts(url: str | None, host: str | None) -> None:
    assert host_of(url) == host
