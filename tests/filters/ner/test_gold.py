"""Gold corpora: what the files say, in one schema; offsets are right, repairs are logged, broken lines named."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from curate.cli import cli
from curate.core.errors import CurateError
from filters.ner.conll import read_tagged
from filters.ner.join import find, join
from tests.filters.ner.tagged import GOLD, imported, mentions, tokens_of, write_tagged

CONLL_2003 = """-DOCSTART- -X- -X- O

EU NNP B-NP I-ORG
rejects VBZ B-VP O
German JJ B-NP I-MISC
call NN I-NP O
. . O O

-DOCSTART- -X- -X- O

Peter NNP B-NP I-PER
Blackburn NNP I-NP I-PER
"""
UNER = """# newdoc id = answers-1
# sent_id = answers-1-1
# text = From Kabul, he wrote.
1\tFrom\tO\t-\tann
2\tKabul\tB-LOC\t-\tann
3\t,\tO\t-\tann
4\the\tO\t-\tann
5\twrote\tO\t-\tann
6\t.\tO\t-\tann

# sent_id = answers-1-2
# text = Not these words
1\tJohn\tB-PER\t-\tann
2\tran\tO\t-\tann
"""
NORNE = """# sent_id = 000001
1\tLam\tlam\tNOUN\t_\t_\t0\troot\t_\tname=O
2\tfra\tfra\tADP\t_\t_\t3\tcase\t_\tname=O
3\tOslo\tOslo\tPROPN\t_\t_\t1\tnmod\t_\tSpaceAfter=No|name=B-GPE_LOC
4\t.\t$.\tPUNCT\t_\t_\t1\tpunct\t_\tname=O

