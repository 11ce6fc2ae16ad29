"""Failures that are known and accepted, so that only new ones count."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

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
            return cls({name: frozenset(map(str, keys)) for name, keys in found.items()})
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise BaselineError(f"cannot read the baseline {file}: {error}") from None

    @classmethod
    def of(cls, reports: Sequence[Report]) -> Baseline:
        """What accepts all that failed."""
        return cls(
            {
                report.contract: frozenset(result.key for result in report.of(Verdict.FAIL))
                for report in reports
            }
        )

    def write(self, file: Path) -> None:
        listed = {name: sorted(keys) for name, keys in sorted(self.accepted.items())}
        file.write_text(json.dumps(listed, indent=2) + "\n", encoding="utf-8")

    def apply(self, contract: str, results: Sequence[Result]) -> tuple[list[Result], list[str]]:
        """The results, those that are accepted marked; and the entries that are stale: what
        they name was checked and did not fail."""
        known = self.accepted.get(contract, frozenset())
        marked = [
            replace(result, accepted=True)
            if result.verdict is Verdict.FAIL and result.key in known
            else result
            for result in results
        ]
        checked = {r.key for r in results if r.verdict in (Verdict.PASS, Verdict.WARN)}
        return marked, sorted(known & checked)
