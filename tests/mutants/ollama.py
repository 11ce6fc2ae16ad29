"""Broken servers of Ollama's API. Most are defects that look-alikes were seen with."""

from __future__ import annotations

from collections.abc import Iterator

from llmount.check.verdict import Verdict
from llmount.jsontext import dumps
from llmount.types import JSON

from .edits import change, drop, has, last, put, put_if, rename, twice
from .exchange import (
    Answer,
    answers,
    both,
    each,
    frames,
    items,
    questions,
    refusals,
    refused,
    whole,
)
from .mutant import Mutant, rows
from .shaping import (
    as_page,
    body,
    drop_asked,
    empty,
    put_asked,
    refuse_when,
    replace_bytes,
    set_header,
    set_status,
)

__all__ = ["mutants"]

_NAME = "generate/ollama"
_BOTH = "/(generate|chat)"

_done = has("done")


def mutants() -> Iterator[Mutant]:
    yield from rows(_NAME, "ollama-stream", _BOTH, *_STREAM)
    yield from rows(_NAME, "ollama-stream", _BOTH, *_MINOR_STREAM, due=Verdict.WARN)
    yield from rows(_NAME, "ollama-answer", _BOTH, *_ANSWER)
    yield from rows(_NAME, "ollama-answer", _BOTH, *_MINOR_ANSWER, due=Verdict.WARN)
    yield from rows(_NAME, "ollama-generate", "/generate", *_GENERATE)
    yield from rows(_NAME, "ollama-generate", "/generate", *_MINOR_GENERATE, due=Verdict.WARN)
    yield from rows(_NAME, "ollama-chat", "/chat", *_CHAT)
    yield from rows(_NAME, "ollama-chat", "/chat", *_MINOR_CHAT, due=Verdict.WARN)
    yield from rows(_NAME, "ollama-tools", "/chat", *_TOOLS, origin="calling")
    yield from rows(_NAME, "ollama-tools", "/chat", *_MINOR_TOOLS, due=Verdict.WARN,
                    origin="calling")  # fmt: skip
    yield from rows(_NAME, "ollama-ignores", _BOTH, *_IGNORED)
    yield from rows(_NAME, "ollama-ignores", _BOTH, *_MINOR_IGNORED, due=Verdict.WARN)
    yield from rows(_NAME, "ollama-ignores", _BOTH, *_SEED, due=Verdict.WARN, origin="random")
    yield from rows(_NAME, "ollama-refuses", _BOTH, *_REFUSED)
    yield from rows(_NAME, "ollama-refuses", _BOTH, *_MINOR_REFUSED, due=Verdict.WARN)
    yield from rows(_NAME, "ollama-errors", "/(generate|chat|show)", *_ERRORS)
    yield from rows(_NAME, "ollama-tags", "/tags", *_TAGS)
    yield from rows(_NAME, "ollama-tags", "/tags", *_MINOR_TAGS, due=Verdict.WARN)
    yield from rows(_NAME, "ollama-show", "/show", *_SHOW)
    yield from rows(_NAME, "ollama-show", "/show", *_MINOR_SHOW, due=Verdict.WARN)
    yield from rows(_NAME, "ollama-ps", "/ps", *_PS)
    yield from rows(_NAME, "ollama-ps", "/ps", *_MINOR_PS, due=Verdict.WARN)
    yield from rows(_NAME, "ollama-version", "/version", *_VERSION)
    yield from rows(_NAME, "ollama-embed", "/embed", *_EMBED)
    yield from rows(_NAME, "ollama-thinking", _BOTH, *_THINKING, origin="thinking")
    yield from rows(_NAME, "ollama-thinking", _BOTH, *_MINOR_THINKING, due=Verdict.WARN,
                    origin="thinking")  # fmt: skip


