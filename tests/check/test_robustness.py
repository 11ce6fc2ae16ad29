"""The checks of robustness: each finds its fault, and nothing on our own servers."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any

import anyio
import pytest

from llmount import chat_app, generate_app
from llmount.backends.echo import EchoBackend
from llmount.check.registry import CHECKS
from llmount.check.verdict import Result, Severity, Verdict

from .own import KEY, OWN, App, checked, failed, told
from .slow import deaf, slow, wrapped

pytestmark = [pytest.mark.anyio, pytest.mark.one_loop]

Scope = MutableMapping[str, Any]
Before = Callable[[Scope, bytes], tuple[int, bytes] | None]

REFUSAL = b'{"error": {"message": "no", "type": "x", "param": null, "code": null}}'


def header(scope: Scope, name: bytes) -> bytes:
    found: bytes = dict(scope["headers"]).get(name, b"")
    return found


@pytest.mark.parametrize("contract", OWN)
async def test_nothing_is_found_on_our_own_servers(contract: str) -> None:
    results = await checked(OWN[contract](), contract, "robustness")
    assert not failed(results), told(results)
    assert not any(result.crashed for result in results)
    assert sum(result.verdict is Verdict.PASS for result in results) > 20


def on(wanted: Callable[[Scope, bytes], object], status: int = 500) -> Before:
    """Answers some requests with a status."""
    return lambda scope, body: (status, REFUSAL) if wanted(scope, body) else None


FAULTS: dict[str, Before] = {
    "huge-body": on(lambda scope, body: len(body) > 2**20),
    "deep-body": on(lambda scope, body: b"[" * 1000 in body),
    "bad-utf8": on(lambda scope, body: b"\xff\xfe" in body),
    "lone-surrogate": on(lambda scope, body: b"\\ud800" in body),
    "control-characters": on(lambda scope, body: b"\\u0000" in body),
    "not-a-number": on(lambda scope, body: b"NaN" in body),
    "huge-number": on(lambda scope, body: b"9" * 4301 in body),
    "same-keys": on(lambda scope, body: body.count(b'"padding"') == 2),
    "byte-order-mark": on(lambda scope, body: body.startswith(b"\xef\xbb\xbf")),
    "zipped": on(lambda scope, body: body.startswith(b"\x1f\x8b")),
    "no-type": on(lambda scope, body: body and not header(scope, b"content-type")),
    "odd-charset": on(lambda scope, body: b"klingon" in header(scope, b"content-type")),
    "many-headers": on(lambda scope, body: len(scope["headers"]) > 90),
    "long-header": on(lambda scope, body: len(header(scope, b"x-odd")) > 9000),
    "trailing-slash": on(lambda scope, body: scope["path"].endswith("/")),
    "head": on(lambda scope, body: scope["method"] == "HEAD"),
    "charset": on(lambda scope, body: b"utf-8" in header(scope, b"content-type"), 415),
    "accept": on(lambda scope, body: b"html" in header(scope, b"accept"), 406),
    "chunked-body": on(lambda scope, body: header(scope, b"transfer-encoding"), 400),
    "expect-continue": on(lambda scope, body: header(scope, b"expect"), 400),
    "http-1.0": on(lambda scope, body: scope["http_version"] == "1.0", 400),
    "accept-json": lambda scope, body: (
        (200, b"{}") if b'"stream":true' in body and b"json" in header(scope, b"accept") else None
    ),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_an_odd_request_that_is_answered_wrong_is_found(name: str) -> None:
    broken = wrapped(OWN["chat/responses"](), before=FAULTS[name])
    [result] = await checked(broken, "chat/responses", f"robustness.{name}")
    severe = CHECKS[f"robustness.{name}"].severity is Severity.BREAKING
    assert result.verdict is (Verdict.FAIL if severe else Verdict.WARN), told([result])
    assert result.findings[0].recording is not None


@pytest.mark.parametrize("status", [400, 411, 413, 431, 501])
async def test_an_odd_request_may_be_refused(status: int) -> None:
    broken = wrapped(OWN["chat/responses"](), before=on(lambda s, b: b"[" * 1000 in b, status))
    [result] = await checked(broken, "chat/responses", "robustness.deep-body")
    assert result.verdict is Verdict.PASS, told([result])


def dying(app: App, wanted: Callable[[Scope, bytes], object]) -> App:
    """The app that answers nothing any more after some request."""
    dead = [False]

    def before(scope: Scope, body: bytes) -> tuple[int, bytes] | None:
        dead[0] = dead[0] or bool(wanted(scope, body))
        return (500, REFUSAL) if dead[0] else None

    return wrapped(app, before=before)


async def test_a_server_that_does_not_answer_after_an_odd_request_is_found() -> None:
    broken = dying(OWN["chat/responses"](), lambda scope, body: b"NaN" in body)
    [result] = await checked(broken, "chat/responses", "robustness.not-a-number")
    assert result.verdict is Verdict.FAIL
    assert "not answered" in result.findings[0].message


async def test_what_dies_of_a_body_that_is_cut_short_is_found() -> None:
    inner = OWN["chat/responses"]()
    dead = [False]

    async def broken(scope: Scope, receive: Any, send: Any) -> None:
        async def received() -> Any:
            message = await receive()
            dead[0] = dead[0] or message["type"] == "http.disconnect"
            return message

        if dead[0]:
            raise ConnectionError("the app is dead")
        await inner(scope, received, send)

    [result] = await checked(broken, "chat/responses", "robustness.cut-body")
    assert result.verdict is Verdict.FAIL, told([result])


async def test_a_connection_that_is_closed_without_a_word_is_a_warning() -> None:
    inner = OWN["chat/responses"]()

    async def broken(scope: Scope, receive: Any, send: Any) -> None:
        if b"klingon" not in header(scope, b"content-type"):
            await inner(scope, receive, send)
            return
        heads = [(b"content-length", b"9")]
        await send({"type": "http.response.start", "status": 200, "headers": heads})

    results = await checked(
        broken, "chat/responses", "robustness.odd-charset", "robustness.closing"
    )
    assert [r.verdict for r in results] == [Verdict.PASS, Verdict.WARN], told(results)


# Keys


def keyed(before: Before | None = None) -> App:
    app = generate_app(EchoBackend(), dialect="ajstudioz", keys=[KEY, "wrong-key-c0ffee"])
    return wrapped(app, before=before) if before else app


async def keys(app: App, contract: str = "generate/ajstudioz") -> dict[str, Result]:
    results = await checked(app, contract, "robustness.*-key", "robustness.key-*")
    return {r.check.removeprefix("robustness."): r for r in results if r.operation != "chat"}


async def test_a_wrong_key_that_is_taken_is_found() -> None:
    found = await keys(keyed())
    assert found["wrong-key"].verdict is Verdict.FAIL
    assert found["no-key"].verdict is Verdict.PASS


async def test_a_missing_key_that_is_taken_is_found_where_the_document_demands_one() -> None:
    inner = keyed()

    async def broken(scope: Scope, receive: Any, send: Any) -> None:
        own = [pair for pair in scope.get("headers", []) if pair[0] != b"authorization"]
        good = (b"authorization", f"Bearer {KEY}".encode())
        await inner({**scope, "headers": [*own, good]}, receive, send)

    found = await keys(broken)
    assert found["no-key"].verdict is Verdict.FAIL
    assert found["wrong-key"].verdict is Verdict.FAIL
    assert "key-envelope" not in found


async def test_a_key_that_is_given_to_a_server_without_keys_is_no_fault() -> None:
    assert not await keys(OWN["chat/openai"](), "chat/openai")


async def test_a_key_that_is_refused_in_other_words_is_found() -> None:
    refused = wrapped(
        chat_app(EchoBackend(), dialect="responses"),
        before=lambda scope, body: (
            None if header(scope, b"authorization").endswith(KEY.encode()) else (400, b"{}")
        ),
    )
    found = await keys(refused, "chat/responses")
    assert found["key-envelope"].verdict is Verdict.FAIL
    assert found["key-status"].verdict is Verdict.WARN
    assert found["no-key"].verdict is Verdict.PASS


@pytest.mark.parametrize(("status", "name"), [(500, "key-fault"), (200, "key-success")])
async def test_a_key_that_is_refused_as_if_by_chance_is_found(status: int, name: str) -> None:
    inner = keyed()
    broken = wrapped(
        inner,
        before=lambda scope, body: (
            None if header(scope, b"authorization").endswith(KEY.encode()) else (status, REFUSAL)
        ),
    )
    found = await keys(broken)
    assert found[name].verdict is Verdict.FAIL
    assert found["no-key"].verdict is Verdict.PASS
    assert found["wrong-key"].verdict is Verdict.PASS


# Several clients


def crowded(status: int, content: bytes = REFUSAL) -> App:
    """An app that has refused all but the first answers that it began at once."""
    inner, now = slow(step=0.01), [0]

    async def broken(scope: Scope, receive: Any, send: Any) -> None:
        if now[0] >= 2:
            heads = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": status, "headers": heads})
            await send({"type": "http.response.body", "body": content})
            return
        now[0] += 1
        try:
            await inner(scope, receive, send)
        finally:
            now[0] -= 1

    return broken


@pytest.mark.parametrize(
    ("status", "content", "fails"),
    [
        (500, REFUSAL, {"robustness.many"}),
        (503, REFUSAL, {"robustness.retry-after"}),
        (429, b"busy", {"robustness.many-envelope", "robustness.retry-after"}),
    ],
)
async def test_how_a_crowd_is_refused_is_looked_at(
    status: int, content: bytes, fails: set[str]
) -> None:
    checks = ("robustness.many*", "robustness.retry-after")
    results = await checked(crowded(status, content), "chat/responses", *checks)
    assert set(failed(results)) == fails, told(results)


async def test_answers_that_go_to_other_clients_are_found() -> None:
    inner = chat_app(EchoBackend())
    inside, last = [0], [b""]

    async def broken(scope: Scope, receive: Any, send: Any) -> None:
        async def sent(message: Scope) -> None:
            message["headers"] = [
                each for each in message.get("headers", ()) if each[0] != b"content-length"
            ]
            if message.get("body"):
                swapped = last[0] if inside[0] > 1 else b""
                last[0], message["body"] = message["body"], swapped or message["body"]
            await send(message)

        inside[0] += 1
        try:
            # So that all of a crowd have come before one of them is answered.
            await anyio.sleep(0.1)
            await inner(scope, receive, sent)
        finally:
            inside[0] -= 1

    results = await checked(broken, "chat/openai", "robustness.crossed")
    assert failed(results) == ["robustness.crossed"] * 2, told(results)


async def test_streams_that_are_mixed_are_found() -> None:
    inner = chat_app(EchoBackend())
    ids: list[bytes] = []

    async def broken(scope: Scope, receive: Any, send: Any) -> None:
        begun = len(ids)
        # So that all of a crowd have come before one of them is answered.
        await anyio.sleep(0.1)

        async def sent(message: Scope) -> None:
            body = message.get("body", b"")
            for id in {part.split(b'"')[0] for part in body.split(b'"id":"')[1:]}:
                ids.append(id)
                body = body.replace(id, ids[begun])
            await send({**message, "body": body} if "body" in message else message)

        await inner(scope, receive, sent)

    results = await checked(broken, "chat/openai", "robustness.mixed")
    assert Verdict.FAIL in {r.verdict for r in results}, told(results)


async def test_a_stream_that_is_cut_for_a_slow_reader_is_found() -> None:
    inner = slow(step=0.03)

    asked: list[str] = []

    async def broken(scope: Scope, receive: Any, send: Any) -> None:
        asked.append(scope["path"])
        second = asked.count("/responses") == 2
        messages = iter(range(30))

        async def sent(message: Scope) -> None:
            if second and next(messages, None) is None:
                raise ConnectionError("the reader is too slow")
            await send(message)

        await inner(scope, receive, sent)

    results = await checked(broken, "chat/responses", "robustness.slow-reader")
    assert {r.verdict for r in results} == {Verdict.FAIL}, told(results)


async def test_a_slow_reader_is_served() -> None:
    results = await checked(slow(), "chat/responses", "robustness.slow-reader")
    assert {r.verdict for r in results} == {Verdict.PASS}, told(results)


# Clients that leave. They take seconds each, so one event loop has to do.


async def test_a_server_that_stops_for_clients_that_leave_is_right() -> None:
    results = await checked(slow(), "chat/responses", "robustness.leaving*")
    assert [r.verdict for r in results] == [Verdict.PASS] * 3, told(results)


@pytest.mark.parametrize("form", ["stream", "whole"])
async def test_a_server_that_goes_on_for_clients_that_have_left_is_found(form: str) -> None:
    results = await checked(deaf(slow()), "chat/responses", f"robustness.leaving-{form}")
    assert [r.verdict for r in results] == [Verdict.WARN], told(results)


async def test_of_a_fast_server_nobody_can_tell_whether_it_stops() -> None:
    results = await checked(OWN["chat/responses"](), "chat/responses", "robustness.leaving*")
    assert {r.verdict for r in results} == {Verdict.SKIP}, told(results)
