"""What only Ollama has: a version, models described, loaded and unloaded."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ...testing.reading import listed, part, text
from ...types import JSON
from ..clients import breaks
from ..probe import Probe
from ..recording import Recording
from ..registry import Skip, Unsupported, check
from ..verdict import Severity
from .answers import check_form

_OLLAMA = ("generate/ollama",)
_UNKNOWN = "no-such-model-c0ffee"
_DOCS = "https://docs.ollama.com/api/"


async def _sent(probe: Probe, operation: str, body: JSON = None) -> Recording:
    described = probe.contract.operations[operation]
    path = probe.session.url(described)
    return await probe.target.send(described.method, path, body)


@check(
    "ollama.version",
    "The version is told as numbers",
    contracts=_OLLAMA,
    each=False,
    source=_DOCS + "version",
    breaks=breaks("no-version"),
)
async def version(probe: Probe) -> None:
    recording = await _sent(probe, "version")
    told = text(part(recording.answer).get("version"))
    if recording.status != 200 or not re.match(r"\d+\.\d+\.\d+", told):
        probe.found(f"it is {told!r}: {probe.told(recording)}", recording)


@check(
    "ollama.tags",
    "The models are listed",
    contracts=_OLLAMA,
    each=False,
    source=_DOCS + "tags",
    breaks=breaks("no-list"),
)
async def tags(probe: Probe) -> None:
    recording = await _sent(probe, "list")
    if recording.status != 200:
        probe.found(f"they are not: {probe.told(recording)}", recording)


@check(
    "ollama.show-unknown",
    "A model that is not there is not described",
    severity=Severity.STRICT,
    contracts=_OLLAMA,
    each=False,
    source=_DOCS + "show",
)
async def show_unknown(probe: Probe) -> None:
    recording = await _sent(probe, "show", {"model": _UNKNOWN})
    if recording.status != 404:
        probe.found(f"the status is {recording.status}, not 404", recording)


@check(
    "ollama.show",
    "A model is described with what clients read",
    contracts=_OLLAMA,
    each=False,
    source="https://github.com/LostRuins/koboldcpp/issues/1971",
    breaks=breaks("no-model-info"),
)
async def show(probe: Probe) -> None:
    recording = await _sent(probe, "show", {"model": probe.model})
    if recording.status != 200:
        probe.found(f"it is not: {probe.told(recording)}", recording)
        return
    check_form(probe, recording, probe.session.tolerant.operations["show"])


@check(
    "ollama.capabilities",
    "A model is described with what it can do",
    severity=Severity.ADVICE,
    contracts=_OLLAMA,
    each=False,
    source=_DOCS + "show",
    breaks=breaks("no-model-info"),
)
async def told(probe: Probe) -> None:
    if probe.session.capabilities is None:
        recording = await _sent(probe, "show", {"model": probe.model})
        probe.found("there are no capabilities", recording)


@check(
    "ollama.load",
    "A question without a text loads the model, which is then listed as loaded",
    severity=Severity.STRICT,
    contracts=_OLLAMA,
    each=False,
    alone=True,
    source=_DOCS + "generate",
)
async def load(probe: Probe) -> None:
    for operation in ("generate", "chat"):
        await _loaded(probe, operation, "load")
        if await _is_loaded(probe):
            continue
        # Somebody else's model may have taken its place.
        recording = await _loaded(probe, operation, "load")
        if not await _is_loaded(probe):
            probe.found(f"{operation}: the model is not listed as loaded", recording)


@check(
    "ollama.unload",
    "A model that is not to be kept is unloaded",
    severity=Severity.STRICT,
    contracts=_OLLAMA,
    each=False,
    alone=True,
    source=_DOCS + "generate",
)
async def unload(probe: Probe) -> None:
    recording = await _loaded(probe, "generate", "unload", keep_alive=0)
    if _names(probe) & {text(entry.get("model")) for entry in await _listed(probe)}:
        probe.found("the model is still listed as loaded", recording)


async def _loaded(probe: Probe, operation: str, reason: str, **more: JSON) -> Recording:
    empty: dict[str, JSON] = {"prompt": ""} if operation == "generate" else {"messages": []}
    body = {"model": probe.model, "stream": False, **empty, **more}
    recording = await _sent(probe, operation, body)
    if recording.status == 404:
        raise Skip(probe.told(recording))
    answer = part(recording.answer)
    if recording.status != 200 or answer.get("done") is not True:
        probe.found(f"{operation}: it is not done: {probe.told(recording)}", recording)
    elif answer.get("done_reason") != reason:
        told = answer.get("done_reason")
        probe.found(f"{operation}: it is done for {told!r}, not {reason!r}", recording)
    return recording


async def _is_loaded(probe: Probe) -> bool:
    """Whether the model is listed as loaded, or one that may have the same weights, which are
    then kept once and under the name that came first; true where no model is listed, as
    none is kept in memory. Raises as `_listed`."""
    entries = await _listed(probe)
    if not entries or _names(probe) & {text(entry.get("model")) for entry in entries}:
        return True
    recording = await _sent(probe, "show", {"model": probe.model})
    shown = part(recording.answer, "details")
    return any(part(entry, "details") == shown for entry in entries)


async def _listed(probe: Probe) -> list[Mapping[str, JSON]]:
    """What is listed as loaded. Raises `Unsupported` if the server does not tell."""
    recording = await _sent(probe, "ps")
    if recording.status != 200:
        raise Unsupported(probe.told(recording))
    return listed(part(recording.answer).get("models"))


def _names(probe: Probe) -> set[str]:
    return {probe.model, f"{probe.model}:latest"}
