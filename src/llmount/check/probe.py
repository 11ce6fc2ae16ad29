"""What a check is given: a server, a model, an operation, and a place for what it finds."""

from __future__ import annotations

import random
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar
from urllib.parse import quote

import anyio

from ..contract import Contract, Operation, essence
from ..framing import FramingError, framing_of
from ..jsontext import dumps
from ..types import JSON
from .apis import Api, apis_of
from .recording import Item, Recording
from .registry import Skip, Unsupported
from .said import Ask, Said
from .target import Target
from .verdict import Finding, Profile

__all__ = ["Inapplicable", "Probe", "Session", "Stop"]

T = TypeVar("T")

_SHOWN = 200
_TOO_MANY = 429


class Inapplicable(Exception):
    """The API has no word for what the check is about: there is no result."""


class Stop(Exception):
    """A check cannot go on after what it found."""


@dataclass(slots=True)
class Session:
    """One run against one server; what all of its checks share.

    contract: as the document says; tolerant: what clients put up with. mount: where the
    document's paths stand below the target. model: the one to ask. models: those that are
    listed. capabilities: of the model, by the server's own words; None if it says nothing.
    """

    target: Target
    contract: Contract
    tolerant: Contract
    mount: str
    model: str
    profile: Profile = Profile.COMPAT
    seed: int = 0
    in_process: Any = None
    models: tuple[str, ...] = ()
    capabilities: frozenset[str] | None = None
    examples: int = 25
    _known: dict[str, Any] = field(default_factory=dict)
    _locks: dict[str, anyio.Lock] = field(default_factory=dict)

    def url(self, operation: Operation, model: str = "") -> str:
        """The path of an operation at the target. Its parameter, if it has one, is the model:
        the one to ask, unless told."""
        name = quote(model or self.model, safe=":")
        path = re.sub(r"{[^}]*}", lambda _: name, operation.path)
        return path if operation.absolute else self.mount + path

    async def once(self, key: str, make: Callable[[], Awaitable[T]]) -> T:
        """What `make` gives, made at most once a run under this key."""
        async with self._locks.setdefault(key, anyio.Lock()):
            if key not in self._known:
                self._known[key] = await make()
            value: T = self._known[key]
            return value

    def recordings(self, operation: Operation) -> list[Recording]:
        """The exchanges with an operation that were made once, as they came."""
        url = self.target.url + self.url(operation)
        known = [each for each in self._known.values() if isinstance(each, Recording)]
        return [recording for recording in known if recording.url == url]


