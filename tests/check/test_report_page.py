"""The page: it needs nothing else, and what a server says stays text in it."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from llmount.check.recording import Item, Recording
from llmount.check.reports import FORMATS
from llmount.check.reports.timeline import timeline

from .reported import REPORT, STREAM


class _Page(HTMLParser):
    """What elements a page has, and that they are closed in turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "circle", "line", "rect"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def of(self, name: str, kind: str = "") -> list[dict[str, str | None]]:
        return [
            attributes
            for tag, attributes in self.elements
            if tag == name and kind in ["", *(attributes.get("class") or "").split(" ")]
        ]


def test_the_page_is_one_file_that_needs_nothing_else() -> None:
    page = _Page(FORMATS["html"]([REPORT]))

    assert not page.open
    assert not any("src" in attributes for _, attributes in page.elements)
    assert not page.of("link")
    links = [attributes["href"] or "" for attributes in page.of("a")]
    ids = {attributes.get("id") for _, attributes in page.elements}
    assert links
    for link in links:
        assert link.startswith("https://example.org/") or link[1:] in ids, link


def test_what_a_server_says_is_text_on_the_page_and_its_policy_allows_no_other_script() -> None:
    text = FORMATS["html"]([REPORT])
    page = _Page(text)

    assert len(page.of("script")) == 1
    assert text.count("alert(1)") == text.count("&lt;script&gt;alert(1)&lt;/script&gt;") > 3
    assert "\x1b" not in text
    assert "\x00" not in text
    assert "{{body}}" in text
    (policy,) = [m["content"] or "" for m in page.of("meta") if "http-equiv" in m]
    assert policy.startswith("default-src 'none';")
    for element in ("style", "script"):
        match = re.search(f"<{element}>(.*?)</{element}>", text, re.DOTALL)
        assert match is not None
        digest = base64.b64encode(hashlib.sha256(match[1].encode()).digest()).decode()
        assert f"{element}-src 'sha256-{digest}'" in policy


def test_a_failure_is_unfolded_with_all_that_repeats_it() -> None:
    text = FORMATS["html"]([REPORT])
    page = _Page(text)

    (failed, accepted) = page.of("details", "FAIL")[-2:]
    assert "open" in failed
    assert "open" not in accepted
    for name in ("Request", "Answer", "curl", "pytest"):
        assert f"<summary>{name}</summary>" in text
    assert "POST http://127.0.0.1:9/v1/chat/completions" in text
    assert "The baseline accepts this." in text
    assert "4 more findings are not shown." in text
    assert "raises <code>TypeError</code>" in text


def test_areas_that_failed_come_first() -> None:
    page = _Page(FORMATS["html"]([REPORT]))

    assert [s["id"] for s in page.of("section") if "id" in s] == [
        "chat-openai-stream",
        "chat-openai-models",
        "chat-openai-answers",
        "chat-openai-semantics",
    ]


# The plot


def dots(plot: str) -> list[tuple[float, float]]:
    """Where the items are, in percent and pixels."""
    found = re.findall(r'<circle cx="([\d.]+)%" cy="(\d+)"', plot)
    return [(float(x), float(y)) for x, y in found]


def test_the_plot_has_a_dot_for_each_item_where_its_time_is_and_marks_those_at_fault() -> None:
    plot = timeline(STREAM, {1})

    xs = [x for x, _ in dots(plot)]
    # The one at fault is drawn last.
    assert xs == sorted(xs)[:1] + sorted(xs)[2:] + sorted(xs)[1:2]
    assert xs[1] == 98.0
    assert xs[2] == pytest.approx(50.0)
    assert plot.count('class="fault"') == 1
    assert plot.count('class="began"') == 1
    assert "3 items in 500 ms" in plot
    assert "at fault: 1" in plot


def test_items_that_come_at_once_stand_above_each_other_within_the_plot() -> None:
    lump = replace(STREAM, items=[Item({"n": n}, 0.5) for n in range(50)])

    ys = [y for _, y in dots(timeline(lump))]
    assert len(ys) == 50
    assert len(set(ys)) > 4
    assert all(0 < y < 60 for y in ys)


def test_the_plot_of_a_stream_without_items_or_time_is_empty() -> None:
    assert dots(timeline(Recording(method="GET", url="http://h"), {3})) == []
