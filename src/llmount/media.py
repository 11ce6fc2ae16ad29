"""Pictures and sound: what is asked for, what is answered, and who answers.

Protocols apart from `Backend`, since few things both write and draw or speak. Pure values
and protocols, as in `types`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeAlias

from .types import Model, Usage

__all__ = [
    "Audio",
    "Image",
    "ImageBackend",
    "ImageFormat",
    "ImagePrompt",
    "SpeechBackend",
    "SpeechPrompt",
    "Transcription",
    "TranscriptionBackend",
    "TranscriptionPrompt",
    "data_url",
    "image_type",
]


# Images


ImageFormat: TypeAlias = Literal["png", "jpeg", "webp"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePrompt:
    """One request for images. None leaves the choice to the model.

    width, height: in pixels; a side that is not given follows the other one. count: how many
    images, each of them different. background: what a model that cannot do it refuses, as
    it does a format. compression: from 0 to 100, of jpeg and webp; 100 loses the least.
    steps, quality, style: wishes, in the model's own words; a model that has no such choice
    ignores them.
    """

    model: str
    text: str
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    count: int = 1
    seed: int | None = None
    quality: str | None = None
    style: str | None = None
    background: Literal["transparent", "opaque"] | None = None
    format: ImageFormat | None = None
    compression: int | None = None


@dataclass(frozen=True, slots=True)
class Image:
    """A picture: its bytes, or the address where the provider keeps it.

    revised_prompt: what was drawn, if the model has put the request into words of its own.
    usage: what it took, where that is known; of several that were drawn at once the first
    may have the sum.
    """

    data: bytes | None = None
    url: str | None = None
    media_type: str = "image/png"
    revised_prompt: str | None = None
    usage: Usage | None = None


_IMAGE_TYPES: Final = (
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"GIF8"), "image/gif"),
    (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), "image/webp"),
)


def image_type(data: bytes) -> str:
    """The media type of an image file, by how it begins; "image/png" for all others."""
    return next((name for start, name in _IMAGE_TYPES if start.match(data)), "image/png")


def data_url(media_type: str, data: bytes) -> str:
    """An address that holds a file itself."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


class ImageBackend(Protocol):
    """What draws.

    `draw` raises `ModelNotFound`, `BadRequest` for the parameter "size" if the model does not
    draw it, `Unsupported` or another `ApiError`. Cancelling the task that awaits it stops
    the work.
    """

    async def draw(self, prompt: ImagePrompt, /) -> Sequence[Image]: ...

    async def models(self) -> Sequence[Model]: ...


# Sound


@dataclass(frozen=True, slots=True)
class Audio:
    """A recording: the bytes of a file, and what kind of file it is
    ("application/octet-stream" where nobody knows)."""

    data: bytes
    media_type: str = "audio/wav"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechPrompt:
    """One request to speak a text. None leaves the choice to the model.

    speed: 1 is the voice's own. sample_rate: in hertz. format: the kind of file, such as
    "wav" or "mp3". max_duration: seconds after which the recording ends.
    """

    model: str
    text: str
    voice: str | None = None
    speed: float | None = None
    sample_rate: int | None = None
    format: str | None = None
    max_duration: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptionPrompt:
    """One request to write down what is said.

    language: the one that is spoken, as an ISO 639-1 code. target: the language to write in;
    None is the one that is spoken.
    """

    model: str
    audio: Audio
    language: str | None = None
    target: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcription:
    """What was said. language: as it was heard, where the model tells. duration: of the
    recording, in seconds, where it is known."""

    text: str
    language: str | None = None
    duration: float | None = None


class SpeechBackend(Protocol):
    """What speaks.

    `speak` raises `ModelNotFound`, `Unsupported` or another `ApiError`. Cancelling the
    task that awaits it stops the work.
    """

    async def speak(self, prompt: SpeechPrompt, /) -> Audio: ...

    async def models(self) -> Sequence[Model]: ...


class TranscriptionBackend(Protocol):
    """What listens. `transcribe` raises as `SpeechBackend.speak` does."""

    async def transcribe(self, prompt: TranscriptionPrompt, /) -> Transcription: ...

    async def models(self) -> Sequence[Model]: ...
