"""What is told on a terminal: how far it is, and what was found."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, TextIO

from ..detect import Found
from ..readiness import State, capabilities, clients
from ..run import Task
from ..verdict import Report, Result, Verdict
from .wording import headline, label, printable

__all__ = ["Paint", "Watch", "painting", "summary"]

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
_WIDTH: Final = 100
_BAR: Final = 24


def painting(stream: TextIO, environment: Mapping[str, str]) -> Paint:
    """Colours for a terminal whose user wants them (NO_COLOR, TERM=dumb)."""
    wanted = "NO_COLOR" not in environment and environment.get("TERM") != "dumb"
    if not (wanted and stream.isatty()):
        return lambda colour, text: text
    return lambda colour, text: f"\x1b[{_CODES[colour]}m{text}\x1b[0m"


class Watch:
    """Tells how far a run is: a line that moves on a terminal, a line each tenth elsewhere."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._moves = stream.isatty()
        self._total = self._done = self._failed = 0
        self._told = 0

    def contract(self, found: Found, model: str, count: int) -> None:
        self._clear()
        self._total, self._done, self._failed, self._told = count, 0, 0, 0
        where = found.mount or "/"
        told = f"Checking {found.contract} at {where} with the model {model}: {count} checks"
        print(printable(told), file=self._stream, flush=True)

    def begun(self, task: Task) -> None:
        if self._moves:
            self._bar(task.check.id)

    def done(self, task: Task, result: Result | None) -> None:
        self._done += 1
        self._failed += result is not None and result.verdict is Verdict.FAIL
        if self._moves:
            self._bar(task.check.id)
            return
        tenth = 10 * self._done // max(self._total, 1)
        if tenth > self._told:
            self._told = tenth
            failed = f", {self._failed} failed" if self._failed else ""
            print(f"  {self._done}/{self._total}{failed}", file=self._stream, flush=True)

    def close(self) -> None:
        self._clear()

    def _bar(self, doing: str) -> None:
        width = shutil.get_terminal_size().columns
        blocks = "█" * (_BAR * self._done // max(self._total, 1))
        failed = f"{self._failed} failed  " if self._failed else ""
        line = f"  {blocks:░<{_BAR}} {self._done}/{self._total}  {failed}{doing}"
        self._stream.write(f"\r\x1b[K{line[: width - 1]}")
        self._stream.flush()

    def _clear(self) -> None:
        if self._moves:
            self._stream.write("\r\x1b[K")
            self._stream.flush()


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
    told = report.failed or report.stale or report.crashed or report.of(Verdict.WARN)
    yield from [""] if told else []
    yield from _capabilities(report, paint)
    if ready := clients(report):
        yield ""
        for each in ready:
            state = paint(_STATES[each.state], f"{each.state}")
            why = ", ".join(dict.fromkeys(trouble.result.check for trouble in each.troubles))
            yield printable(f"  {each.client}: ") + state + (f" on {why}" if why else "")
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
