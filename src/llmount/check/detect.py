"""Which contracts a server speaks, where, and which models it has."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..jsontext import loads
from ..testing.reading import listed, part, text
from ..types import JSON
from .target import Target

__all__ = ["Found", "capabilities", "detect", "locate", "models"]


@dataclass(frozen=True, slots=True)
class Found:
    """A contract that a server speaks. mount: below the target. server: its own words."""

    contract: str
    mount: str
    server: str = ""


@dataclass(frozen=True, slots=True)
class _Sign:
    """How a contract shows itself: an answer to a request, below one of some mounts."""

    contract: str
    mounts: Sequence[str]
    method: str
    path: str
    body: JSON
    statuses: frozenset[int]
    key: str


_SIGNS = (
    _Sign("generate/ollama", ("/api", ""), "GET", "/version", None, frozenset({200}), "version"),
    _Sign("chat/openai", ("/v1", ""), "GET", "/models", None, frozenset({200}), "data"),
    _Sign("chat/openai", ("/v1", ""), "POST", "/chat/completions", {}, frozenset({400}), "error"),
    _Sign("chat/responses", ("/v1", ""), "POST", "/responses", {}, frozenset({400}), "error"),
    _Sign(
        "chat/codeinferflow", ("/v1", ""), "GET", "/health", None, frozenset({200}), "chat_model"
    ),
    _Sign("ai/geenii", ("/ai/v1", ""), "POST", "/completion", {}, frozenset({422}), "detail"),
)


async def detect(target: Target) -> list[Found]:
    """The contracts that a server shows, the likeliest first."""
    found: dict[str, Found] = {}
    for sign in _SIGNS:
        for mount in sign.mounts:
            if sign.contract not in found and await _shows(target, sign, mount):
                found[sign.contract] = Found(sign.contract, mount)
    return list(found.values())


async def _shows(target: Target, sign: _Sign, mount: str) -> bool:
    recording = await target.send(sign.method, mount + sign.path, sign.body)
    if recording.status not in sign.statuses:
        return False
    try:
        return sign.key in part(recording.json)
    except ValueError:
        return False


async def locate(target: Target, contract: str, mount: str, paths: Sequence[str]) -> str | None:
    """Where a contract's paths stand: at its own mount or right at the target. None if one
    of `paths` is at neither, or the target cannot be reached."""
    for candidate in dict.fromkeys((mount, "")):
        for path in paths:
            filled = re.sub(r"{[^}]*}", "any", path)
            recording = await target.send("POST", candidate + filled, {})
            if recording.status not in (None, 404, 405):
                return candidate
    return None


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
        answer = (await target.send("GET", mount + "/models")).content
        return _geenii(answer)
    if contract not in _LISTS:
        return []
    path, several, one = _LISTS[contract]
    recording = await target.send("GET", mount + path)
    try:
        entries = listed(part(recording.json).get(several))
    except ValueError:
        return []
    return [name for entry in entries if (name := text(entry.get(one)))]


def _geenii(answer: bytes) -> list[str]:
    try:
        entries = listed(loads(answer.decode()))
    except ValueError:
        return []
    return [
        f"{text(entry.get('provider'))}:{text(entry.get('name'))}"
        for entry in entries
        if entry.get("type") == "text-completion"
    ]


async def capabilities(
    target: Target, contract: str, mount: str, model: str
) -> frozenset[str] | None:
    """What the server says that a model can do; None if it says nothing."""
    if contract != "generate/ollama":
        return None
    recording = await target.send("POST", mount + "/show", {"model": model})
    try:
        found = part(recording.json).get("capabilities")
    except ValueError:
        return None
    return frozenset(map(str, found)) if isinstance(found, list) else None
