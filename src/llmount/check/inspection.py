"""Checking a server from end to end: find out what it is, make the checks, report."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from .. import __version__
from ..contract import Contract, names
from .apis import apis_of
from .baseline import Baseline
from .detect import Found, capabilities, detect, locate, models
from .probe import Session
from .run import Task, make, select
from .target import Target
from .tolerance import tolerant
from .verdict import Profile, Report, Result

__all__ = ["CannotRun", "Options", "Progress", "inspect"]


class CannotRun(Exception):
    """The server cannot be checked; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to check, and how.

    contracts: names of documents; those that the server shows by default, of which only the
    first is checked. model: the one to ask; the first that is listed by default. headers:
    sent with every request. only, skip: as for `select`. seed: of all that is random.
    max_time: seconds for one contract. workers: how many checks at once. examples: for each
    operation and phase of Schemathesis. timeout: seconds in which a piece of an answer has to
    come. baseline: failures that are accepted.
    """

    contracts: Sequence[str] = ()
    model: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    profile: Profile = Profile.COMPAT
    only: Sequence[str] = ()
    skip: Sequence[str] = ()
    seed: int = 1
    max_time: float | None = None
    workers: int = 2
    examples: int = 25
    timeout: float = 60.0
    baseline: Baseline = field(default_factory=Baseline)


@dataclass(slots=True)
class Progress:
    """What is told of a run while it goes on.

    begin: the contracts that are checked, those that are shown besides, with the number of
    checks; done: one more result.
    """

    begin: Callable[[Found, str, int], None] = lambda found, model, count: None
    done: Callable[[Task, Result], None] = lambda task, result: None


async def inspect(
    url: str, options: Options, *, name: str = "", progress: Progress | None = None
) -> list[Report]:
    """Check the server at `url`; a report for each contract.

    name: what the reports call it, the URL by default. Raises `CannotRun`, and `UnknownCheck`
    for a pattern that fits none.
    """
    progress = progress or Progress()
    async with Target(url, headers=options.headers, timeout=options.timeout) as target:
        reports = []
        for found in await _contracts(target, options.contracts):
            reports.append(await _inspect(target, found, options, name or url, progress))
    return reports


async def _contracts(target: Target, wanted: Iterable[str]) -> list[Found]:
    located = []
    for contract in wanted:
        if contract not in names():
            raise CannotRun(f"no contract {contract!r}; there are {', '.join(names())}")
        loaded = Contract.load(contract)
        paths = [loaded.operations[api.operation].path for api in apis_of(contract)]
        mount = str(loaded.document["servers"][0]["url"]).rstrip("/")
        where = await locate(target, contract, mount, paths[:1])
        if where is None:
            raise CannotRun(f"{target.url} answers nothing of {contract}")
        located.append(Found(contract, where))
    if located:
        return located
    reached = await target.send("GET", "/")
    if reached.status is None:
        raise CannotRun(f"{target.url} cannot be reached: {reached.fault}")
    detected = await detect(target)
    if not detected:
        raise CannotRun(
            f"{target.url} shows none of the contracts that are known; say --contract, one of "
            + ", ".join(names())
        )
    return detected[:1]


async def _inspect(
    target: Target, found: Found, options: Options, name: str, progress: Progress
) -> Report:
    contract = found.contract
    tasks = select(contract, options.only, options.skip)
    listed = await models(target, contract, found.mount)
    model = options.model or next(iter(listed), None)
    if model is None:
        raise CannotRun(f"the server lists no model for {contract}; say --model")
    session = Session(
        target,
        Contract.load(contract),
        tolerant(contract),
        found.mount,
        model,
        profile=options.profile,
        seed=options.seed,
        models=tuple(listed),
        capabilities=await capabilities(target, contract, found.mount, model),
        examples=options.examples,
    )
    progress.begin(found, model, len(tasks))
    started, begun = time.time(), time.perf_counter()
    made = await make(
        session, tasks, workers=options.workers, max_time=options.max_time, done=progress.done
    )
    results, stale = options.baseline.apply(contract, made)
    return Report(
        target=name,
        contract=contract,
        profile=options.profile,
        model=model,
        server=found.server,
        seed=options.seed,
        version=__version__,
        started=started,
        seconds=time.perf_counter() - begun,
        results=results,
        stale=stale,
        counts=Counter(str(result.verdict) for result in results),
    )
