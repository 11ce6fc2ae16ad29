"""What changed between two runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from .verdict import Report, Result, Verdict

__all__ = ["Change", "Kind", "compare"]


class Kind(StrEnum):
    """What a change is worth. OTHER: neither better nor worse, or nobody can tell."""

    WORSE = "worse"
    BETTER = "better"
    OTHER = "changed"


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is not as it was: the key of a result, "" for a whole run."""

    kind: Kind
    contract: str
    key: str
    text: str


_RANK: Final = {Verdict.PASS: 0, Verdict.UNSUPPORTED: 1, Verdict.WARN: 2, Verdict.FAIL: 3}
"""How bad; SKIP tells nothing."""

_NOTABLE: Final = 2.0
"""By which factor a time changes before it is told."""

_LEAST: Final = 0.1
"""Seconds by which it changes at least."""


def compare(before: Sequence[Report], after: Sequence[Report]) -> list[Change]:
    """The changes, by contract in the order of the second run, the worse before the better."""
    old = {report.contract: report for report in before}
    new = {report.contract: report for report in after}
    changes = [
        Change(Kind.OTHER, contract, "", "is no longer checked")
        for contract in old
        if contract not in new
    ]
    for contract, report in new.items():
        if contract in old:
            found = _changes(old[contract], report)
            changes += sorted(found, key=lambda change: list(Kind).index(change.kind))
        else:
            kind = Kind.OTHER if report.conforms else Kind.WORSE
            changes.append(Change(kind, contract, "", "was not checked before"))
    return changes


def _changes(before: Report, after: Report) -> list[Change]:
    contract, changes = after.contract, []
    for name in ("profile", "model", "version"):
        was, now = getattr(before, name), getattr(after, name)
        if was != now:
            changes.append(Change(Kind.OTHER, contract, "", f"{name}: {was}, now {now}"))
    old = {result.key: result for result in before.results}
    new = {result.key: result for result in after.results}
    for key, result in new.items():
        if key not in old:
            if result.verdict in (Verdict.FAIL, Verdict.WARN):
                changes.append(Change(Kind.WORSE, contract, key, f"new: {_told(result)}"))
            continue
        changes += _of_result(contract, old[key], result)
    changes += [
        Change(Kind.OTHER, contract, key, f"{result.verdict}, now not checked")
        for key, result in old.items()
        if key not in new
    ]
    return changes


def _of_result(contract: str, was: Result, now: Result) -> list[Change]:
    changes = []
    if was.verdict is not now.verdict:
        kind = Kind.OTHER
        if was.verdict in _RANK and now.verdict in _RANK:
            worse = _RANK[now.verdict] > _RANK[was.verdict]
            kind = Kind.WORSE if worse else Kind.BETTER
        elif now.verdict is Verdict.FAIL:
            kind = Kind.WORSE
        changes.append(Change(kind, contract, now.key, f"{was.verdict}, now {_told(now)}"))
    elif {f.message for f in was.findings} != {f.message for f in now.findings}:
        changes.append(
            Change(Kind.OTHER, contract, now.key, f"{now.verdict} as before, for another reason")
        )
    for name, seconds in now.measured.items():
        before = was.measured.get(name)
        if before is None or abs(seconds - before) < _LEAST:
            continue
        if max(seconds, before) >= _NOTABLE * min(seconds, before):
            text = f"{name}: {before:.3g}, now {seconds:.3g}"
            changes.append(Change(Kind.OTHER, contract, now.key, text))
    return changes


def _told(result: Result) -> str:
    why = result.findings[0].message if result.findings else result.reason
    return f"{result.verdict}: {why}" if why else str(result.verdict)
