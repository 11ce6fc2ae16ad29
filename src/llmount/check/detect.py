"""Which contracts a server speaks, where, and which models it has."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from ..contract import Contract, Operation
from ..testing.reading import listed, part, text
from ..types import JSON
from .apis import apis_of
from .recording import Recording
from .target import Target

__all__ = ["Found", "capabilities", "detect", "locate", "models", "wants_key"]


@dataclass(frozen=True, slots=True)
class Found:
    """A contract that a server speaks. mount: below the target. server: its own words."""

    contract: str
    mount: str
    server: str = ""


_UNKNOWN: Final = "no-such-model-c0ffee"

# Wrong for every contract, so that it is refused before anything is written.
_WRONG: Final[JSON] = {"model": _UNKNOWN, "messages": 5, "prompt": 5, "input": 5, "segments": 5}

_BARRED: Final = frozenset({401, 403})

_ORDER: Final = (
    "generate/ollama",
    "chat/codeinferflow",
    "chat/openai",
    "chat/responses",
    "chat/azure",
    "chat/ktransformers",
    "generate/ajstudioz",
    "generate/codeinferflow",
    "generate/ktransformers",
    "ai/geenii",
)
"""The likeliest first, but each after the one that is shown by the same and by more."""

_TELLS: Final[Mapping[str, tuple[str, str]]] = {
    "generate/ollama": ("/version", "version"),
    "chat/codeinferflow": ("/health", "chat_model"),
}
"""What contracts show that others do not: a path, and a name in its answer."""

_NOT_BESIDE: Final[Mapping[str, str]] = {
    "chat/openai": "chat/codeinferflow",
    "chat/ktransformers": "chat/openai",
    "generate/ktransformers": "generate/ollama",
}
"""Contracts that are not meant where another one is found, with the same paths."""


async def detect(target: Target) -> list[Found]:
    """The contracts that a server shows, the likeliest first: those whose paths it has, and
    whose envelope its refusals have."""
    found: dict[str, Found] = {}
    for contract in _ORDER:
        for mount in _mounts(contract):
            other = found.get(_NOT_BESIDE.get(contract, ""))
            taken = other is not None and other.mount == mount
            if contract not in found and not taken and await _shows(target, contract, mount):
                found[contract] = Found(contract, mount)
    return list(found.values())


async def _shows(target: Target, contract: str, mount: str) -> bool:
    api = apis_of(contract)[0]
    operation = Contract.load(contract).operations[api.operation]
    refused = await _refused(target, operation, mount)
    if refused.status in (*_BARRED, 429) or not _is_there(contract, refused):
        return False
    if contract in _TELLS:
        path, name = _TELLS[contract]
        told = await target.send("GET", mount + path)
        return told.status == 200 and name in part(told.answer)
    if (refused.status or 0) >= 400 and api.error(refused.answer) is not None:
        return True
    # Some speak OpenAI's language but for its refusals.
    return contract == "chat/openai" and bool(await models(target, contract, mount))


async def locate(target: Target, contract: str, model: str = "") -> str | None:
    """Where a contract's paths stand: at its own mount or right at the target. None if it is
    at neither, or the target cannot be reached.

    model: one that there is, for paths that name it.
    """
    described = Contract.load(contract).operations
    written = [described[api.operation] for api in apis_of(contract)]
    for mount in _mounts(contract):
        for operation in written[:1] or described.values():
            if _is_there(contract, await _refused(target, operation, mount, model)):
                return mount
    return None


async def wants_key(target: Target, contract: str, mount: str, model: str = "") -> bool:
    """Whether a server refuses whatever is asked of a contract for want of a good key."""
    api = apis_of(contract)[0]
    operation = Contract.load(contract).operations[api.operation]
    return (await _refused(target, operation, mount, model)).status in _BARRED


def _mounts(contract: str) -> Sequence[str]:
    servers: Any = Contract.load(contract).document["servers"]
    return tuple(dict.fromkeys((servers[0]["url"].rstrip("/"), "")))


async def _refused(target: Target, operation: Operation, mount: str, model: str = "") -> Recording:
    """What a server says to a request that no contract allows."""
    path = re.sub(r"{[^}]*}", lambda _: quote(model or "any", safe=":"), operation.path)
    place = path if operation.absolute else mount + path
    return await target.send(operation.method, place, None if operation.method == "GET" else _WRONG)


def _is_there(contract: str, recording: Recording) -> bool:
    """Whether a path was found. A 404 in words about a model is not for the path."""
    if recording.status == 404:
        errors = [api.error(recording.answer) or "" for api in apis_of(contract)[:1]]
        return any("model" in error.lower() for error in errors)
    return recording.status not in (None, 405)


_LISTS: Mapping[str, tuple[str, str, str]] = {
    "generate/ollama": ("/tags", "models", "name"),
    "generate/codeinferflow": ("/tags", "models", "name"),
    "chat/azure": ("/models", "data", "id"),
    "chat/openai": ("/models", "data", "id"),
    "chat/responses": ("/models", "data", "id"),
    "chat/codeinferflow": ("/models", "data", "id"),
    "chat/ktransformers": ("/models", "data", "id"),
}
"""Where models are listed: the path below the mount, the list's name, a name's name."""


async def models(target: Target, contract: str, mount: str) -> list[str]:
    """The names of the models that the server lists; none where nothing lists them."""
    if contract == "ai/geenii":
        return _geenii(await target.send("GET", mount + "/models"))
    if contract not in _LISTS:
        return []
    path, several, one = _LISTS[contract]
    recording = await target.send("GET", mount + path)
    entries = listed(part(recording.answer).get(several))
    return [name for entry in entries if (name := text(entry.get(one)))]


def _geenii(answer: Recording) -> list[str]:
    return [
        f"{text(entry.get('provider'))}:{text(entry.get('name'))}"
        for entry in listed(answer.answer)
        if entry.get("type") == "text-completion"
    ]


async def capabilities(
    target: Target, contract: str, mount: str, model: str
) -> frozenset[str] | None:
    """What the server says that a model can do; None if it says nothing."""
    if contract != "generate/ollama":
        return None
    recording = await target.send("POST", mount + "/show", {"model": model})
    found = part(recording.answer).get("capabilities")
    return frozenset(map(str, found)) if isinstance(found, list) else None
