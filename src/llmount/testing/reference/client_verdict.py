"""What the requests of a client tell about it: did it wait, retry and notice as it should?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from .journal import Asked

__all__ = ["ClientFinding", "ClientVerdict", "Expected", "judge_client"]

_EARLY: Final = 0.05
"""Seconds by which clocks may differ."""

_AT_ONCE: Final = 0.1
_AGAIN: Final = 1.0
_TRANSIENT: Final = frozenset({408, 409, 425, 429})


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What is expected of a client.

    accepted: whether it took its last answer for good; None if nobody told. patience: seconds
    of silence that it may bear. most_tries: of one request that fails.
    """

    accepted: bool | None
    patience: float
    most_tries: int


@dataclass(frozen=True, slots=True)
class ClientFinding:
    """Something that the client did wrong: an id, a sentence, and the requests that show it,
    by their numbers in the journal."""

    id: str
    message: str
    requests: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.id}: {self.message}"


@dataclass(frozen=True, slots=True)
class ClientVerdict:
    """The findings, and the requests that they are from. As a str it is a report."""

    findings: Sequence[ClientFinding]
    requests: Sequence[Asked]

    @property
    def ok(self) -> bool:
        return not self.findings

    @property
    def ids(self) -> list[str]:
        """Of the findings, each once."""
        return list(dict.fromkeys(finding.id for finding in self.findings))

    def __str__(self) -> str:
        count = len(self.requests)
        lines = [f"{count} request{'' if count == 1 else 's'}:"]
        lines += [f"  #{number} {asked}" for number, asked in enumerate(self.requests, 1)]
        if self.ok:
            return "\n".join([*lines, "Nothing is wrong with the client."])
        lines.append("The client:")
        for finding in self.findings:
            where = ", ".join(f"#{number + 1}" for number in finding.requests)
            lines.append(f"  {finding} ({where})")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class _Chain:
    """The same request, as often as it came. numbers: in the journal."""

    numbers: Sequence[int]
    tries: Sequence[Asked]

    def pairs(self) -> Iterator[tuple[tuple[int, Asked], tuple[int, Asked]]]:
        return pairwise(zip(self.numbers, self.tries, strict=True))


_Found = Iterable[tuple[str, tuple[int, ...]]]


def judge_client(
    requests: Sequence[Asked], expected: Expected, *, ignore: Iterable[str] = ()
) -> ClientVerdict:
    """What is to be said of whoever sent these requests.

    ignore: ids of findings that are no matter. Raises ValueError for an id that there is not.
    """
    ignored = set(ignore)
    if unknown := ignored - {*RULES}:
        raise ValueError(f"no finding {', '.join(sorted(unknown))}; there are {', '.join(RULES)}")
    findings = [
        ClientFinding(id, message, numbers)
        for id, rule in RULES.items()
        if id not in ignored
        for chain in _chains(requests)
        for message, numbers in rule(chain, expected)
    ]
    return ClientVerdict(findings, requests)


def _chains(requests: Sequence[Asked]) -> list[_Chain]:
    found: list[list[int]] = []
    for number, asked in enumerate(requests):
        for numbers in found:
            if requests[numbers[0]].same_as(asked):
                numbers.append(number)
                break
        else:
            found.append([number])
    return [_Chain(numbers, [requests[number] for number in numbers]) for numbers in found]


def _retry_after_ignored(chain: _Chain, expected: Expected) -> _Found:
    for (first, before), (second, after) in chain.pairs():
        if before.retry_after is None or before.ended is None:
            continue
        gap = after.at - before.ended
        if gap < before.retry_after - _EARLY:
            told = f"it was told to wait {before.retry_after:g} s, and waited {gap:.2f} s"
            yield told, (first, second)


