"""One page that holds everything: no other file, and it works without scripts."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Final

from ..readiness import Readiness, State, capabilities, clients
from ..reproduce import curl, preparation, snippet
from ..verdict import Finding, Report, Result, Verdict
from .markup import Markup, joined, tag
from .timeline import timeline
from .wording import answer, headline, of_item, request, started, when

__all__ = ["render"]

_SIGNS: Final = {
    Verdict.PASS: "✓",
    Verdict.FAIL: "✗",
    Verdict.WARN: "!",
    Verdict.UNSUPPORTED: "–",
    Verdict.SKIP: "›",
}
_STATES: Final = {
    State.OK: ("PASS", "works"),
    State.UNKNOWN: ("SKIP", "not all could be checked"),
    State.DEGRADED: ("WARN", "works, but less well"),
    State.BREAKS: ("FAIL", "breaks"),
}
_OPENED: Final = 3
"""How many failures of a report are unfolded."""


def render(reports: Sequence[Report]) -> str:
    page = _template()
    title = " · ".join(dict.fromkeys(headline(report) for report in reports)) or "llmount check"
    filled = {
        "policy": joined(_policy(page)),
        "title": joined(title),
        "body": joined(*map(_report, reports)),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: filled[match[1]], page)


@cache
def _template() -> str:
    return Path(__file__).with_name("report.html").read_text(encoding="utf-8")


def _policy(page: str) -> str:
    """What a browser lets the page do: its own style and script, and nothing else."""
    allowed = ["default-src 'none'", "base-uri 'none'", "form-action 'none'"]
    for element in ("style", "script"):
        match = re.search(rf"<{element}>(.*?)</{element}>", page, re.DOTALL)
        assert match is not None
        digest = base64.b64encode(hashlib.sha256(match[1].encode()).digest()).decode()
        allowed.append(f"{element}-src 'sha256-{digest}'")
    return "; ".join(allowed)


def _report(report: Report) -> Markup:
    return tag("article", *_parts(report))


def _parts(report: Report) -> Iterator[Markup]:
    yield _head(report)
    if ready := clients(report):
        yield tag("h2", "Clients")
        yield tag("div", *(_client(each) for each in ready), class_="cards")
    yield tag("h2", "Capabilities")
    yield tag("div", *_capabilities(report), class_="cards")
    if report.streams:
        yield tag("h2", "Streams")
        for operation, recording in report.streams.items():
            yield tag("section", tag("h3", operation), timeline(recording), class_="stream")
    yield tag("h2", "Checks")
    yield _filter(report)
    opened = {result.key for result in report.failed[:_OPENED]}
    areas = list(dict.fromkeys(result.area for result in report.results))
    for area in areas:
        rows = [
            _result(report, result, result.key in opened)
            for result in sorted(
                (each for each in report.results if each.area == area),
                key=lambda each: _ORDER.index(each.verdict),
            )
        ]
        yield tag("section", tag("h3", area), *rows, id=f"{report.contract}-{area}")


_ORDER: Final = (
    Verdict.FAIL,
    Verdict.WARN,
    Verdict.PASS,
    Verdict.UNSUPPORTED,
    Verdict.SKIP,
)


# The top


def _head(report: Report) -> Markup:
    good = report.conforms and not report.crashed
    kind = "FAIL" if not good else "PASS" if report.counts[Verdict.PASS] else "SKIP"
    sign = tag("span", _SIGNS[Verdict(kind)], class_="sign", aria_hidden="true")
    facts = {
        "Contract": report.contract,
        "At": report.url + report.mount,
        "Model": report.model,
        "Profile": str(report.profile),
        "Server": report.server,
        "When": started(report).replace("T", " ").replace("+00:00", " UTC"),
        "Took": when(report.seconds),
        "Tester": f"llmount {report.version}, seed {report.seed}",
        "Also speaks": ", ".join(report.also),
    }
    shown = [
        tag("div", tag("dt", name), tag("dd", value)) for name, value in facts.items() if value
    ]
    stale = [
        tag("p", "The baseline accepts ", tag("code", key), ", but it does not fail any more.")
        for key in report.stale
    ]
    return tag(
        "header",
        tag("div", sign, tag("h1", headline(report)), class_="headline"),
        _share(report),
        *stale,
        tag("dl", *shown),
        class_=f"verdict {kind}",
    )


def _share(report: Report) -> Markup:
    """A bar of all results, and what its colours are."""
    total = max(1, len(report.results))
    pieces, legend, x = [], [], 0.0
    for verdict in _ORDER:
        count = report.counts[verdict]
        if not count:
            continue
        width = 100 * count / total
        pieces.append(
            tag("rect", x=f"{x:.2f}%", y=0, width=f"{width:.2f}%", height=10, class_=str(verdict))
        )
        legend.append(tag("li", tag("b", str(count)), f" {verdict}", class_=str(verdict)))
        x += width
    bar = tag("svg", *pieces, class_="share", width="100%", height=10, aria_hidden="true")
    return joined(bar, tag("ul", *legend, class_="legend"))


def _client(ready: Readiness) -> Markup:
    kind, words = _STATES[ready.state]
    troubles = [
        tag("li", tag("code", trouble.result.key), f" {trouble.effect}")
        for trouble in ready.troubles
    ]
    return tag(
        "div",
        tag("strong", ready.client),
        tag("span", words, class_="state"),
        *([tag("ul", *troubles)] if troubles else []),
        class_=f"card {kind}",
    )


def _capabilities(report: Report) -> Iterator[Markup]:
    for each in capabilities(report):
        counts = ", ".join(f"{count} {verdict}" for verdict, count in each.counts.items())
        yield tag(
            "a",
            tag("strong", each.area),
            tag("span", counts, class_="state"),
            class_=f"card {each.verdict}",
            href=f"#{report.contract}-{each.area}",
        )


# The checks


def _filter(report: Report) -> Markup:
    """Shown by the script, without which all is there anyway."""
    boxes = [
        tag(
            "label",
            tag("input", type="checkbox", value=str(verdict), checked=True),
            f" {verdict}",
        )
        for verdict in _ORDER
        if report.counts[verdict]
    ]
    return tag("form", *boxes, class_="filter", hidden=True)


def _result(report: Report, result: Result, opened: bool) -> Markup:
    about = report.about(result)
    summary = tag(
        "summary",
        tag("span", _SIGNS[result.verdict], class_="sign", title=str(result.verdict)),
        tag(
            "span",
            tag("span", about.title, class_="title"),
            tag("code", result.key),
            class_="what",
        ),
        tag("span", when(result.seconds), class_="time"),
    )
    return tag(
        "details",
        summary,
        *_explained(report, result),
        *(_finding(report, result, finding) for finding in result.findings),
        open=opened,
        class_=f"check {result.verdict}",
        data_verdict=str(result.verdict),
    )


def _explained(report: Report, result: Result) -> Iterator[Markup]:
    about = report.about(result)
    if result.reason:
        yield tag("p", f"{result.verdict}: {result.reason}")
    if result.accepted:
        yield tag("p", "The baseline accepts this.")
    if result.measured:
        rows = [
            tag("div", tag("dt", name), tag("dd", f"{number:.4g}"))
            for name, number in result.measured.items()
        ]
        yield tag("dl", *rows)
    if about.breaks and result.findings:
        effects = [tag("li", tag("b", name), f": {what}") for name, what in about.breaks.items()]
        yield tag("ul", *effects, class_="breaks")
    facts: list[str] = [f"Severity: {about.severity}."]
    if about.source.startswith(("https://", "http://")):
        link = tag("a", about.source, href=about.source, rel="noreferrer noopener")
        facts += [" What says so: ", link]
    yield tag("p", *facts, class_="about")
    if result.findings_left_out:
        yield tag("p", f"{result.findings_left_out} more findings are not shown.")


def _finding(report: Report, result: Result, finding: Finding) -> Markup:
    recording = finding.recording
    parts: list[Markup] = [tag("p", finding.message, class_="message")]
    if recording is not None:
        if item := of_item(recording, finding.item):
            parts += [tag("h4", f"Item {finding.item}"), _block(item)]
        if recording.items:
            parts.append(timeline(recording, finding.item))
        parts.append(_folded("Request", request(recording)))
        parts.append(_folded("Answer", answer(recording)))
        if command := curl(recording):
            start = preparation(report)
            parts.append(_folded("curl", f"{start} &\n{command}" if start else command))
    parts.append(_folded("pytest", snippet(report, result, finding)))
    return tag("div", *parts, class_="finding")


def _folded(name: str, text: str) -> Markup:
    return tag("details", tag("summary", name), _block(text), class_="part")


def _block(text: str) -> Markup:
    return tag("pre", tag("code", text), tabindex="0")
