"""What an upstream says of its failure is for the log: no dialect hands it to the client."""

from __future__ import annotations

import json
import logging
from typing import Any

import anyio
import httpx
import pytest

from llmount import ai_app, chat_app, generate_app
from llmount.app import App
from llmount.backends.http import OpenAIBackend
from llmount.backends.pool import Member, PoolBackend, Retry
from llmount.contract import Contract, Operation
from llmount.dialects import DIALECTS
from llmount.testing.transport import ASGITransport
from llmount.types import Backend
from tests.documented import bodies
from tests.upstream import END, KEY, SSE, Reply, Stream, answering, delta, event, sending, serving

pytestmark = [
    pytest.mark.anyio,
    # httpx leaves inner generators of its own unclosed, and trio says so.
    pytest.mark.filterwarnings("ignore:Async generator 'http(x|core):ResourceWarning"),
]

INSIDE = "worker 7 on db-internal.example died"
WORDS = f"{INSIDE}, key {KEY}"
ERROR = {"error": {"message": WORDS, "type": "server_error"}}
CLIENTS = "sk-the-clients-own-key"
FAILING = {
    "at once": answering(500, json.dumps(ERROR)),
    "too many": answering(429, json.dumps(ERROR)),
    "in place of a stream": sending(SSE, event(ERROR), END),
    "in a stream": sending(SSE, delta("a"), event(ERROR), END),
}
MODELS = answering(200, '{"data": [{"id": "m"}]}')
NAMES = [f"{family}/{name}" for family, dialects in DIALECTS.items() for name in dialects]


def app_of(name: str, backend: Backend) -> App:
    family, _, dialect = name.partition("/")
    options: Any = {"dialect": dialect, "keys": {CLIENTS}}
    if family == "ai":
        return ai_app(dict.fromkeys(("mine", "ollama", "openai"), backend), **options)
    return {"generate": generate_app, "chat": chat_app}[family](backend, **options)


def requests(name: str) -> list[tuple[Operation, Any]]:
    """Every example of every operation's body."""
    contract = Contract.load(name)
    return [
        (operation, body)
        for operation in contract.operations.values()
        if operation.body is not None and "multipart/form-data" not in operation.accepts
        for body in bodies(name, operation)
    ]


@pytest.mark.parametrize("pooled", [False, True], ids=["alone", "in a pool"])
@pytest.mark.parametrize("failing", FAILING.values(), ids=FAILING)
@pytest.mark.parametrize("name", NAMES)
async def test_what_an_upstream_says_of_its_failure_is_in_the_log_only(
    name: str, failing: Reply, pooled: bool, caplog: pytest.LogCaptureFixture
) -> None:
    texts = []

    async def reply(stream: Stream) -> None:
        listing = upstream.requests[-1].line.startswith("GET /v1/models")
        await (MODELS if listing else failing)(stream)

    async with serving(reply) as upstream:
        backend: Any = OpenAIBackend(f"{upstream.url}/v1", api_key=KEY)
        if pooled:
            backend = PoolBackend([Member(backend)], retry=Retry(1, 0, 0))
        transport = ASGITransport(app_of(name, backend))
        with caplog.at_level(logging.INFO, "llmount"), anyio.fail_after(20):
            async with httpx.AsyncClient(
                transport=transport,
                base_url="http://t",
                headers={"authorization": f"Bearer {CLIENTS}"},
            ) as http:
                for operation, body in requests(name):
                    answer = await http.request(operation.method, operation.path, json=body)
                    texts.append(answer.text)
            await backend.aclose()
        assert [each.line for each in upstream.requests if each.line.startswith("POST")]

    assert not [text for text in texts if "worker" in text or KEY in text]
    assert INSIDE in caplog.text
    assert KEY not in caplog.text
