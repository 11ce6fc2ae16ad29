"""Broken servers of the gateway's API, and of the smaller dialects."""

from __future__ import annotations

from collections.abc import Iterator

from llmount.check.verdict import Verdict
from llmount.types import JSON

from .edits import Test, change, drop, has, last, put, rename, twice, without
from .exchange import answers, each, frames, items, refusals, refused, whole
from .mutant import Mutant, rows
from .shaping import as_page, drop_asked, empty, put_asked, replace_bytes, set_status

__all__ = ["mutants"]

_finish = has("choices.*.finish_reason")
_done = has("done")


def mutants() -> Iterator[Mutant]:
    yield from rows("ai/geenii", "geenii", "/completion", *_GEENII)
    yield from rows("ai/geenii", "geenii", "/completion", *_MINOR_GEENII, due=Verdict.WARN)
    yield from rows("ai/geenii", "geenii-stream", "/completion", *_GEENII_STREAM)
    yield from rows("ai/geenii", "geenii-stream", "/completion", *_MINOR_GEENII_STREAM,
                    due=Verdict.WARN)  # fmt: skip
    yield from rows("ai/geenii", "geenii-models", "/models", *_GEENII_MODELS)
    yield from rows("chat/azure", "azure", "/deployments/.+/chat/completions", *_AZURE)
    yield from rows("chat/codeinferflow", "inferflow", "/chat/completions", *_INFERFLOW)
    yield from rows("chat/codeinferflow", "inferflow", "/chat/completions", *_MINOR_INFERFLOW,
                    due=Verdict.WARN)  # fmt: skip
    yield from rows("generate/codeinferflow", "inferflow-generate", "/generate", *_INFERFLOW_LINES)
    yield from rows("chat/ktransformers", "ktransformers", "/chat/completions", *_KTRANSFORMERS)
    yield from rows("generate/ktransformers", "ktransformers-generate", "/generate", *_KT_LINES)
    yield from rows("generate/ajstudioz", "ajstudioz", "/generate", *_AJSTUDIOZ, origin="keyed")


_GEENII = (
    ("no-text", "There is no output_text.", whole(drop("output_text"))),
    ("text-null", "output_text is null.", whole(put("output_text", None))),
    ("no-output", "There is no output.", whole(drop("output"))),
    ("output-text", "The output is a text.", whole(put("output", "one two three"))),
    ("no-result", "There is no model_result.", whole(drop("model_result"))),
    ("no-envelope", "The provider's own answer comes without the envelope.",
     whole(lambda told: told.get("model_result") or told)),
    ("part-type", "The text's part has the type 'text'.",
     whole(put("output.*.content.*.type", "text"))),
    ("error-empty", "The error of a good answer is an empty object.", whole(put("error", {}))),
    ("error-flat", "Refusals have 'error' instead of 'detail'.",
     refused(rename("detail", "error"))),
    ("page", "Refusals are web pages.", refusals(as_page)),
    ("status-500", "What the client did wrong is answered with 500.", refusals(set_status(500))),
    ("max-tokens", "max_tokens is ignored.", drop_asked("max_tokens")),
    ("empty", "The body is empty.", answers(empty)),
)  # fmt: skip


_MINOR_GEENII = (
    ("text-differs", "output_text is not what the output says.",
     whole(put("output_text", "Something else."))),
    ("output-empty", "The output is empty.", whole(put("output", []))),
    ("prompt-lost", "Prompts are not read.", put_asked("prompt", "")),
)  # fmt: skip


def _is(kind: str) -> Test:
    return lambda event: not isinstance(event, str) and event["type"] == f"response.{kind}"


def _ends(event: JSON) -> bool:
    return _is("completed")(event) or _is("incomplete")(event)


_GEENII_STREAM = (
    ("no-completed", "No event ends the stream.", items(without(_ends))),
    ("no-created", "No event says that the response was created.", items(without(_is("created")))),
    ("no-item", "Text comes before its item is added.",
     items(without(_is("output_item.added")))),
    ("delta-lost", "No text comes before all of it is done.",
     items(without(_is("output_text.delta")))),
    ("final-empty", "The last event has no output.",
     items(last(lambda event: put("response.output", [])(
         put("response.output_text", "")(event)), _ends))),
    ("final-missing", "The last event has no response.",
     items(last(drop("response"), _ends))),
    ("one-newline", "Events are parted by one line end, not by a blank line.",
     frames(lambda sent: [frame.removesuffix(b"\n") for frame in sent])),
    ("bad-json", "An event is cut in the middle of its JSON.",
     frames(lambda sent: [*sent[:3], sent[3][:-9] + b"\n\n", *sent[4:]])),
    ("whole", "A stream is asked for, and a whole answer comes.", drop_asked("stream")),
)  # fmt: skip

