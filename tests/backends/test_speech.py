"""The scripted voice is a real WAV file, and the scripted listener reads its text from it."""

from __future__ import annotations

import io
import math
import random
import wave
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmount.backends.speech import ScriptedSpeechBackend, ScriptedTranscriptionBackend
from llmount.backends.speech_tones import SAMPLE_RATES, SPEEDS, VOICES
from llmount.errors import BackendUnavailable, BadRequest, ModelNotFound, Unsupported
from llmount.media import (
    Audio,
    SpeechBackend,
    SpeechPrompt,
    Transcription,
    TranscriptionBackend,
    TranscriptionPrompt,
)

pytestmark = pytest.mark.anyio

SPEAKER: SpeechBackend = ScriptedSpeechBackend()
LISTENER: TranscriptionBackend = ScriptedTranscriptionBackend()
SECONDS = 30


async def speak(text: str, **asked: Any) -> Audio:
    with anyio.fail_after(SECONDS):
        return await SPEAKER.speak(SpeechPrompt(model="tones", text=text, **asked))


async def transcribe(audio: Audio, **asked: Any) -> Transcription:
    with anyio.fail_after(SECONDS):
        return await LISTENER.transcribe(TranscriptionPrompt(model="tones", audio=audio, **asked))


def opened(audio: Audio) -> wave.Wave_read:
    assert audio.media_type == "audio/wav"
    return wave.open(io.BytesIO(audio.data))


def wav(samples: bytes, *, channels: int = 1, width: int = 2, rate: int = 8000) -> Audio:
    file = io.BytesIO()
    with wave.open(file, "wb") as recording:
        recording.setnchannels(channels)
        recording.setsampwidth(width)
        recording.setframerate(rate)
        recording.writeframes(samples)
    return Audio(file.getvalue())


# Back and forth


@given(
    text=st.text(max_size=40),
    voice=st.sampled_from([None, *VOICES]),
    speed=st.floats(*SPEEDS),
    sample_rate=st.integers(*SAMPLE_RATES),
)
@settings(deadline=None, max_examples=60)
def test_what_was_said_is_what_is_heard(
    text: str, voice: str | None, speed: float, sample_rate: int
) -> None:
    async def there_and_back() -> Transcription:
        return await transcribe(
            await speak(text, voice=voice, speed=speed, sample_rate=sample_rate)
        )

    assert anyio.run(there_and_back).text == text


async def test_a_recording_is_as_it_was_asked_for() -> None:
    with opened(await speak("Hello", sample_rate=16_000)) as recording:
        assert (recording.getnchannels(), recording.getsampwidth()) == (1, 2)
        assert recording.getframerate() == 16_000
        assert recording.getnframes() / 16_000 == pytest.approx(0.55)
    with opened(await speak("Hello", speed=2)) as recording:
        assert recording.getnframes() / 44_100 == pytest.approx(0.275, rel=0.01)


async def test_the_length_of_a_recording_is_heard() -> None:
    assert (await transcribe(await speak("Hello"))).duration == pytest.approx(0.55)


async def test_the_same_words_are_the_same_bytes_and_others_are_not() -> None:
    assert await speak("Hello") == await speak("Hello")
    different = [
        await speak("Hello"),
        await speak("Hallo"),
        await speak("Hello", voice="bass"),
        await speak("Hello", speed=1.5),
        await speak("Hello", sample_rate=8000),
    ]
    assert len({audio.data for audio in different}) == len(different)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.01, ""), (0.15, "H"), (0.3, "H"), (0.4, "Hä"), (0.45, "Häu"), (1, "Häuser")],
)
async def test_a_recording_ends_in_time_and_not_within_a_character(
    seconds: float, said: str
) -> None:
    audio = await speak("Häuser", max_duration=seconds)

    assert (await transcribe(audio)).text == said
    with opened(audio) as recording:
        assert recording.getnframes() / 44_100 <= max(seconds, 0.05) + 1e-9


async def test_no_recording_is_longer_than_two_minutes() -> None:
    for asked in ({}, {"max_duration": 600.0}):
        with opened(await speak("x" * 5000, sample_rate=8000, **asked)) as recording:
            assert recording.getnframes() / 8000 <= 120


async def test_half_a_pair_of_surrogates_can_be_said() -> None:
    assert (await transcribe(await speak("a\ud83d"))).text == "a?"


# Translations


async def test_a_text_is_translated_where_its_translation_is_given() -> None:
    listener = ScriptedTranscriptionBackend(translations={"de": {"Hello": "Hallo"}})

    async def heard(text: str, target: str | None, language: str = "en") -> str:
        prompt = TranscriptionPrompt(
            model="tones", audio=await speak(text), language=language, target=target
        )
        return (await listener.transcribe(prompt)).text

    assert await heard("Hello", "de") == "Hallo"
    assert await heard("Hello", None) == "Hello"
    assert await heard("Hallo", "de", "de") == "Hallo"
    for text, target in (("Bye", "de"), ("Hello", "fr")):
        with pytest.raises(Unsupported, match=f"translation of this into {target}"):
            await heard(text, target)


