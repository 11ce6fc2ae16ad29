"""Pictures: a request for one gets one that can be opened."""

from __future__ import annotations

import base64
from typing import Final

from ...testing.reading import listed, part, text
from ..clients import breaks
from ..probe import Probe
from ..recording import Recording
from ..registry import check
from ..verdict import Severity
from .answers import check_form
from .made import made

_DRAWS: Final = {"chat/openai": ("createImage", "data"), "ai/geenii": ("imageGenerate", "output")}
"""By the document: the operation that draws, and where its answer has the pictures."""

_SOURCE: Final = "https://platform.openai.com/docs/api-reference/images/create"
_BEGINNINGS: Final = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF", b"GIF8")


async def _drawn(probe: Probe) -> Recording:
    """The answer with one picture. Raises as `made`."""
    operation, _ = _DRAWS[probe.contract.name]
    return await made(probe, operation, {"prompt": "A red circle."}, "image-generation")


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
    operation, _ = _DRAWS[probe.contract.name]
    check_form(probe, recording, probe.session.tolerant.operations[operation])


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
    operation, _ = _DRAWS[probe.contract.name]
    check_form(probe, recording, probe.contract.operations[operation])


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
    pictures = listed(part(recording.answer).get(_DRAWS[probe.contract.name][1]))
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
