"""Every case under `tests/contracts/`: a request, what the backend's script says, the answer.

    case: a sentence
    method, path: the operation's own, unless told (its id is the file's name)
    json | body | base64: the request's body as a value, as text, or as any bytes
    headers: of the request
    models, resident, drawing, max_body: what differs from the usual server (`SERVERS`)
    script: the backend's events, in the words of `STEPS`; without one it echoes
    asked: what the backend was asked, as far as told: a part of the `Prompt`
    told: what a backend that holds models in memory was told
    status, answer | text | items, answers: status (200), the body or items, and headers

Values are compared with their type, objects with the order of their keys. Words in angle
brackets (`PLACEHOLDERS`) stand for what differs from run to run. Every answer is held to
the document besides: item by item by the server, and here its status, media type and
headers, and a stream as a whole.
"""

from __future__ import annotations

import base64
import builtins
import dataclasses
import re
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import yaml

from llmount import EchoBackend, ScriptedImageBackend, ai_app, chat_app, errors, generate_app
from llmount.app import App
from llmount.backends.echo import Fail, Step
from llmount.contract import Contract, Operation, names
from llmount.framing import dumps_bytes, framing_of, loads
from llmount.testing.transport import ASGITransport
from llmount.types import (
    Event,
    Finish,
    Model,
    Prompt,
    ReasoningDelta,
    Residency,
    TextDelta,
    Timings,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)

FOLDER = Path(__file__).parent / "contracts"
Case = Mapping[str, Any]


# The data


def cases_of(contract: str) -> Iterator[tuple[str, Case]]:
    """The cases of a document, each with the id of its operation."""
    for file in sorted((FOLDER / contract.replace("/", "-")).glob("*.yaml")):
        for case in yaml.safe_load(file.read_text("utf-8"))["cases"]:
            yield file.stem, case


ALL = [(name, operation, case) for name in names() for operation, case in cases_of(name)]
UNPROVOKED: Mapping[str, Mapping[str, str]] = yaml.safe_load(
    (FOLDER / "unprovoked.yaml").read_text("utf-8")
)


# The scripted backend


def raised(described: Any) -> Exception:
    """`BackendError`, or `{BackendError: {upstream_status: 500}}`, or a list of arguments."""
    [(name, arguments)] = described.items() if isinstance(described, dict) else [(described, {})]
    kind = getattr(errors, name, None) or getattr(builtins, name)
    error = kind(**arguments) if isinstance(arguments, dict) else kind(*arguments)
    assert isinstance(error, Exception)
    return error


def logprob(token: str, value: float, top: Sequence[Any] = ()) -> TokenLogprob:
    return TokenLogprob(token, value, token.encode(), tuple(logprob(*each) for each in top))


def finish(
    reason: Any, usage: Any = None, timings: Any = None, context: Any = (), raw: Any = None
) -> Finish:
    return Finish(
        reason=reason,
        usage=Usage(**usage or {}),
        timings=Timings(**timings or {}),
        context=tuple(context),
        raw=raw,
    )


STEPS: Mapping[str, Callable[..., Step]] = {
    "text": lambda text, logprobs=(): TextDelta(text, tuple(logprob(*each) for each in logprobs)),
    "reasoning": ReasoningDelta,
    "call": ToolCallDelta,
    "fail": lambda described: Fail(raised(described)),
    "finish": finish,
}


def step(described: Mapping[str, Any]) -> Step:
    """A step is named by its first key, whose value is its first argument."""
    name, *rest = described
    return STEPS[name](described[name], **{key: described[key] for key in rest})


class Scripted(EchoBackend):
    """An `EchoBackend` that remembers what it was asked and can fail to list its models."""

    def __init__(self, case: Case) -> None:
        listed = case.get("models", ["echo"])
        self._failure = raised(listed["fail"]) if isinstance(listed, dict) else None
        known = [
            Model(**{**each, "capabilities": frozenset(each.get("capabilities", ("completion",)))})
            if isinstance(each, dict)
            else each
            for each in ([] if self._failure else listed)
        ]
        script = [step(each) for each in case["script"]] if "script" in case else None
        super().__init__(script, models=known)
        self.asked: list[Prompt] = []
        self.told: list[Any] = []

    async def models(self) -> Sequence[Model]:
        if self._failure is not None:
            raise self._failure
        return await super().models()

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Event, None]:
        self.asked.append(prompt)
        events = super().generate(prompt)
        try:
            async for event in events:
                yield event
        finally:
            await events.aclose()


class InMemory(Scripted):
    """One that holds models in memory."""

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self._resident = [
            Residency(**{**each, "model": Model(name=each["model"])}) for each in case["resident"]
        ]

    async def load(self, model: str, keep_alive: float | None) -> None:
        self.told.append(["load", model, keep_alive])

    async def unload(self, model: str) -> None:
        self.told.append(["unload", model])

    async def resident(self) -> Sequence[Residency]:
        return self._resident


