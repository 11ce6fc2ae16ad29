"""Broken chat completions. Most are defects that servers were seen with."""

from __future__ import annotations

from collections.abc import Iterator

from llmount.check.verdict import Verdict
from llmount.types import JSON

from .edits import (
    after,
    change,
    drop,
    first,
    has,
    last,
    put,
    put_if,
    rename,
    twice,
    without,
)
from .exchange import answers, each, frames, items, questions, refusals, refused, whole
from .mutant import Mutant, rows
from .shaping import (
    as_page,
    body,
    drop_asked,
    empty,
    refuse_when,
    replace_bytes,
    set_header,
    set_status,
)

__all__ = ["mutants"]

_ON = "/chat/completions"
_NAME = "chat/openai"

_finish = has("choices.*.finish_reason")
_text = has("choices.*.delta.content")
_call = has("choices.*.delta.tool_calls")
_usage = has("usage")
_ROLE = "choices.*.delta.role"
_CALL = "choices.*.delta.tool_calls.*"
_COUNTS = {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6}


def _done(item: JSON) -> bool:
    return bool(item == "[DONE]")


def mutants() -> Iterator[Mutant]:
    yield from rows(_NAME, "chat-stream", _ON, *_STREAM)
    yield from rows(_NAME, "chat-stream", _ON, *_MINOR_STREAM, due=Verdict.WARN)
    yield from rows(_NAME, "chat-frames", _ON, *_FRAMES)
    yield from rows(_NAME, "chat-tools", _ON, *_TOOLS)
    yield from rows(_NAME, "chat-tools", _ON, *_MINOR_TOOLS, due=Verdict.WARN)
    yield from rows(_NAME, "chat-answer", _ON, *_WHOLE)
    yield from rows(_NAME, "chat-answer", _ON, *_MINOR_WHOLE, due=Verdict.WARN)
    yield from rows(_NAME, "chat-ignores", _ON, *_IGNORED)
    yield from rows(_NAME, "chat-ignores", _ON, *_MINOR_IGNORED, due=Verdict.WARN, origin="random")
    yield from rows(_NAME, "chat-refuses", _ON, *_REFUSED)
    yield from rows(_NAME, "chat-errors", _ON, *_ERRORS)


_STREAM = (
    ("no-end", "A stream stops after its text: no finish_reason, no [DONE].",
     items(lambda said: without(_done)(without(_finish)(said)))),
    ("no-finish", "A stream has [DONE], but no finish_reason.", items(without(_finish))),
    ("finish-eos", "finish_reason is 'eos', a word that no client knows.",
     items(each(put_if("choices.*.finish_reason", "eos")))),
    ("finish-twice", "The chunk with the finish_reason comes twice.", items(twice(_finish))),
    ("finish-early", "Every chunk has a finish_reason.",
     items(each(put("choices.*.finish_reason", "stop")))),
    ("after-finish", "Text comes after the finish_reason.",
     items(lambda said: [item for old in said for item in (
         [old, *filter(_text, said[:3])] if _finish(old) else [old])])),
    ("role-each", "Every chunk has the role, and readers join them.",
     items(each(put(_ROLE, "assistant")))),
    ("no-role", "No chunk has a role.", items(each(drop(_ROLE)))),
    ("no-index", "Choices have no index.", items(each(drop("choices.*.index")))),
    ("index-one", "The only choice has the index 1.", items(each(put("choices.*.index", 1)))),
    ("index-zero", "With n the choices of a stream all have the index 0.",
     items(each(put("choices.*.index", 0)))),
    ("no-delta", "The last chunk has no delta.",
     items(last(drop("choices.*.delta"), _finish))),
    ("delta-null", "The delta of the last chunk is null.",
     items(last(put("choices.*.delta", None), _finish))),
    ("message", "Chunks have a message where the delta belongs.",
     items(each(rename("choices.*.delta", "message")))),
    ("choices-null", "A chunk has null for choices.", items(first(put("choices", None), _text))),
    ("no-choices", "The chunk with the token counts has no choices.",
     items(each(lambda chunk: drop("choices")(chunk) if _usage(chunk) else chunk))),
    ("usage-each", "Every chunk has token counts, and readers add them.",
     items(each(lambda chunk: chunk if "usage" not in chunk else put("usage", _COUNTS)(chunk)))),
    ("usage-twice", "The token counts come twice, and readers add them.", items(twice(_usage))),
    ("usage-never", "The token counts that were asked for never come.", items(without(_usage))),
    ("usage-wrong", "The total of the token counts is not the sum.",
     items(each(change("usage.total_tokens", lambda total: total + 7)))),
    ("object-wrong", "The object of chunks is 'chat.completion', and readers drop them.",
     items(each(put("object", "chat.completion")))),
    ("object-empty", "The object of chunks is empty.", items(each(put("object", "")))),
    ("created-text", "The time of chunks is a text.", items(each(change("created", str)))),
    ("ping", "JSON that is no chunk comes first, as a sign of life.",
     items(lambda said: [{"ping": True}, *said])),
    ("after-done", "A chunk comes after [DONE].",
     items(lambda said: [*said, said[0]])),
    ("only-done", "A stream has nothing but [DONE].", items(lambda said: said[-1:])),
    ("content-list", "The text of chunks is a list of parts.",
     items(each(change("choices.*.delta.content",
                       lambda text: [{"type": "text", "text": text}])))),
    ("content-null", "Every piece of the text is null.",
     items(each(put_if("choices.*.delta.content", None)))),
    ("error-inside", "An error comes in the middle, and [DONE] as if all were well.",
     items(after(_text, {"error": {"message": "out of memory", "type": "server_error",
                                   "param": None, "code": None}}))),
    ("error-flat", "An error without the key 'error' comes in the middle; readers pass over it.",
     items(lambda said: [*said[:3], {"object": "error", "message": "out of memory", "code": 500}])),
)  # fmt: skip

