"""Broken lists of models, text completions and embeddings, beside chat completions."""

from __future__ import annotations

from collections.abc import Iterator

from llmount.check.verdict import Verdict

from .edits import change, drop, has, put, rename, without
from .exchange import answers, each, frames, items, refusals, whole
from .mutant import Mutant, rows
from .shaping import drop_asked, put_asked, set_status

__all__ = ["mutants"]

_NAME = "chat/openai"

_finish = has("choices.*.finish_reason")


def mutants() -> Iterator[Mutant]:
    yield from rows(_NAME, "chat-models", "/models", *_MODELS)
    yield from rows(_NAME, "chat-models", "/models", *_MINOR_MODELS, due=Verdict.WARN)
    yield from rows(_NAME, "chat-model", "/models/.+", *_MODEL, due=Verdict.WARN)
    yield from rows(_NAME, "text", "/completions", *_TEXT)
    yield from rows(_NAME, "vectors", "/embeddings", *_VECTORS)
    yield from rows(_NAME, "vectors", "/embeddings", *_MINOR_VECTORS, due=Verdict.WARN)


_MODELS = (
    ("null", "The list of models is null.", whole(put("data", None))),
    ("bare", "The list of models is a bare list.", whole(lambda told: told["data"])),
    ("no-id", "Models have no id.", whole(rename("data.*.id", "name"))),
    ("renamed", "The list has the key 'models', as another API has it.",
     whole(rename("data", "models"))),
)  # fmt: skip

_MINOR_MODELS = (
    ("empty", "The list of models is empty.", whole(put("data", []))),
)  # fmt: skip

_MODEL = (
    ("missing", "No model can be looked up.", answers(set_status(404))),
    ("other", "Looking up a model gives another one.", whole(put("id", "another"))),
    ("list", "Looking up a model gives the list.",
     whole(lambda told: {"object": "list", "data": [told]})),
    ("unknown", "A model that is not there is looked up with status 200.",
     refusals(set_status(200))),
)  # fmt: skip

_TEXT = (
    ("no-text", "A choice has no text.", whole(drop("choices.*.text"))),
    ("no-finish", "There is no finish_reason.", whole(drop("choices.*.finish_reason"))),
    ("no-choices", "There are no choices.", whole(drop("choices"))),
    ("stream-no-finish", "A stream has no finish_reason.", items(without(_finish))),
    ("stream-null", "The pieces of a stream have null for the text.",
     items(each(put("choices.*.text", None)))),
    ("stream-one-newline", "Events are parted by one line end, not by a blank line.",
     frames(lambda sent: [frame.removesuffix(b"\n") for frame in sent])),
    ("stop", "stop is ignored.", drop_asked("stop")),
    ("max-tokens", "max_tokens is ignored.", drop_asked("max_tokens")),
    ("as-chat", "Choices have a message, as those of chats do.",
     whole(change("choices", lambda found: [
         {"index": 0, "message": {"role": "assistant", "content": found[0]["text"]},
          "finish_reason": "stop"}]))),
)  # fmt: skip

_VECTORS = (
    ("few", "There are fewer embeddings than texts.",
     whole(change("data", lambda found: found[:1]))),
    ("lengths", "Embeddings differ in length.",
     whole(change("data", lambda found: [
         put("embedding", each["embedding"][:number + 1])(each)
         for number, each in enumerate(found)] if isinstance(found[0]["embedding"], list)
         else found))),
    ("order", "Embeddings are not in the order of the texts.",
     whole(change("data", lambda found: [
         put("embedding", other["embedding"])(dict(one))
         for one, other in zip(found, reversed(found), strict=True)]))),
    ("base64-always", "Embeddings are base64 when numbers were asked for.",
     put_asked("encoding_format", "base64")),
    ("bare", "The embeddings are a bare list.", whole(lambda told: told["data"])),
    ("texts", "The numbers of embeddings are texts.",
     whole(change("data.*.embedding", lambda found: [str(each) for each in found]
                  if isinstance(found, list) else found))),
)  # fmt: skip

_MINOR_VECTORS = (
    ("base64-ignored", "encoding_format base64 is ignored.", drop_asked("encoding_format")),
)  # fmt: skip
