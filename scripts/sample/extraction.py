"""Markup to plain text: HTML, Mallard pages and the Emacs tutorials in, lists of lines out.

In: one file as `str`. Out: `list[str]`, one entry per heading, paragraph, list item, table cell or line of
code, whitespace collapsed, navigation left out. HTML is read with `html.parser` into an ElementTree, Mallard
with ElementTree itself, so one walker serves both. Only the standard library: the sample must not change with
an extractor's version.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from html.parser import HTMLParser

VOID = frozenset([
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr",
])  # fmt: skip
BLOCKS = frozenset([
    "address", "article", "aside", "blockquote", "body", "br", "caption", "dd", "desc", "div", "dl", "dt",
    "figcaption", "figure", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "item", "li", "list", "note", "ol",
    "p", "page", "pre", "section", "steps", "table", "tbody", "td", "terms", "th", "thead", "title", "tr",
    "ul",
])  # fmt: skip
VERBATIM = frozenset(("pre", "code-block", "screen"))
DROPPED_TAGS = frozenset([
    "aside", "button", "footer", "head", "header", "info", "links", "media", "nav", "noscript", "script",
    "style", "svg",
])  # fmt: skip
# LibreOffice: related links, icons, the header over menu paths. Handbook: previous and next, contents.
DROPPED_CLASSES = frozenset([
    "debug", "docnav", "howtogetheader", "noteicon", "related", "relatedtopics", "revhistory", "toc",
])  # fmt: skip
DROPPED_IDS = frozenset(["DEBUG", "DonationFrame", "SearchFrame", "banner", "title"])
# LibreOffice shows one of these by the reader's program and system; keep the first that is not for macOS.
SWITCHES = frozenset(("switch", "switchinline"))
CLASSIC_ONLY = re.compile(r"(?<!!)platform:gnome-classic")
RULE = re.compile(r"^[-=*_ ]{4,}$")


class _TreeReader(HTMLParser):
    """Forgiving HTML to ElementTree: an end tag closes everything opened since its start tag."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.builder = ET.TreeBuilder()
        self.open = ["root"]
        self.builder.start("root", {})

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.builder.start(tag, {name: value or "" for name, value in attrs})
        if tag in VOID:
            self.builder.end(tag)
        else:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.builder.start(tag, {name: value or "" for name, value in attrs})
        self.builder.end(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.open[1:]:
            return
        while (last := self.open.pop()) != tag:
            self.builder.end(last)
        self.builder.end(tag)

    def handle_data(self, data: str) -> None:
        self.builder.data(data)

    def tree(self) -> ET.Element:
        self.close()
        while self.open:
            self.builder.end(self.open.pop())
        return self.builder.close()


def html_tree(markup: str) -> ET.Element:
    reader = _TreeReader()
    reader.feed(markup)
    return reader.tree()


def canonical_url(tree: ET.Element) -> str | None:
    """The address a page states for itself in `<link rel="canonical">`."""
    return next((link.get("href") for link in tree.iter("link") if link.get("rel") == "canonical"), None)


def html_lines(tree: ET.Element, content_id: str | None = None) -> list[str]:
    """Lines of the element with `content_id`, or of the body."""
    found = (node for node in tree.iter() if content_id and node.get("id") == content_id)
    root = next(found, None) if content_id else tree.find(".//body")
    return _lines(root) if root is not None else []


def mallard_lines(markup: str) -> list[str]:
    """Lines of a GNOME help page; raises `xml.etree.ElementTree.ParseError` on broken XML."""
    return _lines(ET.fromstring(markup))


def tutorial_sections(text: str) -> Iterator[list[str]]:
    """Sections of an Emacs tutorial, paragraphs unwrapped; a heading starts with `* ` and is underlined."""
    text = text.split(";;; Local Variables", maxsplit=1)[0]
    for section in re.split(r"^(?=\* )", text, flags=re.MULTILINE):
        paragraphs = re.split(r"\n\s*\n", section)
        lines = [_unwrap(paragraph) for paragraph in paragraphs]
        yield [line for line in lines if line and not line.startswith(("<<", "--- "))]


def _unwrap(paragraph: str) -> str:
    kept = (line.strip() for line in paragraph.split("\n"))
    return _squeeze(" ".join(line for line in kept if not RULE.match(line))).removeprefix("* ")


def _squeeze(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def _lines(root: ET.Element) -> list[str]:
    out: list[str] = []
    for line in "".join(_pieces(root, verbatim=False)).split("\n"):
        text = _squeeze(line)
        if any(map(str.isalnum, text)) and text not in out[-1:]:
            out.append(text)
    return out


def _pieces(node: ET.Element, verbatim: bool) -> Iterator[str]:
    if _dropped(node):
        return
    tag = _tag(node)
    verbatim = verbatim or tag in VERBATIM or _is_code_block(node)
    edge = "\n" if tag in BLOCKS or (verbatim and tag != "span") else ""
    yield edge
    yield _text(node.text, verbatim)
    for number, child in enumerate(_shown_children(node)):
        if tag == "keyseq" and number:
            yield "+"
        yield from _pieces(child, verbatim)
        yield _text(child.tail, verbatim) if tag != "keyseq" else ""
    yield edge


def _text(text: str | None, verbatim: bool) -> str:
    return "" if text is None else text if verbatim else re.sub(r"\s+", " ", text)


def _shown_children(node: ET.Element) -> list[ET.Element]:
    children = list(node)
    if _tag(node) == "choose":
        return children[:1]
    if SWITCHES & _classes(node):
        return [child for child in children if "MAC" not in _classes(child)][:1]
    return children


def _dropped(node: ET.Element) -> bool:
    return (
        _tag(node) in DROPPED_TAGS
        or _is_link_line(node)
        or bool(DROPPED_CLASSES & _classes(node))
        or node.get("id") in DROPPED_IDS
        or any(name.endswith("test") and CLASSIC_ONLY.search(value) for name, value in node.attrib.items())
    )


def _is_link_line(node: ET.Element) -> bool:
    """LibreOffice lists related pages in paragraphs that hold a link and nothing else."""
    if _tag(node) != "p" or "embedded" not in _classes(node):
        return False
    links = [child for child in node if _tag(child) == "a" and child.get("href")]
    outside = (node.text or "") + "".join(child.tail or "" for child in node)
    return len(links) == 1 and not outside.strip()


def _is_code_block(node: ET.Element) -> bool:
    return _tag(node) == "code" and (node.text or "").strip().count("\n") >= 2


def _tag(node: ET.Element) -> str:
    return node.tag.rsplit("}", 1)[-1] if isinstance(node.tag, str) else ""


def _classes(node: ET.Element) -> frozenset[str]:
    return frozenset(node.get("class", "").split())
