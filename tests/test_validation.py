"""Two libraries validate, and say the same; and what they say stays short."""

from __future__ import annotations

import functools
import itertools
import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmount.contract import Contract, names
from llmount.errors import Violation
from llmount.testing.transport import ASGITransport
from llmount.validation import Engine, Schema, show
from tests.documented import app, bodies, credentials, operations, path_of

MEGABYTE = 1_000_000
ENGINES: list[Engine] = ["jsonschema-rs", "jsonschema"]

OPERATIONS = [
    (name, operation.id)
    for name in names()
    for operation in Contract.load(name).operations.values()
    if operation.body is not None
]
EACH = pytest.mark.parametrize(("name", "operation_id"), OPERATIONS)


# Bodies that were good once

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 200),
    st.sampled_from([2**31, -(2**31) - 1, 2**63, 10**30, 0.0, -0.0, 0.5, 1.0, 2.0, 1e300]),
    st.text(max_size=5),
    st.sampled_from(["", "text", "function", "user", "tool", "5m", "10", "auto", "a b", "\n", "é"]),
)
VALUES = st.one_of(
    SCALARS,
    st.just([]),
    st.just({}),
    st.lists(SCALARS, max_size=3),
    st.dictionaries(st.sampled_from(["type", "name", "0", "url", "role", ""]), SCALARS, max_size=3),
)


def copied(value: Any) -> Any:
    """So that what is drawn twice is not one object twice."""
    return json.loads(json.dumps(value))


@st.composite
def mutated(draw: st.DrawFn, name: str, operation_id: str) -> Any:
    """An example of the document with something else, or nothing, in up to three places."""
    examples = bodies(name, Contract.load(name).operations[operation_id])
    body: Any = copied(draw(st.sampled_from(examples)))
    for _ in range(draw(st.integers(0, 3))):
        node, key = body, None
        while isinstance(node, dict | list) and node and draw(st.integers(0, 3)):
            parent = node
            key = draw(st.sampled_from(list(node) if isinstance(node, dict) else range(len(node))))
            node = parent[key]
        match draw(st.integers(0, 9)):
            case 0 if isinstance(node, dict):
                node[draw(st.text(max_size=3))] = copied(draw(VALUES))
            case 0 if isinstance(node, list):
                node.append(copied(draw(VALUES)))
            case 1 | 2 if key is not None:
                del parent[key]
            case 3 if isinstance(node, list):
                node[:] = copied(node * draw(st.sampled_from([0, 2, 5, 130])))
            case 4 if isinstance(node, str) and key is not None:
                parent[key] = node + draw(st.sampled_from(["\n", "x" * 600, " ", "="]))
            case _ if key is None:
                body = copied(draw(VALUES))
            case _:
                parent[key] = copied(draw(VALUES))
    return body


@functools.cache
def schema(name: str, operation_id: str, engine: Engine) -> Schema:
    body = Contract.load(name, engine=engine).operations[operation_id].body
    assert body is not None
    return body


@EACH
@given(data=st.data())
@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
def test_both_libraries_find_the_same_fault_first(
    name: str, operation_id: str, data: st.DataObject
) -> None:
    body = data.draw(mutated(name, operation_id))
    fast = schema(name, operation_id, "jsonschema-rs")
    reference = schema(name, operation_id, "jsonschema")
    assert fast.is_valid(body) == reference.is_valid(body)
    found, expected = fast.violations(body), reference.violations(body)
    assert bool(found) == bool(expected) == (not fast.is_valid(body))
    assert first(found) == first(expected)


def first(violations: tuple[Violation, ...]) -> Any:
    return violations and (violations[0].path, violations[0].keyword)


def test_the_first_fault_is_the_first_in_the_body() -> None:
    for engine in ENGINES:
        found = Schema(
            {
                "required": ["last"],
                "properties": {"a": {"type": "string"}, "b": {"items": {"minimum": 0}}},
            },
            engine=engine,
        ).violations({"b": [1, -1, -2], "a": 5})
        assert [show(each.path) for each in found] == ["last", "b[1]", "b[2]", "a"]


# What is said of it

engines = pytest.mark.parametrize("engine", ENGINES)

