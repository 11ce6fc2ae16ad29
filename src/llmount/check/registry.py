"""The table of checks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, TypeAlias

from .verdict import Severity

if TYPE_CHECKING:
    from .probe import Probe

__all__ = ["CHECKS", "Check", "Skip", "Unsupported", "check"]

Judge: TypeAlias = "Callable[[Probe], Awaitable[None]]"


class Skip(Exception):
    """Raised by a check that cannot be made; the text is the reason."""


class Unsupported(Exception):
    """Raised by a check if the server says that it lacks what the check needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that a server must do.

    id: `area.name`. title: what a conforming server does, a sentence. judge: looks at a
    probe and notes what it finds, or raises `Skip` or `Unsupported`. contracts: patterns of
    the documents that it is for. each: it is made for every operation that writes text,
    not once for the server. alone: it measures time or load, so nothing else runs beside
    it. source: the address of what says so. breaks: by the client that a defect breaks, what
    it then does.
    """

    id: str
    title: str
    judge: Judge
    severity: Severity = Severity.BREAKING
    contracts: tuple[str, ...] = ("*",)
    each: bool = True
    alone: bool = False
    source: str = ""
    breaks: Mapping[str, str] = field(default_factory=dict)

    @property
    def area(self) -> str:
        return self.id.partition(".")[0]

    def is_for(self, contract: str) -> bool:
        return any(fnmatchcase(contract, pattern) for pattern in self.contracts)


CHECKS: dict[str, Check] = {}
"""All checks by their ids, in the order in which they are made."""


def check(
    id: str,
    title: str,
    *,
    severity: Severity = Severity.BREAKING,
    contracts: tuple[str, ...] = ("*",),
    each: bool = True,
    alone: bool = False,
    source: str = "",
    breaks: Mapping[str, str] | None = None,
) -> Callable[[Judge], Judge]:
    """Add the decorated function to the table. Arguments as for `Check`."""

    def add(judge: Judge) -> Judge:
        if id in CHECKS:
            raise ValueError(f"two checks have the id {id}")
        CHECKS[id] = Check(
            id=id,
            title=title,
            judge=judge,
            severity=severity,
            contracts=contracts,
            each=each,
            alone=alone,
            source=source,
            breaks=dict(breaks or {}),
        )
        return judge

    return add
