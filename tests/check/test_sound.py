"""The checks of sound: each finds the fault that it is for."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from llmount import EchoBackend, ScriptedSpeechBackend, ai_app
from llmount.check.registry import CHECKS
from llmount.check.verdict import Verdict

from .breaking import Answer, Edit, altered, whole
from .own import OWN, App, checked, told
from .proving import proves

pytestmark = pytest.mark.anyio

GEENII = "ai/geenii"


def at(end: str, change: Callable[[Any], object]) -> Edit:
    def edit(answer: Answer) -> None:
        if answer.path.endswith(end) and answer.status == 200:
            whole(change)(answer)

    return edit


def recording(**fields: str) -> Callable[[Any], object]:
    return lambda value: value["output"][0].update(fields)


def coded(content: bytes) -> str:
    return base64.b64encode(content).decode()


FAULTS: list[tuple[str, Edit]] = [
    ("sound.schema", at("/speech", lambda v: v.update(output="a file"))),
    ("sound.schema", at("/transcribe", lambda v: v.update(output_text=5))),
    ("sound.exact", at("/speech", lambda v: v.pop("timestamp"))),
    ("sound.exact", at("/translate", lambda v: v.update(words=1))),
    ("sound.recording", at("/speech", lambda v: v["output"].clear())),
    ("sound.recording", at("/speech", lambda v: v["output"].extend(list(v["output"])))),
    ("sound.recording", at("/speech", recording(base64=coded(b"RIFF....WEBP")))),
    ("sound.recording", at("/speech", recording(base64="no!"))),
    ("sound.recording", at("/speech", recording(base64="", url=""))),
    ("sound.recording", at("/speech", recording(url="data:audio/wav;base64,AAAA"))),
    ("sound.words", at("/transcribe", lambda v: v.update(output_text=" "))),
]


@pytest.mark.parametrize(
    ("name", "edit"), FAULTS, ids=[f"{number} {name}" for number, (name, _) in enumerate(FAULTS)]
)
async def test_a_fault_of_sound_is_found(name: str, edit: Edit) -> None:
    await proves(name, GEENII, edit)


def test_every_check_of_sound_has_a_fault() -> None:
    assert {name for name in CHECKS if name.startswith("sound.")} == {name for name, _ in FAULTS}


KINDS = {
    "MP3": b"\xff\xfb\x90\x00",
    "tagged MP3": b"ID3\x04",
    "Ogg": b"OggS\x00",
    "FLAC": b"fLaC\x00",
    "WebM": b"\x1a\x45\xdf\xa3",
    "MP4": b"\x00\x00\x00\x20ftypM4A ",
}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_recording_may_be_of_any_usual_kind(kind: str) -> None:
    file = coded(KINDS[kind])
    edit = at("/speech", recording(base64=file, url=f"data:audio/x;base64,{file}"))

    results = await checked(altered(OWN[GEENII](), edit), GEENII, "sound.recording")
    assert [result.verdict for result in results] == [Verdict.PASS], told(results)


def _deaf() -> App:
    return ai_app({"echo": EchoBackend()}, speech={"tones": ScriptedSpeechBackend(["tones"])})


def _silent() -> App:
    return ai_app({"echo": EchoBackend()})


P, U = Verdict.PASS, Verdict.UNSUPPORTED
LACKING: Mapping[str, tuple[Callable[[], App], list[Verdict]]] = {
    "hears nothing": (_deaf, [P, P, P, U]),
    "has no sound": (_silent, [U, U, U, U]),
}


@pytest.mark.parametrize("server", LACKING)
async def test_what_a_server_has_not_is_no_finding(server: str) -> None:
    make, verdicts = LACKING[server]
    results = await checked(make(), GEENII, "sound")

    assert {result.check: result.verdict for result in results} == dict(
        zip(
            ["sound.schema", "sound.exact", "sound.recording", "sound.words"], verdicts, strict=True
        )
    ), told(results)