CHUNK = {
    "type": "object",
    "additionalProperties": False,
    "required": ["object", "id"],
    "properties": {
        "object": {"const": "chunk"},
        "id": {"type": "string"},
        "n": {"enum": [1, 2]},
        "in": {"items": {"properties": {"n": {"enum": [1, 2]}}}},
    },
}
ERROR = {
    "type": "object",
    "additionalProperties": False,
    "required": ["error"],
    "properties": {
        "error": {"type": "object", "properties": {"message": {"type": "string"}}},
    },
}
EITHER = {"anyOf": [{"const": "end"}, CHUNK, ERROR]}
PARTS = {
    "oneOf": [
        {
            "required": ["type", name],
            "properties": {"type": {"const": kind}, name: {"type": "string"}},
        }
        for kind, name in (("text", "text"), ("image", "url"))
    ]
}

FAULTS: list[tuple[dict[str, Any], Any, str]] = [
    ({"type": "string"}, 5, "the body must be of type string"),
    ({"type": ["string", "null"]}, 5, "the body must be of type null or string"),
    ({"properties": {"a": {"enum": [1, None, "x"]}}}, {"a": 2}, "a must be one of 1 or null or x"),
    ({"properties": {"a": {"const": True}}}, {"a": 1}, "a must be True"),
    ({"items": {"required": ["n"]}}, [{"n": 1}, {}], "[1].n is required"),
    ({"properties": {"a": {"minimum": 3}}}, {"a": 2.5}, "a must be at least 3"),
    ({"properties": {"a": {"maximum": 3}}}, {"a": 4}, "a must be at most 3"),
    ({"properties": {"a": {"exclusiveMinimum": 3}}}, {"a": 3}, "a must be more than 3"),
    ({"properties": {"a": {"exclusiveMaximum": 3}}}, {"a": 3}, "a must be less than 3"),
    ({"properties": {"a": {"minLength": 3}}}, {"a": "ab"}, "a must have at least 3 characters"),
    ({"properties": {"a": {"maxLength": 1}}}, {"a": "ab"}, "a must have at most 1 characters"),
    ({"properties": {"a": {"minItems": 1}}}, {"a": []}, "a must have at least 1 items"),
    ({"properties": {"a": {"maxItems": 1}}}, {"a": [1, 2]}, "a must have at most 1 items"),
    ({"properties": {"a": {"pattern": "^x$"}}}, {"a": "x\n"}, "a must match ^x$"),
    ({"properties": {"a": {"uniqueItems": True}}}, {"a": [1, 1]}, "a must have no item twice"),
    ({"properties": {"a": {"not": {}}}}, {"a": 1}, "a is not allowed"),
    (
        {"properties": {"a": {}}, "additionalProperties": False},
        {"x": 1},
        "the body has a property that is not allowed",
    ),
    ({"propertyNames": {"maxLength": 1}}, {"xy": 1}, "the body has a property that is not allowed"),
    (
        {
            "anyOf": [
                {"type": "string"},
                {"properties": {"a": {"properties": {"b": {"type": "null"}}}}},
            ]
        },
        {"a": {"b": 1}},
        "a.b must be of type null",
    ),
    ({"properties": {"1": {"items": {"type": "null"}}}}, {"1": [0]}, "1[0] must be of type null"),
    (EITHER, {"object": "text", "id": "1", "n": 1}, "object must be chunk"),
    (EITHER, {"object": "chunk", "id": "1", "n": "x"}, "n must be one of 1 or 2"),
    (EITHER, {"object": "chunk", "id": "1", "in": [{"n": 3}]}, "in[0].n must be one of 1 or 2"),
    (EITHER, {"object": "chunk"}, "id is required"),
    (EITHER, {"error": 5}, "error must be of type object"),
    (EITHER, {"error": {"message": 5}}, "error.message must be of type string"),
    (EITHER, {}, "error is required"),
    (EITHER, 5, "the body must be end"),
    (PARTS, {"type": "image", "text": 1}, "url is required"),
    (PARTS, {"type": "text", "url": ""}, "text is required"),
    (PARTS, {"type": "image", "url": 1}, "url must be of type string"),
]


@engines
@pytest.mark.parametrize(("schema", "value", "message"), FAULTS)
def test_a_fault_is_told_in_the_same_words(
    engine: Engine, schema: Any, value: Any, message: str
) -> None:
    violation, *_ = Schema(schema, engine=engine).violations(value)
    assert violation.message == message


