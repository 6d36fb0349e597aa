"""Languages have one spelling, and whatever else people write leads to it."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.languages import canonical, is_language, name, suggest

FINEWEB2 = """
deu_Latn cmn_Hani arb_Arab nob_Latn nno_Latn jpn_Jpan kor_Hang ekk_Latn lvs_Latn fas_Arab fil_Latn srp_Cyrl
srp_Latn eml_Latn nah_Latn zxx_Zxxx eng_Cyrl und
"""
OTHERS = """
de German deu deu_latn DEU_Latn deu_DE zho_Hans cmn_Hans zho_Hani nor_Latn est_Latn pes_Arab tgl_Latn jpn_Kana
xxx_Latn deu_Xxxx deu_ _Latn _ und_Latn
"""


@pytest.mark.parametrize("code", FINEWEB2.split())
def test_accepts_languages_as_fineweb2_writes_them(code: str) -> None:
    assert is_language(code)
    assert suggest(code) == code
    assert canonical(*code.split("_")) == code


@pytest.mark.parametrize("code", [*OTHERS.split(), "", " deu_Latn", "deu_Latn\n", "deu_Latn_x"])
def test_rejects_every_other_spelling(code: str) -> None:
    assert not is_language(code)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("de", "deu_Latn"),
        ("German", "deu_Latn"),
        ("german", "deu_Latn"),
        ("deu", "deu_Latn"),
        ("ger", "deu_Latn"),
        ("de_DE", "deu_Latn"),
        ("de-AT", "deu_Latn"),
        ("deu_latn", "deu_Latn"),
        ("Germn", "deu_Latn"),
        ("zh", "cmn_Hani"),
        ("Chinese", "cmn_Hani"),
        ("Mandarin", "cmn_Hani"),
        ("zho_Hans", "cmn_Hani"),
        ("cmn_Hans", "cmn_Hani"),
        ("zh_TW", "cmn_Hani"),
        ("zh-Hant-HK", "cmn_Hani"),
        ("ja", "jpn_Jpan"),
        ("ko", "kor_Hang"),
        ("kor_Kore", "kor_Hang"),
        ("no", "nob_Latn"),
        ("Norwegian", "nob_Latn"),
        ("Farsi", "fas_Arab"),
        ("Dari", "fas_Arab"),
        ("iw", "heb_Hebr"),
        ("sr-Latn-RS", "srp_Latn"),
        ("sh", "srp_Latn"),
        ("az_Arab", "azb_Arab"),
        ("Greek", "ell_Grek"),
        ("Serbo-Croatian", "srp_Latn"),
        ("und", "und"),
        ("Norwegian Bokmål", "nob_Latn"),
    ],
)
def test_suggests_what_is_probably_meant(text: str, meant: str) -> None:
    assert suggest(text) == meant


@pytest.mark.parametrize(
    "text", ["", " ", "_", "-", "xx", "qqq", "_Latn", "no such language at all", "12", "\0"]
)
def test_suggests_nothing_when_it_is_unclear(text: str) -> None:
    assert suggest(text) is None


@given(st.text(max_size=20))
def test_suggestions_are_languages(text: str) -> None:
    suggested = suggest(text)
    assert suggested is None or is_language(suggested)


def test_canonical_is_a_language_for_every_code_and_script() -> None:
    from curate.core import languages

    scripts = [None, "Latn", "Cyrl", "Hani", "Jpan", "Hang", "Hans", "Arab", "Mong"]
    for code in languages._by_any_code():
        for script in scripts:
            assert is_language(canonical(code, script)), (code, script)


@pytest.mark.parametrize(
    ("code", "script", "ours"),
    [
        ("az", "Latn", "azj_Latn"),
        ("az", "Arab", "azb_Arab"),
        ("ku", "Arab", "ckb_Arab"),
        ("ku", None, "kmr_Latn"),
        ("mn", "Mong", "mvf_Mong"),
        ("pa", "Arab", "pnb_Arab"),
        ("ja", "Hani", "jpn_Jpan"),
        ("ko", "Hani", "kor_Hang"),
        ("zh", "Jpan", "cmn_Jpan"),
        ("en", "Cyrl", "eng_Cyrl"),
        ("bh", None, "bho_Deva"),
        ("sh", None, "srp_Latn"),
        ("ajp", None, "apc_Arab"),
        ("und", "Xsux", "und"),
    ],
)
def test_canonical_joins_code_and_script(code: str, script: str | None, ours: str) -> None:
    assert canonical(code, script) == ours


def test_canonical_rejects_what_it_does_not_know() -> None:
    with pytest.raises(KeyError):
        canonical("spam")
    with pytest.raises(KeyError):
        canonical("de", "Xxxx")


def test_names_show_an_unusual_script() -> None:
    assert name("deu_Latn") == "German"
    assert name("srp_Cyrl") == "Serbian"
    assert name("srp_Latn") == "Serbian (Latin)"
    assert name("fas_Arab") == "Persian"
    assert name("und") == "Undetermined"


def test_import_is_light() -> None:
    code = "import sys, curate.core.languages; print({'numpy', 'pyarrow', 'numba'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "set()"
