"""The area `fuzz`: nothing against our own servers, and a planted bug of each kind found."""

from __future__ import annotations

import itertools
from collections.abc import Callable, MutableMapping
from typing import Any, TypeAlias

import pytest

from llmount.check.verdict import Verdict
from llmount.contract import Contract
from llmount.jsontext import dumps_bytes, loads

from .breaking import altered, items
from .own import KEY, OWN, App, checked, failed, told

pytestmark = pytest.mark.anyio

Message: TypeAlias = MutableMapping[str, Any]


@pytest.fixture
def anyio_backend() -> str:
    """The run is in a thread of Schemathesis's, whatever the loop; trio has a test of its own."""
    return "asyncio"


@pytest.mark.parametrize("contract", OWN)
async def test_our_own_server_has_no_findings(contract: str) -> None:
    results = await checked(OWN[contract](), contract, "fuzz")

    assert results
    assert not failed(results), told(results)
    assert not [result for result in results if result.verdict is Verdict.SKIP], told(results)


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_it_runs_on_trio() -> None:
    results = await checked(OWN["generate/codeinferflow"](), "generate/codeinferflow", "fuzz")

    assert results
    assert not failed(results), told(results)


# Planted bugs


Change: TypeAlias = Callable[[Message, bytes, int, bytes], tuple[int, bytes]]
"""Of the scope, the request's body, the status and the answer's body: the last two, changed."""


