"""The checks of the order of streams: each finds the fault that it is for."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from llmount.check.registry import CHECKS
from llmount.testing.stream_rules import STREAM_RULES

from .breaking import each, items
from .proving import proves

pytestmark = pytest.mark.anyio

Payloads: TypeAlias = list[Any]
Change: TypeAlias = Callable[[Payloads], object]


def choice(value: Any) -> Any:
    return value["choices"][0]


def calls(payloads: Payloads) -> list[Any]:
    """The chunks with a piece of a call; there has to be one."""
    found = [p for p in payloads if p != "[DONE]" and p["choices"] if "tool_calls" in delta(p)]
    if not found:
        raise LookupError
    return found


def delta(value: Any) -> Any:
    return choice(value)["delta"]


def call(value: Any) -> Any:
    return delta(value)["tool_calls"][0]


def finish(payloads: Payloads) -> int:
    return next(
        number
        for number, p in enumerate(payloads)
        if p != "[DONE]" and p["choices"] and choice(p)["finish_reason"]
    )


def counted(payloads: Payloads) -> int:
    for number, payload in enumerate(payloads):
        if payload != "[DONE]" and payload.get("usage"):
            return number
    raise LookupError


def first(kind: str) -> Callable[[Payloads], Any]:
    def find(payloads: Payloads) -> Any:
        for payload in payloads:
            if payload["type"] == f"response.{kind}":
                return payload
        raise LookupError

    return find


def without(kind: str) -> Change:
    def change(payloads: Payloads) -> None:
        payloads.remove(first(kind)(payloads))
        for number, payload in enumerate(payloads):
            payload["sequence_number"] = number

    return change


def later_call(payloads: Payloads) -> Any:
    found = calls(payloads)
    return call(found[1])


CHUNKS: dict[str, Change] = {
    "json": lambda p: p.insert(1, "oops"),
    "event-fields": lambda p: p[1].update(_fields={"id": "1"}),
    "after-end": lambda p: p.append("[DONE]"),
    "end": lambda p: p.pop(),
    "same-id": lambda p: p[2].update(id="chatcmpl-other"),
    "same-object": lambda p: p[2].update(object="chat.completion"),
    "same-created": lambda p: p[2].update(created=1),
    "same-model": lambda p: p[2].update(model="other"),
    "choice-order": lambda p: [choice(c).update(index=1) for c in p[:-1] if c["choices"]],
    "choice-count": lambda p: p.insert(0, {**p[0], "choices": [{**choice(p[0]), "index": 1}]}),
    "role": lambda p: delta(p[0]).pop("role"),
    "role-once": lambda p: delta(p[1]).update(role="assistant"),
    "finish": lambda p: choice(p[finish(p)]).update(finish_reason=None),
    "finish-once": lambda p: p.insert(finish(p), p[finish(p)]),
    "after-finish": lambda p: p.insert(finish(p) + 1, p[1]),
    "finish-calls": lambda p: choice(p[finish(p)]).update(finish_reason="tool_calls"),
    "call-index": lambda p: call(calls(p)[0]).pop("index"),
    "call-order": lambda p: [call(c).update(index=1) for c in calls(p)],
    "call-begin": lambda p: call(calls(p)[0]).pop("type"),
    "call-once": lambda p: later_call(p).update(id="call_again"),
    "call-kind": lambda p: later_call(p).update(custom={"input": "x"}),
    "call-arguments": lambda p: call(calls(p)[-1])["function"].update(arguments="[" * 9),
    "usage": lambda p: p.pop(counted(p)),
    "usage-unasked": lambda p: p.insert(-1, {**p[0], "choices": [], "usage": {"a": 1}}),
    "usage-once": lambda p: p.insert(1, {**p[counted(p)]}),
    "usage-last": lambda p: p.insert(1, p.pop(counted(p))),
    "usage-alone": lambda p: p[finish(p)].update(usage={"total_tokens": 1}),
    "usage-content": lambda p: p[1].update(usage={"total_tokens": 1}),
    "usage-null": lambda p: p[1].pop("usage"),
}

TEXTS: dict[str, Change] = {
    **{f"text-{rule}": CHUNKS[rule] for rule in CHUNKS if not rule.startswith(("call", "role"))},
    "text-logprob-lists": lambda p: choice(p[0])["logprobs"]["tokens"].append("x"),
}
del TEXTS["text-finish-calls"]

EVENTS: dict[str, Change] = {
    "no-done": lambda p: p.append("[DONE]"),
    "event-name": lambda p: p[3].update(_fields={"event": "message"}),
    "sequence": lambda p: p[3].update(sequence_number=99),
    "begin": without("created"),
    "in-progress": without("in_progress"),
    "last-event": lambda p: p.pop(),
    "same-created_at": lambda p: p[-1]["response"].update(created_at=1),
    "status": lambda p: p[-1]["response"].update(status="in_progress"),
    "early-counts": lambda p: p[0]["response"].update(usage={"total_tokens": 1}),
    "final-counts": lambda p: p[-1]["response"]["usage"].update(total_tokens=1),
    "item-order": lambda p: first("output_item.added")(p).update(output_index=1),
    "item-unknown": without("output_item.added"),
    "item-over": lambda p: p.insert(-1, first("output_text.delta")(p)),
    "item-ids": lambda p: p.insert(2, {**p[2], "output_index": 1}),
    "item-begin": lambda p: first("output_item.added")(p)["item"].update(status="completed"),
    "item-end": lambda p: first("output_item.done")(p)["item"].update(status="in_progress"),
    "item-same": lambda p: first("output_item.done")(p)["item"].update(id="msg_other"),
    "item-id": lambda p: first("output_text.delta")(p).update(item_id="msg_other"),
    "item-done": without("output_item.done"),
    "part-order": lambda p: first("content_part.added")(p).update(content_index=1),
    "part-open": without("content_part.added"),
    "part-done": without("content_part.done"),
    "written": lambda p: first("output_text.done")(p).update(text="other"),
    "output": lambda p: p[-1]["response"].update(output=[]),
}

COMPLETIONS: dict[str, Change] = {
    "same-timestamp": lambda p: p[-1]["response"].update(timestamp=1),
    "same-provider": lambda p: p[-1]["response"].update(provider="other"),
    "same-prompt": lambda p: p[-1]["response"].update(prompt="other"),
    "output-text": lambda p: p[-1]["response"].update(output_text="other"),
    "early-output": lambda p: p[0]["response"].update(output_text="x"),
    "last-kind": lambda p: p[-1].update(type="response.failed"),
}

LINES: dict[str, Change] = {
    "done": lambda p: p.pop(),
    "done-once": lambda p: p.append(p[-1]),
    "after-done": lambda p: p.append(p[0]),
    "time-order": lambda p: p[-1].update(created_at="2001-01-01T00:00:00Z"),
}

FAULTS = [
    *[("chat/openai", rule, change) for rule, change in (CHUNKS | TEXTS).items()],
    *[("chat/responses", rule, change) for rule, change in EVENTS.items()],
    *[("ai/geenii", rule, change) for rule, change in COMPLETIONS.items()],
    *[("generate/ollama", rule, change) for rule, change in LINES.items()],
    ("generate/ollama", "same-model", lambda p: p[0].update(model="other")),
    ("generate/ollama", "early-counts", lambda p: p[0].update(eval_count=1)),
    ("generate/ajstudioz", "done", LINES["done"]),
    ("generate/ktransformers", "done-once", LINES["done-once"]),
    ("chat/ktransformers", "finish", CHUNKS["finish"]),
    ("chat/codeinferflow", "finish-once", CHUNKS["finish-once"]),
    ("chat/azure", "role", CHUNKS["role"]),
]


@pytest.mark.parametrize(
    ("contract", "rule", "change"), FAULTS, ids=[f"{name} {rule}" for name, rule, _ in FAULTS]
)
async def test_a_fault_of_a_stream_is_found(contract: str, rule: str, change: Change) -> None:
    await proves(f"order.{rule}", contract, items(change))


def test_every_rule_has_a_fault() -> None:
    rules = {check.removeprefix("order.") for check in CHECKS if check.startswith("order.")}
    assert rules == {rule for _, rule, _ in FAULTS}


ODD: tuple[Any, ...] = (
    [],
    5,
    None,
    {"choices": 5},
    {"choices": [{"index": "x", "delta": 1}]},
    {"choices": [{"index": 1e999, "delta": {"tool_calls": [{"index": []}]}}]},
    {"type": [], "response": {"output": [1, {"content": 1}]}, "item": 5, "output_index": {}},
    {"done": "yes", "model": 5, "created_at": 5, "error": []},
)


@pytest.mark.parametrize("odd", ODD, ids=str)
@pytest.mark.parametrize("rules", sorted(STREAM_RULES))
def test_whatever_a_stream_carries_is_no_reason_to_crash(rules: str, odd: Any) -> None:
    for stream in ([odd], [{"data": json.dumps(odd)}], [{"data": odd, "event": odd}], [odd] * 3):
        for request in (None, odd, {"n": odd, "stream_options": odd, "prompt": odd, "echo": True}):
            list(STREAM_RULES[rules](stream, request))


async def test_a_role_in_every_chunk_is_found_once_a_stream() -> None:
    await proves(
        "order.role-once", "chat/openai", each(lambda p: delta(p).update(role="assistant"))
    )
