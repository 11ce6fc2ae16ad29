"""Words that all reports share, and texts of a server made harmless for them."""

from __future__ import annotations

from datetime import UTC, datetime

from ...jsontext import dumps
from ..recording import Recording
from ..verdict import Report, Result, Verdict

__all__ = ["answer", "headline", "label", "of_item", "printable", "request", "started", "when"]

_EXCERPT = 2000
"""Characters of a body that is shown to be read."""


def printable(text: str) -> str:
    """The text without what would steer a terminal or break XML: `\\x1b` as four characters."""
    return "".join(
        each if each.isprintable() or each in "\n\t" else each.encode("unicode_escape").decode()
        for each in text
    )


def headline(report: Report) -> str:
    """The verdict on a server, a sentence."""
    failed = len(report.failed)
    if report.crashed:
        return f"{_count(len(report.crashed), 'check')} of the tester itself went wrong"
    if failed:
        return f"{report.target} breaks {report.contract} in {_count(failed, 'check')}"
    accepted = sum(result.accepted for result in report.results)
    known = f"breaks {report.contract} in {_count(accepted, 'check')} that the baseline accepts"
    if report.stale:
        does = known if accepted else "conforms"
        return f"{report.target} {does}, but the baseline has entries that are stale"
    if accepted:
        return f"{report.target} {known}"
    if not report.counts[Verdict.PASS]:
        return f"{report.target} was not checked: nothing could be"
    return f"{report.target} conforms to {report.contract}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def label(result: Result) -> str:
    """The check with its operation, for people."""
    return f"{result.check} ({result.operation})" if result.operation else result.check


def started(report: Report) -> str:
    """When the run began, in ISO 8601."""
    return datetime.fromtimestamp(report.started, UTC).isoformat(timespec="seconds")


def when(seconds: float) -> str:
    """A time in the unit that fits."""
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def request(recording: Recording) -> str:
    """What was sent, as HTTP/1.1 shows it."""
    head = [f"{recording.method} {recording.url}", *map(_header, recording.headers)]
    return _joined(head, recording.body or b"", recording.left_out.get("body", 0))


def answer(recording: Recording) -> str:
    """What came back, as HTTP/1.1 shows it, and what is wrong with the transport."""
    if recording.status is None:
        return printable(recording.fault) or "no answer"
    head = [str(recording.status), *map(_header, recording.response_headers)]
    text = _joined(head, recording.content, recording.left_out.get("content", 0))
    return f"{text}\n\n({printable(recording.fault)})" if recording.fault else text


def _header(header: tuple[str, str]) -> str:
    return ": ".join(header)


def _joined(head: list[str], body: bytes, left_out: int) -> str:
    text = body.decode(errors="backslashreplace")
    rest = max(0, len(text) - _EXCERPT) + left_out
    shown = text[:_EXCERPT] + (f"\n… and {rest} more" if rest else "")
    return printable("\n".join(head) + (f"\n\n{shown}" if shown else ""))


def of_item(recording: Recording, number: int | None) -> str:
    """An item of a stream; "" if it is not there."""
    if number is None or not 0 <= number < len(recording.items):
        return ""
    value = recording.items[number].value
    data = value.get("data") if isinstance(value, dict) else None
    if isinstance(value, dict) and set(value) == {"data"} and isinstance(data, str):
        return printable(data[:_EXCERPT])
    return printable(dumps(value)[:_EXCERPT])
