"""Markdown for a comment on a pull request, or the summary of a job."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from ..readiness import State, capabilities, clients
from ..reproduce import curl
from ..verdict import Report, Result, Verdict
from .wording import headline, label, printable

__all__ = ["SIGNS", "render"]

SIGNS: Final = {
    Verdict.PASS: "✅",
    Verdict.FAIL: "❌",
    Verdict.WARN: "⚠️",
    Verdict.UNSUPPORTED: "➖",
    Verdict.SKIP: "⏭️",
}
_STATES: Final = {
    State.OK: "✅ works",
    State.UNKNOWN: "⏭️ not all could be checked",
    State.DEGRADED: "⚠️ degraded",
    State.BREAKS: "❌ breaks",
}
_MOST: Final = 20
"""Failures that are shown in full; comments have a limit."""


def render(reports: Sequence[Report]) -> str:
    return "\n".join(line for report in reports for line in _report(report))


def _report(report: Report) -> Iterator[str]:
    sign = SIGNS[Verdict.PASS if report.conforms and not report.crashed else Verdict.FAIL]
    yield f"## {sign} {_text(headline(report))}"
    yield ""
    counts = [f"{count} {verdict}" for verdict, count in report.counts.items() if count]
    yield (
        f"{', '.join(counts)} in {report.seconds:.0f} s, "
        f"profile {report.profile}, model {_code(report.model)}."
    )
    yield ""
    yield from _failures(report)
    yield "| area | verdict | " + " | ".join(map(str, Verdict)) + " |"
    yield "|---|---|" + "--:|" * len(Verdict)
    for area in capabilities(report):
        counted = " | ".join(str(area.counts.get(verdict, "")) for verdict in Verdict)
        yield f"| {area.area} | {SIGNS[area.verdict]} {area.verdict} | {counted} |"
    yield ""
    if ready := clients(report):
        yield "| client | state | because of |"
        yield "|---|---|---|"
        for each in ready:
            why = ", ".join(map(_code, each.causes))
            yield f"| {_text(each.client)} | {_STATES[each.state]} | {why} |"
        yield ""


def _failures(report: Report) -> Iterator[str]:
    for result in report.failed[:_MOST]:
        yield from _failure(report, result)
    if len(report.failed) > _MOST:
        yield f"… and {len(report.failed) - _MOST} more failures."
        yield ""
    for key in report.stale:
        yield f"- The baseline's entry {_code(key)} is stale: it does not fail any more."
    for result in report.crashed:
        yield f"- The check {_code(result.key)} itself went wrong: {_text(result.reason)}"
    if report.stale or report.crashed:
        yield ""


def _failure(report: Report, result: Result) -> Iterator[str]:
    about = report.about(result)
    yield f"<details><summary>{SIGNS[Verdict.FAIL]} <b>{_text(label(result))}</b>: "
    yield f"{_text(result.findings[0].message)}</summary>"
    yield ""
    source = f" ([source]({about.source}))" if about.source else ""
    yield f"{_text(about.title)}.{source}"
    yield ""
    messages = dict.fromkeys(finding.message for finding in result.findings)
    for message in list(messages)[1:]:
        yield f"- {_text(message)}"
    for client, effect in about.breaks.items():
        yield f"- {_text(client)}: {_text(effect)}"
    recording = result.findings[0].recording
    if recording is not None and (command := curl(recording)):
        yield ""
        yield from _fenced(printable(command))
    yield ""
    yield "</details>"
    yield ""


def _text(text: str) -> str:
    """On one line, with nothing in it that Markdown or HTML would take for its own."""
    line = " ".join(printable(text).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # Also no mention of a person and no link to an issue.
    return re.sub(r"([\\`*_\[\]|~@#])", lambda match: f"&#{ord(match[1])};", line)


def _code(text: str) -> str:
    line = " ".join(printable(text).split()).replace("|", "¦")
    ticks = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    space = " " if "`" in line else ""
    return f"{ticks}{space}{line}{space}{ticks}"


def _fenced(text: str) -> Iterator[str]:
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    yield f"{fence}sh"
    yield text
    yield fence
