"""Failures that are known and accepted, so that only new ones count."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from .registry import CHECKS
from .verdict import Report, Result, Verdict

__all__ = ["Baseline", "BaselineError"]


class BaselineError(ValueError):
    """A file that is no baseline; the text says why."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """The keys of accepted failures, by contract."""

    accepted: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path) -> Baseline:
        """Raises `BaselineError`."""
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BaselineError(f"cannot read the baseline {file}: {error}") from None
        if not isinstance(found, dict) or not all(map(_is_list_of_keys, found.values())):
            raise BaselineError(f"{file} is no baseline: it has to list keys by contract")
        return cls({name: frozenset(keys) for name, keys in found.items()})

    def write(self, file: Path) -> None:
        """Raises OSError."""
        listed = {name: sorted(keys) for name, keys in sorted(self.accepted.items())}
        file.write_text(json.dumps(listed, indent=2) + "\n", encoding="utf-8")

    def updated(self, reports: Sequence[Report]) -> Baseline:
        """What accepts all that failed; entries of what was not checked stay."""
        accepted = dict(self.accepted)
        for report in reports:
            made = {result.key for result in report.results if _tells(result)}
            failed = {result.key for result in report.of(Verdict.FAIL)}
            kept = accepted.get(report.contract, frozenset()) - made - set(report.stale)
            accepted[report.contract] = kept | failed
        return Baseline({name: keys for name, keys in accepted.items() if keys})

    def applied(self, report: Report) -> Report:
        """The report with what is accepted marked, and the entries that are stale: what they
        name passes now, or is no check any more."""
        known = self.accepted.get(report.contract, frozenset())
        results = [
            replace(result, accepted=result.verdict is Verdict.FAIL and result.key in known)
            for result in report.results
        ]
        passed = {result.key for result in results if result.verdict is Verdict.PASS}
        unknown = {key for key in known if key.partition("@")[0] not in CHECKS}
        return replace(report, results=results, stale=sorted((known & passed) | unknown))


def _is_list_of_keys(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(key, str) for key in value)


def _tells(result: Result) -> bool:
    """Whether the check was made, so that an entry for it is true or stale."""
    return result.verdict not in (Verdict.SKIP, Verdict.UNSUPPORTED)
