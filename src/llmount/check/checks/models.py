"""Models listed, looked up and described, and texts as vectors."""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from ...testing.reading import listed, part, text
from ...types import JSON
from ..clients import breaks
from ..probe import Probe
from ..recording import Recording
from ..registry import Skip, Unsupported, check
from ..verdict import Severity
from .answers import check_form

_MODELS = "https://platform.openai.com/docs/api-reference/models"
_EMBEDDINGS = "https://platform.openai.com/docs/api-reference/embeddings"
_UNKNOWN = "no-such-model-c0ffee"

_READS: Mapping[str, Sequence[str]] = {
    "ai/geenii": ("models",),
    "chat/azure": ("listModels",),
    "chat/codeinferflow": ("health",),
    "chat/openai": ("listModels",),
    "generate/codeinferflow": ("tags",),
    "generate/ollama": ("list", "ps", "version"),
}
"""What is read without asking for anything, by the document."""

_LISTING = frozenset({"models", "listModels", "list"})
"""Those that list the models that there are."""


async def _get(probe: Probe, operation: str) -> Recording:
    described = probe.contract.operations[operation]
    path = probe.session.url(described)
    return await probe.once(f"read {path}", lambda: probe.target.send("GET", path))


async def _reads(probe: Probe) -> list[tuple[str, Recording]]:
    """The answers to all that is read. Raises `Unsupported` if the server has none of it."""
    found = [(name, await _get(probe, name)) for name in _READS[probe.contract.name]]
    there = [(name, recording) for name, recording in found if recording.status == 200]
    if not there:
        raise Unsupported(probe.told(found[0][1]))
    return there


@check(
    "models.schema",
    "What is listed has what clients read",
    contracts=tuple(_READS),
    each=False,
    source=_MODELS,
    breaks=breaks("models-null"),
)
async def schema(probe: Probe) -> None:
    for name, recording in await _reads(probe):
        check_form(probe, recording, probe.session.tolerant.operations[name], f"{name}: ")


@check(
    "models.exact",
    "What is listed is exactly as the document says",
    severity=Severity.STRICT,
    contracts=tuple(_READS),
    each=False,
    source=_MODELS,
)
async def exact(probe: Probe) -> None:
    for name, recording in await _reads(probe):
        check_form(probe, recording, probe.contract.operations[name], f"{name}: ")


@check(
    "models.there",
    "What can be read is there",
    severity=Severity.STRICT,
    contracts=tuple(_READS),
    each=False,
    source=_MODELS,
)
async def there(probe: Probe) -> None:
    await _reads(probe)
    for name in _READS[probe.contract.name]:
        recording = await _get(probe, name)
        if recording.status != 200:
            probe.found(f"{name}: {probe.told(recording)}", recording)


@check(
    "models.unique",
    "Every model is listed once",
    severity=Severity.STRICT,
    contracts=(
        "ai/geenii",
        "chat/azure",
        "chat/openai",
        "generate/codeinferflow",
        "generate/ollama",
    ),
    each=False,
    source=_MODELS,
)
async def unique(probe: Probe) -> None:
    names = probe.session.models
    if not names:
        raise Skip("no model is listed")
    for name in sorted({name for name in names if names.count(name) > 1}):
        probe.found(f"{name!r} is listed {names.count(name)} times")


@check(
    "models.some",
    "A server that has a model lists one",
    severity=Severity.ADVICE,
    contracts=("ai/geenii", "chat/azure", "chat/openai", "generate/ollama"),
    each=False,
    source=_MODELS,
)
async def some(probe: Probe) -> None:
    for name, recording in await _reads(probe):
        answer = recording.answer
        lists = [answer] if isinstance(answer, list) else list(part(answer).values())
        if name in _LISTING and [] in lists:
            probe.found(f"{name}: the list is empty", recording)


@check(
    "models.retrieve",
    "A model that is listed can be looked up",
    severity=Severity.STRICT,
    contracts=("chat/openai", "chat/azure"),
    each=False,
    source=_MODELS,
    breaks=breaks("model-unfound"),
)
async def retrieve(probe: Probe) -> None:
    names = probe.session.models
    if not names:
        raise Skip("no model is listed")
    recording = await probe.target.send("GET", _place(probe, names[0]))
    if recording.status != 200:
        probe.found(f"{names[0]!r}: {probe.told(recording)}", recording)
        return
    if text(part(recording.answer).get("id")) != names[0]:
        probe.found(f"{names[0]!r} is looked up, another is answered", recording)


@check(
    "models.unknown",
    "A model that is not there is not found",
    severity=Severity.STRICT,
    contracts=("chat/openai", "chat/azure"),
    each=False,
    source=_MODELS,
)
async def unknown(probe: Probe) -> None:
    recording = await probe.target.send("GET", _place(probe, _UNKNOWN))
    if recording.status != 404:
        probe.found(f"the status is {recording.status}, not 404", recording)
    elif not probe.reason(recording):
        probe.found(f"there is no message: {probe.told(recording)}", recording)


