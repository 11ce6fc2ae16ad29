"""The whole of a report as JSON, and back; its form is `schema.yaml`."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from ... import contract
from ...jsontext import loads
from ...types import JSON
from ...validation import Schema
from ..recording import Item, Recording
from ..verdict import About, Finding, Profile, Report, Result, Severity, Verdict

__all__ = ["VERSION", "NoReport", "document", "read", "render"]

VERSION: Final = 1


class NoReport(ValueError):
    """A text that is no report; the error says why."""


@cache
def document() -> dict[str, Any]:
    """The JSON Schema of what `render` makes."""
    return contract.read(Path(__file__).with_name("schema.yaml"))


def render(reports: Sequence[Report]) -> str:
    """The reports of one run. `read` makes them of it again."""
    written = {"version": VERSION, "reports": [_report(report) for report in reports]}
    return json.dumps(written, indent=1) + "\n"


def read(text: str) -> list[Report]:
    """The reports of a run. Raises `NoReport`."""
    try:
        found = loads(text)
    except ValueError as error:
        raise NoReport(f"it is not JSON: {error}") from None
    if isinstance(found, dict) and found.get("version", VERSION) != VERSION:
        raise NoReport(f"it has version {found['version']!r} of the format, not {VERSION}")
    if violations := Schema(document()).violations(found, most=1):
        raise NoReport(violations[0].message)
    try:
        return [_read_report(report) for report in found["reports"]]
    except IndexError:
        raise NoReport("it refers to an exchange that it does not have") from None
    except ValueError as error:
        raise NoReport(str(error)) from None


# Values to JSON


class _Exchanges:
    """Numbers recordings, each of which is written once."""

    def __init__(self) -> None:
        self.written: list[JSON] = []
        self._numbers: dict[int, int] = {}

    def number(self, recording: Recording) -> int:
        if id(recording) not in self._numbers:
            self._numbers[id(recording)] = len(self.written)
            self.written.append(_exchange(recording))
        return self._numbers[id(recording)]


def _report(report: Report) -> JSON:
    exchanges = _Exchanges()
    return {
        "target": report.target,
        "url": report.url,
        "contract": report.contract,
        "mount": report.mount,
        "also": list(report.also),
        "profile": str(report.profile),
        "model": report.model,
        "server": report.server,
        "seed": report.seed,
        "tester": report.version,
        "started": report.started,
        "seconds": report.seconds,
        "conforms": report.conforms,
        "counts": {str(verdict): count for verdict, count in report.counts.items()},
        "stale": list(report.stale),
        "checks": {id: _check(about) for id, about in report.abouts.items()},
        "results": [_result(result, exchanges) for result in report.results],
        "streams": {name: exchanges.number(each) for name, each in report.streams.items()},
        "exchanges": exchanges.written,
    }


def _check(about: About) -> JSON:
    return {
        "title": about.title,
        "severity": str(about.severity),
        "source": about.source,
        "breaks": dict(about.breaks),
    }


def _result(result: Result, exchanges: _Exchanges) -> JSON:
    findings = [
        _given(
            message=finding.message,
            exchange=finding.recording and exchanges.number(finding.recording),
            item=finding.item,
        )
        for finding in result.findings
    ]
    return {
        "check": result.check,
        "operation": result.operation,
        "verdict": str(result.verdict),
        "reason": result.reason,
        "crashed": result.crashed,
        "accepted": result.accepted,
        "seconds": result.seconds,
        "measured": dict(result.measured),
        "findings": findings,
        "findings_left_out": result.findings_left_out,
    }


def _exchange(recording: Recording) -> JSON:
    return _given(
        method=recording.method,
        url=recording.url,
        headers=[list(header) for header in recording.headers],
        body=None if recording.body is None else _bytes(recording.body),
        status=recording.status,
        response_headers=[list(header) for header in recording.response_headers],
        content=_bytes(recording.content),
        items=[{"value": item.value, "at": item.at} for item in recording.items],
        fault=recording.fault,
        began=recording.began,
        ended=recording.ended,
        reads=[list(read) for read in recording.reads],
        left_out=dict(recording.left_out),
    )


def _given(**fields: JSON) -> dict[str, JSON]:
    return {name: value for name, value in fields.items() if value is not None}


def _bytes(content: bytes) -> JSON:
    try:
        return {"text": content.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}


# JSON to values


def _read_report(found: Mapping[str, Any]) -> Report:
    exchanges = [_read_exchange(each) for each in found.get("exchanges", ())]
    names = ("url", "mount", "also", "server", "seed", "started", "seconds", "stale")
    return Report(
        target=found["target"],
        contract=found["contract"],
        profile=Profile(found["profile"]),
        model=found["model"],
        version=found.get("tester", ""),
        abouts={id: _read_check(each) for id, each in found["checks"].items()},
        results=[_read_result(each, exchanges) for each in found["results"]],
        streams={name: exchanges[n] for name, n in found.get("streams", {}).items()},
        **_some(found, names),
    )


def _read_check(found: Mapping[str, Any]) -> About:
    severity = Severity(found.get("severity", Severity.BREAKING))
    return About(title=found["title"], severity=severity, **_some(found, ("source", "breaks")))


def _read_result(found: Mapping[str, Any], exchanges: Sequence[Recording]) -> Result:
    names = ("operation", "reason", "crashed", "accepted", "seconds", "measured")
    findings = [
        Finding(
            each["message"],
            exchanges[each["exchange"]] if "exchange" in each else None,
            each.get("item"),
        )
        for each in found.get("findings", ())
    ]
    return Result(
        check=found["check"],
        verdict=Verdict(found["verdict"]),
        findings=findings,
        **_some(found, (*names, "findings_left_out")),
    )


def _read_exchange(found: Mapping[str, Any]) -> Recording:
    names = ("status", "fault", "began", "ended", "left_out")
    return Recording(
        method=found["method"],
        url=found["url"],
        headers=_read_headers(found.get("headers", ())),
        body=_read_bytes(found["body"]) if "body" in found else None,
        response_headers=_read_headers(found.get("response_headers", ())),
        content=_read_bytes(found.get("content", {"text": ""})),
        items=[Item(each["value"], each["at"]) for each in found.get("items", ())],
        reads=[(at, size) for at, size in found.get("reads", ())],
        **_some(found, names),
    )


def _some(found: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The fields that are there."""
    return {name: found[name] for name in names if name in found}


def _read_headers(found: Iterable[Sequence[str]]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in found]


def _read_bytes(found: Mapping[str, str]) -> bytes:
    if "text" in found:
        return found["text"].encode()
    return base64.b64decode(found["base64"], validate=True)