@engines
def test_what_is_right_has_no_faults(engine: Engine) -> None:
    right = Schema({"type": "object"}, engine=engine)
    assert right.is_valid({})
    assert right.violations({}) == ()


@engines
def test_a_schema_that_is_none_is_a_value_error(engine: Engine) -> None:
    with pytest.raises(ValueError, match="not valid under any"):
        Schema({"type": "strin"}, engine=engine).compile()


@engines
@pytest.mark.parametrize("key", ["0", "00", "+0", "0" * 5000, "-0", "٣", "9" * 30])
def test_a_key_of_digits_is_told_as_it_is(engine: Engine, key: str) -> None:
    schema = Schema({"additionalProperties": {"items": {"maximum": 1}}}, engine=engine)

    [found] = schema.violations({"0": [1], "+0": [1], "1": [1], key: [1, 5]})

    assert found.path == (key, 1)
    assert found.value == 5


@engines
def test_keys_of_the_same_number_are_told_apart(engine: Engine) -> None:
    schema = Schema({"additionalProperties": {"maximum": 1}}, engine=engine)

    found = schema.violations({"0": 1, "00": 5, "+0": 1, "000": 7})

    assert [(each.path, each.value) for each in found] == [(("00",), 5), (("000",), 7)]


@engines
def test_of_many_faults_some_are_told(engine: Engine) -> None:
    assert len(Schema({"items": {"type": "null"}}, engine=engine).violations([0] * 10_000)) == 16


LARGE = "x" * MEGABYTE
LARGE_BODIES: list[tuple[str, Any]] = [
    ("type", LARGE),
    ("type", {"a": LARGE}),
    ("type", {"a": [LARGE] * 3}),
    ("pattern", {"b": LARGE}),
    ("maxLength", {"c": LARGE}),
    ("enum", {"d": LARGE}),
    ("minimum", {"e": {LARGE: -1}}),
    ("required", {"e": {LARGE: {}}, "f": {LARGE: {}}}),
]


@engines
@pytest.mark.parametrize(("keyword", "value"), LARGE_BODIES)
def test_the_text_of_a_fault_is_short_whatever_was_sent(
    engine: Engine, keyword: str, value: Any
) -> None:
    large = Schema(
        {
            "type": "object",
            "properties": {
                "a": {"type": "null"},
                "b": {"pattern": "^y*$"},
                "c": {"maxLength": 3},
                "d": {"enum": ["a" * 30] * 30},
                "e": {"additionalProperties": {"minimum": 0}},
                "f": {"additionalProperties": {"required": ["n"]}},
            },
        },
        engine=engine,
    )
    violation, *_ = large.violations(value)
    assert violation.keyword == keyword
    assert len(violation.message) < 250


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), ""),
        (("model",), "model"),
        (("messages", 2, "content"), "messages[2].content"),
        ((0,), "[0]"),
        (("logit_bias", "50256"), "logit_bias.50256"),
        (("a", 0, 1, "b"), "a[0][1].b"),
    ],
)
def test_a_path_is_shown_as_programmers_write_it(path: tuple[str | int, ...], text: str) -> None:
    assert show(path) == text


# What a client is told

LARGE_VALUES: list[Any] = [
    LARGE,
    f"mine:{LARGE}",
    "1" * MEGABYTE,
    "10" + LARGE,
    {LARGE: LARGE},
    {"1" * MEGABYTE: 1},
    [LARGE],
]


@pytest.mark.anyio
@pytest.mark.parametrize(("name", "operation_id"), list(operations(with_body=True)))
async def test_a_request_is_never_answered_with_all_of_itself(name: str, operation_id: str) -> None:
    operation = Contract.load(name).operations[operation_id]
    assert operation.body is not None
    served = app(name)
    transport = ASGITransport(served)
    async with httpx.AsyncClient(transport=transport, headers=credentials(name)) as client:
        for example in bodies(name, operation):
            for field, large in itertools.product(example, LARGE_VALUES):
                body = {**example, field: large}
                if operation.body.is_valid(body) and field not in ("model", "name"):
                    continue
                url = "http://server" + path_of(operation)
                response = await client.request(operation.method, url, json=body)
                assert response.status_code < 500
                assert len(response.content) < 10_000, (field, response.content[:300])
