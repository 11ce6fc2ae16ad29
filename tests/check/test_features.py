"""The checks of formats, tools, thinking and conversations: each finds the fault that it is
for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from llmount import EchoBackend, chat_app
from llmount.check.registry import CHECKS
from llmount.check.verdict import Verdict

from .breaking import Answer, Edit, altered, each, items, whole
from .own import CALLING, OWN, checked, told
from .proving import proves

pytestmark = [pytest.mark.anyio, pytest.mark.one_loop]


def message(value: Any) -> Any:
    return value["choices"][0]["message"]


def function(value: Any) -> Any:
    return message(value)["tool_calls"][0]["function"]


def where(wanted: Callable[[Any], object], change: Callable[[Any], object]) -> Edit:
    """Change the whole answers to requests that are wanted."""

    def edit(answer: Answer) -> None:
        if answer.asked and wanted(answer.asked):
            whole(change)(answer)

    return edit


def refusing(wanted: Callable[[Any], object], status: int = 400) -> Edit:
    """Refuse requests that are wanted."""

    def edit(answer: Answer) -> None:
        if answer.asked and wanted(answer.asked):
            answer.status, answer.media = status, "application/json"
            answer.content = b'{"error":{"message":"no","type":"t","param":null,"code":null}}'

    return edit


def crashing(wanted: Callable[[Any], object]) -> Edit:
    """Fail for requests that are wanted."""

    def edit(answer: Answer) -> None:
        if answer.asked and "messages" in answer.asked and wanted(answer.asked):
            answer.status = 500

    return edit


def says(content: str) -> Callable[[Any], object]:
    return lambda value: message(value).update(content=content)


def uncalled(value: Any) -> None:
    del message(value)["tool_calls"]
    value["choices"][0]["finish_reason"] = "stop"


def called(value: Any) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "x", "arguments": "{}"}}
    message(value)["tool_calls"] = [call]


def has_null(request: Any) -> bool:
    return None in request.values()


CHAT: Mapping[str, Edit] = {
    "features.json": where(lambda asked: "response_format" in asked, says("Sure!")),
    "features.json/list": where(lambda asked: "response_format" in asked, says("[]")),
    "features.schema": where(lambda asked: "response_format" in asked, says('{"good": "yes"}')),
    "features.schema/more": where(
        lambda asked: "response_format" in asked, says('{"good": true, "bad": true}')
    ),
    "features.tool-choice": where(lambda asked: asked.get("tool_choice") == "required", uncalled),
    "features.tool-choice/named": where(
        lambda asked: isinstance(asked.get("tool_choice"), dict), uncalled
    ),
    "features.tool-none": where(lambda asked: asked.get("tool_choice") == "none", called),
    "features.tool-name": whole(lambda v: function(v).update(name="other")),
    "features.tool-arguments": whole(lambda v: function(v).update(arguments='{"city":')),
    "features.tool-arguments/list": whole(lambda v: function(v).update(arguments="[]")),
    "features.tool-schema": whole(lambda v: function(v).update(arguments='{"town":"Oslo"}')),
    "features.tool-finish": whole(lambda v: v["choices"][0].update(finish_reason="stop")),
    "features.thinking": whole(says("<think>Hm</think>Yes")),
    "features.history": refusing(lambda asked: len(asked.get("messages", ())) > 2),
    "features.system": crashing(lambda asked: asked["messages"][0]["role"] == "system"),
    "features.null": refusing(has_null),
    "features.unknown-fields": refusing(lambda asked: "x_of_a_later_release" in asked),
}

FAULTS = [
    *[("chat/openai", name, edit) for name, edit in CHAT.items()],
    ("chat/openai", "features.thinking", each(lambda v: v["choices"][0]["delta"].update(
        content="</think>"))),
    ("chat/ktransformers", "features.history", refusing(lambda a: len(a["messages"]) > 2)),
    ("chat/responses", "features.tool-name", whole(lambda v: v["output"][0].update(name="x"))),
    ("chat/responses", "features.json", where(
        lambda asked: "text" in asked,
        lambda v: v["output"][0]["content"][0].update(text="Sure!"))),
    ("generate/ollama", "features.no-thinking", whole(lambda v: v.update(thinking="Hm"))),
    ("generate/ollama", "features.context", whole(lambda v: v.update(prompt_eval_count=9))),
    ("generate/ollama", "features.context", whole(lambda v: v.update(context=["a"]))),
    ("generate/ollama", "features.json", where(
        lambda asked: "format" in asked, lambda v: v.update(response="Sure!"))),
]  # fmt: skip


@pytest.mark.parametrize(
    ("contract", "name", "edit"), FAULTS, ids=[f"{contract} {name}" for contract, name, _ in FAULTS]
)
async def test_a_fault_of_a_feature_is_found(contract: str, name: str, edit: Edit) -> None:
    await proves(name.partition("/")[0], contract, edit)


def uncalled_lines(values: list[Any]) -> None:
    for value in values:
        value["message"].pop("tool_calls", None)


CALLED = [
    ("chat/openai", "features.streamed-call",
     each(lambda v: v["choices"][0]["delta"].pop("tool_calls"))),
    ("generate/ollama", "features.streamed-call", items(uncalled_lines)),
    ("generate/ollama", "features.tool-name", whole(
        lambda v: v["message"]["tool_calls"][0]["function"].update(name="other"))),
    ("generate/ollama", "features.tool-arguments", whole(
        lambda v: v["message"]["tool_calls"][0]["function"].update(arguments="{}"))),
    ("generate/ajstudioz", "features.tool-schema", whole(
        lambda v: v["message"]["tool_calls"][0]["function"].update(arguments={"town": "Oslo"}))),
]  # fmt: skip


@pytest.mark.parametrize(
    ("contract", "name", "edit"), CALLED, ids=[f"{contract} {name}" for contract, name, _ in CALLED]
)
async def test_a_fault_of_a_call_is_found(contract: str, name: str, edit: Edit) -> None:
    await proves(name, contract, edit, own=CALLING)


def test_every_check_of_features_has_a_fault() -> None:
    checks = {name for name, check in CHECKS.items() if check.area == "features"}
    assert checks == {name.partition("/")[0] for _, name, _ in (*FAULTS, *CALLED)}


async def test_what_a_server_says_that_it_lacks_is_no_finding() -> None:
    lacking = refusing(lambda asked: asked.keys() & {"tools", "response_format"})
    results = await checked(altered(OWN["chat/openai"](), lacking), "chat/openai", "features")
    verdicts = {result.check: result.verdict for result in results}
    for name in ("json", "schema", "tool-choice", "tool-none", "tool-name", "tool-arguments"):
        assert verdicts[f"features.{name}"] is Verdict.UNSUPPORTED, told(results)
    assert Verdict.FAIL not in verdicts.values(), told(results)


async def test_a_server_that_has_too_much_to_do_lacks_nothing() -> None:
    busy = refusing(lambda asked: asked.get("tools"), 429)
    for result in await checked(
        altered(OWN["chat/openai"](), busy), "chat/openai", "features.tool-choice"
    ):
        if result.operation == "createChatCompletion":
            assert result.verdict is Verdict.SKIP, told([result])
            assert "too much to do" in result.reason


async def test_an_answer_that_is_cut_off_is_not_held_against_its_format() -> None:
    def cut(value: Any) -> None:
        message(value).update(content='{"good": tr')
        value["choices"][0]["finish_reason"] = "length"

    def cut_stream(value: Any) -> None:
        choice = value["choices"][0]
        if choice["finish_reason"]:
            choice["finish_reason"] = "length"
        choice["delta"]["content"] = '{"good": tr'

    app = altered(altered(OWN["chat/openai"](), whole(cut)), each(cut_stream))
    results = await checked(app, "chat/openai", "features.json", "features.schema")
    assert {result.verdict for result in results} == {Verdict.SKIP}, told(results)


async def test_a_model_that_calls_nothing_unasked_is_no_finding() -> None:
    def silent(answer: Answer) -> None:
        asked: Mapping[str, Any] = answer.asked or {}
        if asked.get("tools") and "tool_choice" not in asked:
            whole(uncalled)(answer)

    await _nothing_fails(silent)


async def _nothing_fails(edit: Edit) -> None:
    results = await checked(altered(chat_app(EchoBackend()), edit), "chat/openai", "features")
    assert Verdict.FAIL not in {result.verdict for result in results}, told(results)
