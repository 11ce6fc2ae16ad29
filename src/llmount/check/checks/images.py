"""Pictures: a request for one gets one that can be opened."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Final

from ...testing.reading import listed, part, text
from ...types import JSON
from ..apis import apis_of
from ..clients import breaks
from ..probe import Probe
from ..recording import Recording
from ..registry import Unsupported, check
from ..verdict import Severity
from .answers import problems

_DRAWS: Final = {"chat/openai": ("createImage", "data"), "ai/geenii": ("imageGenerate", "output")}
"""By the document: the operation that draws, and where its answer has the pictures."""

_SOURCE: Final = "https://platform.openai.com/docs/api-reference/images/create"
_TRIED: Final = 3
"""Models that are asked for a picture beside the default one."""

_BEGINNINGS: Final = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF", b"GIF8")


async def _drawn(probe: Probe) -> Recording:
    """The answer with one picture, made once a run. Raises `Unsupported` where there is no
    model that draws."""
    operation = probe.contract.operations[_DRAWS[probe.contract.name][0]]
    path = probe.session.url(operation)

    async def draw() -> Recording:
        recording = await probe.target.send("POST", path, {"prompt": "A red circle."})
        for model in await _models(probe):
            if _is_drawn(probe, recording):
                break
            body = {"model": model, "prompt": "A red circle."}
            recording = await probe.target.send("POST", path, body)
        return recording

    recording = await probe.once(f"draw {path}", draw)
    if not _is_drawn(probe, recording):
        raise Unsupported(probe.told(recording))
    return recording


async def _models(probe: Probe) -> Sequence[str]:
    """What may draw: of geenii what is listed as such, else what is listed beside the model
    that is asked for text."""
    if probe.contract.name == "ai/geenii":
        path = probe.session.url(probe.contract.operations["models"])
        entries = listed(_json(await probe.target.send("GET", path)))
        return [
            f"{text(entry.get('provider'))}:{text(entry.get('name'))}"
            for entry in entries
            if entry.get("type") == "image-generation"
        ][:_TRIED]
    return [name for name in probe.session.models if name != probe.model][:_TRIED]


def _is_drawn(probe: Probe, recording: Recording) -> bool:
    """Whether it is no refusal; geenii tells those with status 200."""
    return recording.status == 200 and not apis_of(probe.contract.name)[0].error(_json(recording))


def _json(recording: Recording) -> JSON:
    try:
        return recording.json
    except ValueError:
        return None


@check(
    "images.schema",
    "An answer with a picture has what its clients read",
    contracts=tuple(_DRAWS),
    each=False,
    source=_SOURCE,
    breaks=breaks("answer-form"),
)
async def schema(probe: Probe) -> None:
    recording = await _drawn(probe)
    media = probe.session.tolerant.operations[_DRAWS[probe.contract.name][0]].whole
    for problem in problems(recording, media.schema if media else None):
        probe.found(problem, recording)


@check(
    "images.exact",
    "An answer with a picture is exactly as the document says",
    severity=Severity.STRICT,
    contracts=tuple(_DRAWS),
    each=False,
    source=_SOURCE,
)
async def exact(probe: Probe) -> None:
    recording = await _drawn(probe)
    media = probe.contract.operations[_DRAWS[probe.contract.name][0]].whole
    for problem in problems(recording, media.schema if media else None):
        probe.found(problem, recording)


@check(
    "images.picture",
    "One picture comes, which can be opened",
    contracts=tuple(_DRAWS),
    each=False,
    source=_SOURCE,
    breaks=breaks("picture-wrong"),
)
async def picture(probe: Probe) -> None:
    recording = await _drawn(probe)
    pictures = listed(part(_json(recording)).get(_DRAWS[probe.contract.name][1]))
    if len(pictures) != 1:
        probe.found(f"there are {len(pictures)} pictures, not 1", recording)
    for each in pictures:
        coded = text(each.get("b64_json")) or text(each.get("base64"))
        address = text(each.get("url"))
        if coded and not _opens(coded):
            probe.found("its base64 is no PNG, JPEG, WebP or GIF", recording)
        elif not coded and not address.startswith(("https://", "http://", "data:image/")):
            probe.found("there is neither a picture nor an address of one", recording)


def _opens(coded: str) -> bool:
    try:
        content = base64.b64decode(coded, validate=True)
    except ValueError:
        return False
    return content.startswith(_BEGINNINGS)
