"""Links inside the documentation lead somewhere, and files it mentions exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.snippets import PAGES, ROOT, prose

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_FILE = re.compile(
    r"`((?:curate|filters|lid|dedup|tests|scripts|docs|configs|data|benchmarks)/[\w./-]*\.\w+)`"
)
#: The filter that CONTRIBUTING.md tells the reader to write.
_EXAMPLE = "few_lines"


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as the usual renderers make them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target in _LINK.findall(prose(page)):
        if target.startswith(("https://", "http://")):
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_it_mentions_exist(page: Path) -> None:
    named = [name for name in _FILE.findall(prose(page)) if _EXAMPLE not in name]
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, left = set(), [ROOT / "README.md"]
    while left:
        page = left.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        targets = [t.partition("#")[0] for t in _LINK.findall(prose(page)) if "://" not in t]
        left += [(page.parent / target).resolve() for target in targets if target]
    assert set(PAGES) <= reached
