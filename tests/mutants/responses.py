"""Broken servers of the Responses API."""

from __future__ import annotations

from collections.abc import Iterator

from llmount.check.verdict import Verdict
from llmount.jsontext import loads
from llmount.types import JSON

from .edits import Test, change, drop, first, last, put, put_if, rename, twice, without
from .exchange import answers, each, frames, items, questions, refusals, refused, whole
from .mutant import Mutant, rows
from .shaping import as_page, body, drop_asked, empty, refuse_when, set_status

__all__ = ["mutants"]

_NAME = "chat/responses"
_ON = "/responses"
_TEXT = "output.*.content.*.text"


def mutants() -> Iterator[Mutant]:
    yield from rows(_NAME, "responses-stream", _ON, *_STREAM)
    yield from rows(_NAME, "responses-stream", _ON, *_MINOR_STREAM, due=Verdict.WARN)
    yield from rows(_NAME, "responses-answer", _ON, *_WHOLE)
    yield from rows(_NAME, "responses-answer", _ON, *_MINOR_WHOLE, due=Verdict.WARN)
    yield from rows(_NAME, "responses-ignores", _ON, *_IGNORED)
    yield from rows(_NAME, "responses-refuses", _ON, *_REFUSED)
    yield from rows(_NAME, "responses-errors", _ON, *_ERRORS)


def _is(kind: str) -> Test:
    return lambda event: not isinstance(event, str) and event["type"] == f"response.{kind}"


def _ends(event: JSON) -> bool:
    return _is("completed")(event) or _is("incomplete")(event)


def _numbered(said: list[JSON]) -> list[JSON]:
    """The events, numbered anew, so that only what is meant to be wrong is."""
    return [{**event, "sequence_number": number} for number, event in enumerate(said)]


