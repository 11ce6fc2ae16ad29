"""The page that every mount serves at `docs`: what can be held without a browser."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from importlib.resources import files

import pytest

PAGE = (files("llmount") / "page.html").read_text(encoding="utf-8")

VOID = {"br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"}
LOADS = {"src", "srcset", "href", "data", "poster", "action", "formaction", "background", "ping"}
ELSEWHERE = re.compile(r"(?:\b(?:https?|wss?|ftp):)?//[\w-]+(?:\.[\w-]+|:\d)", re.IGNORECASE)
FORBIDDEN = {
    "writes markup": r"\b(?:inner|outer)HTML\b|insertAdjacentHTML|document\.write|setHTML|srcdoc"
    r"|createContextualFragment|DOMParser",
    "runs text as code": r"\beval\s*\(|\bFunction\s*\(|\bimport\s*\("
    r"|\bset(?:Timeout|Interval)\(['\"`]",
    "keeps something": r"localStorage|sessionStorage|indexedDB|document\.cookie|cookieStore",
    "imports": r"^\s*import\b|@import|\burl\(",
    "sets a style attribute": r"[\"']style[\"']|(?<!-)\bstyle:|\.cssText",
}


class Outline(HTMLParser):
    """Collects the elements, and every way in which they break the rules of the page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.faults: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.code: list[str] = []
        self.declared = ""

    def handle_decl(self, decl: str) -> None:
        self.declared = decl

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        self.elements.append((tag, dict(attrs)))
        if len(names) != len(set(names)):
            self.faults.append(f"<{tag}> repeats an attribute")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> closes something else")

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in {"script", "style"}:
            self.code.append(data)


def faults(page: str) -> list[str]:
    """All that is wrong with the page, in words; empty if it may be served."""
    outline = Outline()
    outline.feed(page)
    outline.close()
    elements = outline.elements
    ids = [attrs["id"] for _, attrs in elements if "id" in attrs]
    return [
        *outline.faults,
        *(f"<{tag}> is not closed" for tag in outline.open),
        *(fault for tag, attrs in elements for fault in _element_faults(tag, attrs, ids)),
        *(f"id {one} is given twice" for one in sorted({str(i) for i in ids if ids.count(i) > 1})),
        *(f"names a place elsewhere: {found}" for found in ELSEWHERE.findall(page)),
        *(
            f"{fault}: {found.group()}"
            for fault, pattern in FORBIDDEN.items()
            for found in re.finditer(pattern, "".join(outline.code), re.MULTILINE)
        ),
        *_document_faults(outline, page),
    ]


def _element_faults(tag: str, attrs: dict[str, str | None], ids: list[str | None]) -> list[str]:
    found = [f"<{tag}> has the inline handler {name}" for name in attrs if name.startswith("on")]
    if "style" in attrs:
        found.append(f"<{tag}> has an inline style")
    if tag in {"base", "iframe", "object", "embed", "form"}:
        found.append(f"<{tag}> is not allowed by the policy")
    if tag in {"script", "style"} and attrs.get("nonce") != "__NONCE__":
        found.append(f"<{tag}> has no nonce")
    for name in LOADS & attrs.keys():
        value = attrs[name] or ""
        if not value.startswith(("#", "data:")):
            found.append(f"<{tag}> loads {value}")
        if value.startswith("#") and value[1:] not in ids:
            found.append(f"<{tag}> points to {value}, which is not there")
    for name in {"for", "aria-controls", "aria-labelledby", "aria-describedby"} & attrs.keys():
        if attrs[name] not in ids:
            found.append(f"<{tag}> names {attrs[name]}, which is not there")
    if tag == "nav" and not attrs.get("aria-label"):
        found.append("<nav> has no label")
    return found


def _document_faults(outline: Outline, page: str) -> list[str]:
    tags = [tag for tag, _ in outline.elements]
    attributes = {
        (tag, name): value for tag, attrs in outline.elements for name, value in attrs.items()
    }
    wanted = {
        "is not HTML5": outline.declared.lower() == "doctype html",
        "has no language": bool(attributes.get(("html", "lang"))),
        "has no charset": attributes.get(("meta", "charset")) == "utf-8",
        "has no viewport": ("meta", "viewport")
        in {(t, a.get("name")) for t, a in outline.elements},
        "lacks its one title, main, script or style": all(
            tags.count(tag) == 1 for tag in ("title", "main", "script", "style")
        ),
        "has the nonce elsewhere": page.count("__NONCE__") == 2,
        "asks the browser for an icon": ("link", "icon")
        in {(t, a.get("rel")) for t, a in outline.elements},
    }
    return [fault for fault, fine in wanted.items() if not fine]


def test_the_page_is_well_formed_self_contained_and_fits_its_policy() -> None:
    assert faults(PAGE) == []


def test_the_page_stays_small() -> None:
    lines = PAGE.splitlines()
    assert len(lines) < 500
    assert max(map(len, lines)) <= 140


def test_the_page_follows_the_colour_scheme_of_the_reader() -> None:
    assert "color-scheme: light dark" in PAGE


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("</nav>", ""),
        ("</nav>", "</nav></p>"),
        ('<nav id="menu" aria-label="Operations">', '<nav id="menu">'),
        ('aria-controls="menu"', 'aria-controls="list"'),
        ('id="toggle"', 'id="menu"'),
        ('id="toggle"', 'id="toggle" onclick="go()"'),
        ('id="toggle"', 'id="toggle" style="color: red"'),
        ('href="#main"', 'href="#content"'),
        ('href="data:,"', 'href="/favicon.ico"'),
        ('<link rel="icon" href="data:,">', ""),
        ("</head>", '<script src="https://cdn.example.org/a.js"></script></head>'),
        ("</head>", '<script nonce="__NONCE__">go()</script></head>'),
        ("</head>", '<base href="#main"></head>'),
        ('<style nonce="__NONCE__">', "<style>"),
        ('<style nonce="__NONCE__">', '<style nonce="__NONCE__">@import "a.css";'),
        (":root {", ":root { background: url(a.png);"),
        ("let doc;", 'let doc = fetch("//cdn.example.org/x");'),
        ("let doc;", 'let doc = "http://127.0.0.1:80";'),
        ("let doc;", "let doc; document.body.innerHTML = 1;"),
        ("let doc;", "let doc; eval(doc);"),
        ("let doc;", 'let doc = h("p", { style: "color: red" });'),
        ("let doc;", "let doc; new Function(doc);"),
        ("let doc;", "let doc; localStorage.key = 1;"),
        ("let doc;", 'let doc = "__NONCE__";'),
        ("<!doctype html>", ""),
        (' lang="en"', ""),
        ('<meta charset="utf-8">', ""),
        ('name="viewport"', 'name="robots"'),
        ("<title>API</title>", ""),
    ],
)
def test_a_page_that_breaks_a_rule_is_noticed(old: str, new: str) -> None:
    assert old in PAGE
    assert faults(PAGE.replace(old, new, 1))
