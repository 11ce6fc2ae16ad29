"""What comes of a check: values only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from .recording import Recording

__all__ = ["Finding", "Profile", "Report", "Result", "Severity", "Verdict", "judge"]


class Verdict(StrEnum):
    """What a check says of a server.

    FAIL: it breaks its contract. WARN: so it does, or nearly, but in a way that no known
    client minds. UNSUPPORTED: the server says that it lacks what the check needs. SKIP: the
    check could not be made, and the reason is told.
    """

    PASS = "PASS"
    FAIL = "FAIL"
    WARN = "WARN"
    UNSUPPORTED = "UNSUPPORTED"
    SKIP = "SKIP"


class Profile(StrEnum):
    """How exact a server has to be: as its clients need it, or as its document says."""

    COMPAT = "compat"
    STRICT = "strict"


class Severity(StrEnum):
    """What a finding of a check is worth.

    BREAKING: FAIL. STRICT: FAIL in the strict profile, else WARN. ADVICE: WARN.
    """

    BREAKING = "breaking"
    STRICT = "strict"
    ADVICE = "advice"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong: a sentence, the exchange that shows it, and the number of
    the item of its stream that is at fault, where it is one."""

    message: str
    recording: Recording | None = None
    item: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one check found.

    check: its id. operation: the `operationId` that it looked at, "" for the server as a
    whole. reason: of SKIP and UNSUPPORTED. crashed: the check itself failed, which says
    nothing about the server. accepted: its findings are in the baseline. seconds: how long
    it took.
    """

    check: str
    verdict: Verdict
    operation: str = ""
    reason: str = ""
    findings: Sequence[Finding] = ()
    crashed: bool = False
    accepted: bool = False
    seconds: float = 0.0

    @property
    def key(self) -> str:
        """Names the result across runs: `stream.role@createChatCompletion`."""
        return f"{self.check}@{self.operation}" if self.operation else self.check


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One run against one server.

    target: as it was named. contract: the document's name. server: what it says of itself.
    started: Unix seconds. stale: keys of the baseline that were not found again.
    """

    target: str
    contract: str
    profile: Profile
    model: str
    server: str = ""
    seed: int = 0
    version: str = ""
    started: float = 0.0
    seconds: float = 0.0
    results: Sequence[Result] = ()
    stale: Sequence[str] = ()
    counts: Mapping[str, int] = field(default_factory=dict)

    def of(self, verdict: Verdict) -> list[Result]:
        return [result for result in self.results if result.verdict is verdict]

    @property
    def conforms(self) -> bool:
        """Nothing failed but what the baseline accepts, and the baseline has nothing stale."""
        failed = [result for result in self.of(Verdict.FAIL) if not result.accepted]
        return not failed and not self.stale

    @property
    def crashed(self) -> list[Result]:
        return [result for result in self.results if result.crashed]


def judge(severity: Severity, profile: Profile) -> Verdict:
    """What findings of a check of this severity mean."""
    if severity is Severity.BREAKING:
        return Verdict.FAIL
    if severity is Severity.STRICT and profile is Profile.STRICT:
        return Verdict.FAIL
    return Verdict.WARN
