"""Changes of requests, headers and bodies that the tables of several APIs use."""

from __future__ import annotations

from collections.abc import Callable

from llmount.jsontext import dumps_bytes
from llmount.types import JSON

from .edits import Edit, Test, drop, put
from .exchange import ASGI, Answer, Change, Question, Stage, answers, questions

__all__ = [
    "as_page",
    "body",
    "drop_asked",
    "empty",
    "put_asked",
    "refuse_when",
    "replace_bytes",
    "set_header",
    "set_status",
]


def body(edit: Edit) -> Callable[[Question], None]:
    """For `questions`: change the body, if it is a JSON object."""

    def change(question: Question) -> None:
        asked = question.json
        if isinstance(asked, dict):
            question.body = dumps_bytes(edit(asked))

    return change


def drop_asked(*paths: str) -> Change:
    """Ignore fields of requests."""

    def edit(asked: JSON) -> JSON:
        for path in paths:
            asked = drop(path)(asked)
        return asked

    return questions(body(edit))


def put_asked(path: str, value: JSON) -> Change:
    """Take every request for one that has this."""
    return questions(body(put(path, value)))


def refuse_when(test: Test, status: int = 400, text: str = "") -> Change:
    """Refuse requests that are good.

    The text is that of a framework's validator, so that no tester can take it for a server
    that says what it cannot do.
    """
    told = {"error": {"message": text or "1 validation error: extra_forbidden", "type": "error"}}

    def change(stage: Stage) -> ASGI:
        def edit(answer: Answer) -> None:
            asked = answer.question.json
            if isinstance(asked, dict) and answer.status == 200 and test(asked):
                answer.status = status
                answer.headers["content-type"] = "application/json"
                answer.body = dumps_bytes(told)

        return answers(edit)(stage)

    return change


# Answers


def set_status(status: int) -> Callable[[Answer], None]:
    def edit(answer: Answer) -> None:
        answer.status = status

    return edit


def set_header(name: str, value: str | None, *, stream: bool | None = None) -> Change:
    """Change a header of good answers, or drop it. stream: of streams only, or of others."""

    def edit(answer: Answer) -> None:
        if answer.status == 200 and stream in (None, answer.framing is not None):
            answer.headers.pop(name, None)
            if value is not None:
                answer.headers[name] = value

    return answers(edit)


def replace_bytes(old: bytes, new: bytes, *, stream: bool = True) -> Change:
    """Replace bytes of streams, or of other good answers."""

    def edit(answer: Answer) -> None:
        if answer.status == 200 and stream is (answer.framing is not None):
            answer.frames = [frame.replace(old, new) for frame in answer.frames]

    return answers(edit)


def as_page(answer: Answer) -> None:
    answer.headers["content-type"] = "text/html; charset=utf-8"
    answer.body = b"<!doctype html><title>Welcome</title><h1>It works!</h1>"


def empty(answer: Answer) -> None:
    answer.frames = []
