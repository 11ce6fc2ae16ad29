"""Sound: a text is spoken, and the recording is written down again."""

from __future__ import annotations

import base64
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from ...contract import Contract
from ...testing.reading import listed, part, text
from ..probe import Probe
from ..recording import Recording
from ..registry import Unsupported, check
from ..verdict import Severity
from .answers import REFERENCE, check_form
from .made import made

_SPEAKS: Final = "audioSpeech"
_LISTEN: Final = ("audioTranscribe", "audioTranslate")
_GEENII: Final = ("ai/geenii",)
_DATA_URLS: Final = "https://www.rfc-editor.org/rfc/rfc2397"

_KINDS: Final[tuple[Callable[[bytes], bool], ...]] = (
    lambda file: file[:4] == b"RIFF" and file[8:12] == b"WAVE",
    lambda file: file[:3] == b"ID3" or (file[:1] == b"\xff" and file[1:2] >= b"\xe0"),
    lambda file: file[:4] in (b"OggS", b"fLaC", b"\x1aE\xdf\xa3"),
    lambda file: file[4:8] == b"ftyp",
)
"""How a file with sound begins: WAV, MP3 and AAC, Ogg and FLAC and WebM, MP4."""


async def _spoken(probe: Probe) -> Recording:
    """The answer with a recording. Raises as `made`."""
    return await made(probe, _SPEAKS, {"text": "Hello."}, "audio-generation")


async def _written(probe: Probe) -> dict[str, Recording]:
    """By the operation, the words of the recording that the server itself made.

    Raises `Unsupported` where nothing speaks or nothing listens.
    """
    recording = base64.b64encode(_file(await _spoken(probe))).decode()
    if not recording:
        raise Unsupported("there is no recording to be written down")
    found, refused = {}, Unsupported()
    for operation in _LISTEN:
        try:
            found[operation] = await made(
                probe, operation, {"input_blob": recording}, "audio-transcription"
            )
        except Unsupported as error:
            refused = error
    if not found:
        raise refused
    return found


def _file(recording: Recording) -> bytes:
    """The file in an answer; nothing where there is none."""
    for each in listed(part(recording.answer).get("output")):
        try:
            return base64.b64decode(text(each.get("base64")), validate=True)
        except ValueError:
            break
    return b""


async def _formed(probe: Probe, contract: Contract) -> None:
    answers = {_SPEAKS: await _spoken(probe)}
    # Where nothing listens, what is spoken can be judged all the same.
    with suppress(Unsupported):
        answers |= await _written(probe)
    for operation, recording in answers.items():
        check_form(probe, recording, contract.operations[operation])


@check(
    "sound.schema",
    "Answers with sound, or of it, have what their clients read",
    contracts=_GEENII,
    each=False,
    source=REFERENCE,
)
async def schema(probe: Probe) -> None:
    await _formed(probe, probe.session.tolerant)


@check(
    "sound.exact",
    "Answers with sound, or of it, are exactly as the document says",
    severity=Severity.STRICT,
    contracts=_GEENII,
    each=False,
    source=REFERENCE,
)
async def exact(probe: Probe) -> None:
    await _formed(probe, probe.contract)


@check(
    "sound.recording",
    "One recording comes, which can be played, and its address holds the same",
    contracts=_GEENII,
    each=False,
    source=_DATA_URLS,
)
async def recording(probe: Probe) -> None:
    answer = await _spoken(probe)
    recordings = listed(part(answer.answer).get("output"))
    if len(recordings) != 1:
        probe.found(f"there are {len(recordings)} recordings, not 1", answer)
    for each in recordings:
        coded, address = text(each.get("base64")), text(each.get("url"))
        if coded and not _plays(coded):
            probe.found("its base64 is no WAV, MP3, AAC, Ogg, FLAC, WebM or MP4", answer)
        elif not coded and not address:
            probe.found("there is neither a recording nor an address of one", answer)
        elif coded and address.startswith("data:") and address.partition(",")[2] != coded:
            probe.found("its address holds something else than its base64", answer)


def _plays(coded: str) -> bool:
    try:
        content = base64.b64decode(coded, validate=True)
    except ValueError:
        return False
    return any(begins(content) for begins in _KINDS)


@check(
    "sound.words",
    "A recording of a word is written down as some word",
    contracts=_GEENII,
    each=False,
    source=REFERENCE,
)
async def words(probe: Probe) -> None:
    for operation, answer in (await _written(probe)).items():
        if not text(part(answer.answer).get("output_text")).strip():
            probe.found(f"{operation} hears nothing in what {_SPEAKS} said", answer)
