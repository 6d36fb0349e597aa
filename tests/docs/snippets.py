"""Code blocks of the documentation, told apart by the words after the fence.

```sh run             runs in a folder where the main job has run
```python run         the same, as a program
```text report        lines of `curate report web`; `…` stands for what was left out
```text error         what `curate check` says of the README's config with a mistake in it
```yaml config        the README's config: the same as configs/web.yaml
```python filters/…   a file of the example in CONTRIBUTING.md
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
]

_BLOCK = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Snippet:
    """A code block. info: the words after the fence; line: where it begins."""

    page: Path
    line: int
    info: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def snippets(page: Path) -> list[Snippet]:
    text = page.read_text(encoding="utf-8")
    return [
        Snippet(page, text.count("\n", 0, block.start()) + 1, block["info"].strip(), block["text"])
        for block in _BLOCK.finditer(text)
    ]


def the(info: str, page: str) -> Snippet:
    """The only block of that kind on a page."""
    (found,) = [s for s in snippets(ROOT / page) if s.info == info]
    return found


def prose(page: Path) -> str:
    """A page without its code blocks."""
    return _BLOCK.sub("", page.read_text(encoding="utf-8"))
