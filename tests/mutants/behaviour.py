"""Servers that misbehave: they fail, wait, forget who asked, or do not stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

import anyio

from llmount.check.verdict import Verdict
from llmount.jsontext import loads
from llmount.types import JSON

from .exchange import ASGI, Answer, Change, Message, Receive, Send, Stage, answers, questions
from .mutant import Mutant, rows
from .origins import KEY
from .shaping import as_page, body, set_status

__all__ = ["mutants"]

_FAMILIES = (
    ("chat/openai", "chat", "/chat/completions"),
    ("generate/ollama", "ollama", "/(generate|chat)"),
    ("chat/responses", "responses", "/responses"),
)


def mutants() -> Iterator[Mutant]:
    for contract, short, on in _FAMILIES:
        yield from rows(contract, f"{short}-robust", on, *_ROBUST)
        yield from rows(contract, f"{short}-robust", on, *_MINOR_ROBUST, due=Verdict.WARN)
        yield from rows(contract, f"{short}-slow", on, *_SLOW, origin="slow")
        yield from rows(
            contract, f"{short}-slow", on, *_MINOR_SLOW, due=Verdict.WARN, origin="slow"
        )
        yield from rows(contract, f"{short}-keys", on, *_KEYS, origin="keyed")
    # Elsewhere the document does not demand keys.
    yield from rows("generate/ajstudioz", "ajstudioz-keys", "/generate", *_OPEN, origin="keyed")
    yield from rows(*_FAMILIES[0], *_FUZZED_CHAT, fuzz=True)
    yield from rows(*_FAMILIES[0], *_MINOR_FUZZED_CHAT, due=Verdict.WARN, fuzz=True)
    yield from rows(*_FAMILIES[1], *_FUZZED_OLLAMA, fuzz=True)


def _fails_on(test: Callable[[bytes], bool]) -> Change:
    """Answer 500, as a server does that did not expect such a body."""

    def edit(answer: Answer) -> None:
        if test(answer.question.body):
            answer.status = 500
            answer.headers["content-type"] = "text/plain; charset=utf-8"
            answer.body = b"Internal Server Error"

    return answers(edit)


def _fails_with(test: Callable[[JSON], bool]) -> Change:
    """As `_fails_on`, by the JSON object of the body."""

    def fails(sent: bytes) -> bool:
        try:
            asked = loads(sent.decode())
        except ValueError:
            return False
        return isinstance(asked, dict) and test(asked)

    return _fails_on(fails)


def _is_not_utf8(sent: bytes) -> bool:
    try:
        sent.decode()
    except UnicodeDecodeError:
        return True
    return False


def _refuses_headers(name: str, test: Callable[[str], bool], status: int) -> Change:
    def edit(answer: Answer) -> None:
        if test(answer.question.headers.get(name, "")):
            set_status(status)(answer)
            as_page(answer)

    return answers(edit)


def _whole_for_json(question: Any) -> None:
    if question.headers.get("accept", "").startswith("application/json"):
        body(lambda asked: {**asked, "stream": False, "stream_options": None})(question)


_ROBUST = (
    ("deep", "JSON that is nested deeply makes the server fail.",
     _fails_on(lambda sent: sent.count(b"[") > 5_000 or sent.count(b"{") > 5_000)),
    ("utf-8", "A body that is no UTF-8 makes the server fail.", _fails_on(_is_not_utf8)),
    ("surrogate", "Half of a surrogate pair makes the server fail.",
     _fails_on(lambda sent: b"\\ud8" in sent.lower() or b"\\udc" in sent.lower())),
    ("nothing", "An empty body makes the server fail.", _fails_on(lambda sent: not sent)),
    ("not-json", "A body that is no JSON makes the server fail.",
     _fails_on(lambda sent: bool(sent) and not sent.lstrip().startswith((b"{", b"[")))),
    ("big", "A body of more than a megabyte makes the server fail.",
     _fails_on(lambda sent: len(sent) > 2**20)),
    ("accept", "A client that sends Accept: application/json, as the SDKs do, gets no stream.",
     questions(_whole_for_json)),
    ("charset", "A Content-Type with a charset is refused.",
     _refuses_headers("content-type", lambda value: "charset" in value, 415)),
    ("crowd", "More than two requests at once make the server fail.", lambda stage: _crowd(stage)),
    ("crossed", "Requests at once get each other's answers.", lambda stage: _crossed(stage)),
)  # fmt: skip


def _crowd(stage: Stage) -> ASGI:
    inside = 0

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        nonlocal inside
        inside += 1
        try:
            # Long enough for the others to arrive.
            await anyio.sleep(0.02 if stage.is_on(scope) else 0)
            if inside > 2 and stage.is_on(scope):
                stage.touched = True
                raise RuntimeError("too many at once")
            await stage.app(scope, receive, send)
        finally:
            inside -= 1

    return app


def _crossed(stage: Stage) -> ASGI:
    inside = 0
    latest: list[list[Message]] = []

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        nonlocal inside
        if not stage.is_on(scope):
            await stage.app(scope, receive, send)
            return
        sent: list[Message] = []

        async def keep(message: Message) -> None:
            sent.append(message)

        inside += 1
        try:
            await anyio.sleep(0.02)
            await stage.app(scope, receive, keep)
            if inside > 2 and latest and sent and sent[0]["status"] == 200:
                stage.touched = True
                sent = latest[-1]
            elif sent and sent[0]["status"] == 200:
                latest[:] = [sent]
        finally:
            inside -= 1
        for message in sent:
            await send(message)

    return app


_MINOR_ROBUST = (
    ("list", "JSON that is no object makes the server fail.",
     _fails_on(lambda sent: sent.lstrip().startswith(b"["))),
)  # fmt: skip

_SLOW = (
    ("lump", "A stream is held back until it is whole.", lambda stage: _lump(stage)),
)  # fmt: skip

# What a server does after its reader has left, nobody outside knows for certain.
_MINOR_SLOW = (
    ("abandoned", "An answer is written to its end though its reader has gone.",
     lambda stage: _deaf(stage)),
)  # fmt: skip


def _lump(stage: Stage) -> ASGI:
    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if not stage.is_on(scope):
            await stage.app(scope, receive, send)
            return
        sent: list[Message] = []

        async def keep(message: Message) -> None:
            sent.append(message)

        await stage.app(scope, receive, keep)
        stage.touched |= len(sent) > 3
        for message in sent:
            await send(message)

    return app


def _deaf(stage: Stage) -> ASGI:
    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if not stage.is_on(scope):
            await stage.app(scope, receive, send)
            return

        async def hear() -> Message:
            message = await receive()
            if message["type"] == "http.disconnect":
                stage.touched = True
                await anyio.sleep_forever()
            return message

        await stage.app(scope, hear, send)

    return app


def _let_in(wrong_too: bool) -> Change:
    def edit(question: Any) -> None:
        if wrong_too or "authorization" not in question.headers:
            question.headers["authorization"] = f"Bearer {KEY}"

    return questions(edit)


def _unauthorised(edit: Callable[[Answer], None]) -> Change:
    return answers(lambda answer: edit(answer) if answer.status == 401 else None)


_OPEN = (
    ("none", "Requests without a key are answered.", _let_in(wrong_too=False)),
    ("any", "Any key is good.", _let_in(wrong_too=True)),
)  # fmt: skip

_KEYS = (
    ("page", "Who has no key gets a web page.", _unauthorised(as_page)),
    ("status-500", "Who has no key gets a 500.", _unauthorised(set_status(500))),
    ("status-200", "Who has no key gets an error with status 200.",
     _unauthorised(set_status(200))),
)  # fmt: skip

_FUZZED_CHAT = (
    ("fuzz-bias", "logit_bias makes the server fail.",
     _fails_with(lambda asked: bool(asked.get("logit_bias")))),
    ("fuzz-metadata", "metadata makes the server fail.",
     _fails_with(lambda asked: bool(asked.get("metadata")))),
    ("fuzz-prediction", "A prediction makes the server fail.",
     _fails_with(lambda asked: bool(asked.get("prediction")))),
)  # fmt: skip

_MINOR_FUZZED_CHAT = (
    ("fuzz-top-p", "A top_p that is no number makes the server fail.",
     _fails_with(lambda asked: not isinstance(asked.get("top_p", 1.0), int | float | None))),
    ("fuzz-messages", "An empty list of messages makes the server fail.",
     _fails_with(lambda asked: asked.get("messages") == [])),
)  # fmt: skip

_FUZZED_OLLAMA = (
    ("fuzz-keep-alive", "keep_alive makes the server fail.",
     _fails_with(lambda asked: bool(asked.get("keep_alive")))),
    ("fuzz-think", "think with a level makes the server fail.",
     _fails_with(lambda asked: isinstance(asked.get("think"), str))),
    ("fuzz-images", "An empty list of images makes the server fail.",
     _fails_with(lambda asked: asked.get("images") == [])),
    ("fuzz-stop", "Several stop sequences make the server fail.",
     _fails_with(lambda asked: isinstance(asked.get("options"), dict)
                 and isinstance(asked["options"].get("stop"), list))),
)  # fmt: skip
