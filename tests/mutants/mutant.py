"""What a mutant is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from llmount.check.verdict import Verdict

from .exchange import Change

__all__ = ["Mutant", "Row", "rows"]

Origin = Literal["plain", "keyed", "thinking", "calling", "slow", "random"]
"""Which of our servers is broken: see `origins`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A server that breaks its contract in one way.

    name: `group.what`. breaks: what it does wrong, a sentence. change: makes it of ours. on:
    a pattern of the paths whose exchanges are changed. due: what the tester ought to say of
    it: FAIL if a client breaks, WARN if it departs from the contract and no client that is
    known minds, or no black box can be certain. fuzz: only generated requests show it.
    """

    name: str
    contract: str
    breaks: str
    change: Change
    on: str
    due: Verdict = Verdict.FAIL
    origin: Origin = "plain"
    fuzz: bool = False

    @property
    def group(self) -> str:
        return self.name.partition(".")[0]


Row = tuple[str, str, Change]
"""Name, what it breaks, and the change."""


def rows(
    contract: str,
    group: str,
    on: str,
    *found: Row,
    due: Verdict = Verdict.FAIL,
    origin: Origin = "plain",
    fuzz: bool = False,
) -> Iterator[Mutant]:
    """The mutants of a table whose rows have all else in common."""
    for name, breaks, change in found:
        yield Mutant(
            name=f"{group}.{name}",
            contract=contract,
            breaks=breaks,
            change=change,
            on=on,
            due=due,
            origin=origin,
            fuzz=fuzz,
        )