def _place(probe: Probe, name: str) -> str:
    return f"{probe.session.mount}/models/{quote(name, safe='')}"


# Texts as vectors

_TEXTS = ["A short text.", "Another one, which is longer."]


async def _embedded(probe: Probe, operation: str, body: Mapping[str, Any]) -> Recording:
    """The vectors of texts. Raises `Unsupported` if the server has none."""
    path = probe.session.url(probe.contract.operations[operation])
    sent = {"model": probe.model, **body}
    recording = await probe.once(
        f"embed {path} {sent}", lambda: probe.target.send("POST", path, sent)
    )
    if recording.status != 200:
        raise Unsupported(probe.told(recording))
    return recording


def _is_vector(value: JSON) -> bool:
    return isinstance(value, list) and all(isinstance(each, int | float) for each in value)


async def _vectors(probe: Probe, **more: JSON) -> tuple[Recording, list[JSON]]:
    if probe.contract.name == "generate/ollama":
        recording = await _embedded(probe, "embed", {"input": _TEXTS, **more})
        found = part(recording.answer).get("embeddings")
        return recording, found if isinstance(found, list) else []
    recording = await _embedded(probe, "createEmbedding", {"input": _TEXTS, **more})
    entries = listed(part(recording.answer).get("data"))
    order = [entry.get("index") for entry in entries]
    if order != list(range(len(entries))):
        probe.found(f"the numbers of the vectors are {order}", recording)
    return recording, [entry.get("embedding") for entry in entries]


@check(
    "models.embeddings",
    "Every text has a vector, and all are equally long",
    contracts=("chat/openai", "chat/azure", "generate/ollama"),
    each=False,
    source=_EMBEDDINGS,
    breaks=breaks("vectors-wrong"),
)
async def embeddings(probe: Probe) -> None:
    recording, vectors = await _vectors(probe)
    if len(vectors) != len(_TEXTS):
        probe.found(f"there are {len(vectors)} vectors of {len(_TEXTS)} texts", recording)
    lengths = {len(each) if _is_vector(each) else -1 for each in vectors}
    if lengths != {max(lengths, default=0)} or not max(lengths, default=0) > 0:
        probe.found("the vectors are not equally long lists of numbers", recording)


@check(
    "models.embeddings-base64",
    "A vector in base64 is the one in numbers, as 32-bit floats",
    contracts=("chat/openai", "chat/azure"),
    each=False,
    source=_EMBEDDINGS,
    breaks=breaks("base64-wrong"),
)
async def embeddings_base64(probe: Probe) -> None:
    _, numbers = await _vectors(probe)
    recording, packed = await _vectors(probe, encoding_format="base64")
    for plain, coded in zip(numbers, packed, strict=False):
        if isinstance(coded, list):
            continue  # SDKs take numbers as well.
        try:
            raw = base64.b64decode(coded, validate=True)
            values = struct.unpack(f"<{len(raw) // 4}f", raw)
        except (ValueError, TypeError, struct.error) as error:
            probe.found(f"it is no base64 of floats: {error}", recording)
            return
        if (
            not _is_vector(plain)
            or len(values) != len(plain)
            or any(abs(a - b) > 1e-3 * (1 + abs(b)) for a, b in zip(values, plain, strict=True))
        ):
            probe.found("the numbers differ", recording)
            return


def _alike(one: JSON, other: JSON) -> float:
    """The cosine of two vectors; 0 for what is none."""
    if not (_is_vector(one) and _is_vector(other)) or len(one) != len(other):
        return 0.0
    lengths = math.hypot(*one) * math.hypot(*other)
    return sum(a * b for a, b in zip(one, other, strict=True)) / lengths if lengths else 0.0


@check(
    "models.embeddings-order",
    "The vectors are in the order of the texts",
    contracts=("chat/openai", "chat/azure", "generate/ollama"),
    each=False,
    source=_EMBEDDINGS,
    breaks=breaks("vectors-wrong"),
)
async def embeddings_order(probe: Probe) -> None:
    recording, vectors = await _vectors(probe)
    alone = [(await _vectors(probe, input=[text]))[1] for text in _TEXTS]
    if len(vectors) != 2 or any(len(each) != 1 for each in alone):
        raise Skip("there is not a vector for each text")
    (first,), (second,) = alone
    for vector, own, other in ((vectors[0], first, second), (vectors[1], second, first)):
        # Rounding may differ from one request to the next, but not so much.
        if _alike(vector, own) < _alike(vector, other):
            probe.found("the vector of a text is that of another one", recording)
            return


@check(
    "models.embeddings-format",
    "Vectors come in base64 if that is asked for",
    severity=Severity.ADVICE,
    contracts=("chat/openai", "chat/azure"),
    each=False,
    source=_EMBEDDINGS,
)
async def embeddings_format(probe: Probe) -> None:
    recording, packed = await _vectors(probe, encoding_format="base64")
    if any(isinstance(each, list) for each in packed):
        probe.found("they are lists of numbers", recording)