_STREAM = (
    ("no-created", "No event says that the response was created.",
     items(lambda said: _numbered(without(_is("created"))(said)))),
    ("no-completed", "No event ends the stream.",
     items(without(_ends))),
    ("completed-early", "Text comes after the event that ends the stream.",
     items(lambda said: _numbered([*said[:4], said[-1], *said[4:-1]]))),
    ("no-item", "Text comes before its item is added.",
     items(lambda said: _numbered(without(_is("output_item.added"))(said)))),
    ("no-part", "Text comes before its part is added.",
     items(lambda said: _numbered(without(_is("content_part.added"))(said)))),
    ("no-deltas", "No text comes before all of it is done.",
     items(lambda said: _numbered(without(_is("output_text.delta"))(said)))),
    ("delta-lost", "A piece of the text is lost.",
     items(lambda said: _numbered(first(lambda event: put("delta", "")(event),
                                        _is("output_text.delta"))(said)))),
    ("no-item-done", "An item is never done.",
     items(lambda said: _numbered(without(_is("output_item.done"))(said)))),
    ("no-type", "Events have no type.",
     frames(lambda sent: [frame.replace(b'"type":"response.', b'"kind":"response.')
                          for frame in sent])),
    ("index", "The output_index of pieces is not that of their item.",
     items(each(lambda event: put("output_index", 3)(event)
                if _is("output_text.delta")(event) else event))),
    ("no-index", "Pieces of the text have no output_index.",
     items(each(lambda event: drop("output_index")(event)
                if _is("output_text.delta")(event) else event))),
    ("no-content-index", "Pieces of the text have no content_index.",
     items(each(lambda event: drop("content_index")(event)
                if _is("output_text.delta")(event) else event))),
    ("delta-object", "Pieces of the text are objects.",
     items(each(lambda event: change("delta", lambda text: {"content": text})(event)
                if _is("output_text.delta")(event) else event))),
    ("no-delta", "Pieces of the text have no delta.",
     items(each(lambda event: rename("delta", "text")(event)
                if _is("output_text.delta")(event) else event))),
    ("final-empty", "The last event has no output.",
     items(last(put("response.output", []), _ends))),
    ("final-missing", "The last event has no response.",
     items(last(drop("response"), _ends))),
    ("final-text", "The text in the last event is not what was streamed.",
     items(last(put(f"response.{_TEXT}", "Something else."), _ends))),
    ("arguments-lost", "The arguments of a call never come in pieces, nor are they done.",
     items(lambda said: _numbered(without(lambda event: "function_call_arguments"
                                          in event["type"])(said)))),
    ("arguments-differ", "The pieces of a call's arguments are not what is done.",
     items(each(lambda event: change("delta", lambda text: text[:-1])(event)
                if _is("function_call_arguments.delta")(event) else event))),
    ("one-newline", "Events are parted by one line end, not by a blank line.",
     frames(lambda sent: [frame.removesuffix(b"\n") for frame in sent])),
    ("empty-data", "A frame has empty data.", frames(lambda sent: [b"data: \n\n", *sent])),
    ("cut", "The stream is cut in the middle of an event.",
     frames(lambda sent: [*sent[:3], *(frame[: len(frame) // 2] for frame in sent[3:4])])),
    ("bad-json", "An event is cut in the middle of its JSON.",
     frames(lambda sent: [*sent[:3], sent[3][:-9] + b"\n\n", *sent[4:]])),
    ("empty", "A stream has no body.", frames(lambda sent: [])),
    ("chunks", "The events are the chunks of chat completions.",
     frames(lambda sent: [
         b'data: {"id":"x","object":"chat.completion.chunk","created":1,"model":"echo",'
         b'"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}\n\n',
         b"data: [DONE]\n\n"])),
    ("whole", "A stream is asked for, and a whole answer comes.",
     drop_asked("stream")),
)  # fmt: skip

_MINOR_STREAM = (
    ("final-usage", "The last event has no token counts.",
     items(last(put("response.usage", None), _ends))),
    ("final-status", "The response in the last event is still in progress.",
     items(last(put("response.status", "in_progress"), _ends))),
    ("completed-twice", "The event that ends the stream comes twice.",
     items(lambda said: _numbered(twice(_ends)(said)))),
    ("unnamed", "Events have no names.",
     frames(lambda sent: [frame[frame.index(b"data:"):] for frame in sent])),
    ("numbers-missing", "Events are not numbered.", items(each(drop("sequence_number")))),
    ("numbers-same", "All events have the number 0.", items(each(put("sequence_number", 0)))),
    ("marker", "[DONE] comes last, as in another API.",
     frames(lambda sent: [*sent, b"data: [DONE]\n\n"])),
    ("ids-differ", "The response in the last event has another id.",
     items(last(put("response.id", "resp_other"), _ends))),
    ("no-text-done", "The text is never done.",
     items(lambda said: _numbered(without(_is("output_text.done"))(said)))),
    ("item-id", "Pieces of the text name another item.",
     items(each(lambda event: put("item_id", "msg_other")(event)
                if _is("output_text.delta")(event) else event))),
)  # fmt: skip

_WHOLE = (
    ("no-output", "There is no output.", whole(drop("output"))),
    ("output-null", "The output is null.", whole(put("output", None))),
    ("output-text", "The output is a text.", whole(put("output", "one two three"))),
    ("output-empty", "The output is empty.", whole(put("output", []))),
    ("no-content", "The message has no content.", whole(drop("output.*.content"))),
    ("content-text", "The content of the message is a text.",
     whole(change("output.*.content", lambda parts: parts[0]["text"]))),
    ("part-type", "The text's part has the type 'text', which readers pass over.",
     whole(put("output.*.content.*.type", "text"))),
    ("part-text", "The text's part has no text.", whole(drop(_TEXT))),
    ("item-type", "The items of the output have no type.", whole(drop("output.*.type"))),
    ("choices", "The answer is one of chat completions.",
     whole(lambda told: {"id": "x", "object": "chat.completion", "created": 1, "model": "echo",
                         "choices": [{"index": 0, "finish_reason": "stop", "message": {
                             "role": "assistant", "content": "Hi"}}]})),
    ("nested", "The answer is wrapped in 'response'.", whole(lambda told: {"response": told})),
    ("status-wrong", "The status of an answer that is complete is 'in_progress'.",
     whole(put("status", "in_progress"))),
    ("length-completed", "An answer that was cut off by the limit is 'completed'.",
     whole(lambda told: {**told, "status": "completed", "incomplete_details": None})),
    ("usage-chat", "The token counts have the names of another API.",
     whole(lambda told: rename("usage.input_tokens", "prompt_tokens")(
         rename("usage.output_tokens", "completion_tokens")(told)))),
    ("usage-sum", "The total of the token counts is not the sum.",
     whole(change("usage.total_tokens", lambda total: total + 7))),
    ("usage-zero", "No token was counted for the text.", whole(put_if("usage.output_tokens", 0))),
    ("no-usage", "There are no token counts.", whole(drop("usage"))),
    ("arguments-object", "The arguments of a call are an object, not a text.",
     whole(change("output.*.arguments", loads))),
    ("arguments-cut", "The arguments of a call are cut off.",
     whole(change("output.*.arguments", lambda text: text[:-1]))),
    ("call-id", "A call has no call_id, so that it cannot be answered.",
     whole(drop("output.*.call_id"))),
    ("call-name", "A tool is called that was never offered.",
     whole(change("output.*.name", lambda _: "format_disk"))),
    ("page", "A web page with status 200 comes instead of an answer.", answers(as_page)),
    ("empty", "The body is empty.", answers(empty)),
    ("error-200", "An error comes with status 200.",
     whole(lambda _: {"error": {"message": "busy", "type": "server_error"}})),
)  # fmt: skip

_MINOR_WHOLE = (
    ("no-id", "There is no id.", whole(drop("id"))),
    ("no-object", "There is no object.", whole(drop("object"))),
    ("no-role", "The message has no role.", whole(drop("output.*.role"))),
    ("model-wrong", "Another model is named than was asked for.", whole(put("model", "gpt-4"))),
    ("no-tier", "There is neither a service tier nor truncation.",
     whole(lambda told: drop("truncation")(drop("service_tier")(told)))),
)  # fmt: skip

_IGNORED = (
    ("max-tokens", "max_output_tokens is ignored.", drop_asked("max_output_tokens")),
    ("json", "text.format json_object is ignored.",
     questions(body(lambda asked: drop("text")(asked) if asked.get("text", {}).get(
         "format", {}).get("type") == "json_object" else asked))),
    ("schema", "text.format json_schema is ignored.",
     questions(body(lambda asked: drop("text")(asked) if asked.get("text", {}).get(
         "format", {}).get("type") == "json_schema" else asked))),
    ("tools", "Tools are ignored.", drop_asked("tools", "tool_choice")),
    ("tool-choice", "tool_choice is ignored.", drop_asked("tool_choice")),
)  # fmt: skip

_REFUSED = (
    ("text", "An input that is a text is refused.",
     refuse_when(lambda asked: isinstance(asked.get("input"), str))),
    ("history", "A conversation of several turns is refused.",
     refuse_when(lambda asked: isinstance(asked.get("input"), list)
                 and len(asked["input"]) > 2)),
    ("store", "store: false is refused.", refuse_when(lambda asked: "store" in asked)),
    ("null", "Fields that are null are refused.",
     refuse_when(lambda asked: None in asked.values())),
)  # fmt: skip

_ERRORS = (
    ("detail", "Refusals have 'detail', as a web framework writes it by itself.",
     refused(lambda _: {"detail": [{"loc": ["body"], "msg": "Field required"}]})),
    ("text", "The error of refusals is a text.", refused(put("error", "bad request"))),
    ("page", "Refusals are web pages.", refusals(as_page)),
    ("status-200", "Refusals have status 200.", refusals(set_status(200))),
    ("status-500", "What the client did wrong is answered with 500.", refusals(set_status(500))),
)  # fmt: skip
