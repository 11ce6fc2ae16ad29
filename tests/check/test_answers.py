"""What a plain question tells of a server."""

from __future__ import annotations

import pytest

from llmount import EchoBackend, chat_app, generate_app
from llmount.check.verdict import Verdict
from llmount.jsontext import dumps_bytes

from .breaking import Answer, Edit, altered, whole
from .own import checked, told

pytestmark = pytest.mark.anyio


def answering(path: str, status: int, message: str) -> Edit:
    """An edit: the path answers so."""

    def edit(answer: Answer) -> None:
        if answer.path == path:
            answer.status, answer.media = status, "application/json"
            answer.content = dumps_bytes({"error": {"message": message}})

    return edit


@pytest.mark.parametrize("status", [404, 405, 501])
async def test_an_operation_that_many_servers_lack_may_be_missing(status: int) -> None:
    app = altered(chat_app(EchoBackend()), answering("/completions", status, "no such path"))

    results = await checked(app, "chat/openai", "answers.plain")

    verdicts = {result.operation: result.verdict for result in results}
    assert verdicts == {
        "createChatCompletion": Verdict.PASS,
        "createCompletion": Verdict.UNSUPPORTED,
    }, told(results)


async def test_a_model_that_is_listed_and_then_unknown_is_a_finding_there_too() -> None:
    app = altered(chat_app(EchoBackend()), answering("/completions", 404, "no model 'echo'"))

    results = await checked(app, "chat/openai", "answers.plain")

    assert [result.verdict for result in results] == [Verdict.PASS, Verdict.FAIL]


async def test_an_operation_that_clients_rely_on_may_not_be_missing() -> None:
    app = altered(generate_app(EchoBackend()), answering("/chat", 404, "no such path"))

    results = await checked(app, "generate/ollama", "answers.plain")

    assert [result.verdict for result in results] == [Verdict.PASS, Verdict.FAIL]


async def test_properties_that_are_not_allowed_are_named() -> None:
    app = altered(
        chat_app(EchoBackend()), whole(lambda answer: answer.update(timings={}, odd="\n"))
    )

    (result, *_) = await checked(app, "chat/openai", "answers.exact")

    (finding,) = result.findings
    told, _, names = finding.message.partition(": ")
    assert told == "the body has a property that is not allowed"
    assert sorted(names.split(", ")) == ["odd", "timings"]