def changed(app: App, change: Change) -> App:
    """The app with its whole answers changed; streams pass."""

    async def broken(scope: Message, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        body = bytearray()
        start: Message = {}

        async def received() -> Message:
            message: Message = await receive()
            body.extend(message.get("body", b""))
            return message

        async def sent(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                return
            if start and not message.get("more_body"):
                status, content = change(scope, bytes(body), start["status"], message["body"])
                heads = [each for each in start["headers"] if each[0] != b"content-length"]
                await send({**start, "status": status, "headers": heads})
                message = {**message, "body": content}
            elif start:
                await send(start)
            start = {}
            await send(message)

        await app(scope, received, sent)

    return broken


def _fields(body: bytes) -> dict[str, Any]:
    try:
        found = loads(body.decode())
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _answer(text: str) -> bytes:
    return dumps_bytes({"error": text})


def _with_bugs(scope: Message, body: bytes, status: int, answer: bytes) -> tuple[int, bytes]:
    """An Ollama with a bug of each kind, at each path another."""
    asked, said = _fields(body), _fields(answer)
    match scope["path"]:
        case "/generate" if status == 200 and said.get("response"):
            return 500, _answer("out of order")
        case "/show" if status == 400:
            return 418, answer
        case "/show" if asked.get("verbose") and status == 200:
            return 400, _answer("a bad day")
        case "/embed" if status == 400:
            return 400, b'{"detail":[{"msg":"wrong"}]}'
        case "/embeddings" if status == 400:
            return 200, b'{"embedding":[]}'
        case "/embeddings" if asked.get("options"):
            return 500, _answer("out of order, and nobody documents such a request")
        case "/tags" if status == 200:
            return 200, b"{}"
    return status, answer


async def test_a_planted_bug_of_each_kind_is_found_and_nothing_else() -> None:
    app = changed(OWN["generate/ollama"](), _with_bugs)

    results = await checked(app, "generate/ollama", "fuzz")

    assert set(failed(results)) == {
        "fuzz.crashes",
        "fuzz.faults",
        "fuzz.statuses",
        "fuzz.accepts",
        "fuzz.refusals",
        "fuzz.refuses",
        "fuzz.answers",
    }, told(results)
    worst = [result.check for result in results if result.verdict is Verdict.FAIL]
    assert worst == ["fuzz.crashes", "fuzz.refusals"]
    for result in results:
        assert len(result.findings) <= 10
        assert len({finding.message for finding in result.findings}) == len(result.findings)
        assert all(finding.recording is not None for finding in result.findings)


async def test_a_refusal_without_a_text_for_clients_is_found() -> None:
    def loses(scope: Message, body: bytes, status: int, answer: bytes) -> tuple[int, bytes]:
        return status, b'{"detail":"wrong"}' if status == 400 else answer

    app = changed(OWN["chat/responses"](), loses)
    results = await checked(app, "chat/responses", "fuzz.envelope")

    assert [result.verdict for result in results] == [Verdict.FAIL], told(results)


async def test_a_connection_that_is_cut_is_a_crash() -> None:
    own = OWN["generate/codeinferflow"]()

    async def cutting(scope: Message, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == "/tags":
            await send({"type": "http.response.start", "status": 200, "headers": _TEN_BYTES})
            await send({"type": "http.response.body", "body": b"{", "more_body": True})
            return
        await own(scope, receive, send)

    results = await checked(cutting, "generate/codeinferflow", "fuzz.crashes")

    assert failed(results) == ["fuzz.crashes"], told(results)


_TEN_BYTES = [(b"content-type", b"application/json"), (b"content-length", b"10")]


async def test_a_method_that_is_taken_and_a_key_that_is_not_needed_are_found() -> None:
    own = OWN["generate/ajstudioz"]()

    async def lenient(scope: Message, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            head = (b"authorization", f"Bearer {KEY}".encode())
            others = [each for each in scope["headers"] if each[0] != b"authorization"]
            scope = {**scope, "method": "POST", "headers": [*others, head]}
        await own(scope, receive, send)

    results = await checked(lenient, "generate/ajstudioz", "fuzz.keys", "fuzz.methods")

    assert set(failed(results)) == {"fuzz.keys", "fuzz.methods"}, told(results)


async def test_a_finding_shows_the_exchange_and_no_key() -> None:
    def loses(scope: Message, body: bytes, status: int, answer: bytes) -> tuple[int, bytes]:
        return status, b"{}" if status == 200 else answer

    app = changed(OWN["generate/ajstudioz"](), loses)
    (result,) = await checked(app, "generate/ajstudioz", "fuzz.answers")

    recording = result.findings[0].recording
    assert recording is not None
    assert recording.method == "POST"
    assert recording.url.startswith("http://127.0.0.1:")
    assert recording.body
    assert recording.status == 200
    assert recording.content == b"{}"
    assert KEY not in str(recording.headers)
    assert "testcaseid" not in str(recording.headers).lower()


async def test_an_item_of_a_stream_that_breaks_the_document_is_shown() -> None:
    app = altered(OWN["chat/codeinferflow"](), items(lambda payloads: payloads.insert(1, "null")))

    (result,) = await checked(app, "chat/codeinferflow", "fuzz.answers")

    assert result.verdict is Verdict.WARN
    assert "an item of the stream, `null`: " in result.findings[0].message
    assert len(result.findings) == 1


async def test_causes_that_differ_in_a_value_or_a_type_are_told_once() -> None:
    kinds = itertools.cycle(["null", "object", "false", "'x'", "7", '{"a": [1]}'])

    def breaks(scope: Message, body: bytes, status: int, answer: bytes) -> tuple[int, bytes]:
        if scope["path"] != "/generate" or status != 400:
            return status, answer
        return 500, _answer(f"type must be string, but is {next(kinds)}")

    app = changed(OWN["generate/codeinferflow"](), breaks)
    (result,) = await checked(app, "generate/codeinferflow", "fuzz.faults")

    (finding,) = result.findings
    assert "but is null" in finding.message
    assert "times)" in finding.message


async def test_methods_that_are_answered_alike_are_told_once() -> None:
    own = OWN["generate/codeinferflow"]()

    async def unknown(scope: Message, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD", "POST"):
            await send({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body", "body": b"404 page not found"})
            return
        await own(scope, receive, send)

    (result,) = await checked(unknown, "generate/codeinferflow", "fuzz.methods")

    operations = Contract.load("generate/codeinferflow").operations
    assert result.verdict is Verdict.WARN
    assert len(result.findings) == len(operations)
    assert all("is answered with 404, not 405" in each.message for each in result.findings)


async def test_what_is_lacking_is_told_beside_what_is_refused() -> None:
    def refuses(scope: Message, body: bytes, status: int, answer: bytes) -> tuple[int, bytes]:
        if status != 200 or scope["path"] != "/generate":
            return status, answer
        said = "it is not supported" if _fields(body).get("raw") else "a bad day"
        if _fields(body).get("stream") is not False:
            return 400, dumps_bytes({"text": "", "error_text": said, "time_cost": 0})
        return status, answer

    app = changed(OWN["generate/codeinferflow"](), refuses)
    (result,) = await checked(app, "generate/codeinferflow", "fuzz.accepts")

    assert result.verdict is Verdict.WARN
    assert "a bad day" in result.findings[0].message
    assert "it is not supported" in result.reason


async def test_what_a_document_says_is_gone_is_not_lacking() -> None:
    (result,) = await checked(OWN["chat/ktransformers"](), "chat/ktransformers", "fuzz.accepts")

    assert result.verdict is Verdict.PASS, result.reason


async def test_what_a_server_says_it_lacks_is_unsupported() -> None:
    def lacks(scope: Message, body: bytes, status: int, answer: bytes) -> tuple[int, bytes]:
        if _fields(body).get("raw") and status == 200:
            said = {"text": "", "error_text": "error.raw: it is not supported", "time_cost": 0}
            return 400, dumps_bytes(said)
        return status, answer

    app = changed(OWN["generate/codeinferflow"](), lacks)
    results = await checked(app, "generate/codeinferflow", "fuzz")

    (accepts,) = [result for result in results if result.check == "fuzz.accepts"]
    assert not failed(results), told(results)
    assert accepts.verdict is Verdict.UNSUPPORTED
    assert "error.raw: it is not supported" in accepts.reason


async def test_an_operation_that_is_not_there_is_unsupported() -> None:
    own = OWN["generate/codeinferflow"]()

    async def without(scope: Message, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == "/tags":
            await send({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body", "body": b"404 page not found"})
            return
        await own(scope, receive, send)

    results = await checked(without, "generate/codeinferflow", "fuzz")

    (accepts,) = [result for result in results if result.check == "fuzz.accepts"]
    assert not failed(results), told(results)
    assert accepts.reason == "there is no tags"