_STREAM = (
    ("no-done", "No line says that it is done.", items(lambda said: said[:-1])),
    ("done-false", "The last line has done: false.", items(last(put("done", False)))),
    ("done-text", "done is a text.", items(each(change("done", str)))),
    ("done-always", "Every line has done: true, so that readers stop at the first.",
     items(each(put("done", True)))),
    ("done-twice", "The last line comes twice.", items(twice(_done))),
    ("after-done", "A line with text comes after the one that is done.",
     items(lambda said: [*said[1:], said[0]])),
    ("done-missing", "Lines do not have done.", items(each(drop("done")))),
    ("blank", "Blank lines stand between the lines; the Python client fails.",
     frames(lambda sent: [frame + b"\n" for frame in sent])),
    ("events", "Lines come as server-sent events.",
     frames(lambda sent: [b"data: " + frame + b"\n" for frame in sent])),
    ("event-stream", "The stream is one of server-sent events, in name as well.",
     answers(lambda answer: _as_events(answer))),
    ("no-newline", "Lines have no ends.", replace_bytes(b"}\n", b"}")),
    ("array", "The lines are one JSON array.", answers(lambda answer: _as_array(answer))),
    ("cut", "The stream is cut in the middle of a line.",
     frames(lambda sent: [*sent[:2], *(frame[: len(frame) // 2] for frame in sent[2:3])])),
    ("empty", "The stream has no line.", frames(lambda sent: [])),
    ("python", "Lines are written as Python writes dictionaries.",
     frames(lambda sent: [frame.replace(b'"', b"'").replace(b"false", b"False")
                          for frame in sent])),
    ("marker", "[DONE] comes last, as in another API.",
     frames(lambda sent: [*sent, b"[DONE]\n"])),
    ("openai", "The items are those of chat completions.",
     items(each(lambda line: {
         "object": "chat.completion.chunk", "choices": [
             {"index": 0, "delta": {"content": _text_of(line)}, "finish_reason": None}]}))),
    ("ignored-whole", "A stream comes where stream: false was asked for.",
     put_asked("stream", True)),
    ("whole-text", "The last line has the whole text again.",
     items(lambda said: [*said[:-1], _with_text(said[-1], "".join(map(_text_of, said)))])),
    ("growing", "Every line has all of the text so far.", items(lambda said: _growing(said))),
    ("no-counts", "The last line has no token counts.",
     items(last(lambda line: drop("eval_count")(drop("prompt_eval_count")(line))))),
)  # fmt: skip

_MINOR_STREAM = (
    ("ignored", "A stream that is asked for is one line with everything.",
     put_asked("stream", False)),
    ("json-type", "The stream is called application/json, which no client reads.",
     set_header("content-type", "application/json", stream=True)),
    ("counts-each", "Every line has token counts.",
     items(lambda said: [{**line, "eval_count": number + 1, "prompt_eval_count": 5}
                         for number, line in enumerate(said)])),
    ("no-model", "Lines have no model.", items(each(drop("model")))),
    ("model-changes", "The model changes within a stream.", items(last(put("model", "x")))),
    ("text-lost", "A piece of the text is lost in the stream.",
     items(lambda said: [*said[:2], *said[3:]])),
    ("no-reason", "The last line has no done_reason.", items(last(drop("done_reason")))),
    ("null", "Lines have null where they should have nothing.",
     items(each(put("context", None)))),
)  # fmt: skip


def _text_of(line: JSON) -> str:
    return str(line["response"] if "response" in line else line["message"]["content"])


def _with_text(line: JSON, text: str) -> JSON:
    if "response" in line:
        return {**line, "response": text}
    return {**line, "message": {**line["message"], "content": text}}


def _growing(said: list[JSON]) -> list[JSON]:
    texts = list(map(_text_of, said))
    return [_with_text(line, "".join(texts[: number + 1])) for number, line in enumerate(said)]


def _as_events(answer: Answer) -> None:
    if answer.framing is not None:
        answer.headers["content-type"] = "text/event-stream"
        answer.frames = [b"data: " + frame + b"\n" for frame in answer.frames]


def _as_array(answer: Answer) -> None:
    if answer.framing is not None:
        answer.body = b"[" + b",".join(frame.strip() for frame in answer.frames) + b"]\n"


_ANSWER = (
    ("created-number", "created_at is a number; the Python client refuses it.",
     both(put("created_at", 1795264840))),
    ("created-local", "created_at is no date that Go reads.",
     both(put("created_at", "Sat Nov 21 12:40:51 2026"))),
    ("count-fraction", "Token counts are fractions; the Python client refuses them.",
     both(change("eval_count", lambda count: count + 0.5))),
    ("count-text", "Token counts are texts.", both(change("prompt_eval_count", str))),
    ("duration-fraction", "Durations are fractions of seconds.",
     both(change("total_duration", lambda value: value / 1e9))),
    ("no-counts", "There are no token counts.",
     whole(lambda told: drop("eval_count")(drop("prompt_eval_count")(told)))),
    ("count-zero", "Text was written, but eval_count is 0.", both(put_if("eval_count", 0))),
    ("done-false", "A whole answer has done: false.", whole(put("done", False))),
    ("no-done", "A whole answer does not have done.", whole(drop("done"))),
    ("empty", "The body is empty.", answers(lambda answer: empty(answer)
                                           if answer.framing is None else None)),
    ("page", "A web page with status 200 comes instead of an answer.",
     answers(lambda answer: as_page(answer) if answer.framing is None else None)),
    ("nested", "The answer is wrapped in 'data'.", whole(lambda told: {"data": told})),
    ("array", "The answer is a list of one.", whole(lambda told: [told])),
    ("error-200", "An error comes with status 200.", whole(lambda _: {"error": "busy"})),
    ("lines", "A whole answer has two lines of JSON.",
     answers(lambda answer: _doubled(answer))),
    ("reason-eos", "done_reason is 'eos', a word that no client knows.",
     both(put_if("done_reason", "eos"))),
    ("length-as-stop", "An answer that was cut off by the limit is done for 'stop'.",
     both(change("done_reason", lambda word: "stop" if word == "length" else word))),
)  # fmt: skip


def _doubled(answer: Answer) -> None:
    if answer.status == 200 and answer.framing is None:
        answer.body = answer.body + b"\n" + answer.body


_MINOR_ANSWER = (
    ("duration-negative", "A duration is negative.",
     both(change("eval_duration", lambda value: -value))),
    ("duration-huge", "The total is a million times too long.",
     both(change("total_duration", lambda value: value * 10**6))),
    ("duration-parts", "A part takes longer than the total.",
     both(change("eval_duration", lambda value: value + 10**10))),
    ("no-created", "There is no created_at.", both(drop("created_at"))),
    ("no-model", "There is no model.", whole(drop("model"))),
    ("model-wrong", "Another model is named than was asked for.", both(put("model", "llama3"))),
    ("no-reason", "There is no done_reason.", whole(drop("done_reason"))),
)  # fmt: skip

_GENERATE = (
    ("no-response", "There is no response.", both(drop("response"))),
    ("response-null", "The response is null.", both(put("response", None))),
    ("message", "The text is in a message, as that of chats is.",
     both(lambda told: {**drop("response")(told),
                        "message": {"role": "assistant", "content": told.get("response", "")}})),
    ("response-list", "The response is a list.", both(change("response", lambda text: [text]))),
    ("load-refused", "A request without a prompt, which loads a model, is refused.",
     refuse_when(lambda asked: not asked.get("prompt"))),
    ("context-text", "The context is a text.",
     both(change("context", lambda numbers: ",".join(map(str, numbers))))),
    ("raw-refused", "raw is refused.", refuse_when(lambda asked: "raw" in asked)),
    ("missing", "There is no /api/generate.", answers(set_status(404))),
)  # fmt: skip

_MINOR_GENERATE = (
    ("load-answers", "A request without a prompt is answered with text.",
     questions(body(lambda asked: asked if asked.get("prompt") else {**asked, "prompt": "Hi!"}))),
    ("context-ignored", "The context of an earlier answer is ignored.", drop_asked("context")),
)  # fmt: skip

_CHAT = (
    ("no-message", "There is no message.", both(drop("message"))),
    ("message-text", "The message is a text.",
     both(change("message", lambda message: message["content"]))),
    ("no-content", "The message has no content.", both(drop("message.content"))),
    ("content-null", "The content is null.", both(put("message.content", None))),
    ("content-list", "The content is a list of parts.",
     both(change("message.content", lambda text: [{"type": "text", "text": text}]))),
    ("no-role", "The message has no role.", both(drop("message.role"))),
    ("response", "The text is in response, as that of generate is.",
     both(lambda told: {**drop("message")(told),
                        "response": told.get("message", {}).get("content", "")})),
    ("history-refused", "A conversation of several turns is refused.",
     refuse_when(lambda asked: len(asked.get("messages", ())) > 2)),
    ("missing", "There is no /api/chat.", answers(set_status(404))),
)  # fmt: skip

_MINOR_CHAT = (("role-user", "The message is one of the user.", both(put("message.role", "user"))),)

_TOOLS = (
    ("arguments-text", "The arguments of a call are a text, as in another API.",
     both(change("message.tool_calls.*.function.arguments", dumps))),
    ("call-flat", "A call has its name right in it, not in a function.",
     both(change("message.tool_calls", lambda calls: [each["function"] for each in calls]))),
    ("call-name", "A tool is called that was never offered.",
     both(put("message.tool_calls.*.function.name", "format_disk"))),
    ("calls-lost", "In a stream the call never comes.",
     items(each(drop("message.tool_calls")))),
    ("tools-refused", "Tools are refused, by a model that is listed with them.",
     refuse_when(lambda asked: "tools" in asked)),
)  # fmt: skip

_MINOR_TOOLS = (
    ("arguments-wrong", "The arguments of a call do not fit the tool's schema.",
     both(put("message.tool_calls.*.function.arguments", {"nothing": []}))),
)  # fmt: skip

_IGNORED = (
    ("stop", "options.stop is ignored.", drop_asked("options.stop")),
    ("num-predict", "options.num_predict is ignored.", drop_asked("options.num_predict")),
    ("options", "All options are ignored.", drop_asked("options")),
    ("json", "format json is ignored.",
     questions(body(lambda asked: drop("format")(asked)
                    if asked.get("format") == "json" else asked))),
    ("schema", "A JSON Schema in format is ignored.",
     questions(body(lambda asked: drop("format")(asked)
                    if isinstance(asked.get("format"), dict) else asked))),
    ("logprobs", "logprobs is ignored.", drop_asked("logprobs", "top_logprobs")),
)  # fmt: skip

_SEED = (("seed", "options.seed is ignored.", drop_asked("options.seed")),)

_MINOR_IGNORED = (
    ("stream-default", "Without stream a whole answer comes.",
     questions(body(lambda asked: {"stream": False, **asked}))),
)  # fmt: skip

_REFUSED = (
    ("options", "options are refused.", refuse_when(lambda asked: "options" in asked, 422)),
    ("keep-alive", "keep_alive is refused.",
     refuse_when(lambda asked: "keep_alive" in asked, 422)),
    ("type", "A body that is not called JSON is refused, as curl sends it.",
     answers(lambda answer: set_status(415)(answer)
             if "json" not in answer.question.headers.get("content-type", "") else None)),
)  # fmt: skip

_MINOR_REFUSED = (
    ("unknown", "Fields that are not known are refused.",
     refuse_when(lambda asked: bool(asked.keys() - {
         "model", "prompt", "messages", "stream", "options", "format", "tools", "system",
         "logprobs", "top_logprobs", "raw", "context", "keep_alive", "think", "images", "suffix",
         "template", "truncate", "shift"}), 422)),
)  # fmt: skip

_ERRORS = (
    ("detail", "Refusals have 'detail', as a web framework writes it by itself.",
     refused(lambda told: {"detail": told.get("error")})),
    ("object", "The error of refusals is an object, as in another API.",
     refused(change("error", lambda text: {"message": text, "type": "invalid", "code": None}))),
    ("list", "Refusals are lists, and the Python client fails.", refused(lambda told: [told])),
    ("message", "Refusals have 'message' instead of 'error'.",
     refused(rename("error", "message"))),
    ("page", "Refusals are web pages.", refusals(as_page)),
    ("empty", "Refusals have no body.", refusals(empty)),
    ("status-200", "Refusals have status 200.", refusals(set_status(200))),
    ("status-500", "What the client did wrong is answered with 500.", refusals(set_status(500))),
)  # fmt: skip

_TAGS = (
    ("null", "models is null.", whole(put("models", None))),
    ("no-models", "There is no key models.", whole(rename("models", "data"))),
    ("bare", "The list of models is a bare list.", whole(lambda told: told["models"])),
    ("no-name", "Models have no name.",
     whole(lambda told: drop("models.*.model")(drop("models.*.name")(told)))),
    ("names", "Models are names.",
     whole(change("models", lambda found: [each["name"] for each in found]))),
    ("modified-words", "modified_at is no date that the Python client reads.",
     whole(put("models.*.modified_at", "2 days ago"))),
    ("missing", "There is no list of models.", answers(set_status(404))),
)  # fmt: skip

_MINOR_TAGS = (
    ("modified-number", "modified_at is a number.",
     whole(put("models.*.modified_at", 1795264840))),
    ("size-text", "The size is a text.", whole(put("models.*.size", "4.1 GB"))),
    ("empty", "The list is empty, though there is a model.", whole(put("models", []))),
)  # fmt: skip

_SHOW = (
    ("no-info", "There is no model_info; the Python client refuses that.",
     whole(drop("model_info"))),
    ("info-null", "model_info is null.", whole(put("model_info", None))),
    ("missing", "There is no /api/show, and editors refuse the server.",
     answers(set_status(404))),
)  # fmt: skip

_MINOR_SHOW = (
    ("no-capabilities", "There are no capabilities.", whole(drop("capabilities"))),
    ("unknown", "A model that is not there is shown with status 200.", refusals(set_status(200))),
)

_PS = (
    ("null", "models is null.", whole(put("models", None))),
    ("bare", "It is a bare list.", whole(lambda told: told["models"])),
)  # fmt: skip

_MINOR_PS = (("missing", "There is no /api/ps.", answers(set_status(404))),)

_VERSION = (
    ("number", "The version is a number.", whole(put("version", 0.32))),
    ("renamed", "The version has another key.", whole(rename("version", "ollama_version"))),
    ("missing", "There is no /api/version.", answers(set_status(404))),
)  # fmt: skip

_EMBED = (
    ("renamed", "The embeddings have another key.", whole(rename("embeddings", "data"))),
    ("flat", "The embedding of one text is not in a list.",
     whole(change("embeddings", lambda found: found[0]))),
    ("few", "There are fewer embeddings than texts.",
     whole(change("embeddings", lambda found: found[:1]))),
    ("lengths", "Embeddings differ in length.",
     whole(change("embeddings", lambda found: [
         vector[: number + 1] for number, vector in enumerate(found)]))),
    ("order", "Embeddings are not in the order of the texts.",
     whole(change("embeddings", lambda found: found[::-1]))),
)  # fmt: skip

_THINKING = (
    ("tags", "What the model thinks is in its text, between tags.",
     both(lambda told: _in_tags(told))),
    ("refused", "think is refused, by a model that is listed with it.",
     refuse_when(lambda asked: bool(asked.get("think")))),
)  # fmt: skip

_MINOR_THINKING = (("ignored", "think: false is ignored.", drop_asked("think")),)


def _in_tags(told: JSON) -> JSON:
    holder = told if "response" in told else told.get("message", {})
    name = "response" if "response" in told else "content"
    if thought := holder.pop("thinking", None):
        holder[name] = f"<think>{thought}</think>{holder.get(name, '')}"
    return told