_MINOR_STREAM = (
    ("finish-empty", "finish_reason is an empty text until the end.",
     items(each(lambda chunk: chunk if _finish(chunk)
                else put("choices.*.finish_reason", "")(chunk)))),
    ("no-done", "A stream has a finish_reason, but no [DONE].", items(without(_done))),
    ("no-id", "Chunks have no id.", items(each(drop("id")))),
    ("no-model", "Chunks have no model.", items(each(drop("model")))),
    ("ids-differ", "Every chunk has another id.",
     items(lambda said: [item if isinstance(item, str) else put("id", f"chatcmpl-{number}")(item)
                         for number, item in enumerate(said)])),
    ("models-differ", "The model changes within a stream.",
     items(last(put("model", "x"), _finish))),
    ("usage-early", "The token counts come before the finish_reason.",
     items(lambda said: sorted(said, key=lambda item: (
         _done(item), _finish(item), _usage(item))))),
    ("text-lost", "A piece of the text is lost in the stream.",
     items(lambda said: without(lambda item: item is _third(said))(said))),
    ("text-twice", "A piece of the text comes twice in the stream.",
     items(lambda said: twice(lambda item: item is _third(said))(said))),
)  # fmt: skip


def _third(said: list[JSON]) -> JSON:
    return [item for item in said if _text(item)][2:3][0] if sum(map(_text, said)) > 2 else None


