"""Several backends that have the same model: the least busy one answers, or else another."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from operator import attrgetter
from typing import Final

import anyio

from ..errors import ApiError, BackendUnavailable, ModelNotFound, Unsupported
from ..types import (
    Backend,
    EmbeddingBackend,
    EmbeddingPrompt,
    Embeddings,
    Event,
    Model,
    Prompt,
    Residency,
    Resident,
)
from .circuit import Circuit
from .course import Course, Retry, Waiting
from .listing import LISTING_SECONDS, of_models, of_residents
from .members import Member, Seat, Seats
from .several import close_all, name_key, told

__all__ = ["Circuit", "Member", "PoolBackend", "Retry", "Waiting"]

logger = logging.getLogger("llmount")

_RETRY: Final = Retry()
_CIRCUIT: Final = Circuit()
_WAITING: Final = Waiting()
# Less than the time that a pool itself has in the list of whoever has it.
_LISTING_SECONDS: Final = 0.75 * LISTING_SECONDS


class PoolBackend:
    """Answers with the least busy of its members, and if that fails, with another one.

    Of the members of the lowest tier whose circuit is closed, the one is asked that has the
    fewest answers under way in this pool. If it fails before its first event, the others
    are asked at once, tier by tier. Once all have failed, they are asked again after a wait
    (`Retry`). An answer that has begun is never begun again.

    A member that does not have the model, cannot do what is asked, or refuses the pool as
    such is left out. Any other refusal of the request ends it. If nobody answers, what is
    raised tells when to come back, where a member has told that, or else is the last failure.

    members: of which a bare backend is a `Member` with neither a `model` nor a tier.
    name: what the model is called here, if the members have a `model` of their own; any
    other name is `ModelNotFound`. Without it every name is taken, and passed on to members
    without a `model`. timeout: seconds until a member has to have said what it has, or it is
    left out. clock: gives seconds. waiting: how to wait; for tests.
    """

    def __init__(
        self,
        members: Sequence[Member | Backend],
        *,
        retry: Retry = _RETRY,
        circuit: Circuit = _CIRCUIT,
        name: str | None = None,
        timeout: float = _LISTING_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        waiting: Waiting = _WAITING,
    ) -> None:
        if not members:
            raise ValueError("a pool needs a member")
        seated = [each if isinstance(each, Member) else Member(each) for each in members]
        self.members = tuple(sorted(seated, key=attrgetter("tier")))
        self.retry = retry
        self.name = name
        self._waiting = waiting
        self._seats = Seats(self.members, circuit, clock)
        # Asked here once, because a protocol takes its time to tell.
        self._embedding = [
            seat for seat in self._seats.all if isinstance(seat.member.backend, EmbeddingBackend)
        ]
        self._offers = of_models(timeout=timeout, clock=clock)
        self._residents = of_residents(timeout=timeout, clock=clock)

    @property
    def busy(self) -> Sequence[int]:
        """Answers under way, of each of the `members`."""
        return [seat.busy for seat in self._seats.all]

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Event, None]:
        """See `Backend.generate`."""
        course = self._course(prompt.model, self._seats.all)
        while True:
            with await course.turn() as turn:
                named = replace(prompt, model=turn.member.called(prompt.model))
                async with aclosing(turn.member.backend.generate(named)) as events:
                    async for event in events:
                        if not turn.begun:
                            turn.begin()
                        yield event
                return

    async def embed(self, prompt: EmbeddingPrompt) -> Embeddings:
        """See `EmbeddingBackend`."""
        if not self._embedding:
            raise Unsupported("embedding", model=prompt.model)
        course = self._course(prompt.model, self._embedding)
        while True:
            with await course.turn() as turn:
                backend = turn.member.backend
                assert isinstance(backend, EmbeddingBackend)
                named = replace(prompt, model=turn.member.called(prompt.model))
                return await backend.embed(named)

    def _course(self, model: str, able: Sequence[Seat]) -> Course:
        self._check(model)
        return Course(self._seats, able, self.retry, self._waiting, model)

    def _check(self, model: str) -> None:
        if not self._has(model):
            raise ModelNotFound(model)

    def _has(self, model: str) -> bool:
        return self.name is None or name_key(model) == name_key(self.name)

    # What the members offer

    async def models(self) -> Sequence[Model]:
        """What the members list, each name once; of a name that several list, what the first
        one says, the lowest tier first. A member that does not answer is left out.

        Raises BackendUnavailable if none answers.
        """
        listed = await self._offers.each([member.backend for member in self.members])
        if all(models is None for models in listed):
            raise BackendUnavailable
        found: dict[str, Model] = {}
        for member, models in zip(self.members, listed, strict=True):
            for model in models or ():
                if (name := self._name_here(member, model)) is not None:
                    found.setdefault(name_key(name), replace(model, name=name))
        if self.name is not None and not found:
            return (Model(name=self.name, capabilities=frozenset()),)
        return tuple(found.values())

    async def model(self, name: str) -> Model | None:
        """As `Directory` says, of the first member that lists it.

        Raises BackendUnavailable if none says what it has.
        """
        if not self._has(name):
            return None
        answered = False
        for member in self.members:
            models = await self._offers.of(member.backend)
            answered |= models is not None
            for model in models or ():
                here = self._name_here(member, model)
                if here is not None and name_key(here) == name_key(name):
                    return replace(model, name=here)
        if not answered:
            raise BackendUnavailable
        return None

    def _name_here(self, member: Member, model: Model) -> str | None:
        """What the member's model is called in this pool; None if it is none of the pool's."""
        theirs = self.name if member.model is None else member.model
        if theirs is None:
            return model.name
        return (self.name or model.name) if name_key(theirs) == name_key(model.name) else None

    # `Resident`, as far as the members are

    async def load(self, model: str, keep_alive: float | None) -> None:
        """Load it where it is asked first: by all members of the lowest tier.

        Raises if none of them can.
        """
        first = [each for each in self.members if each.tier == self.members[0].tier]
        await self._told(first, model, lambda backend, name: backend.load(name, keep_alive))

    async def unload(self, model: str) -> None:
        """By all members. Raises if none of them can."""
        await self._told(self.members, model, lambda backend, name: backend.unload(name))

    async def _told(
        self,
        members: Sequence[Member],
        model: str,
        order: Callable[[Resident, str], Awaitable[None]],
    ) -> None:
        """Give the order to those members that take orders, all at once."""
        self._check(model)
        failures: list[ApiError] = []
        done: list[Member] = []

        async def tell(member: Member, backend: Resident) -> None:
            try:
                await order(backend, member.called(model))
            except ApiError as error:
                logger.warning("%r does not load or unload a model: %s", backend, told(error))
                failures.append(error)
            else:
                done.append(member)

        async with anyio.create_task_group() as tasks:
            for member in members:
                if isinstance(member.backend, Resident):
                    tasks.start_soon(tell, member, member.backend)
        if failures and not done:
            raise min(failures, key=lambda error: isinstance(error, ModelNotFound))

    async def resident(self) -> Sequence[Residency]:
        """What the members have in memory, each name once."""
        listed = await self._residents.each([member.backend for member in self.members])
        found: dict[str, Residency] = {}
        for member, residents in zip(self.members, listed, strict=True):
            for each in residents or ():
                if (name := self._name_here(member, each.model)) is not None:
                    here = replace(each, model=replace(each.model, name=name))
                    found.setdefault(name_key(name), here)
        return tuple(found.values())

    async def aclose(self) -> None:
        """Close every member that can be closed, once."""
        await close_all(member.backend for member in self.members)
