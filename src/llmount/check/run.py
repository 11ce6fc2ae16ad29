"""Making the checks: which, in what order, within what time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import anyio

from . import checks as _checks  # noqa: F401  (fills the table)
from .apis import Api, apis_of
from .probe import Inapplicable, Probe, Session, Stop
from .registry import CHECKS, Check, Skip, Unsupported
from .verdict import Result, Verdict, judge

__all__ = ["Task", "UnknownCheck", "make", "select"]

logger = logging.getLogger("llmount.check")

_LONGEST = 120.0
"""Seconds for one check, unless the whole run ends before."""


class UnknownCheck(ValueError):
    """A pattern of --only or --skip that no check fits."""


@dataclass(frozen=True, slots=True)
class Task:
    """A check to be made, of one operation or of the server as a whole."""

    check: Check
    api: Api | None

    @property
    def operation(self) -> str:
        return self.api.operation if self.api else ""


def select(contract: str, only: Iterable[str] = (), skip: Iterable[str] = ()) -> list[Task]:
    """The checks for a contract. only, skip: patterns of ids, such as `stream.*`; an area
    alone means all of it. Raises `UnknownCheck`."""
    wanted, unwanted = [*only], [*skip]
    for pattern in (*wanted, *unwanted):
        if not any(_fits(check, pattern) for check in CHECKS.values()):
            areas = dict.fromkeys(check.area for check in CHECKS.values())
            raise UnknownCheck(
                f"no check fits {pattern!r}; the areas are {', '.join(areas)}, and "
                "`llmount check --list` has all"
            )
    tasks = []
    for check in CHECKS.values():
        if not check.is_for(contract):
            continue
        if wanted and not any(_fits(check, pattern) for pattern in wanted):
            continue
        if any(_fits(check, pattern) for pattern in unwanted):
            continue
        tasks += [Task(check, api) for api in (apis_of(contract) if check.each else [None])]
    return tasks


def _fits(check: Check, pattern: str) -> bool:
    return pattern == check.area or fnmatchcase(check.id, pattern)


async def make(
    session: Session,
    tasks: Sequence[Task],
    *,
    workers: int = 2,
    max_time: float | None = None,
    begun: Callable[[Task], None] = lambda task: None,
    done: Callable[[Task, Result | None], None] = lambda task, result: None,
) -> list[Result]:
    """Make the checks; their results in the order of the tasks, without those that do not
    apply.

    workers: how many are made at once; those that measure come last, one by one. max_time:
    seconds, after which the rest is skipped. begun, done: told of each task as it goes on,
    and of its result, None if it does not apply.
    """
    deadline = anyio.current_time() + max_time if max_time is not None else None
    results: dict[int, Result] = {}

    async def work(numbered: tuple[int, Task]) -> None:
        number, task = numbered
        begun(task)
        result = await _make(session, task, deadline)
        if result is not None:
            results[number] = result
        done(task, result)

    queue = list(enumerate(tasks))
    beside = iter([each for each in queue if not each[1].check.alone])

    async def worker() -> None:
        for numbered in beside:
            await work(numbered)

    async with anyio.create_task_group() as group:
        for _ in range(max(1, workers)):
            group.start_soon(worker)
    for numbered in queue:
        if numbered[1].check.alone:
            await work(numbered)
    return [results[number] for number in sorted(results)]


async def _make(session: Session, task: Task, deadline: float | None) -> Result | None:
    check = task.check
    left = _LONGEST if deadline is None else min(_LONGEST, deadline - anyio.current_time())
    if left <= 0:
        return _result(task, Verdict.SKIP, 0.0, reason="no time was left")
    probe = Probe(session, check.id, task.api)
    begun = time.perf_counter()
    verdict, reason, crashed = Verdict.PASS, "", False
    with anyio.move_on_after(left) as scope:
        try:
            await check.judge(probe)
        except Inapplicable:
            return None
        except Stop:
            pass
        except Skip as error:
            verdict, reason = Verdict.SKIP, str(error)
        except Unsupported as error:
            verdict, reason = Verdict.UNSUPPORTED, str(error)
        except Exception as error:
            logger.exception("the check %s failed", check.id)
            verdict, reason, crashed = Verdict.SKIP, f"the check failed: {error!r}", True
    if scope.cancelled_caught:
        verdict, reason = Verdict.SKIP, f"not done after {left:.0f} seconds"
    if probe.findings:
        verdict = judge(check.severity, session.profile)
    return Result(
        check=check.id,
        operation=task.operation,
        verdict=verdict,
        reason=reason,
        findings=tuple(probe.findings),
        crashed=crashed,
        seconds=time.perf_counter() - begun,
        measured=probe.measured,
    )


def _result(task: Task, verdict: Verdict, seconds: float, *, reason: str) -> Result:
    return Result(
        check=task.check.id,
        operation=task.operation,
        verdict=verdict,
        reason=reason,
        seconds=seconds,
    )