def _cut(sent: list[bytes]) -> list[bytes]:
    return [*sent[:2], *(frame[: len(frame) // 2] for frame in sent[2:3])]


_FRAMES = (
    ("one-newline", "Events are parted by one line end, not by a blank line.",
     frames(lambda sent: [frame.removesuffix(b"\n") for frame in sent])),
    ("done-space", "A space comes after [DONE].", replace_bytes(b"[DONE]", b"[DONE] ")),
    ("done-lower", "The end is written [done].", replace_bytes(b"[DONE]", b"[done]")),
    ("no-blank", "The last two events have no blank line after them.",
     frames(lambda sent: [*sent[:-2], sent[-2].removesuffix(b"\n\n") + b"\n"])),
    ("retry", "A frame has nothing but retry.", frames(lambda sent: [b"retry: 3000\n\n", *sent])),
    ("id-only", "A frame has nothing but an id.", frames(lambda sent: [b"id: 1\n\n", *sent])),
    ("event-only", "A frame has nothing but the name of an event.",
     frames(lambda sent: [b"event: start\n\n", *sent])),
    ("empty-data", "A frame has empty data.", frames(lambda sent: [b"data: \n\n", *sent])),
    ("ping-event", "A ping comes as an event with JSON.",
     frames(lambda sent: [b'event: ping\ndata: {"type": "ping"}\n\n', *sent])),
    ("error-field", "The end is a field called error.",
     frames(lambda sent: [*sent[:3], b'error: {"message": "out of memory"}\n\n'])),
    ("bad-json", "A chunk is cut in the middle of its JSON.",
     frames(lambda sent: [*_cut(sent), b"\n\n", *sent[3:]])),
    ("no-prefix", "Chunks come as lines of JSON, without 'data:'.",
     frames(lambda sent: [frame.removeprefix(b"data: ") for frame in sent])),
    ("double-prefix", "Every chunk has 'data:' twice.",
     frames(lambda sent: [b"data: " + frame for frame in sent])),
    ("python", "Chunks are written as Python writes dictionaries.",
     frames(lambda sent: [frame.replace(b'"', b"'").replace(b"null", b"None") for frame in sent])),
    ("thread-event", "Every event is named as those of assistants are.",
     frames(lambda sent: [b"event: thread.message.delta\n" + frame for frame in sent])),
    ("empty", "A stream has no body.", frames(lambda sent: [])),
    ("truncated", "A stream stops in the middle of an event.",
     frames(_cut)),
)  # fmt: skip

_TOOLS = (
    ("no-index", "The pieces of a streamed call have no index.",
     items(each(drop(f"{_CALL}.index")))),
    ("index-one", "The first streamed call has the index 1.",
     items(each(put(f"{_CALL}.index", 1)))),
    ("name-again", "Every piece of a streamed call has its name, and readers join them.",
     items(each(put(f"{_CALL}.function.name", "record")))),
    ("id-again", "Every piece of a streamed call has its id, and readers join them.",
     items(each(put(f"{_CALL}.id", "call_1")))),
    ("type-null", "The later pieces of a streamed call have null for the type.",
     items(each(lambda chunk: chunk if has(f"{_CALL}.id")(chunk)
                else put(f"{_CALL}.type", None)(chunk)))),
    ("no-type", "The pieces of a streamed call never have a type.",
     items(each(drop(f"{_CALL}.type")))),
    ("no-id", "A streamed call has no id, so that it cannot be answered.",
     items(each(drop(f"{_CALL}.id")))),
    ("object", "The arguments of a streamed call are an object, not a text.",
     items(each(put_if(f"{_CALL}.function.arguments", {})))),
    ("cut", "The arguments of a streamed call are cut off.",
     items(each(change(f"{_CALL}.function.arguments", lambda text: text[:-1])))),
    ("lost", "A streamed call never comes, but it finishes for tool_calls.",
     items(without(_call))),
    ("whole-object", "The arguments of a call are an object, not a text.",
     whole(put("choices.*.message.tool_calls.*.function.arguments", {}))),
    ("whole-cut", "The arguments of a call are cut off.",
     whole(change("choices.*.message.tool_calls.*.function.arguments", lambda text: text[:-1]))),
    ("whole-name", "A tool is called that was never offered.",
     whole(put("choices.*.message.tool_calls.*.function.name", "format_disk"))),
    ("whole-type", "A call has no type.", whole(drop("choices.*.message.tool_calls.*.type"))),
    ("as-text", "A call comes as text.", whole(lambda answer: _call_as_text(answer))),
    ("ignored", "Tools are ignored.", drop_asked("tools", "tool_choice")),
    ("choice-ignored", "tool_choice is ignored.", drop_asked("tool_choice")),
    ("none-ignored", "A tool is called though tool_choice is 'none'.",
     questions(body(change("tool_choice", lambda _: "required")))),
)  # fmt: skip

_MINOR_TOOLS = (
    ("finish-stop", "A stream with a call finishes for 'stop', so that nobody makes it.",
     items(each(change("choices.*.finish_reason",
                       lambda word: "stop" if word == "tool_calls" else word)))),
    ("whole-finish", "An answer with a call finishes for 'stop'.",
     whole(change("choices.*.finish_reason",
                  lambda word: "stop" if word == "tool_calls" else word))),
    ("whole-wrong", "The arguments of a call do not fit the tool's schema.",
     whole(put("choices.*.message.tool_calls.*.function.arguments", '{"nothing":[]}'))),
)  # fmt: skip


def _call_as_text(answer: JSON) -> JSON:
    for choice in answer["choices"]:
        if calls := choice["message"].pop("tool_calls", None):
            choice["message"]["content"] = f"<tool_call>{calls[0]['function']}</tool_call>"
            choice["finish_reason"] = "stop"
    return answer


_WHOLE = (
    ("html", "An answer is called text/html.", set_header("content-type", "text/html")),
    ("text-plain", "A whole answer is called text/plain, and the node SDK gives a text.",
     set_header("content-type", "text/plain; charset=utf-8", stream=False)),
    ("no-type", "A whole answer has no Content-Type, and the node SDK gives a text.",
     set_header("content-type", None, stream=False)),
    ("page", "A web page with status 200 comes instead of an answer.", answers(as_page)),
    ("empty", "The body is empty.", answers(empty)),
    ("finish-null", "finish_reason is null.", whole(put("choices.*.finish_reason", None))),
    ("no-finish", "There is no finish_reason.", whole(drop("choices.*.finish_reason"))),
    ("finish-eos", "finish_reason is 'eos', a word that no client knows.",
     whole(put("choices.*.finish_reason", "eos"))),
    ("no-usage", "There are no token counts.", whole(drop("usage"))),
    ("usage-null", "The token counts are null.", whole(put("usage", None))),
    ("usage-zero", "All token counts are 0.",
     whole(put("usage", {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}))),
    ("usage-sum", "The total of the token counts is not the sum.",
     whole(change("usage.total_tokens", lambda total: total + 7))),
    ("usage-negative", "A token count is negative.", whole(put("usage.prompt_tokens", -1))),
    ("usage-text", "Token counts are texts.",
     whole(change("usage.completion_tokens", str))),
    ("choices-empty", "choices is empty.", whole(put("choices", []))),
    ("choices-null", "choices is null.", whole(put("choices", None))),
    ("no-choices", "There are no choices.", whole(drop("choices"))),
    ("no-index", "A choice has no index.", whole(drop("choices.*.index"))),
    ("no-role", "The message has no role.", whole(drop("choices.*.message.role"))),
    ("no-message", "The choice has a text, and no message.",
     whole(rename("choices.*.message", "delta"))),
    ("no-content", "The message has no content.", whole(drop("choices.*.message.content"))),
    ("content-null", "The content is null though something was said.",
     whole(put("choices.*.message.content", None))),
    ("content-list", "The content is a list of parts.",
     whole(change("choices.*.message.content", lambda text: [{"type": "text", "text": text}]))),
    ("nested", "The answer is wrapped in 'data'.", whole(lambda answer: {"data": answer})),
    ("error-200", "An error comes with status 200.",
     whole(lambda _: {"error": {"message": "busy", "type": "server_error"}})),
    ("sse", "A whole answer comes as an event.",
     answers(lambda answer: _as_event(answer))),
    ("bad-json", "The JSON of the answer is cut off.",
     replace_bytes(b'"usage":{', b'"usage":', stream=False)),
    ("logprob-positive", "Log probabilities are above 0.",
     whole(change("choices.*.logprobs.content.*.logprob", lambda value: -value))),
    ("logprobs-lost", "The log probabilities that were asked for are missing.",
     whole(put("choices.*.logprobs", None))),
)  # fmt: skip


def _as_event(answer: JSON) -> None:
    if answer.status == 200 and answer.framing is None:
        answer.headers["content-type"] = "text/event-stream"
        answer.body = b"data: " + answer.body + b"\n\n"


_MINOR_WHOLE = (
    ("no-id", "There is no id.", whole(drop("id"))),
    ("no-object", "There is no object.", whole(drop("object"))),
    ("object-chunk", "The object is 'chat.completion.chunk'.",
     whole(put("object", "chat.completion.chunk"))),
    ("no-created", "There is no time.", whole(drop("created"))),
    ("created-float", "The time is a fraction.", whole(change("created", lambda at: at + 0.5))),
    ("no-model", "There is no model.", whole(drop("model"))),
    ("model-wrong", "Another model is named than was asked for.", whole(put("model", "gpt-4"))),
    ("tier", "service_tier is no word of the document.", whole(put("service_tier", "golden"))),
)  # fmt: skip

_IGNORED = (
    ("stop", "stop is ignored.", drop_asked("stop")),
    ("max-tokens", "max_tokens is ignored.", drop_asked("max_tokens")),
    ("max-completion-tokens", "max_completion_tokens is ignored.",
     drop_asked("max_completion_tokens")),
    ("n", "n is ignored.", drop_asked("n")),
    ("json", "response_format json_object is ignored.",
     questions(body(lambda asked: drop("response_format")(asked)
                    if asked.get("response_format", {}).get("type") == "json_object" else asked))),
    ("schema", "response_format json_schema is ignored.",
     questions(body(lambda asked: drop("response_format")(asked)
                    if asked.get("response_format", {}).get("type") == "json_schema" else asked))),
    ("schema-as-json", "A JSON Schema is taken for 'any JSON'.",
     questions(body(change("response_format", lambda _: {"type": "json_object"})))),
    ("logprobs", "logprobs is ignored.", drop_asked("logprobs", "top_logprobs")),
    ("include-usage", "stream_options is ignored.", drop_asked("stream_options")),
    ("stream", "A stream is asked for, and a whole answer comes.",
     drop_asked("stream", "stream_options")),
    ("stream-default", "A stream comes though none was asked for.",
     questions(body(lambda asked: {"stream": True, **asked}))),
    ("length-as-stop", "An answer that was cut off by the limit finishes for 'stop'.",
     whole(change("choices.*.finish_reason",
                  lambda word: "stop" if word == "length" else word))),
)  # fmt: skip

_MINOR_IGNORED = (("seed", "seed is ignored.", drop_asked("seed")),)

_REFUSED = (
    ("parts", "Content that is a list of parts is refused.",
     refuse_when(lambda asked: any(isinstance(m.get("content"), list)
                                   for m in asked.get("messages", ())))),
    ("null", "Fields that are null are refused.",
     refuse_when(lambda asked: None in asked.values())),
    ("stream-options", "stream_options is refused.",
     refuse_when(lambda asked: "stream_options" in asked)),
    ("history", "A conversation of several turns is refused.",
     refuse_when(lambda asked: len(asked.get("messages", ())) > 2)),
    ("assistant-null", "A turn of the assistant with calls and no content is refused.",
     refuse_when(lambda asked: any("content" in m and m["content"] is None
                                   for m in asked.get("messages", ())))),
    ("temperature-zero", "temperature 0 is refused.",
     refuse_when(lambda asked: asked.get("temperature") == 0)),
    ("max-completion-tokens", "max_completion_tokens is refused.",
     refuse_when(lambda asked: "max_completion_tokens" in asked)),
    ("stop-text", "stop as one text is refused.",
     refuse_when(lambda asked: isinstance(asked.get("stop"), str))),
    ("user", "The field user is refused.", refuse_when(lambda asked: "user" in asked)),
)  # fmt: skip

_ERRORS = (
    ("detail", "Refusals have 'detail', as a web framework writes it by itself.",
     refused(lambda _: {"detail": [{"loc": ["body"], "msg": "Field required"}]})),
    ("text", "The error of refusals is a text.", refused(put("error", "bad request"))),
    ("flat", "Refusals are flat, without 'error'.",
     refused(lambda told: {"object": "error", **told["error"]})),
    ("list", "Refusals are lists.", refused(lambda told: [told])),
    ("message-null", "The message of refusals is null.", refused(put("error.message", None))),
    ("no-message", "Refusals have no message.", refused(drop("error.message"))),
    ("page", "Refusals are web pages.", refusals(as_page)),
    ("empty", "Refusals have no body.", refusals(empty)),
    ("status-200", "Refusals have status 200.", refusals(set_status(200))),
    ("status-500", "What the client did wrong is answered with 500.", refusals(set_status(500))),
)  # fmt: skip
