"""The checks of answers, of streams and of what they mean: each finds the fault that it is
for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, TypeAlias

import pytest

from llmount.check.registry import CHECKS

from .breaking import Answer, Edit, altered, each, items, whole
from .own import OWN, checked, edited, failed, told
from .proving import proves

pytestmark = [pytest.mark.anyio, pytest.mark.one_loop]

Content: TypeAlias = Callable[[bytes], bytes]

AREAS = ("answers", "stream", "semantics")
PLAIN = "Count from one to ten, in words."


def choice(value: Any) -> Any:
    return value["choices"][0]


def message(value: Any) -> Any:
    return choice(value)["message"]


def delta(value: Any) -> Any:
    return choice(value)["delta"]


def stream(change: Content) -> Edit:
    """Change the bytes of streams."""

    def edit(answer: Answer) -> None:
        if answer.status == 200 and answer.media.startswith(("text/event", "application/x-nd")):
            answer.content = change(answer.content)

    return edit


def as_media(name: str, *kinds: str) -> Edit:
    """Call answers of these kinds of media something else."""

    def edit(answer: Answer) -> None:
        if answer.status == 200 and answer.media.startswith(kinds):
            answer.media = name

    return edit


def said(content: bytes) -> Edit:
    """Whole answers are this."""

    def edit(answer: Answer) -> None:
        if answer.status == 200 and answer.media.startswith("application/json"):
            answer.content = content

    return edit


def whole_for_stream(answer: Answer) -> None:
    if answer.asked and answer.asked.get("stream"):
        answer.media, answer.content = "application/json", b'{"choices":[]}'


def failing(answer: Answer) -> None:
    answer.status = 500


def asked(change: Callable[[Any, Any], object]) -> Edit:
    """Change whole answers in view of what was asked: the request's body and the answer's."""

    def edit(answer: Answer) -> None:
        whole(lambda value: change(answer.asked, value))(answer)

    return edit


def used_up(request: Any, value: Any) -> None:
    limit = request["max_tokens"]
    prompt = value["usage"]["prompt_tokens"]
    value["usage"].update(completion_tokens=limit, total_tokens=prompt + limit)
    choice(value)["finish_reason"] = "stop"


def early_length(request: Any, value: Any) -> None:
    value["usage"].update(completion_tokens=3)
    choice(value)["finish_reason"] = "length"


def unstopped(request: Any, value: Any) -> None:
    if request.get("stop"):
        message(value)["content"] = PLAIN


def stopped_for_length(request: Any, value: Any) -> None:
    if request.get("stop"):
        choice(value)["finish_reason"] = "length"


def counted(**tokens: int) -> Edit:
    return whole(lambda v: v["usage"].update(tokens))


def without_end(content: bytes) -> bytes:
    return content[: content.index(b"data: [DONE]")].rstrip(b"\n") + b"\n"


def empty_answer(request: Any, value: Any) -> None:
    if request.get("n") == 3:
        value["choices"][1]["message"]["content"] = ""


def answer_less(request: Any, value: Any) -> None:
    if request.get("n") == 3:
        value["choices"].pop()


NUMBERS = count()
TOO_LIKELY: list[Any] = [{"token": PLAIN, "bytes": None, "logprob": 0.5, "top_logprobs": []}]

CHAT: Mapping[str, Edit] = {
    "answers.plain": failing,
    "answers.media-type": as_media("text/html", "application/json"),
    "answers.schema": whole(lambda v: message(v).update(content=[{"type": "text", "text": "x"}])),
    "answers.schema/no choices": whole(lambda v: v.pop("choices")),
    "answers.schema/no JSON": said(b"Hello"),
    "answers.asked-schema": whole(lambda v: message(v)["tool_calls"][0].pop("function")),
    "answers.exact": whole(lambda v: v.pop("object")),
    "stream.media-type": as_media("text/plain", "text/event"),
    "stream.streams": stream(lambda _: b""),
    "stream.streams/whole": whole_for_stream,
    "stream.framing": stream(lambda content: content + b"data: \xff\n\n"),
    "stream.bare-frames": stream(lambda content: b"id: 1\n\n" + content),
    "stream.bare-frames/empty": stream(lambda content: b"data:\n\n" + content),
    "stream.bare-frames/retry": stream(lambda content: b"retry: 5\n\n" + content),
    "stream.bare-frames/comment": stream(
        lambda content: b": quiet\n\n" + content.replace(b"data:", b"id: 1\ndata:")
    ),
    "stream.last-frame": stream(without_end),
    "stream.item-schema": each(lambda v: choice(v).update(delta=None)),
    "stream.item-schema/choices": each(lambda v: v.update(choices=None)),
    "stream.item-schema/content": each(lambda v: delta(v).update(content=["x"])),
    "stream.asked-schema": each(lambda v: delta(v)["tool_calls"][0].pop("index")),
    "stream.item-exact": each(lambda v: v.update(more=1)),
    "semantics.same-text": each(lambda v: delta(v).update(content="No")),
    "semantics.text": whole(lambda v: message(v).update(content="")),
    "semantics.finish": whole(lambda v: choice(v).update(finish_reason=None)),
    "semantics.finish-word": whole(lambda v: choice(v).update(finish_reason="eos")),
    "semantics.length": counted(completion_tokens=99),
    "semantics.length-finish": asked(used_up),
    "semantics.length-finish/early": asked(early_length),
    "semantics.stop": asked(unstopped),
    "semantics.stop/finish": asked(stopped_for_length),
    "semantics.seed": whole(lambda v: message(v).update(content=f"{next(NUMBERS)}")),
    "semantics.n": asked(answer_less),
    "semantics.n/empty": asked(empty_answer),
    "semantics.usage": whole(lambda v: v.pop("usage")),
    "semantics.counts/sum": counted(total_tokens=999),
    "semantics.counts/zero": counted(completion_tokens=0),
    "semantics.same-usage": counted(completion_tokens=2),
    "semantics.more-prompt": counted(prompt_tokens=5),
    "semantics.model": whole(lambda v: v.update(model="other")),
    "semantics.logprobs": whole(lambda v: choice(v).update(logprobs=None)),
    "semantics.logprobs/likely": whole(lambda v: choice(v)["logprobs"].update(content=TOO_LIKELY)),
}

OLLAMA: Mapping[str, Edit] = {
    "answers.media-type-told": as_media("text/plain", "application/json"),
    "answers.schema": whole(lambda v: v.update(created_at="yesterday")),
    "stream.framing": stream(lambda content: content + b'{"a'),
    "stream.blank-lines": stream(lambda content: content.replace(b"\n", b"\n\n")),
    "stream.line-separators": stream(
        lambda content: content.replace(rb"\u2028", "\u2028".encode())
    ),
    "stream.item-schema": items(lambda values: values[0].pop("done")),
    "semantics.finish": whole(lambda v: v.pop("done_reason")),
    "semantics.durations": whole(lambda v: v.update(total_duration=-1)),
    "semantics.durations/part": whole(lambda v: v.update(eval_duration=10**15)),
    "semantics.durations/whole": whole(lambda v: v.update(total_duration=10**15)),
    "semantics.length": whole(lambda v: v.update(eval_count=99)),
}

FAULTS = [
    *[("chat/openai", name, edit) for name, edit in CHAT.items()],
    *[("generate/ollama", name, edit) for name, edit in OLLAMA.items()],
    ("chat/openai", "stream.event-names", each(lambda v: v.update(_fields={"event": "thread.x"}))),
    ("ai/geenii", "answers.output-text", whole(lambda v: v.update(output_text="other"))),
    ("chat/responses", "answers.schema", whole(lambda v: v.update(output=None))),
    ("chat/responses", "semantics.text", whole(lambda v: v.update(output=[]))),
    ("ai/geenii", "semantics.text", whole(lambda v: v.update(output_text=""))),
    ("chat/azure", "semantics.finish", whole(lambda v: choice(v).update(finish_reason=""))),
    ("chat/ktransformers", "stream.item-schema", each(lambda v: v.update(choices=None))),
    ("chat/codeinferflow", "answers.schema", whole(lambda v: v.pop("choices"))),
    ("generate/codeinferflow", "semantics.text", whole(lambda v: v.update(response=""))),
    ("generate/ktransformers", "stream.item-schema", each(lambda v: v.update(response=5))),
    ("generate/ajstudioz", "semantics.text", whole(lambda v: v.update(response=""))),
]


@pytest.mark.parametrize(
    ("contract", "name", "edit"), FAULTS, ids=[f"{contract} {name}" for contract, name, _ in FAULTS]
)
async def test_a_fault_of_an_answer_is_found(contract: str, name: str, edit: Edit) -> None:
    await proves(name.partition("/")[0], contract, edit)


def test_every_check_of_answers_has_a_fault() -> None:
    checks = {name for name, check in CHECKS.items() if check.area in AREAS}
    assert checks == {name.partition("/")[0] for _, name, _ in FAULTS}


async def test_nothing_else_is_said_of_an_operation_that_is_not_there() -> None:
    def missing(answer: Answer) -> None:
        if not answer.path.endswith("/chat/completions"):
            answer.status, answer.content = 404, b"Not Found"

    app = altered(OWN["chat/openai"](), missing)
    results = await checked(app, "chat/openai", "answers", "stream", "semantics")
    assert failed(results) == [], told(results)


async def test_a_model_that_is_not_there_is_told() -> None:
    results = await checked(OWN["chat/openai"](), "chat/openai", "answers.plain", model="other")
    assert [result.verdict for result in results] == ["FAIL", "FAIL"], told(results)


async def test_a_model_that_says_nothing_is_no_finding() -> None:
    def silent(value: Any) -> None:
        message(value)["content"] = ""
        value["usage"].update(completion_tokens=1)

    app = altered(OWN["chat/azure"](), whole(silent))
    results = await checked(app, "chat/azure", "semantics.text")
    assert failed(results) == [], told(results)


HARMLESS: Mapping[str, Content] = {
    "no space after the colon": lambda content: content.replace(b"data: ", b"data:"),
    "ends of lines of Windows": lambda content: content.replace(b"\n", b"\r\n"),
    "comments": lambda content: b": quiet\n\n" + content,
    "ids": lambda content: content.replace(b"data:", b"id: 1\ndata:"),
}


@pytest.mark.parametrize("change", HARMLESS.values(), ids=list(HARMLESS))
async def test_what_no_reader_minds_is_no_finding(change: Content) -> None:
    app = edited(OWN["chat/openai"](), lambda body: change(body) if body[:1] == b"d" else body)
    results = await checked(app, "chat/openai", "stream", "answers")
    assert "FAIL" not in [result.verdict for result in results], told(results)
