"""What the results mean for each capability of a server, and for each client of its API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from .verdict import Report, Result, Verdict

__all__ = ["Capability", "Readiness", "State", "Trouble", "capabilities", "clients"]


class State(StrEnum):
    """OK: all that the client needs was checked, and holds. UNKNOWN: some of it could not be
    checked. DEGRADED: it works, but less well. BREAKS: something of it does not work."""

    OK = "OK"
    UNKNOWN = "unknown"
    DEGRADED = "degraded"
    BREAKS = "breaks"


@dataclass(frozen=True, slots=True)
class Trouble:
    """A result that a client minds, and what the client then does."""

    result: Result
    effect: str


@dataclass(frozen=True, slots=True)
class Readiness:
    """How a client fares with a server."""

    client: str
    state: State
    troubles: Sequence[Trouble] = ()

    @property
    def causes(self) -> list[str]:
        """The checks for which the state is what it is, each once."""
        return list(
            dict.fromkeys(
                trouble.result.check
                for trouble in self.troubles
                if _MEANING[trouble.result.verdict] is self.state
            )
        )


@dataclass(frozen=True, slots=True)
class Capability:
    """An area of checks: the worst verdict, and how many there are of each."""

    area: str
    verdict: Verdict
    counts: Mapping[Verdict, int]


_WORST = (Verdict.FAIL, Verdict.WARN, Verdict.PASS, Verdict.UNSUPPORTED, Verdict.SKIP)

_MEANING = {
    Verdict.FAIL: State.BREAKS,
    Verdict.WARN: State.DEGRADED,
    Verdict.SKIP: State.UNKNOWN,
}


def capabilities(report: Report) -> list[Capability]:
    """Each area that was checked, in the order of the results."""
    areas: dict[str, list[Verdict]] = {}
    for result in report.results:
        areas.setdefault(result.area, []).append(result.verdict)
    return [
        Capability(
            area,
            next(verdict for verdict in _WORST if verdict in found),
            {verdict: found.count(verdict) for verdict in Verdict if verdict in found},
        )
        for area, found in areas.items()
    ]


def clients(report: Report) -> list[Readiness]:
    """Each client that some check knows of, those that break first. What the baseline accepts
    breaks them too."""
    found: dict[str, tuple[State, list[Trouble]]] = {}
    for result in report.results:
        meaning = _MEANING.get(result.verdict, State.OK)
        for client, effect in report.about(result).breaks.items():
            state, troubles = found.get(client, (State.OK, []))
            if meaning in (State.BREAKS, State.DEGRADED):
                troubles = [*troubles, Trouble(result, effect)]
            found[client] = (_worse(state, meaning), troubles)
    ready = [Readiness(client, state, troubles) for client, (state, troubles) in found.items()]
    return sorted(ready, key=lambda each: (-_ORDER.index(each.state), each.client))


_ORDER = tuple(State)


def _worse(one: State, other: State) -> State:
    return max(one, other, key=_ORDER.index)
