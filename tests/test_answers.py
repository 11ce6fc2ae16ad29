"""Whether answers are held to their documents: what passes, and each way to be found out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anyio
import httpx
import pytest

from llmount import App, EchoBackend
from llmount.contract import Contract
from llmount.dialects.openai import OpenAI
from llmount.testing.answers import answer_problems
from llmount.testing.transport import ASGITransport
from tests.held import held

ASKED: Mapping[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
EVENTS = "text/event-stream; charset=utf-8"
CHUNK = (
    'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m",'
    '"system_fingerprint":"fp_0","choices":[{"index":0,"delta":%s,"logprobs":null,'
    '"finish_reason":%s}]}\n\n'
)
ROLE = CHUNK % ('{"role":"assistant","content":"","refusal":null}', "null")
TEXT = CHUNK % ('{"content":"Hi"}', "null")
END = CHUNK % ("{}", '"stop"')
DONE = "data: [DONE]\n\n"


def problems(content: str, media_type: str = EVENTS, status: int = 200, cut: bool = False) -> str:
    contract = Contract.load("chat/openai")
    operation = contract.operations["createChatCompletion"]
    return "; ".join(
        answer_problems(contract, operation, ASKED, status, media_type, content.encode(), cut=cut)
    )


def test_a_good_stream_has_none() -> None:
    assert problems(ROLE + TEXT + END + DONE) == ""


def test_of_a_stream_that_nobody_read_to_its_end_only_the_items_are_looked_at() -> None:
    assert problems(ROLE + TEXT + TEXT[:40], cut=True) == ""
    assert "item 1: " in problems(ROLE + TEXT.replace('"m"', "5"), cut=True)


@pytest.mark.parametrize(
    ("content", "changed", "found"),
    [
        (ROLE + TEXT + END, {}, "neither [DONE] nor an error"),
        (TEXT + END + DONE, {}, "begins without its role"),
        (ROLE + TEXT.replace('"created":1,', "") + END + DONE, {}, "item 1: "),
        (ROLE + TEXT[:40], {}, "the stream is garbled"),
        (ROLE, {"media_type": "text/event-stream"}, "status 200 is not documented as"),
        ("{}", {"media_type": "application/json", "status": 418}, "status 418"),
        ("{}", {"media_type": "application/json"}, "is required"),
        ("{", {"media_type": "application/json"}, "it is not JSON"),
    ],
)
def test_what_is_wrong_is_told(content: str, changed: Mapping[str, Any], found: str) -> None:
    assert found in problems(content, **changed)


class _Hasty(OpenAI):
    """Forgets the first item of a stream."""

    async def create(self, request: Any) -> Any:
        reply = await super().create(request)
        items, first = reply.codec.items, [True]

        def without_the_first(event: Any) -> Any:
            made = list(items(event))
            return made[1:] if first and first.pop() else made

        reply.codec.items = without_the_first
        return reply


@pytest.mark.breaks_documents
@pytest.mark.anyio
async def test_an_app_that_breaks_the_order_is_found_out_while_it_answers() -> None:
    found: list[str] = []
    transport = ASGITransport(App([("", _Hasty(EchoBackend()))]))
    with held(found.append), anyio.fail_after(10):
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            body = {**ASKED, "model": "echo", "stream": True}
            answer = await client.post("/chat/completions", json=body)

    assert answer.status_code == 200
    assert any("begins without its role" in each for each in found), found
