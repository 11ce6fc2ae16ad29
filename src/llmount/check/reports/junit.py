"""JUnit's XML, as continuous integration reads it: a suite for each area of checks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from xml.etree import ElementTree as Xml

from ..reproduce import curl
from ..verdict import Finding, Report, Result, Verdict
from .wording import label, printable, started

__all__ = ["render"]


def render(reports: Sequence[Report]) -> str:
    root = Xml.Element("testsuites", name="llmount check")
    for report in reports:
        results = sorted(report.results, key=lambda result: result.area)
        for area, found in groupby(results, lambda result: result.area):
            root.append(_suite(report, area, list(found)))
        if report.stale:
            root.append(_stale(report))
    for name in ("tests", "failures", "errors", "skipped"):
        root.set(name, str(sum(int(suite.get(name, 0)) for suite in root)))
    root.set("time", f"{sum(report.seconds for report in reports):.3f}")
    Xml.indent(root)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n' + Xml.tostring(root, encoding="unicode") + "\n"
    )


def _suite(report: Report, area: str, results: Sequence[Result]) -> Xml.Element:
    suite = Xml.Element(
        "testsuite",
        name=f"{report.contract} {area}",
        tests=str(len(results)),
        hostname=_text(report.target),
        timestamp=started(report),
        time=f"{sum(result.seconds for result in results):.3f}",
    )
    cases = [_case(report, result) for result in results]
    for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(name, str(sum(case.find(tag) is not None for case in cases)))
    suite.extend(cases)
    return suite


def _case(report: Report, result: Result) -> Xml.Element:
    case = Xml.Element(
        "testcase",
        name=label(result),
        classname=f"{report.contract}.{result.area}".replace("/", "."),
        time=f"{result.seconds:.3f}",
    )
    told = "\n\n".join(_told(finding) for finding in result.findings)
    first = result.findings[0].message if result.findings else result.reason
    if result.crashed:
        Xml.SubElement(case, "error", message=_text(result.reason), type="crashed")
    elif result.accepted:
        Xml.SubElement(case, "skipped", message=_text(f"accepted by the baseline: {first}"))
    elif result.verdict is Verdict.FAIL:
        failure = Xml.SubElement(case, "failure", message=_text(first), type=result.check)
        failure.text = _text(f"{report.about(result).title}.\n\n{told}")
    elif result.verdict in (Verdict.SKIP, Verdict.UNSUPPORTED):
        why = f"{result.verdict}: {result.reason}"
        Xml.SubElement(case, "skipped", message=_text(why))
    elif told:
        Xml.SubElement(case, "system-out").text = _text(f"{result.verdict}\n\n{told}")
    return case


def _told(finding: Finding) -> str:
    command = curl(finding.recording) if finding.recording else ""
    return f"{finding.message}\n{command}".strip()


def _stale(report: Report) -> Xml.Element:
    count = str(len(report.stale))
    suite = Xml.Element(
        "testsuite",
        name=f"{report.contract} baseline",
        tests=count,
        failures=count,
        errors="0",
        skipped="0",
        time="0",
    )
    for key in report.stale:
        case = Xml.SubElement(suite, "testcase", name=_text(key), classname="baseline", time="0")
        Xml.SubElement(case, "failure", message="stale: it does not fail any more", type="stale")
    return suite


def _text(text: str) -> str:
    """Only characters that XML can have."""
    return "".join(
        c if c < "\ud800" or "\ue000" <= c < "\ufffe" or c > "\uffff" else "�"
        for c in printable(text)
    )
