"""A text as notes in a WAV file, and the notes of such a file as a text.

A recording begins with the voice's lowest note, by which the others are told: two notes for
each byte of the text in UTF-8, its half bytes from high to low, five notes to an octave.
Each note is followed by a silence. So a recording says its text whatever its voice, speed
and sample rate are.
"""

from __future__ import annotations

import io
import math
import re
import struct
import wave
from collections.abc import Iterator
from typing import Final

import anyio.from_thread

__all__ = ["SAMPLE_RATES", "SPEEDS", "VOICES", "NotTones", "hear", "room", "sing"]

VOICES: Final = {"alto": 440.0, "tenor": 330.0, "bass": 220.0}
"""The lowest note of each, in hertz."""

SPEEDS: Final = (0.25, 4.0)
SAMPLE_RATES: Final = (8_000, 48_000)
"""The least and the most at which notes can be told apart."""

_NOTE: Final = 0.04
_SILENCE: Final = 0.01
_BETWEEN: Final = 2 ** (1 / 5)
_NOTES: Final = 16
_LOUDNESS: Final = 12_000
_SHORTEST_SILENCE: Final = 0.001
_LONGEST_NOTE: Final = 0.2
_MOST_SAMPLES: Final = 6_000_000
_NOTES_AT_A_TIME: Final = 256


class NotTones(ValueError):
    """A recording that does not say a text in notes; the text says why."""


def room(seconds: float, speed: float) -> int:
    """How many bytes of a text can be said in these seconds."""
    notes = math.floor(seconds * speed / (_NOTE + _SILENCE) + 1e-9) - 1
    return max(0, notes // 2)


def sing(text: bytes, *, voice: str, speed: float, sample_rate: int) -> bytes:
    """A WAV file of 16 bits, one channel and `sample_rate` hertz. Blocks; for a worker thread,
    where it ends early when its caller is cancelled."""
    notes = [
        _note(VOICES[voice] * _BETWEEN**number, speed, sample_rate) for number in range(_NOTES)
    ]
    samples = bytearray(notes[0])
    for number, byte in enumerate(text):
        if number % _NOTES_AT_A_TIME == 0:
            anyio.from_thread.check_cancelled()
        samples += notes[byte >> 4] + notes[byte & 15]
    file = io.BytesIO()
    with wave.open(file, "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(sample_rate)
        recording.writeframes(samples)
    return file.getvalue()


def _note(frequency: float, speed: float, sample_rate: int) -> bytes:
    """The samples of a note and of the silence behind it."""
    turn = 2 * math.pi * frequency / sample_rate
    length = round(_NOTE / speed * sample_rate)
    sound = [round(_LOUDNESS * math.sin(turn * number)) for number in range(length)]
    silence = round(_SILENCE / speed * sample_rate)
    return struct.pack(f"<{length}h", *sound) + bytes(2 * silence)


def hear(file: bytes) -> tuple[str, float]:
    """What the recording says, and its length in seconds. Blocks, as `sing` does.

    Raises `NotTones` for what `sing` has not made.
    """
    samples, sample_rate = _read(file)
    pitches = list(_pitches(samples, sample_rate))
    if len(pitches) % 2 == 0:
        raise NotTones("the recording does not say a text in notes")
    numbers = [round(math.log(pitch / pitches[0], _BETWEEN)) for pitch in pitches[1:]]
    if any(not 0 <= number < _NOTES for number in numbers):
        raise NotTones("the recording has notes that are none of ours")
    halves = iter(numbers)
    try:
        text = bytes(high << 4 | low for high, low in zip(halves, halves, strict=True)).decode()
    except UnicodeDecodeError:
        raise NotTones("the notes of the recording are no text") from None
    return text, len(samples) / 2 / sample_rate


def _read(file: bytes) -> tuple[bytes, int]:
    """Samples and their rate."""
    try:
        with wave.open(io.BytesIO(file)) as recording:
            form = recording.getnchannels(), recording.getsampwidth()
            sample_rate, count = recording.getframerate(), recording.getnframes()
            if form != (1, 2):
                raise NotTones("the recording is not of one channel and 16 bits")
            if not SAMPLE_RATES[0] <= sample_rate <= SAMPLE_RATES[1]:
                raise NotTones("the recording has a sample rate that is none of ours")
            if count > _MOST_SAMPLES:
                raise NotTones("the recording is too long")
            samples = recording.readframes(count)
    except (wave.Error, EOFError, RuntimeError):
        # The last is how `wave` stumbles over chunks of odd lengths.
        raise NotTones("the recording is no WAV file") from None
    return samples[: len(samples) // 2 * 2], sample_rate


# Of a sample the upper byte tells enough: above, below, or next to nothing.
_SIGNS: Final = bytes(
    ord("0") if high in (0, 255) else ord("+") if high < 128 else ord("-") for high in range(256)
)
_HALF_TURN: Final = re.compile(rb"\++|-+")


def _pitches(samples: bytes, sample_rate: int) -> Iterator[float]:
    """The frequency of each note, in hertz."""
    signs = samples[1::2].translate(_SIGNS)
    silence = b"0" * round(_SHORTEST_SILENCE * sample_rate)
    for number, sound in enumerate(signs.split(silence)):
        if number % _NOTES_AT_A_TIME == 0:
            anyio.from_thread.check_cancelled()
        sound = sound.strip(b"0")
        if not sound:
            continue
        # What is longer is not looked at: there may be minutes of it.
        short = len(sound) <= _LONGEST_NOTE * sample_rate
        turns = [half.start() for half in _HALF_TURN.finditer(sound)] if short else []
        if len(turns) < 3:
            raise NotTones("the recording has noises that are no notes")
        # The first may be cut short by the silence before it.
        yield sample_rate * (len(turns) - 2) / 2 / (turns[-1] - turns[1])
