"""Speech without a model: a text is played as notes, and read from them again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

import anyio
import anyio.to_thread

from ..errors import ApiError, BadRequest, ModelNotFound, Unsupported
from ..media import Audio, SpeechPrompt, Transcription, TranscriptionPrompt
from ..types import Model
from .speech_tones import SAMPLE_RATES, SPEEDS, VOICES, NotTones, hear, room, sing

__all__ = ["ScriptedSpeechBackend", "ScriptedTranscriptionBackend"]

_LONGEST: Final = 120.0
_SAMPLE_RATE: Final = 44_100


class _Scripted:
    """The models of both, and what a script does to each request."""

    def __init__(
        self, models: Sequence[str], description: str, failure: ApiError | None, delay: float
    ) -> None:
        self._models = tuple(
            Model(name=name, description=description, capabilities=frozenset({"audio"}))
            for name in models
        )
        self._names = frozenset(models)
        self._failure = failure
        self._delay = delay

    async def models(self) -> Sequence[Model]:
        """The models given, in their order; each has the capability "audio" only."""
        return self._models

    def _find(self, model: str) -> None:
        if model not in self._names:
            raise ModelNotFound(model)

    async def _act(self) -> None:
        await anyio.sleep(self._delay)
        if self._failure is not None:
            # One instance serves every request: it must not collect their tracebacks.
            raise self._failure.with_traceback(None)


class ScriptedSpeechBackend(_Scripted):
    """Plays a text as notes: a `SpeechBackend` for tests and demonstrations.

    What it makes is a WAV file that anything plays, and that `ScriptedTranscriptionBackend`
    reads again. The same request gives the same bytes on every machine. It says ten bytes of
    UTF-8 a second, and stops before the first character for which there is no time left:
    after `SpeechPrompt.max_duration` or 120 seconds.

    delay: seconds that every `speak` waits first. failure: what every `speak` that asks for
    something possible then raises instead.
    """

    def __init__(
        self,
        models: Sequence[str] = ("tones",),
        *,
        failure: ApiError | None = None,
        delay: float = 0.0,
    ) -> None:
        super().__init__(models, "Notes that are computed from the text", failure, delay)

    async def speak(self, prompt: SpeechPrompt, /) -> Audio:
        """A WAV file of 16 bits and one channel; 44100 Hz unless told.

        Raises `ModelNotFound`; `Unsupported` for a format other than "wav"; `BadRequest` for a
        voice other than "alto" (which None is), "tenor" and "bass", for a speed that is not
        between 0.25 and 4 and a sample rate that is not between 8000 and 48000; and the
        scripted failure.
        """
        self._find(prompt.model)
        if prompt.format not in (None, "wav"):
            raise Unsupported(
                f"the format {prompt.format[:64]}", model=prompt.model, param="format"
            )
        voice = next(iter(VOICES)) if prompt.voice is None else prompt.voice
        if voice not in VOICES:
            known = ", ".join(VOICES)
            raise BadRequest(f"There is no voice {voice[:64]!r}; there are {known}.", param="voice")
        speed = _within(SPEEDS, 1.0 if prompt.speed is None else prompt.speed, "speed")
        sample_rate = _SAMPLE_RATE if prompt.sample_rate is None else prompt.sample_rate
        _within(SAMPLE_RATES, sample_rate, "sample_rate")
        seconds = _LONGEST if prompt.max_duration is None else min(prompt.max_duration, _LONGEST)
        await self._act()
        said = prompt.text.encode("utf-8", "replace")[: room(seconds, speed)]
        whole = said.decode("utf-8", "ignore").encode()
        notes = partial(sing, whole, voice=voice, speed=speed, sample_rate=sample_rate)
        return Audio(await anyio.to_thread.run_sync(notes))


def _within(bounds: tuple[float, float], value: float, name: str) -> float:
    least, most = bounds
    if not least <= value <= most:
        raise BadRequest(f"{name} has to be between {least} and {most}.", param=name)
    return value


class ScriptedTranscriptionBackend(_Scripted):
    """Reads what `ScriptedSpeechBackend` has played: a `TranscriptionBackend` for tests and
    demonstrations.

    translations: by language, what a text is in it: `{"de": {"Hello": "Hallo"}}`. delay and
    failure are as there, of every `transcribe`.
    """

    def __init__(
        self,
        models: Sequence[str] = ("tones",),
        *,
        translations: Mapping[str, Mapping[str, str]] | None = None,
        failure: ApiError | None = None,
        delay: float = 0.0,
    ) -> None:
        super().__init__(models, "Reads notes back into the text", failure, delay)
        self._translations = translations or {}

    async def transcribe(self, prompt: TranscriptionPrompt, /) -> Transcription:
        """The text and the length of the recording; of the language it knows nothing.

        Raises `ModelNotFound`; `BadRequest` for a recording of anything else; `Unsupported`
        for a translation that it has not been given; and the scripted failure.
        """
        self._find(prompt.model)
        await self._act()
        try:
            text, seconds = await anyio.to_thread.run_sync(hear, prompt.audio.data)
        except NotTones as problem:
            raise BadRequest(f"{prompt.model} cannot read this: {problem}.") from None
        target = prompt.target
        if target is not None and target != prompt.language:
            try:
                text = self._translations[target][text]
            except KeyError:
                wanted = f"translation of this into {target[:32]}"
                raise Unsupported(wanted, model=prompt.model, param="target") from None
        return Transcription(text=text, duration=seconds)
