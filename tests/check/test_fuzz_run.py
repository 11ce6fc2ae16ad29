"""How a fuzzing run goes: in bounded time, repeatable, and with requests that get somewhere."""

from __future__ import annotations

import threading
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

import anyio
import pytest

from llmount.check.bounds import bounded
from llmount.check.fuzz_document import labelled, placed, plain
from llmount.check.probe import Session
from llmount.check.refusals import allowed, says_unsupported
from llmount.check.run import make, select
from llmount.check.served import served
from llmount.check.target import Target
from llmount.check.tolerance import tolerant
from llmount.check.verdict import Result, Verdict
from llmount.contract import Contract, names
from llmount.testing.schema_exchange import Exchange
from llmount.testing.schema_run import run

from .own import OWN, App, failed, told

pytestmark = pytest.mark.anyio

Message: TypeAlias = MutableMapping[str, Any]


@pytest.fixture
def anyio_backend() -> str:
    """The run is in a thread of Schemathesis's, whatever the loop."""
    return "asyncio"


# Time


async def _within(app: App, contract: str, seconds: float) -> list[Result]:
    with served(app) as url:
        async with Target(url, timeout=20) as target:
            session = Session(target, Contract.load(contract), tolerant(contract), "", "echo")
            tasks = select(contract, ["fuzz"])
            with anyio.fail_after(seconds + 20):
                return await make(session, tasks, max_time=seconds, workers=1)


async def test_a_slow_server_gets_what_fits_into_the_time() -> None:
    own = OWN["generate/ollama"]()

    async def slow(scope: Message, receive: Any, send: Any) -> None:
        await anyio.sleep(0.4)
        await own(scope, receive, send)

    results = await _within(slow, "generate/ollama", 12)

    made = next(result for result in results if result.measured)
    assert not failed(results), told(results)
    assert made.seconds < 20
    assert 5 < made.measured["requests"] < 40
    assert made.measured["stopped for lack of time"] == 1