def _retry_storm(chain: _Chain, expected: Expected) -> _Found:
    for numbers, tries in _runs_of_failures(chain):
        gaps = [after.at - (before.ended or before.at) for before, after in pairwise(tries)]
        if len(tries) > expected.most_tries:
            yield f"it asked {len(tries)} times for what failed each time", numbers
        elif len(gaps) > 1 and max(gaps) < _AT_ONCE:
            yield f"it asked {len(tries)} times, {max(gaps):.3f} s apart at most", numbers


def _runs_of_failures(chain: _Chain) -> Iterator[tuple[tuple[int, ...], list[Asked]]]:
    """The tries that follow one another, up to and with the one that succeeds."""
    numbers: list[int] = []
    tries: list[Asked] = []
    for number, asked in zip(chain.numbers, chain.tries, strict=True):
        numbers.append(number)
        tries.append(asked)
        if not _failed(asked):
            yield tuple(numbers), tries
            numbers, tries = [], []
    yield tuple(numbers), tries


def _gave_up_too_early(chain: _Chain, expected: Expected) -> _Found:
    last = chain.tries[-1]
    if len(chain.tries) == 1 and _transient(last):
        how = f"was answered {last.status}" if last.status else "lost its connection"
        yield f"it {how}, which passes, and never asked again", (chain.numbers[-1],)


def _hopeless_retry(chain: _Chain, expected: Expected) -> _Found:
    for (first, before), (second, _) in chain.pairs():
        status = before.status
        if status is not None and 400 <= status < 500 and status not in _TRANSIENT:
            yield f"it repeated what was refused with {status}", (first, second)


def _asked_again_after_success(chain: _Chain, expected: Expected) -> _Found:
    failed = False
    for (first, before), (second, after) in chain.pairs():
        failed |= _failed(before)
        if failed and before.good and after.at - (before.ended or before.at) < _AGAIN:
            yield "it repeated what had been answered at last", (first, second)


def _unbounded_wait(chain: _Chain, expected: Expected) -> _Found:
    for number, asked in zip(chain.numbers, chain.tries, strict=True):
        if asked.waited > expected.patience:
            told = f"it bore a silence of {asked.waited:.1f} s, with a patience of"
            yield f"{told} {expected.patience:g} s", (number,)


def _accepted(fault: str, message: str) -> Callable[[_Chain, Expected], _Found]:
    def rule(chain: _Chain, expected: Expected) -> _Found:
        last = chain.tries[-1]
        if expected.accepted and last.spoiled and last.fault == fault:
            yield message, (chain.numbers[-1],)

    return rule


def _failed(asked: Asked) -> bool:
    tired = asked.end in ("left", "") and asked.waited > 0
    return tired or asked.end == "cut" or asked.spoiled or (asked.status or 0) >= 400


def _transient(asked: Asked) -> bool:
    if asked.status is None:
        return asked.end == "cut"
    return asked.status in _TRANSIENT or asked.status >= 500


RULES: Final[Mapping[str, Callable[[_Chain, Expected], _Found]]] = {
    "retry_after_ignored": _retry_after_ignored,
    "retry_storm": _retry_storm,
    "gave_up_too_early": _gave_up_too_early,
    "hopeless_retry": _hopeless_retry,
    "asked_again_after_success": _asked_again_after_success,
    "unbounded_wait": _unbounded_wait,
    "truncated_stream_accepted": _accepted(
        "truncate", "it took an answer for good that ended early"
    ),
    "malformed_item_accepted": _accepted(
        "malformed", "it took an answer for good of which a part was no JSON"
    ),
    "duplicate_item_accepted": _accepted(
        "duplicate", "it took an answer for good of which a part came twice"
    ),
    "broken_tool_call_accepted": _accepted(
        "broken_tool_call", "it took a call for good whose arguments were no JSON"
    ),
    "wrong_content_type_accepted": _accepted(
        "wrong_content_type", "it took an answer for good that claimed to be something else"
    ),
    "error_in_band_ignored": _accepted(
        "error_in_band", "it took an answer for good in which an error was told"
    ),
}
"""By the ids of findings, each looks at one request and its repetitions."""
