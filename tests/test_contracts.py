"""Every case under `tests/contracts/`: a request, what the backend's script says, the answer.

    case: a sentence
    method, path: the operation's own, unless told (its id is the file's name)
    json | body | base64: the request's body as a value, as text, or as any bytes
    headers: of the request
    models, resident, drawing, sounding, max_body: what differs from the usual server (`SERVERS`)
    key: what is sent as a key, null for none; keys are checked where this is told and where
        the document demands it, and a good one is then sent unless told
    limits, after: what may be used, and how many such requests have come before
    script: the backend's events, in the words of `STEPS`; without one it echoes
    embedding: what the backend embeds: the fields of `Embeddings`, or how that fails
    asked: what the backend was asked, as far as told: a part of each `Prompt`
    embedded: the same for what it was to embed
    told: what a backend that holds models in memory was told
    status, answer | text | items, answers: status (200), the body or items, and headers
    undocumented: why the document does not have such an answer

Values are compared with their type, objects with the order of their keys. Words in angle
brackets (`PLACEHOLDERS`) stand for what differs from run to run. Every answer is held to
the document besides: item by item by the server, and here its status, media type and
headers, and a stream as a whole.
"""

from __future__ import annotations

import base64
import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any

import anyio
import httpx
import pytest
import yaml

from llmount import errors
from llmount.access import Limits
from llmount.app import App
from llmount.contract import Contract, Operation, names
from llmount.framing import framing_of
from llmount.jsontext import dumps_bytes, loads
from llmount.testing.answers import stream_problems
from llmount.testing.transport import ASGITransport
from tests.contract_cases import (
    FOLDER,
    KEY,
    SERVERS,
    Case,
    InMemory,
    Scripted,
    cases_of,
    differences,
    raised,
)

ALL = [(name, operation, case) for name in names() for operation, case in cases_of(name)]
REFUSALS = (401, 403, 429)
"""What a host application answers in an app's name, whatever the operation."""

BARRED = "sk-barred"

OF_REQUESTS = (
    "BodyTooLarge",
    "InvalidRequest",
    "MalformedBody",
    "MethodNotAllowed",
    "RouteNotFound",
    "UnknownFields",
    "UnsupportedMediaType",
)
"""The errors that no backend raises: the server itself finds them."""

UNPROVOKED: Mapping[str, Mapping[str, str]] = yaml.safe_load(
    (FOLDER / "unprovoked.yaml").read_text("utf-8")
)


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
        headers={**headers, **_key(operation, case), **case.get("headers", {})},
    )


def _key(operation: Operation, case: Case) -> Mapping[str, str]:
    """The key that the case sends: where the document demands one, the good one by default."""
    key = case.get("key", KEY if operation.secured else None)
    return {} if key is None else {"authorization": f"Bearer {key}"}


def access(operation: Operation, case: Case) -> Mapping[str, Any]:
    """Who may ask, and how often, as options of an app."""
    keys = {"keys": {"me": KEY}} if operation.secured or "key" in case else {}
    limits = {"limits": Limits(**case["limits"])} if "limits" in case else {}
    return {**keys, **limits}


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
    options |= access(operation, case)
    family, _, dialect = name.partition("/")
    app = SERVERS[family](case, backend, {"dialect": dialect, "check_answers": True, **options})
    found, answered = await faults(contract, operation, case, backend, app)
    assert found == [], answered


async def faults(
    contract: Contract, operation: Operation, case: Case, backend: Scripted, app: App
) -> tuple[list[str], str]:
    """What is not as the case has it, and the text of the answer."""
    for _ in range(case.get("after", 0)):
        await answer(app, request(operation, case))
    response = await answer(app, request(operation, case))

    found: list[str] = []
    seen: dict[str, Any] = {}
    if "path" not in case and "undocumented" not in case:
        found.extend(undocumented(contract, operation, response))
    if "items" in case:
        found.extend(_compare_stream(contract, operation, response, case, seen))
    elif "text" in case:
        found.extend(differences(response.text, case["text"], seen=seen))
    else:
        found.extend(differences(loads(response.text), case["answer"], seen=seen))
    found.extend(differences(response.status_code, case.get("status", 200), "status", seen=seen))
    wanted = {key.lower(): value for key, value in case.get("answers", {}).items()}
    heads = dict(response.headers)
    found.extend(differences(heads, wanted, "headers", seen=seen, ordered=False))
    for key, given in (("asked", backend.asked), ("embedded", backend.embedded)):
        if key in case:
            prompts = [dataclasses.asdict(each) for each in given]
            found.extend(differences(prompts, case[key], key, seen=seen, ordered=False))
    found.extend(differences(backend.told, case.get("told", []), "told", seen=seen))
    return found, response.text