# What cannot be


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"voice": "alloy"}, "voice"),
        ({"format": "mp3"}, "format"),
        ({"speed": 0.2}, "speed"),
        ({"speed": 4.5}, "speed"),
        ({"speed": math.nan}, "speed"),
        ({"sample_rate": 7999}, "sample_rate"),
        ({"sample_rate": 96_000}, "sample_rate"),
    ],
)
async def test_what_the_voice_cannot_is_refused(asked: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        await speak("Hello", **asked)
    assert refused.value.param == param


def edited(edit: Callable[[bytearray], object]) -> Callable[[Audio], Audio]:
    def of(audio: Audio) -> Audio:
        data = bytearray(audio.data)
        edit(data)
        return Audio(bytes(data))

    return of


NONE_OF_OURS: dict[str, Callable[[Audio], Audio]] = {
    "nothing": lambda audio: Audio(b""),
    "no WAV file": lambda audio: Audio(b"ID3" + bytes(100)),
    "the head alone": lambda audio: Audio(audio.data[:40]),
    "silence": lambda audio: wav(bytes(8000)),
    "no samples": lambda audio: wav(b""),
    "two channels": lambda audio: wav(bytes(8000), channels=2),
    "eight bits": lambda audio: wav(bytes(8000), width=1),
    "another rate": lambda audio: wav(bytes(8000), rate=96_000),
    "too long": lambda audio: wav(bytes(2 * 6_000_001)),
    "noise": lambda audio: wav(random.Random(1).randbytes(80_000)),
    "a click": lambda audio: wav(b"\0\x40" + bytes(800)),
    "a hum": lambda audio: wav((b"\0\x40" * 20 + b"\0\xc0" * 20) * 1000),
    "a note left out": edited(lambda data: data.__delitem__(slice(44 + 800, 44 + 1600))),
    "half a character": lambda audio: wav(audio.data[44 : 44 + 3 * 800]),
}


@pytest.mark.parametrize("made", NONE_OF_OURS.values(), ids=list(NONE_OF_OURS))
async def test_a_recording_of_anything_else_is_refused(made: Callable[[Audio], Audio]) -> None:
    # A note and its silence are 800 bytes.
    ours = await speak("é", sample_rate=8000)
    with pytest.raises(BadRequest, match=r"^tones cannot read this: the [\w ]+\.$"):
        await transcribe(made(ours))


@given(st.data())
@settings(deadline=None, max_examples=200)
def test_a_damaged_recording_is_read_or_refused(data: st.DataObject) -> None:
    async def there_and_back() -> None:
        file = bytearray((await speak("Hi", sample_rate=8000, speed=4)).data)
        for _ in range(data.draw(st.integers(1, 4))):
            file[data.draw(st.integers(0, 60))] = data.draw(st.integers(0, 255))
        try:
            heard = await transcribe(Audio(bytes(file)))
        except BadRequest:
            return
        assert isinstance(heard.text, str)

    anyio.run(there_and_back)


async def test_a_model_that_is_not_there_is_not_found() -> None:
    with pytest.raises(ModelNotFound):
        await SPEAKER.speak(SpeechPrompt(model="nope", text="Hello"))
    with pytest.raises(ModelNotFound):
        await LISTENER.transcribe(TranscriptionPrompt(model="nope", audio=Audio(b"")))


# Scripts


async def test_both_list_the_models_they_were_given() -> None:
    for backend in (ScriptedSpeechBackend(["a", "b"]), ScriptedTranscriptionBackend(["a", "b"])):
        assert [model.name for model in await backend.models()] == ["a", "b"]
        assert {model.capabilities for model in await backend.models()} == {frozenset({"audio"})}


async def test_a_scripted_failure_comes_after_what_is_impossible() -> None:
    failing = ScriptedSpeechBackend(failure=BackendUnavailable())

    for _ in range(2):
        with pytest.raises(BackendUnavailable):
            await failing.speak(SpeechPrompt(model="tones", text="Hello"))
    with pytest.raises(ModelNotFound):
        await failing.speak(SpeechPrompt(model="nope", text="Hello"))


async def test_whoever_waits_for_a_voice_can_leave() -> None:
    slow = ScriptedSpeechBackend(delay=math.inf)
    with anyio.move_on_after(0) as scope:
        await slow.speak(SpeechPrompt(model="tones", text="Hello"))
    assert scope.cancelled_caught
