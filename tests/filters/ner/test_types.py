"""Labels of corpora, models and people become types by a table, or none."""

from __future__ import annotations

from pathlib import Path

import pytest

from curate.core.errors import CurateError
from filters.ner.types import CORE, normal_label, type_map


@pytest.mark.parametrize(
    ("label", "standard", "core"),
    [
        ("PER", "person", "PER"),
        ("Geo-Political Entity", "country", "LOC"),
        ("geopolitical_entity", "country", "LOC"),
        ("GPE_ORG", "government", "ORG"),
        ("person-actor", "person", "PER"),
        ("person / politician", "person", "PER"),
        ("product-software", "product", "MISC"),
        ("Work of Art", "creative_work", "MISC"),
        ("DATE", "date", None),
        ("zork", None, None),
        ("", None, None),
        ("人", None, None),
    ],
)
def test_labels(label: str, standard: str | None, core: str | None) -> None:
    assert (type_map().standard(label), type_map().core(label)) == (standard, core)


def test_the_table_has_about_fifty_types_with_cores_we_know() -> None:
    cores = type_map().cores
    assert 40 <= len(cores) <= 60
    assert set(cores.values()) == {*CORE, None}
    assert all(type_map().standard(name) == name for name in cores)


def test_labels_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "types.tsv"
    file.write_text("# ours\nZork\tcity\nPER\tgroup\n")
    mine = type_map().with_file(file)
    assert (mine.standard("zork"), mine.core("per"), mine.core("org")) == ("city", "MISC", "ORG")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a\tcity\nzork\n", "a label, a tab"),
        ("a\tcity\nzork\tcitty\n", "did you mean 'city'"),
        ("a\tcity\n\tcity\n", "a tab"),
    ],
)
def test_a_line_that_is_wrong_is_named(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "types.tsv"
    file.write_text(text)
    with pytest.raises(CurateError, match=said) as caught:
        type_map().with_file(file)
    position = caught.value.problems[0].position
    assert position is not None
    assert position.line == 2


def test_vowels_that_are_marks_tell_labels_apart() -> None:
    assert normal_label("काल") != normal_label("कील")
    assert normal_label("cafe\u0301") == normal_label("Café") != normal_label("cafe")
    assert normal_label(" film-studio_1 ") == "filmstudio1"