_MINOR_GEENII_STREAM = (
    ("completed-twice", "The event that ends the stream comes twice.", items(twice(_ends))),
)

_GEENII_MODELS = (
    ("object", "The list of models is in an object.", whole(lambda told: {"models": told})),
    ("no-provider", "Models have no provider.", whole(drop("*.provider"))),
    ("no-name", "Models have no name.", whole(drop("*.name"))),
)  # fmt: skip

_AZURE = (
    ("no-finish", "A stream has [DONE], but no finish_reason.", items(without(_finish))),
    ("role-each", "Every chunk has the role, and readers join them.",
     items(each(put("choices.*.delta.role", "assistant")))),
    ("choices-empty", "choices is empty.", whole(put("choices", []))),
    ("content-list", "The content is a list of parts.",
     whole(change("choices.*.message.content", lambda text: [{"type": "text", "text": text}]))),
    ("detail", "Refusals have 'detail', as a web framework writes it by itself.",
     refused(lambda _: {"detail": "bad request"})),
    ("max-tokens", "max_tokens is ignored.", drop_asked("max_tokens")),
)  # fmt: skip

_INFERFLOW = (
    ("no-end", "A stream stops after its text.", items(lambda said: said[:-2])),
    ("no-delta", "Chunks have no delta.", items(each(drop("choices.*.delta")))),
    ("no-choices", "Chunks have no choices.", items(each(drop("choices")))),
    ("one-newline", "Events are parted by one line end, not by a blank line.",
     frames(lambda sent: [frame.removesuffix(b"\n") for frame in sent])),
    ("finish-twice", "The chunk with the finish_reason comes twice.", items(twice(_finish))),
)  # fmt: skip

_MINOR_INFERFLOW = (
    ("after-done", "A chunk comes after [DONE].", items(lambda said: [*said, said[0]])),
)

_INFERFLOW_LINES = (
    ("no-response", "There is no response.", whole(drop("response"))),
    ("count-text", "Token counts are texts.", whole(change("output_tokens", str))),
    ("done-false", "The answer has done: false.", whole(put("done", False))),
    ("nested", "The answer is wrapped in 'data'.", whole(lambda told: {"data": told})),
)  # fmt: skip

_KTRANSFORMERS = (
    ("no-finish", "A stream has [DONE], but no finish_reason, as its old versions did.",
     items(without(_finish))),
    ("no-end", "A stream stops after its text.", items(lambda said: said[:-2])),
    ("no-delta", "Chunks have no delta.", items(each(drop("choices.*.delta")))),
    ("bad-json", "Chunks are cut in the middle of their JSON.",
     frames(lambda sent: [frame[:-9] + b"\n\n" for frame in sent[:-1]] + sent[-1:])),
    ("no-blank", "Events are parted by one line end, not by a blank line.",
     frames(lambda sent: [frame.removesuffix(b"\n") for frame in sent])),
    ("role-each", "Every chunk has the role, and readers join them.",
     items(each(put("choices.*.delta.role", "assistant")))),
)  # fmt: skip

_KT_LINES = (
    ("no-done", "No line says that it is done.", items(lambda said: said[:-1])),
    ("done-twice", "The last line comes twice.", items(twice(_done))),
    ("no-response", "Lines have no response.", items(each(drop("response")))),
    ("no-newline", "Lines have no ends.", replace_bytes(b"}\n", b"}")),
    ("blank", "Blank lines stand between the lines.",
     frames(lambda sent: [frame + b"\n" for frame in sent])),
)  # fmt: skip

_AJSTUDIOZ = (
    ("no-response", "There is no response.", whole(lambda told: _without_text(told))),
    ("nested", "The answer is wrapped in 'data'.", whole(lambda told: {"data": told})),
    ("empty", "The body is empty.", answers(empty)),
    ("status-500", "What the client did wrong is answered with 500.", refusals(set_status(500))),
)  # fmt: skip


def _without_text(told: JSON) -> JSON:
    return {name: value for name, value in told.items() if name not in ("response", "text")}