def images(case: Case) -> Mapping[str, Any]:
    failure = raised(case["drawing"]["fail"]) if "drawing" in case else None
    return {"failure": failure}


SERVERS: Mapping[str, Callable[[Case, Scripted, Mapping[str, Any]], App]] = {
    "generate/ollama": lambda case, backend, options: generate_app(
        backend, images=ScriptedImageBackend(["painter"], **images(case)), **options
    ),
    "chat/openai": lambda case, backend, options: chat_app(backend, **options),
    "ai/geenii": lambda case, backend, options: ai_app(
        {"mine": backend, "ollama": backend, "openai": backend},
        images={"openai": ScriptedImageBackend(**images(case)), "easel": ScriptedImageBackend()},
        **options,
    ),
}


# Comparing

_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,8}[1-9])?Z"

PLACEHOLDERS: Mapping[str, str | Callable[[Any], bool]] = {
    "id": r"[A-Za-z0-9_-]{10,}",
    "hex": r"[0-9a-f]+",
    "timestamp": _TIME,
    "base64": r"[A-Za-z0-9+/]{64,}={0,2}",
    "digits": r"\d+",
    "any": r"(?s).+",
    "nanoseconds": lambda value: value >= 1,
    "now": lambda value: abs(value - time.time()) < 60,
}
"""What a text in their place matches, or a test of the integer there."""

_SAME = ("id", "now")
"""What has to be the same everywhere in one answer."""

_PLACEHOLDER = re.compile(r"<(\w+)>")


def differences(
    actual: Any, wanted: Any, where: str = "$", *, seen: dict[str, Any], ordered: bool = True
) -> Iterator[str]:
    """Where the two differ. ordered: objects have the same keys in the same order, rather
    than at least those that are wanted."""
    if isinstance(wanted, str) and _PLACEHOLDER.search(wanted):
        yield from _unmatched(actual, wanted, where, seen)
    elif isinstance(wanted, dict) and isinstance(actual, dict):
        if ordered and list(actual) != list(wanted):
            yield f"{where}: keys are {list(actual)}, not {list(wanted)}"
        for key in wanted.keys() & actual.keys() if ordered else wanted:
            yield from differences(
                actual.get(key), wanted[key], f"{where}.{key}", seen=seen, ordered=ordered
            )
    elif isinstance(wanted, list) and isinstance(actual, list | tuple):
        if len(actual) != len(wanted):
            yield f"{where}: {len(actual)} values, not {len(wanted)}: {actual!r}"
        for number, (one, other) in enumerate(zip(actual, wanted, strict=False)):
            yield from differences(one, other, f"{where}[{number}]", seen=seen, ordered=ordered)
    elif type(actual) is not type(wanted) or actual != wanted:
        yield f"{where}: {actual!r}, not {wanted!r}"


def _unmatched(actual: Any, wanted: str, where: str, seen: dict[str, Any]) -> Iterator[str]:
    name, *others = _PLACEHOLDER.findall(wanted)
    meaning = PLACEHOLDERS[name]
    if callable(meaning):
        fits = type(actual) is int and meaning(actual)
    else:
        assert not others, "one placeholder a text"
        before, after = map(re.escape, wanted.split(f"<{name}>"))
        pattern = f"{before}(?:{meaning}){after}" if name != "any" else meaning
        fits = isinstance(actual, str) and re.fullmatch(pattern, actual) is not None
    if not fits:
        yield f"{where}: {actual!r} is no {wanted}"
    elif name in _SAME and seen.setdefault(wanted, actual) != actual:
        yield f"{where}: {actual!r}, where it was {seen[wanted]!r} before"


# Running


def request(operation: Operation, case: Case) -> httpx.Request:
    content = case.get("body", "").encode()
    headers = {}
    if "json" in case:
        content, headers = dumps_bytes(case["json"]), {"content-type": "application/json"}
    elif "base64" in case:
        content = base64.b64decode(case["base64"])
    return httpx.Request(
        case.get("method", operation.method),
        "http://server" + case.get("path", operation.path),
        content=content,
        headers={**headers, **case.get("headers", {})},
    )


async def answer(app: App, asked: httpx.Request) -> httpx.Response:
    with anyio.fail_after(10):
        async with httpx.AsyncClient(transport=ASGITransport(app)) as client:
            return await client.send(asked)


def resolve(contract: Contract, node: Any) -> Any:
    while "$ref" in node:
        steps, node = node["$ref"].removeprefix("#/").split("/"), contract.document
        for key in steps:
            node = node[key]
    return node