1-2\tdel\t_\t_\t_\t_\t_\t_\t_\t_
1\tde\tde\tADP\t_\t_\t2\tcase\t_\tname=O
2\tel\tel\tDET\t_\t_\t0\tdet\t_\tname=B-LOC
2.1\tnada\tnada\tX\t_\t_\t_\t_\t_\tname=O
3\tMar\tmar\tNOUN\t_\t_\t0\troot\t_\tname=I-LOC
"""
GERMEVAL = """#\thttp://de.wikipedia.org/wiki/Manfred_Korfmann [2009-10-17]
1\tTübinger\tB-ORG\tB-LOCderiv
2\tKlinik\tI-ORG\tO
"""


def read(folder: Path, text: str | bytes, name: str = "a.conll", **options: Any) -> Any:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return imported(folder / "out", path, **options)


def test_conll_2003(tmp_path: Path) -> None:
    (one, two), repairs = read(tmp_path, CONLL_2003, split="train")
    assert tokens_of(one) == ["EU", "rejects", "German", "call", "."]
    assert mentions(one) == [("EU", "ORG"), ("German", "MISC")]
    assert mentions(two) == [("Peter Blackburn", "PER")]
    assert (one["document"], two["document"], one["split"], one["source"]) == ("1", "2", "train", "a")
    assert repairs == []


def test_uner_takes_the_text_of_the_file(tmp_path: Path) -> None:
    (one, two), repairs = read(tmp_path, UNER)
    assert one["text"] == "From Kabul, he wrote."
    assert mentions(one) == [("Kabul", "LOC")]
    assert (one["document"], one["sentence"], two["sentence"]) == ("answers-1", "answers-1-1", "answers-1-2")
    assert two["text"] == "John ran"
    assert [(r["line"], r["what"]) for r in repairs] == [(13, "text_without_the_tokens")]


def test_norne_keeps_its_types_and_words_of_several_tokens(tmp_path: Path) -> None:
    (one, two), repairs = read(tmp_path, NORNE, language="nob_Latn")
    assert one["text"] == "Lam fra Oslo."
    assert one["spans"] == [
        {"start": 8, "end": 12, "text": "Oslo", "label": "GPE_LOC", "standard": "country", "core": "LOC"}
    ]
    assert two["text"] == "del Mar"
    assert mentions(two) == [("del Mar", "LOC")]
    assert [(r["line"], r["what"]) for r in repairs] == [(10, "word_not_in_text")]


def test_outer_entities_of_germeval(tmp_path: Path) -> None:
    (one,), _ = read(tmp_path, GERMEVAL)
    assert mentions(one) == [("Tübinger Klinik", "ORG")]
    (one,), _ = read(tmp_path, GERMEVAL, tag=3)
    assert [(s["text"], s["standard"], s["core"]) for s in one["spans"]] == [("Tübinger", "derived", "MISC")]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_line_ends_byte_order_mark_and_a_missing_last_newline(tmp_path: Path, end: str) -> None:
    text = "\ufeff" + end.join(["a\tO", "b\u2028c\tB-PER", "", "", "#\tO", "#x\tB-PER"])
    (one, two), _ = read(tmp_path, text.encode())
    assert tokens_of(one) == ["a", "b\u2028c"]
    assert mentions(two) == [("#x", "PER")]
    assert two["text"] == "# #x"


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".xz", lzma.compress)])
def test_compressed(tmp_path: Path, suffix: str, pack: Any) -> None:
    (one, _), _ = read(tmp_path, pack(CONLL_2003.encode()), f"eng.conll{suffix}")
    assert one["source"] == "eng"


def test_what_is_repaired_has_a_row(tmp_path: Path) -> None:
    text = "a\tI-PER\nb\tI-LOC\n\tO\nc\tB-PER\nd\tB-LOC\n"
    (one,), repairs = read(tmp_path, text)
    assert mentions(one) == [("a", "PER"), ("b", "LOC"), ("c", "PER"), ("d", "LOC")]
    assert [(r["line"], r["what"], r["how"], r["token"], r["tag"]) for r in repairs] == [
        (1, "inside_without_begin", "began an entity", "a", "I-PER"),
        (2, "inside_of_another_label", "began an entity", "b", "I-LOC"),
        (3, "empty_token", "left the token out", "", "O"),
    ]


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a\tO\nb\nc\tO\n", 2, "1 of the 2 columns"),
        ("a\tO\nb\tPER\nc\tO\n", 2, "'PER' is no tag"),
        ("a\tO\n#b\n", 2, "1 of the 2 columns"),
        ("a x\nb y\n", 1, "none of the 2 columns"),
        ("a\nb\n", 1, "a single column"),
        (b"a\tO\nb\xff\tO\n", 2, "not UTF-8: byte 0xff"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(tmp_path: Path, text: str | bytes, line: int, said: str) -> None:
    with pytest.raises(CurateError, match=said) as caught:
        read(tmp_path, text)
    (problem,) = caught.value.problems
    assert problem.code == "D410"
    assert problem.position is not None
    assert (problem.position.file, problem.position.line) == (str(tmp_path / "a.conll"), line)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("text", ["", "\n\n", "# only = a comment\n", "-DOCSTART- O\n\n"])
def test_a_file_without_tokens(tmp_path: Path, text: str) -> None:
    with pytest.raises(CurateError, match="no tokens"):
        read(tmp_path, text)


def test_a_damaged_file(tmp_path: Path) -> None:
    with pytest.raises(CurateError, match="D401"):
        read(tmp_path, gzip.compress(CONLL_2003.encode())[:-9], "a.gz")
    for name, pack in (("b.gz", gzip.compress), ("b.bz2", bz2.compress), ("b.xz", lzma.compress)):
        data = pack(CONLL_2003.encode())
        for broken in (
            data[:12] + bytes([data[12] ^ 0xFF]) + data[13:],
            b"no" + data,
            data[:20] + b"\xff" * 40,
        ):
            with pytest.raises(CurateError, match=r"D401.*b\."):
                read(tmp_path, broken, name)
    with pytest.raises(FileNotFoundError):
        read_tagged(tmp_path / "gone.bz2")


def test_the_language_has_the_script_of_the_file(tmp_path: Path) -> None:
    file = write_tagged(tmp_path / "srp.tsv", [(["Београд", "je"], ["B-LOC", "O"])])
    (one,), _ = imported(tmp_path / "out", file, language="sr")
    assert one["language"] == "srp_Cyrl"
    for language, said in ((None, "nothing says which language"), ("german", "did you mean 'deu_Latn'")):
        done = CliRunner().invoke(
            cli,
            [
                "ner",
                "import",
                str(file),
                "--output",
                str(tmp_path / "o"),
                *(["--language", language] * bool(language)),
            ],
        )
        assert isinstance(done.exception, CurateError)
        assert said in str(done.exception) + done.exception.problems[0].help


scripts = st.sampled_from(
    ["Wort", "x.", "和", "北京", "，", "ไทย", "한국", "שלום", "é", "é", "👍🏽", "2004", "カナ", "နေ", ","]
)
words = scripts | st.text(st.characters(codec="utf-8"), min_size=1, max_size=4).filter(str.strip)


@given(st.lists(words, min_size=1, max_size=8), st.data())
def test_tokens_stand_in_the_text_they_are_joined_to(tokens: list[str], data: st.DataObject) -> None:
    spaces = data.draw(st.none() | st.lists(st.booleans(), min_size=len(tokens), max_size=len(tokens)))
    text, places = join(tokens, spaces)
    assert [text[start:end] for start, end in places] == tokens
    assert "".join(text.split(" ")) == "".join("".join(tokens).split(" "))


@given(st.lists(words, max_size=8), st.lists(st.sampled_from(["", " ", "\u00a0\n"]), min_size=9, max_size=9))
def test_tokens_are_found_in_a_text_with_any_spaces(tokens: list[str], gaps: list[str]) -> None:
    text = gaps[0] + "".join(token + gap for token, gap in zip(tokens, gaps[1:], strict=False))
    places = find(tokens, text)
    if all(not token[0].isspace() for token in tokens):
        assert places is not None
        assert [text[start:end] for start, end in places] == tokens
    assert find([*tokens, "never"], text) is None


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ("自从 2004 年 ， Python 的", "自从2004年，Python的"),
        ("he said 北京 twice", "he said 北京 twice"),
        ("made in 北 京", "made in 北京"),
        ("서울 은 수도", "서울 은 수도"),
        ("ผม ชอบ กรุงเทพ", "ผมชอบกรุงเทพ"),
        ("a , b", "a , b"),
    ],
)
def test_scripts_without_spaces_get_none(tokens: str, text: str) -> None:
    assert join(tokens.split())[0] == text


@pytest.mark.skipif(not GOLD.is_dir(), reason=f"the gold corpora are not in {GOLD}")
@pytest.mark.parametrize(
    "name", ["uner-zho-test", "uner-srp-train", "masakhaner2-kin-dev", "masakhaner2-yor-test"]
)
def test_the_gold_corpora_have_what_their_manifest_says(tmp_path: Path, name: str) -> None:
    manifest = json.loads((GOLD / "manifest.json").read_text())
    (facts,) = [f for f in manifest["files"] if f["file"] == f"{name}.tsv.xz"]
    rows, repairs = imported(tmp_path, GOLD / facts["file"], names="{source}-{language}-{split}")
    assert len(rows) == facts["sentences"]
    assert sum(len(row["tokens"]) for row in rows) == facts["tokens"]
    assert Counter(s["label"] for row in rows for s in row["spans"]) == facts["entities"]
    assert len(repairs) == facts["bio_inside_without_begin"]
    assert {(row["source"], row["split"]) for row in rows} == {(facts["set"], facts["split"])}


def test_the_command_says_what_it_read(tmp_path: Path) -> None:
    folder = tmp_path / "gold"
    folder.mkdir()
    write_tagged(folder / "toy-deu-train.tsv", [(["Bonn", "x"], ["B-GPE", "B-zork"])])
    write_tagged(folder / "toy-fra-test.tsv", [(["Nice"], ["I-LOC"]), (["a", "b"], ["B-LOC", "B-PER"])])
    arguments = [
        "ner",
        "import",
        str(folder),
        "--names",
        "{source}-{language}-{split}",
        "--output",
        str(tmp_path / "o"),
    ]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    assert "deu_Latn, 1 sentences, 2 tokens, 2 entities, 0 repairs" in done.output
    assert "without a standard type (--types adds some): zork 1" in done.output
    again = CliRunner().invoke(cli, arguments)
    assert isinstance(again.exception, CurateError)
    assert "C205" in str(again.exception)
    (tmp_path / "types").write_text("zork\tcity\n")
    done = CliRunner().invoke(cli, [*arguments, "--force", "--types", str(tmp_path / "types")])
    assert "zork 1" in done.output
    assert "without a standard type" not in done.output


@pytest.mark.parametrize("names", ["{source}-{lang}", "{split}{split}"])
def test_a_pattern_with_a_wrong_field(tmp_path: Path, names: str) -> None:
    file = write_tagged(tmp_path / "a.tsv", [(["a"], ["O"])])
    done = CliRunner().invoke(
        cli, ["ner", "import", str(file), "--names", names, "--output", str(tmp_path / "o")]
    )
    assert done.exit_code == 2
    assert "at most once" in done.output


def test_a_name_that_does_not_fit_the_pattern(tmp_path: Path) -> None:
    file = write_tagged(tmp_path / "a.tsv", [(["a"], ["O"])])
    with pytest.raises(CurateError, match="does not fit"):
        imported(tmp_path / "o", file, names="{source}-{language}")
