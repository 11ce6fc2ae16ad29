"""Checking a server from end to end: find out what it is, make the checks, report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from .. import __version__
from ..contract import Contract, names
from .apis import apis_of
from .baseline import Baseline
from .clients import speaking
from .detect import Found, capabilities, detect, locate, models, wants_key
from .excerpt import excerpt, rewriting, secrets_of
from .probe import Session
from .recording import Recording
from .registry import Check
from .reproduce import USUAL
from .run import Task, make, select
from .target import Target
from .tolerance import tolerant
from .verdict import About, Profile, Report, Result

__all__ = ["CannotRun", "Options", "Progress", "inspect", "named", "opened"]


_KEYLESS: Final = "{} lets in only who has a good key: say --key"


class CannotRun(Exception):
    """The server cannot be checked; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to check, and how.

    contracts: names of documents, see `named`; by default the first that the server shows.
    model: the one to ask; the first that is listed by default. headers: sent with every
    request. only, skip: as for `select`. seed: of all that is random. max_time: seconds for
    one contract. workers: how many checks at once. examples: for each operation and phase of
    Schemathesis. timeout: seconds in which a piece of an answer has to come. baseline:
    failures that are accepted.
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

    contract: one that is checked now, with the model and the number of tasks. begun, done: as
    for `make`.
    """

    contract: Callable[[Found, str, int], None] = lambda found, model, count: None
    begun: Callable[[Task], None] = lambda task: None
    done: Callable[[Task, Result | None], None] = lambda task, result: None


def named(name: str) -> str:
    """The contract of this name, or of which it is the last part, if only one has it.

    Raises `CannotRun`.
    """
    fitting = [each for each in names() if name in (each, each.rpartition("/")[2])]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise CannotRun(f"the contract {name!r} may be {' or '.join(fitting)}")
    raise CannotRun(f"no contract {name!r}; there are {', '.join(names())}")


async def inspect(
    url: str, options: Options, *, name: str = "", progress: Progress | None = None
) -> list[Report]:
    """Check the server at `url`; a report for each contract.

    name: what the reports call it, the URL by default; an app that is served there only for
    the run. Raises `CannotRun`, and `UnknownCheck` for a pattern that fits none.
    """
    progress = progress or Progress()
    places = {url.rstrip("/"): USUAL} if name else {}
    rewrite = rewriting(secrets_of(url, options.headers), places)
    async with Target(url, headers=options.headers, timeout=options.timeout) as target:
        wanted = list(dict.fromkeys(map(named, options.contracts)))
        if wanted:
            found, also = [await _located(target, each, options.model) for each in wanted], []
        else:
            (first, *rest) = await _detected(target)
            found, also = [first], [each.contract for each in rest]
        return [
            excerpt(await _inspect(target, each, also, options, name or url, progress), rewrite)
            for each in found
        ]


async def opened(target: Target, contract: str, options: Options) -> Session:
    """What all checks of a contract share. Raises `CannotRun`."""
    return await _session(target, await _located(target, contract, options.model), options)


async def _session(target: Target, found: Found, options: Options) -> Session:
    contract = found.contract
    listed = await models(target, contract, found.mount)
    model = options.model or next(iter(listed), None)
    if model is None:
        raise CannotRun(f"the server lists no model for {contract}; say --model")
    return Session(
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


async def _located(target: Target, contract: str, model: str | None) -> Found:
    where = await locate(target, contract, model or "")
    if where is None:
        await _reached(target)
        raise CannotRun(f"{target.url} answers nothing of {contract}")
    if await wants_key(target, contract, where, model or ""):
        raise CannotRun(_KEYLESS.format(target.url))
    return Found(contract, where)


async def _detected(target: Target) -> list[Found]:
    await _reached(target)
    detected = await detect(target)
    if not detected and await _is_locked(target):
        raise CannotRun(_KEYLESS.format(target.url))
    if not detected:
        raise CannotRun(
            f"{target.url} shows none of the contracts that are known; say --contract, one of "
            + ", ".join(names())
        )
    return detected


async def _is_locked(target: Target) -> bool:
    """Whether the server has some contract for who has a key."""
    for contract in names():
        where = await locate(target, contract)
        if where is not None and await wants_key(target, contract, where):
            return True
    return False


async def _reached(target: Target) -> None:
    answer = await target.send("GET", "/")
    if answer.status is None:
        raise CannotRun(f"{target.url} cannot be reached: {answer.fault}")


async def _inspect(
    target: Target,
    found: Found,
    also: Sequence[str],
    options: Options,
    name: str,
    progress: Progress,
) -> Report:
    contract = found.contract
    tasks = select(contract, options.only, options.skip)
    session = await _session(target, found, options)
    model = session.model
    progress.contract(found, model, len(tasks))
    started, begun = time.time(), time.perf_counter()
    made = await make(
        session,
        tasks,
        workers=options.workers,
        max_time=options.max_time,
        begun=progress.begun,
        done=progress.done,
    )
    report = Report(
        target=name,
        contract=contract,
        profile=options.profile,
        model=model,
        url=target.url,
        mount=found.mount,
        also=also,
        server=found.server,
        seed=options.seed,
        version=__version__,
        started=started,
        seconds=time.perf_counter() - begun,
        abouts={task.check.id: _about(task.check, contract) for task in tasks},
        results=made,
        streams=_streams(session),
    )
    return options.baseline.applied(report)


def _about(check: Check, contract: str) -> About:
    return About(
        title=check.title,
        severity=check.severity,
        source=check.source,
        breaks=speaking(contract, check.breaks),
    )


def _streams(session: Session) -> dict[str, Recording]:
    """The first stream of each operation that came whole and of more than one item."""
    found: dict[str, Recording] = {}
    for api in apis_of(session.contract.name):
        for recording in session.recordings(session.contract.operations[api.operation]):
            if len(recording.items) > 1 and not recording.fault:
                found.setdefault(api.operation, recording)
    return found