def undocumented(
    contract: Contract, operation: Operation, response: httpx.Response
) -> Iterator[str]:
    """What the document does not say of an answer with such a head, or says otherwise."""
    path_item = contract.document["paths"][operation.path]
    documented = path_item[operation.method.lower()]["responses"]
    status = str(response.status_code)
    if status not in documented:
        yield f"status {status} is not documented"
        return
    described = resolve(contract, documented[status])
    if response.headers["content-type"] not in described["content"]:
        yield f"media type {response.headers['content-type']} is not documented"
    for name, header in described.get("headers", {}).items():
        if resolve(contract, header).get("required") and name not in response.headers:
            yield f"header {name} is missing"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("name", "operation_id", "case"),
    [pytest.param(*each, id=f"{each[0]} {each[1]}: {each[2]['case']}") for each in ALL],
)
async def test_the_answer_is_as_the_case_has_it(name: str, operation_id: str, case: Case) -> None:
    contract = Contract.load(name)
    operation = contract.operations[operation_id]
    backend = InMemory(case) if "resident" in case else Scripted(case)
    options = {key: case[key] for key in ("max_body",) if key in case}
    app = SERVERS[name](case, backend, {"check_answers": True, **options})
    response = await answer(app, request(operation, case))

    found: list[str] = []
    seen: dict[str, Any] = {}
    if "path" not in case:
        found.extend(undocumented(contract, operation, response))
    if "items" in case:
        found.extend(_compare_stream(operation, response, case["items"], seen))
    elif "text" in case:
        found.extend(differences(response.text, case["text"], seen=seen))
    else:
        found.extend(differences(loads(response.text), case["answer"], seen=seen))
    found.extend(differences(response.status_code, case.get("status", 200), "status", seen=seen))
    wanted = {key.lower(): value for key, value in case.get("answers", {}).items()}
    heads = dict(response.headers)
    found.extend(differences(heads, wanted, "headers", seen=seen, ordered=False))
    for number, asked in enumerate(case.get("asked", ())):
        prompt = dataclasses.asdict(backend.asked[number])
        found.extend(differences(prompt, asked, f"asked[{number}]", seen=seen, ordered=False))
    found.extend(differences(backend.told, case.get("told", []), "told", seen=seen))
    assert found == [], response.text


def _compare_stream(
    operation: Operation, response: httpx.Response, wanted: Any, seen: dict[str, Any]
) -> Iterator[str]:
    stream = operation.stream
    assert stream is not None
    assert stream.schema is not None
    decoder = framing_of(stream.name).decoder()
    items = decoder.feed(response.content) + decoder.close()
    assert response.content == b"".join(map(framing_of(stream.name).encode, items))
    for violation in stream.schema.violations(items):
        yield f"the stream as a whole: {violation.message}"
    if stream.name.startswith("text/event-stream"):
        items = [_carried(item) for item in items]
    yield from differences(items, wanted, seen=seen)


def _carried(event: Mapping[str, Any]) -> Any:
    assert list(event) == ["data"]
    return event["data"] if event["data"] == "[DONE]" else loads(event["data"])


# The cases themselves


@pytest.mark.parametrize("name", names())
def test_every_operation_has_a_success_and_a_failure(name: str) -> None:
    statuses: dict[str, list[int]] = {each: [] for each in Contract.load(name).operations}
    for operation, case in cases_of(name):
        statuses[operation].append(case.get("status", 200))
    assert [each for each, seen in statuses.items() if not any(s < 300 for s in seen)] == []
    assert [each for each, seen in statuses.items() if not any(s >= 400 for s in seen)] == []


@pytest.mark.parametrize("name", names())
def test_every_documented_status_has_a_case_or_a_reason(name: str) -> None:
    documented = {
        f"{operation.id} {status}"
        for operation in Contract.load(name).operations.values()
        for status in operation.responses
    }
    seen = {f"{operation} {case.get('status', 200)}" for operation, case in cases_of(name)}
    assert documented - seen == UNPROVOKED.get(name, {}).keys()


@pytest.mark.parametrize("name", names())
def test_the_cases_of_an_operation_have_different_names(name: str) -> None:
    said = [(operation, case["case"]) for operation, case in cases_of(name)]
    assert sorted(set(said)) == sorted(said)


@pytest.mark.parametrize(
    ("actual", "wanted"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": 1, "b": 2}, {"a": 1}),
        ([1], [1, 2]),
        ([1, 2], [1]),
        (1, True),
        (1, 1.0),
        (None, ""),
        ("x-short", "x-<id>"),
        ([{"id": "a" * 12}, {"id": "b" * 12}], [{"id": "<id>"}, {"id": "<id>"}]),
        ("2026-01-01T00:00:00.10Z", "<timestamp>"),
        (0, "<nanoseconds>"),
        (1.5, "<nanoseconds>"),
        (True, "<nanoseconds>"),
        (12345, "<now>"),
    ],
)
def test_a_difference_is_found(actual: Any, wanted: Any) -> None:
    assert list(differences(actual, wanted, seen={}))
    assert not list(differences(actual, actual, seen={}))
