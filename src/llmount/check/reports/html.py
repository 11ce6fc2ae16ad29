"""One page that holds everything: no other file, and it works without scripts."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Final

from ..readiness import Readiness, State, capabilities, clients
from ..reproduce import curl, preparation, snippet
from ..verdict import Finding, Report, Result, Verdict
from .markup import Markup, joined, prose, tag
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

_GIST: Final = 160
"""Characters of a finding that are seen while it is folded."""


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
    opened = {result.key for result in report.failed[:_OPENED]}
    for each in sorted(capabilities(report), key=lambda each: _ORDER.index(each.verdict)):
        results = [result for result in report.results if result.area == each.area]
        parts = _area(report, each.area, results, opened)
        yield tag("section", *parts, id=_anchor(report, each.area))


_ORDER: Final = (
    Verdict.FAIL,
    Verdict.WARN,
    Verdict.PASS,
    Verdict.UNSUPPORTED,
    Verdict.SKIP,
)
_LOUD: Final = frozenset({Verdict.FAIL, Verdict.WARN})


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
    effects: dict[tuple[str, str], None] = {}
    for trouble in ready.troubles:
        effects[trouble.result.check, trouble.effect] = None
    name = tag("strong", ready.client)
    if not effects:
        return tag("div", name, tag("span", words, class_="state"), class_=f"card {kind}")
    told = [tag("li", tag("code", check), " ", prose(effect)) for check, effect in effects]
    state = tag("span", f"{words}: {_several(len(told), 'cause')}", class_="state")
    return tag("details", tag("summary", name, state), tag("ul", *told), class_=f"card {kind}")


def _several(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _capabilities(report: Report) -> Iterator[Markup]:
    for each in capabilities(report):
        counts = ", ".join(f"{count} {verdict}" for verdict, count in each.counts.items())
        yield tag(
            "a",
            tag("strong", each.area),
            tag("span", counts, class_="state"),
            class_=f"card {each.verdict}",
            href=f"#{_anchor(report, each.area)}",
        )


def _anchor(report: Report, area: str) -> str:
    return f"{report.contract}-{area}".replace("/", "-")


# The checks


def _area(
    report: Report, area: str, results: Sequence[Result], opened: Collection[str]
) -> Iterator[Markup]:
    """What is wrong first; the rest is folded, by its verdict."""
    yield tag("h3", area)
    for verdict in _ORDER:
        found = [result for result in results if result.verdict is verdict]
        rows = [_result(report, result, result.key in opened) for result in found]
        if verdict in _LOUD:
            yield from rows
        elif rows:
            sign = tag("span", _SIGNS[verdict], class_="sign", aria_hidden="true")
            summary = tag("summary", sign, f"{len(rows)} {verdict}")
            yield tag("details", summary, *rows, class_=f"rest {verdict}")


def _result(report: Report, result: Result, opened: bool) -> Markup:
    about = report.about(result)
    summary = tag(
        "summary",
        tag("span", _SIGNS[result.verdict], class_="sign", title=str(result.verdict)),
        tag(
            "span",
            tag("span", prose(about.title), class_="title"),
            tag("code", result.key),
            *_gist(result),
            class_="what",
        ),
        tag("span", when(result.seconds), class_="time"),
    )
    return tag(
        "details",
        summary,
        *_explained(report, result),
        *(_findings(report, result, group) for group in _grouped(result.findings)),
        open=opened,
        class_=f"check {result.verdict}",
    )


def _gist(result: Result) -> Iterator[Markup]:
    """What is wrong, in a few words: seen without unfolding."""
    if not result.findings:
        return
    first = result.findings[0].message
    short = first if len(first) <= _GIST else first[:_GIST] + "…"
    more = len(result.findings) - 1 + result.findings_left_out
    yield tag("span", short + (f" (and {more} more)" if more else ""), class_="gist")


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
        breaks = about.breaks.items()
        effects = [tag("li", tag("b", name), ": ", prose(what)) for name, what in breaks]
        yield tag("ul", *effects, class_="breaks")
    facts: list[str] = [f"Severity: {about.severity}."]
    if about.source.startswith(("https://", "http://")):
        link = tag("a", about.source, href=about.source, rel="noreferrer noopener")
        facts += [" What says so: ", link]
    yield tag("p", *facts, class_="about")
    if result.findings_left_out:
        yield tag("p", f"{result.findings_left_out} more findings are not shown.")


def _grouped(findings: Sequence[Finding]) -> list[list[Finding]]:
    """Those that one exchange shows together."""
    groups: dict[int, list[Finding]] = {}
    for number, finding in enumerate(findings):
        key = -1 - number if finding.recording is None else id(finding.recording)
        groups.setdefault(key, []).append(finding)
    return list(groups.values())


def _findings(report: Report, result: Result, findings: Sequence[Finding]) -> Markup:
    parts: list[Markup] = []
    for finding in findings:
        parts.append(tag("p", finding.message, class_="message"))
        if finding.recording is not None and (item := of_item(finding.recording, finding.item)):
            parts += [tag("h4", f"Item {finding.item}"), _block(item)]
    if (recording := findings[0].recording) is not None:
        if recording.items:
            numbers = {each.item for each in findings if each.item is not None}
            parts.append(timeline(recording, numbers))
        parts.append(_folded("Request", request(recording)))
        parts.append(_folded("Answer", answer(recording)))
        if command := curl(recording):
            start = preparation(report)
            parts.append(_folded("curl", f"{start} &\n{command}" if start else command))
    parts.append(_folded("pytest", snippet(report, result, findings[0])))
    return tag("div", *parts, class_="finding")


def _folded(name: str, text: str) -> Markup:
    return tag("details", tag("summary", name), _block(text), class_="part")


def _block(text: str) -> Markup:
    return tag("pre", tag("code", text), tabindex="0")