async def test_an_answer_that_never_begins_is_not_waited_for_and_counted() -> None:
    own = OWN["generate/ollama"]()

    async def stuck(scope: Message, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == "/show":
            await anyio.sleep(60)
        await own(scope, receive, send)

    results = await _within(stuck, "generate/ollama", 20)

    made = next(result for result in results if result.measured)
    assert not failed(results), told(results)
    assert made.measured["requests not answered in time"] >= 1


async def test_a_server_that_is_not_there_is_skipped_once() -> None:
    async with Target("http://127.0.0.1:9", timeout=2) as target:
        name = "generate/codeinferflow"
        session = Session(target, Contract.load(name), tolerant(name), "", "echo")
        with anyio.fail_after(60):
            results = await make(session, select(name, ["fuzz"]), max_time=20)

    assert {result.verdict for result in results} == {Verdict.SKIP}
    assert "no request was answered" in results[0].reason
    assert sum(result.seconds for result in results[1:]) < 60


def test_a_kept_connection_that_the_server_closes_is_no_crash() -> None:
    with _forgetful() as url:
        made: list[Exchange] = []
        run(
            url,
            Contract.load("generate/codeinferflow").document,
            max_examples=2,
            seen=made.append,
        )

    assert len(made) > 5
    assert not [each.fault for each in made if each.fault]


@contextmanager
def _forgetful() -> Iterator[str]:
    """A server that answers the first request of a connection, and cuts it at the second."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        used = False

        def handle_one_request(self) -> None:
            super().handle_one_request()
            self.used = True

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            if self.used:
                self.close_connection = True
                return
            self.send_response(200)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        do_GET = do_POST = answer

        def log_message(self, *told: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join(10)


@pytest.mark.parametrize("contract", ["chat/azure", "generate/ollama"])
async def test_every_operation_gets_past_the_name_of_the_model(contract: str) -> None:
    answered: set[str] = set()
    with served(OWN[contract]()) as url:
        async with Target(url) as target:
            session = Session(target, Contract.load(contract), tolerant(contract), "", "echo")
            run(
                url,
                placed(session),
                models=["echo"],
                max_examples=2,
                stream=False,
                seen=lambda each: answered.add(each.operation) if each.status == 200 else None,
            )

    assert answered == set(labelled(session))


def test_one_seed_makes_the_same_requests() -> None:
    document = Contract.load("generate/codeinferflow").document

    def requests(seed: int) -> list[tuple[str, str, bytes | None]]:
        made: list[tuple[str, str, bytes | None]] = []
        with served(OWN["generate/codeinferflow"]()) as url:
            run(
                url,
                document,
                models=["echo"],
                seed=seed,
                max_examples=5,
                seen=lambda each: made.append((each.method, each.url.removeprefix(url), each.body)),
            )
        return made

    first = requests(3)
    assert first == requests(3)
    assert first != requests(4)


# The tables


@pytest.mark.parametrize("contract", names())
def test_a_bound_leaves_what_the_document_thinks_of_a_request(contract: str) -> None:
    for operation in Contract.load(contract).operations.values():
        if operation.body is None:
            continue
        for body in ({}, {"n": 500}, {"n": 5, "max_tokens": 10**6}, {"options": {"num_ctx": 1}}):
            after = bounded(contract, operation, body)
            assert operation.body.is_valid(after) == operation.body.is_valid(body)


def test_limits_are_lowered_and_added() -> None:
    chat = Contract.load("chat/openai").operations["createChatCompletion"]
    generate = Contract.load("generate/ollama").operations["generate"]
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}]}

    assert bounded("chat/openai", chat, body)["max_tokens"] == 8
    assert bounded("chat/openai", chat, {**body, "max_tokens": 3})["max_tokens"] == 3
    assert bounded("chat/openai", chat, {**body, "max_completion_tokens": 4000}) == {
        **body,
        "max_completion_tokens": 8,
    }
    assert bounded("chat/openai", chat, {**body, "n": 128})["n"] == 2
    # A violation stays one.
    assert bounded("chat/openai", chat, {**body, "n": 129})["n"] == 129
    assert bounded("generate/ollama", generate, {"model": "m", "keep_alive": 0}) == {
        "model": "m",
        "options": {"num_predict": 8},
    }
    assert bounded("generate/ollama", generate, {"model": "m", "options": 5}) == {
        "model": "m",
        "options": 5,
    }


def test_bounds_that_only_the_document_has_are_allowed() -> None:
    def found(fault: str) -> bool:
        return not any(
            row.fits("refuses", '{"embedding":[]}', fault) for row in allowed("generate/ollama")
        )

    assert not found("options.temperature must be at most 3.4028234663852886e+38")
    assert found("options.temperature must be of type null or number")


@pytest.mark.parametrize("contract", names())
def test_every_allowed_answer_names_a_check_and_a_reason(contract: str) -> None:
    for row in allowed(contract):
        assert row.check in {"accepts", "refuses", "faults"}
        assert row.why


@pytest.mark.parametrize(
    ("text", "unsupported"),
    [
        ("audio input is not supported", True),
        ('"plain" does not support thinking', True),
        ("This server doesn't support embeddings", True),
        ("Unsupported tool call type", True),
        ("Llama model must be created with embedding=True to call this method", True),
        ("invalid model name", False),
        ("messages must have at least 1 items", False),
    ],
)
def test_words_say_that_something_is_lacking(text: str, unsupported: bool) -> None:
    assert says_unsupported(text) is unsupported


async def test_examples_name_the_model_that_is_there() -> None:
    async with Target("http://127.0.0.1:9") as target:
        for name in OWN:
            session = Session(target, Contract.load(name), tolerant(name), "/at", "this-one")
            document, operations = placed(session), labelled(session)
            for label, body in plain(name, document, operations):
                assert label in operations
                if '"model"' in body:
                    assert '"model":"this-one"' in body