class Probe:
    """A session seen by one check of one operation; `findings` are what it noted,
    `measured` the numbers that come with them.

    api: the operation, if it is one that writes text; for checks of a whole server there is
    none.
    """

    def __init__(self, session: Session, check: str, api: Api | None = None) -> None:
        self.session = session
        self.check = check
        self._api = api
        self.findings: list[Finding] = []
        self.measured: dict[str, float] = {}
        self.random = random.Random(f"{session.seed} {check}")

    @property
    def target(self) -> Target:
        return self.session.target

    @property
    def contract(self) -> Contract:
        return self.session.contract

    @property
    def model(self) -> str:
        return self.session.model

    @property
    def api(self) -> Api:
        if self._api is None:
            raise TypeError(f"the check {self.check} is not made for each operation")
        return self._api

    @property
    def operation(self) -> Operation:
        return self.contract.operations[self.api.operation]

    # Asking

    async def ask(self, ask: Ask, *, fresh: bool = False, **changes: JSON) -> Recording:
        """The exchange for a question; the same question is sent once a run, unless fresh.

        changes: fields of the body to replace. Raises `Inapplicable`.
        """
        if self.api.lacks(ask):
            raise Inapplicable
        body = {**self.api.body(self.model, ask), **changes}
        return await self.post(body, fresh=fresh)

    async def post(self, body: JSON, *, fresh: bool = False) -> Recording:
        """The exchange for a body, sent to the operation."""
        operation, target = self.operation, self.target
        path = self.session.url(operation)

        async def send() -> Recording:
            recording = await target.send(operation.method, path, body)
            _read_anyway(recording, operation, body)
            return recording

        if fresh:
            return await send()
        return await self.session.once(f"{operation.id} {dumps(body)}", send)

    async def answered(self, ask: Ask, *, fresh: bool = False, **changes: JSON) -> Recording:
        """As `ask`, for a question that has to be answered.

        Raises `Unsupported` if the server says that it cannot, `Skip` if it has too much to do
        or not even a plain question is answered, and `Stop` after noting any other failure.
        """
        recording = await self.ask(ask, fresh=fresh, **changes)
        if recording.status == 200 and not recording.fault:
            return recording
        self.refused(recording, plain=not changes and ask.features <= {"stream", "whole"})

    def refused(self, recording: Recording, *, plain: bool = False) -> NoReturn:
        """Ends a check of something that was not answered. Raises as `answered`."""
        if plain:
            raise Skip(f"a plain question is not answered: {self.told(recording)}")
        status = recording.status
        if status == _TOO_MANY:
            raise Skip(f"the server has too much to do: {self.told(recording)}")
        if status is not None and (400 <= status < 500 or status == 501):
            raise Unsupported(self.told(recording))
        self.found(f"not answered: {self.told(recording)}", recording)
        raise Stop

    def reason(self, recording: Recording) -> str | None:
        """The text of a refusal where clients look for it, None if there is none."""
        api = self._api or apis_of(self.contract.name)[0]
        return api.error(recording.answer)

    def told(self, recording: Recording) -> str:
        """The end of an exchange in a few words."""
        if recording.status is None:
            return recording.fault
        text = (self._api and self.reason(recording)) or recording.content.decode(errors="replace")
        words = f"{recording.status} {' '.join(text.split())[:_SHOWN]}".strip()
        return f"{words} ({recording.fault})" if recording.fault else words

    async def said(self, ask: Ask, *, fresh: bool = False, **changes: JSON) -> Said:
        """What is said to a question. Raises as `answered`."""
        return self.read(await self.answered(ask, fresh=fresh, **changes))

    def read(self, recording: Recording) -> Said:
        """What an answer says. Raises `Stop` after noting one that is not JSON."""
        if recording.items:
            return self.api.items(recording.values)
        try:
            return self.api.whole(recording.json)
        except ValueError as error:
            self.found(f"the answer is not JSON: {error}", recording)
            raise Stop from None

    async def once(self, key: str, make: Callable[[], Awaitable[T]]) -> T:
        return await self.session.once(key, make)

    # Noting

    def found(
        self, message: str, recording: Recording | None = None, item: int | None = None
    ) -> None:
        """Note something that is wrong."""
        self.findings.append(Finding(message, recording, item))

    def need(self, *capabilities: str) -> None:
        """Raises `Unsupported` if the server says that the model lacks one of these."""
        known = self.session.capabilities
        for capability in capabilities:
            if known is not None and capability not in known:
                raise Unsupported(f"the model {self.model!r} is listed without {capability!r}")


def _read_anyway(recording: Recording, operation: Operation, body: JSON) -> None:
    """Read the items of a stream whose media type does not say that it is one."""
    stream = operation.stream
    if recording.items or recording.status != 200 or stream is None or recording.fault:
        return
    if operation.whole is not None and not (isinstance(body, dict) and body.get("stream")):
        return
    decoder = framing_of(essence(stream.name)).decoder()
    try:
        values = decoder.feed(recording.content) + decoder.close()
    except FramingError:
        return
    recording.items += [Item(value, recording.ended) for value in values]


def merged(body: Mapping[str, JSON], changes: Mapping[str, JSON]) -> dict[str, JSON]:
    """The body with its objects changed in depth."""
    result = dict(body)
    for name, value in changes.items():
        before = result.get(name)
        if isinstance(value, dict) and isinstance(before, dict):
            value = merged(before, value)
        result[name] = value
    return result
