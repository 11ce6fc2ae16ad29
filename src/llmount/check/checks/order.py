"""The order of the items of a stream: a check for each rule of `llmount.testing`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from ...testing.stream_rules import STREAM_RULES, text_completion_problems
from ..clients import breaks
from ..probe import Inapplicable, Probe
from ..registry import check
from ..said import Ask
from ..verdict import Severity
from .streams import STREAMED

_MOST = 3
"""Findings of one rule in one stream."""

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}

CALLING = Ask(
    text="What is the weather in Oslo?",
    stream=True,
    tools={"get_weather": WEATHER},
    max_tokens=64,
)

ASKS = (
    STREAMED,
    replace(STREAMED, usage=True),
    replace(STREAMED, n=2, max_tokens=8),
    replace(STREAMED, logprobs=1, max_tokens=8),
    replace(CALLING, tool_choice="required"),
    CALLING,
)
"""The streams that are looked at, as far as the API and the server know how."""

_CHUNKS = ("chat/openai", "chat/azure", "chat/codeinferflow", "chat/ktransformers")
_EVENTS = ("chat/responses", "ai/geenii")
_LINES = ("generate/*",)
_CHUNK_PAGE = "https://platform.openai.com/docs/api-reference/chat-streaming"
_TEXT_PAGE = "https://platform.openai.com/docs/api-reference/completions/create"
_EVENT_PAGE = "https://platform.openai.com/docs/api-reference/responses-streaming"
_LINE_PAGE = "https://docs.ollama.com/api/streaming"
_ISSUES = "https://github.com/"


@dataclass(frozen=True, slots=True)
class _Row:
    """A rule: what a conforming server does, the clients' defect if it is one that breaks
    them, and where it is said."""

    title: str
    defect: str = ""
    source: str = ""


_OF_CHUNKS = {
    "json": _Row("What an event carries is JSON", "not-json"),
    "event-fields": _Row("Events have data, and no other fields"),
    "after-end": _Row("Nothing comes after the end of a stream"),
    "end": _Row("A stream ends with [DONE], or with an error"),
    "same-id": _Row("All chunks of an answer have the same id"),
    "same-object": _Row("All chunks of an answer are of the same kind"),
    "same-created": _Row("All chunks of an answer have the same time"),
    "same-model": _Row("All items of an answer name the same model"),
    "choice-order": _Row("Answers begin in the order of their numbers", "choice-order"),
    "choice-count": _Row("A stream has as many answers as were asked for"),
    "role": _Row("An answer begins with its role", "role-missing"),
    "role-once": _Row("The role of an answer comes once", "role-repeated"),
    "finish": _Row(
        "Each answer says why it ended",
        "no-finish",
        _ISSUES + "Mintplex-Labs/anything-llm/issues/3363",
    ),
    "finish-once": _Row("An answer says once why it ended", "finish-repeated"),
    "after-finish": _Row("An answer does not go on after it said why it ended"),
    "finish-calls": _Row("An answer that ends for its calls has some"),
    "call-index": _Row(
        "Each piece of a call has its number",
        "call-index",
        _ISSUES + "sgl-project/sglang/issues/5661",
    ),
    "call-order": _Row("Calls begin in the order of their numbers", "call-order"),
    "call-begin": _Row("A call begins with its id, type and name", "call-begin"),
    "call-once": _Row("The id, type and name of a call come once", "call-repeated"),
    "call-kind": _Row("A call stays what it is"),
    "call-arguments": _Row("The pieces of the arguments of a call make a JSON object"),
    "usage": _Row("The token counts come if they were asked for"),
    "usage-unasked": _Row("The token counts come only if they were asked for"),
    "usage-once": _Row(
        "The token counts come once",
        "usage-repeated",
        _ISSUES + "langchain-ai/langchain/issues/30429",
    ),
    "usage-last": _Row("The token counts come last", "usage-early"),
    "usage-alone": _Row("The token counts come in a chunk of their own"),
    "usage-content": _Row("No text comes beside the token counts", "usage-content"),
    "usage-null": _Row("Chunks before the token counts have null in their place"),
}

# Those of text completions, whose clients are few and mind little.
_OF_TEXTS = {
    f"text-{rule}": replace(row, defect="" if row.defect != "not-json" else row.defect)
    for rule, row in _OF_CHUNKS.items()
    if not rule.startswith(("call", "role")) and rule != "finish-calls"
} | {"text-logprob-lists": _Row("The lists of log probabilities are equally long")}

_OF_EVENTS = {
    "json": _OF_CHUNKS["json"],
    "after-end": _OF_CHUNKS["after-end"],
    "same-id": _OF_CHUNKS["same-id"],
    "same-model": _OF_CHUNKS["same-model"],
    "call-arguments": _OF_CHUNKS["call-arguments"],
    "no-done": _Row("A stream of events has no [DONE]"),
    "event-name": _Row("Events are named after their type"),
    "sequence": _Row("Events are numbered from 0"),
    "begin": _Row("A stream begins with response.created", "response-begin"),
    "in-progress": _Row("Then comes response.in_progress"),
    "last-event": _Row(
        "A stream has an event that ends it",
        "response-end",
        _ISSUES + "ollama/ollama/issues/17118",
    ),
    "same-created_at": _Row("All events show the same time of creation"),
    "same-timestamp": _Row("All events show the same time"),
    "same-provider": _Row("All events show the same provider"),
    "same-prompt": _Row("All events show the same prompt"),
    "status": _Row("The status of a response is that of its event"),
    "early-counts": _Row("Counts come only at the end"),
    "final-counts": _Row("The end has token counts that add up"),
    "item-order": _Row("Items are added in the order of their numbers", "item-unknown"),
    "item-unknown": _Row("An item is added before it is written", "item-unknown"),
    "item-over": _Row("An item that is done does not go on"),
    "item-ids": _Row("Items have ids of their own"),
    "item-begin": _Row("An item that is added is in progress"),
    "item-end": _Row("An item that is done is not in progress"),
    "item-same": _Row("An item stays what it was when it was added"),
    "item-id": _Row("Events name the item that they are about", "other-item"),
    "item-done": _Row("Every item is done before the end", "item-not-done"),
    "part-order": _Row("Parts are added in the order of their numbers", "part-unknown"),
    "part-open": _Row("A part is added before it is written", "part-unknown"),
    "part-done": _Row("Every part is done before its item"),
    "written": _Row("What is told whole is what was written in pieces", "not-what-was-written"),
    "output": _Row("The end has the items as they were when they were done"),
    "output-text": _Row("The text at the end is that of the output"),
    "early-output": _Row("Nothing of the output is told before the end"),
    "last-kind": _Row("The events that end a stream are those of the document"),
}

_OF_LINES = {
    "same-model": _OF_CHUNKS["same-model"],
    "early-counts": _OF_EVENTS["early-counts"],
    "done": _Row(
        "A stream ends with done: true, or with an error",
        "no-done",
        _ISSUES + "ollama/ollama/issues/10015",
    ),
    "done-once": _Row("Only one line has done: true", "done-repeated"),
    "after-done": _Row("Nothing comes after the end of an answer"),
    "time-order": _Row("Time does not run backwards"),
}

_FAMILIES = (
    (_CHUNKS, _CHUNK_PAGE, _OF_CHUNKS),
    (("chat/openai", "chat/azure"), _TEXT_PAGE, _OF_TEXTS),
    (_EVENTS, _EVENT_PAGE, _OF_EVENTS),
    (_LINES, _LINE_PAGE, _OF_LINES),
)


def _judge(rule: str) -> Callable[[Probe], Awaitable[None]]:
    named = rule.removeprefix("text-")

    async def judge(probe: Probe) -> None:
        problems = STREAM_RULES.get(f"{probe.contract.name} {probe.api.operation}")
        if problems is None or probe.api.lacks(STREAMED):
            raise Inapplicable
        if (rule != named) != (problems is text_completion_problems):
            raise Inapplicable
        await probe.answered(STREAMED)
        for ask in ASKS:
            if probe.api.lacks(ask):
                continue
            recording = await probe.ask(ask)
            if recording.status != 200 or recording.fault or not recording.items:
                continue
            found = [
                p
                for p in problems(recording.values, recording.sent)
                if p.rule == rule.removeprefix("text-")
            ]
            for problem in found[:_MOST]:
                probe.found(problem.message, recording, problem.item)

    return judge


def _add() -> None:
    rows: Mapping[str, _Row] = _OF_CHUNKS | _OF_TEXTS | _OF_EVENTS | _OF_LINES
    for rule, row in rows.items():
        families = [(places, page) for places, page, table in _FAMILIES if rule in table]
        check(
            f"order.{rule}",
            row.title,
            severity=Severity.BREAKING if row.defect else Severity.STRICT,
            contracts=tuple(place for places, _ in families for place in places),
            source=row.source or families[0][1],
            breaks=breaks(row.defect) if row.defect else {},
        )(_judge(rule))


_add()
