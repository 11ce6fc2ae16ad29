"""What is made of a request besides text: asking until a model is found that makes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ...testing.reading import listed, text
from ...types import JSON
from ..probe import Probe
from ..recording import Recording
from ..registry import Unsupported

__all__ = ["made"]

_TRIED: Final = 3
"""Models that are asked beside the default one."""


async def made(probe: Probe, operation: str, body: dict[str, JSON], kind: str) -> Recording:
    """The answer with what was asked for, made once a run: by the default model, or by one of
    those that are listed. kind: what geenii lists such models as.

    Raises `Unsupported` where no model makes it.
    """
    path = probe.session.url(probe.contract.operations[operation])

    async def make() -> Recording:
        recording = await probe.target.send("POST", path, body)
        for model in await _models(probe, kind):
            if _is_made(probe, recording):
                break
            recording = await probe.target.send("POST", path, {"model": model, **body})
        return recording

    recording = await probe.once(f"make {path}", make)
    if not _is_made(probe, recording):
        raise Unsupported(probe.told(recording))
    return recording


async def _models(probe: Probe, kind: str) -> Sequence[str]:
    """What may make it: of geenii what is listed as such, else what is listed beside the model
    that is asked for text."""
    if probe.contract.name == "ai/geenii":
        path = probe.session.url(probe.contract.operations["models"])
        entries = listed((await probe.target.send("GET", path)).answer)
        return [
            f"{text(entry.get('provider'))}:{text(entry.get('name'))}"
            for entry in entries
            if entry.get("type") == kind
        ][:_TRIED]
    return [name for name in probe.session.models if name != probe.model][:_TRIED]


def _is_made(probe: Probe, recording: Recording) -> bool:
    """Whether it is no refusal; geenii tells those with status 200."""
    return recording.status == 200 and not probe.reason(recording)
