"""Pictures and sound: what is asked for, what is answered, and who answers.

Protocols apart from `Backend`, since few things both write and draw or speak. Pure values
and protocols, as in `types`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from .types import Model

__all__ = [
    "Audio",
    "Image",
    "ImageBackend",
    "ImagePrompt",
    "SpeechBackend",
    "SpeechPrompt",
    "Transcription",
    "TranscriptionBackend",
    "TranscriptionPrompt",
]


# Images


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePrompt:
    """One request for images. `width` and `height` in pixels; None lets the model choose."""

    model: str
    text: str
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    count: int = 1
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Image:
    """A picture: its bytes, or the address where the provider keeps it."""

    data: bytes | None = None
    url: str | None = None
    media_type: str = "image/png"


class ImageBackend(Protocol):
    """What draws.

    `draw` raises `ModelNotFound`, `Unsupported` or another `ApiError`. Cancelling the
    task that awaits it stops the work.
    """

    async def draw(self, prompt: ImagePrompt, /) -> Sequence[Image]: ...

    async def models(self) -> Sequence[Model]: ...


# Sound


@dataclass(frozen=True, slots=True)
class Audio:
    """A recording: the bytes of a file, and what kind of file it is."""

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
