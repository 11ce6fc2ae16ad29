"""What comes of a check: values only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from .recording import Recording

__all__ = ["About", "Finding", "Profile", "Report", "Result", "Severity", "Verdict", "judge"]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a report tells of a check besides its results; see `Check`."""

    title: str
    severity: Severity = Severity.BREAKING
    source: str = ""
    breaks: Mapping[str, str] = field(default_factory=dict)


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
    it took. measured: numbers by name, such as `first item`, seconds unless the name says
    otherwise. findings_left_out: how many more there were than a report keeps.
    """

    check: str
    verdict: Verdict
    operation: str = ""
    reason: str = ""
    findings: Sequence[Finding] = ()
    crashed: bool = False
    accepted: bool = False
    seconds: float = 0.0
    measured: Mapping[str, float] = field(default_factory=dict)
    findings_left_out: int = 0

    @property
    def area(self) -> str:
        return self.check.partition(".")[0]

    @property
    def key(self) -> str:
        """Names the result across runs: `stream.role@createChatCompletion`."""
        return f"{self.check}@{self.operation}" if self.operation else self.check


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One run against one server.

    target: as it was named. url: where it was; an app that was served only for the run is
    told as if it were at a usual place. contract: the document's name. mount: where its paths
    stand below the url. also: contracts that the server shows besides. server: what it says
    of itself. started: Unix seconds. abouts: of each check that has a result. streams: one
    for each operation that streams, with or without findings. stale: keys of the baseline
    that were not found again.
    """

    target: str
    contract: str
    profile: Profile
    model: str
    url: str = ""
    mount: str = ""
    also: Sequence[str] = ()
    server: str = ""
    seed: int = 0
    version: str = ""
    started: float = 0.0
    seconds: float = 0.0
    abouts: Mapping[str, About] = field(default_factory=dict)
    results: Sequence[Result] = ()
    streams: Mapping[str, Recording] = field(default_factory=dict)
    stale: Sequence[str] = ()

    @property
    def counts(self) -> Mapping[Verdict, int]:
        """Of each verdict, in their order; failures that are accepted count too."""
        made = Counter(result.verdict for result in self.results)
        return {verdict: made[verdict] for verdict in Verdict}

    @property
    def failed(self) -> list[Result]:
        """What failed and is not accepted."""
        return [result for result in self.of(Verdict.FAIL) if not result.accepted]

    def about(self, result: Result) -> About:
        return self.abouts.get(result.check) or About(title=result.check)

    def of(self, verdict: Verdict) -> list[Result]:
        return [result for result in self.results if result.verdict is verdict]

    @property
    def conforms(self) -> bool:
        """Nothing failed but what the baseline accepts, and the baseline has nothing stale."""
        return not self.failed and not self.stale

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
