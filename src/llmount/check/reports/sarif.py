"""SARIF 2.1.0, which code hosts show as findings: a rule for each check."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

from ..recording import Recording
from ..reproduce import curl
from ..verdict import About, Finding, Report, Result, Severity, Verdict
from .wording import started

__all__ = ["render"]

_LEVELS: Final = {Verdict.FAIL: "error", Verdict.WARN: "warning"}
_DEFAULTS: Final = {
    Severity.BREAKING: "error",
    Severity.STRICT: "warning",
    Severity.ADVICE: "warning",
}
_MAX_TEXT: Final = 4000


def render(reports: Sequence[Report]) -> str:
    log = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [_run(report) for report in reports],
    }
    return json.dumps(log, indent=1) + "\n"


def _run(report: Report) -> dict[str, Any]:
    rules = list(report.abouts)
    return {
        "tool": {
            "driver": {
                "name": "llmount check",
                "version": report.version or "0",
                "rules": [_rule(id, about) for id, about in report.abouts.items()],
            }
        },
        "automationDetails": {"id": f"llmount/{report.contract}/"},
        "invocations": [
            {
                "executionSuccessful": not report.crashed,
                "startTimeUtc": started(report).replace("+00:00", "Z"),
                "toolExecutionNotifications": [
                    {"level": "error", "message": {"text": f"{result.key}: {result.reason}"}}
                    for result in report.crashed
                ],
            }
        ],
        "results": [
            _result(report, result, finding, rules)
            for result in report.results
            if result.verdict in _LEVELS
            for finding in result.findings
        ],
        "properties": {"target": report.target, "model": report.model},
    }


def _rule(id: str, about: About) -> dict[str, Any]:
    clients = "; ".join(f"{client}: {effect}" for client, effect in about.breaks.items())
    rule: dict[str, Any] = {
        "id": id,
        "shortDescription": {"text": about.title},
        "fullDescription": {"text": f"{about.title}. {clients}".strip()},
        "defaultConfiguration": {"level": _DEFAULTS[about.severity]},
    }
    if about.source:
        rule["helpUri"] = quote(about.source, safe=":/?#[]@!$&'()*+,;=%-._~")
    return rule


def _result(
    report: Report, result: Result, finding: Finding, rules: Sequence[str]
) -> dict[str, Any]:
    recording = finding.recording
    place = f"{report.contract} {result.operation}".strip()
    command = f"\n\n{curl(recording)}" if recording else ""
    found: dict[str, Any] = {
        "ruleId": result.check,
        "level": _LEVELS[result.verdict],
        "message": {"text": f"{finding.message}{command}"},
        # Code hosts want a file; the document is what the server departs from.
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": f"openapi/{report.contract}.yaml"},
                    "region": {"startLine": 1},
                },
                "logicalLocations": [{"fullyQualifiedName": place, "kind": "function"}],
            }
        ],
        "partialFingerprints": {"llmount/v1": _fingerprint(report, result, finding)},
    }
    if result.check in rules:
        found["ruleIndex"] = rules.index(result.check)
    if result.accepted:
        found["suppressions"] = [{"kind": "external", "justification": "in the baseline"}]
    if recording is not None:
        found |= _exchange(recording)
    return found


def _exchange(recording: Recording) -> dict[str, Any]:
    body = recording.body or b""
    found: dict[str, Any] = {
        "webRequest": {
            "method": recording.method,
            "target": recording.url,
            "headers": dict(recording.headers),
            "body": _content(body),
        }
    }
    if recording.status is None:
        found["webResponse"] = {"noResponseReceived": True}
    else:
        found["webResponse"] = {
            "statusCode": recording.status,
            "headers": dict(recording.response_headers),
            "body": _content(recording.content),
        }
    return found


def _content(content: bytes) -> dict[str, str]:
    return {"text": content.decode(errors="backslashreplace")[:_MAX_TEXT]}


def _fingerprint(report: Report, result: Result, finding: Finding) -> str:
    """The same for the same finding of another run."""
    words = f"{report.contract} {result.key} {finding.message}"
    return hashlib.sha256(words.encode(errors="backslashreplace")).hexdigest()
