"""What was found, told on a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, TextIO

from ..readiness import Readiness, State, capabilities, clients
from ..verdict import Report, Result, Verdict
from .wording import headline, label, printable

__all__ = ["Paint", "painting", "summary"]

Paint = Callable[[str, str], str]
"""A text in a colour."""

_CODES: Final = {"red": 31, "green": 32, "yellow": 33, "grey": 90, "bold": 1}
_COLOURS: Final = {
    Verdict.PASS: "green",
    Verdict.FAIL: "red",
    Verdict.WARN: "yellow",
    Verdict.UNSUPPORTED: "grey",
    Verdict.SKIP: "grey",
}
_STATES: Final = {
    State.OK: "green",
    State.UNKNOWN: "grey",
    State.DEGRADED: "yellow",
    State.BREAKS: "red",
}
_WORDS: Final = {
    State.OK: "OK",
    State.UNKNOWN: "not all could be checked",
    State.DEGRADED: "works, but minds",
    State.BREAKS: "breaks on",
}
_WIDTH: Final = 100
_NAMED: Final = 3
"""Checks that are named, of those that were not made for one reason."""


def painting(stream: TextIO, environment: Mapping[str, str]) -> Paint:
    """Colours for a terminal whose user wants them (NO_COLOR, TERM=dumb)."""
    wanted = "NO_COLOR" not in environment and environment.get("TERM") != "dumb"
    if not (wanted and stream.isatty()):
        return lambda colour, text: text
    return lambda colour, text: f"\x1b[{_CODES[colour]}m{text}\x1b[0m"


def summary(reports: Sequence[Report], paint: Paint, *, width: int = _WIDTH) -> str:
    """What was found, for people."""
    return "\n".join(line for report in reports for line in _report(report, paint, width)) + "\n"


def _report(report: Report, paint: Paint, width: int) -> Iterator[str]:
    yield ""
    for result in (*report.crashed, *report.failed):
        yield from _result(report, result, paint, width)
    for result in report.of(Verdict.WARN):
        yield from _result(report, result, paint, width)
    for key in report.stale:
        yield f"{paint('red', 'STALE')} {key}: the baseline accepts it, but it does not fail"
    yield from _not_made(report, paint, width)
    told = [result for result in report.results if result.verdict is not Verdict.PASS]
    yield from [""] if told or report.stale else []
    yield from _capabilities(report, paint)
    if ready := clients(report):
        yield ""
        yield from _clients(ready, paint)
    yield ""
    conforms = report.conforms and not report.crashed
    sentence = headline(report)
    counts = ", ".join(f"{count} {name}" for name, count in report.counts.items() if count)
    accepted = sum(result.accepted for result in report.results)
    known = f" ({accepted} accepted by the baseline)" if accepted else ""
    yield paint("green" if conforms else "red", printable(sentence) + ".")
    yield f"{counts}{known} in {report.seconds:.1f} s, profile {report.profile}."
    if report.also:
        yield f"It also speaks {', '.join(report.also)}: name them with --contract."


def _not_made(report: Report, paint: Paint, width: int) -> Iterator[str]:
    """The checks that said nothing, by the reason."""
    reasons: dict[tuple[Verdict, str], list[str]] = {}
    for verdict in (Verdict.UNSUPPORTED, Verdict.SKIP):
        for result in report.of(verdict):
            if not result.crashed:
                reasons.setdefault((verdict, result.reason), []).append(label(result))
    for (verdict, reason), checks in reasons.items():
        names = ", ".join(checks[:_NAMED]) + (", …" if len(checks) > _NAMED else "")
        why = textwrap.shorten(printable(reason), width, placeholder="…")
        for line in (f"{verdict} {names}", f"     {why}"):
            yield paint("grey", line)


def _clients(ready: Sequence[Readiness], paint: Paint) -> Iterator[str]:
    """A line for each that has trouble, one for all of the same state that have none."""
    for each in ready:
        if each.causes:
            state = paint(_STATES[each.state], _WORDS[each.state])
            yield printable(f"  {each.client}: ") + f"{state} {', '.join(each.causes)}"
    for state in State:
        names = ", ".join(each.client for each in ready if each.state is state and not each.causes)
        if names:
            yield printable(f"  {names}: ") + paint(_STATES[state], _WORDS[state])


def _result(report: Report, result: Result, paint: Paint, width: int) -> Iterator[str]:
    messages = [finding.message for finding in result.findings] or [result.reason]
    name = "CRASH" if result.crashed else str(result.verdict)
    yield f"{paint(_COLOURS[result.verdict], name)} {paint('bold', label(result))}"
    more = len(messages) - 1 + result.findings_left_out
    first = messages[0] + (f" (and {more} more)" if more else "")
    wrapped = textwrap.wrap(printable(first), max(40, width - 5)) or [""]
    yield from (f"     {line}" for line in wrapped[:6])
    effect = "breaks" if result.verdict is Verdict.FAIL else "may trouble"
    for client, what in report.about(result).breaks.items():
        yield paint("grey", f"     {effect} {client}: {what}")


def _capabilities(report: Report, paint: Paint) -> Iterator[str]:
    found = capabilities(report)
    widest = max((len(each.area) for each in found), default=0)
    for each in found:
        counts = ", ".join(f"{count} {name}" for name, count in each.counts.items())
        verdict = paint(_COLOURS[each.verdict], f"{each.verdict:11}")
        yield f"  {each.area:{widest}}  {verdict} {counts}"
