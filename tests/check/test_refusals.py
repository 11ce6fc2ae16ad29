"""The checks of refusals: each finds the fault that it is for."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from llmount.check.registry import CHECKS
from llmount.check.verdict import Verdict
from llmount.jsontext import dumps_bytes, loads

from .breaking import Answer, Edit, altered, refusal
from .own import OWN, checked, told
from .proving import proves

pytestmark = [pytest.mark.anyio, pytest.mark.one_loop]


def becomes(status: int, content: bytes | None = None, media: str = "application/json") -> Edit:
    """Refusals have this status, and this content if it is told."""

    def change(answer: Answer) -> None:
        answer.status = status
        if content is not None:
            answer.content, answer.media = content, media

    return refusal(change)


def when(wanted: Callable[[Answer], object], edit: Edit) -> Edit:
    def chosen(answer: Answer) -> None:
        if wanted(answer):
            edit(answer)

    return chosen


def is_streamed(answer: Answer) -> bool:
    return bool(answer.asked and answer.asked.get("stream"))


def is_lost(answer: Answer) -> bool:
    return answer.status in (404, 405) and "path" not in (answer.asked or {})


def another_model(answer: Answer) -> None:
    """There are two models, and the first answers for the one that there is not."""
    if answer.path.endswith("/models"):
        listed = loads(answer.content.decode())
        assert isinstance(listed, dict)
        entries = listed["data"]
        assert isinstance(entries, list)
        listed["data"] = [*entries, *entries]
        answer.content = dumps_bytes(listed)
    elif answer.status == 404 and answer.asked:
        answer.status = 200


ANSWERED = becomes(200, b'{"choices":[]}')
DETAIL = b'{"detail":[{"msg":"Field required","loc":["body"]}]}'

CHAT: Mapping[str, Edit] = {
    "refusals.unknown-model": another_model,
    "refusals.wrong-type": ANSWERED,
    "refusals.missing-field": ANSWERED,
    "refusals.bad-json": ANSWERED,
    "refusals.empty-body": ANSWERED,
    "refusals.method": ANSWERED,
    "refusals.path": ANSWERED,
    "refusals.streamed-unknown-model": when(is_streamed, ANSWERED),
    "refusals.streamed-wrong-type": when(is_streamed, ANSWERED),
    "refusals.envelope": becomes(400, DETAIL),
    "refusals.envelope/text": becomes(400, b'{"error":"wrong"}'),
    "refusals.envelope/flat": becomes(400, b'{"object":"error","message":"wrong"}'),
    "refusals.envelope/list": becomes(400, b'[{"error":{"message":"wrong"}}]'),
    "refusals.envelope/nothing": becomes(400, b""),
    "refusals.routing-envelope": when(is_lost, becomes(404, b"Not Found", "text/plain")),
    "refusals.server-error": becomes(500),
    "refusals.success": becomes(200),
    "refusals.statuses": becomes(418),
    "refusals.private": becomes(
        400, b'{"error":{"message":"Traceback (most recent call last): x"}}'
    ),
    "refusals.html": becomes(400, b"<html>Bad Request</html>", "text/html"),
}

FAULTS = [
    *[("chat/openai", name, edit) for name, edit in CHAT.items()],
    ("chat/azure", "refusals.envelope", becomes(400, DETAIL)),
    ("chat/responses", "refusals.envelope", becomes(400, DETAIL)),
    ("chat/ktransformers", "refusals.envelope", becomes(400, DETAIL)),
    ("chat/ktransformers", "refusals.gone", when(is_lost, becomes(404, DETAIL))),
    ("chat/ktransformers", "refusals.gone", when(is_lost, becomes(500))),
    ("chat/codeinferflow", "refusals.envelope", becomes(400, DETAIL)),
    ("generate/ollama", "refusals.envelope", becomes(400, DETAIL)),
    ("generate/ajstudioz", "refusals.envelope", becomes(400, b'{"error":"wrong"}')),
    ("generate/ktransformers", "refusals.envelope", becomes(400, DETAIL)),
    ("generate/codeinferflow", "refusals.envelope", becomes(400, DETAIL)),
    ("ai/geenii", "refusals.envelope", becomes(422, b"{}")),
    ("generate/ollama", "refusals.server-error", becomes(500)),
    ("generate/ollama", "refusals.success", becomes(200)),
]


@pytest.mark.parametrize(
    ("contract", "name", "edit"), FAULTS, ids=[f"{contract} {name}" for contract, name, _ in FAULTS]
)
async def test_a_fault_of_a_refusal_is_found(contract: str, name: str, edit: Edit) -> None:
    await proves(name.partition("/")[0], contract, edit)


def test_every_check_of_refusals_has_a_fault() -> None:
    checks = {name for name, check in CHECKS.items() if check.area == "refusals"}
    assert checks == {name.partition("/")[0] for _, name, _ in FAULTS}


async def test_a_server_may_still_have_what_was_shut_down_elsewhere() -> None:
    app = altered(OWN["chat/ktransformers"](), when(is_lost, becomes(200, b"{}")))

    results = await checked(app, "chat/ktransformers", "refusals.gone")
    assert [result.verdict for result in results] == [Verdict.SKIP], told(results)


async def test_a_server_with_one_model_may_answer_for_any() -> None:
    def any_model(answer: Answer) -> None:
        if answer.status == 404 and answer.asked:
            answer.status, answer.content = 200, b'{"choices":[]}'

    app = altered(OWN["chat/azure"](), any_model)
    results = await checked(app, "chat/azure", "refusals.unknown-model")
    assert {result.verdict for result in results} == {Verdict.SKIP}, told(results)


async def test_nothing_is_said_of_refusals_where_good_requests_are_refused_too() -> None:
    def closed(answer: Answer) -> None:
        answer.status = 401

    results = await checked(altered(OWN["chat/openai"](), closed), "chat/openai", "refusals")
    assert {result.verdict for result in results} == {Verdict.SKIP}, told(results)