def _compare_stream(
    contract: Contract,
    operation: Operation,
    response: httpx.Response,
    case: Case,
    seen: dict[str, Any],
) -> Iterator[str]:
    stream = operation.stream
    assert stream is not None
    decoder = framing_of(stream.framing).decoder()
    items = decoder.feed(response.content) + decoder.close()
    assert response.content == b"".join(map(framing_of(stream.framing).encode, items))
    yield from stream_problems(contract, operation, items, case.get("json"))
    if stream.name.startswith("text/event-stream"):
        items = [_carried(item) for item in items]
    yield from differences(items, case["items"], seen=seen)


def _carried(event: Mapping[str, Any]) -> Any:
    payload = event["data"] if event["data"] == "[DONE]" else loads(event["data"])
    kind = "done" if payload == "[DONE]" else payload.get("type")
    named = {"event": kind} if "event" in event else {}
    assert event == {"data": event["data"], **named}
    return payload


# The cases themselves


@pytest.mark.parametrize("name", names())
def test_every_operation_has_a_success_and_a_failure(name: str) -> None:
    operations = Contract.load(name).operations
    statuses: dict[str, list[int]] = {each: [] for each in operations}
    for operation, case in cases_of(name):
        statuses[operation].append(case.get("status", 200))
    can_succeed = [id for id, each in operations.items() if "200" in each.responses]
    assert [each for each in can_succeed if not any(s < 300 for s in statuses[each])] == []
    assert [each for each, seen in statuses.items() if not any(s >= 400 for s in seen)] == []


@pytest.mark.parametrize("name", names())
def test_every_documented_status_has_a_case_or_a_reason(name: str) -> None:
    documented = {
        f"{operation.id} {status}"
        for operation in Contract.load(name).operations.values()
        for status in operation.responses
    }
    seen = {f"{operation} {case.get('status', 200)}" for operation, case in cases_of(name)}
    # What the host refuses is the same everywhere, and tried below.
    seen |= {f"{id} {status}" for id in Contract.load(name).operations for status in REFUSALS}
    assert documented - seen == UNPROVOKED.get(name, {}).keys()


def _identity(key: str) -> str | None:
    if key == BARRED:
        raise errors.Forbidden
    return "somebody" if key == KEY else None


@pytest.mark.anyio
@pytest.mark.parametrize("name", names())
async def test_every_operation_is_refused_as_documented(name: str) -> None:
    contract = Contract.load(name)
    family, _, dialect = name.partition("/")
    limits = Limits(requests=1, window=1e9)
    for operation in contract.operations.values():
        path = re.sub(r"{.*}", "echo", operation.path)
        case = {"path": path, "body": "not JSON, but nobody looks at it"}
        options = {"dialect": dialect, "keys": _identity, "limits": limits, "check_answers": True}
        app = SERVERS[family](case, Scripted(case), options)
        tried = ((None, 401), ("sk-wrong", 401), (BARRED, 403), (KEY, None), (KEY, 429))
        for key, status in tried:
            response = await answer(app, request(operation, {**case, "key": key}))
            if status is not None:
                assert response.status_code == status
                assert list(undocumented(contract, operation, response)) == []


@pytest.mark.parametrize("name", names())
def test_every_error_of_a_backend_has_a_case(name: str) -> None:
    failures = [
        raised(each["fail"])
        for _, case in cases_of(name)
        for each in case.get("script", ())
        if "fail" in each
    ]
    seen = {type(failure).__name__ for failure in failures}
    known = {each for each in errors.__all__ if each not in ("Violation", *OF_REQUESTS)}
    assert known - seen == set()


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
