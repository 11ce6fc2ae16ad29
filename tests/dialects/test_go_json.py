"""Bodies as Go reads them, held to what the real server said of each."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmount.contract import Contract
from llmount.decoding import MAX_DEPTH
from llmount.dialects.go_json import GoReader
from llmount.dialects.go_values import duration, image
from llmount.errors import ApiError, MalformedBody

CONTRACT = Contract.load("generate/ollama")
MEASURED: Mapping[str, Any] = yaml.safe_load(
    Path(__file__).with_name("go_json.yaml").read_text("utf-8")
)
READERS = {
    name: GoReader(operation) for name, operation in CONTRACT.operations.items() if operation.body
}


def read(operation: str, body: bytes | str) -> Any:
    found, _ = READERS[operation](body if isinstance(body, bytes) else body.encode())
    return found


def measured() -> Iterator[Any]:
    for operation, rows in MEASURED.items():
        for number, row in enumerate(rows):
            body = base64.b64decode(row["base64"]) if "base64" in row else row["body"].encode()
            name = f"{operation} {number}: {body[:40]!r}"
            yield pytest.param(operation, body, row["error"], id=name)


@pytest.mark.parametrize(("operation", "body", "error"), list(measured()))
def test_a_body_is_judged_as_the_real_server_judges_it(
    operation: str, body: bytes, error: str | None
) -> None:
    try:
        read(operation, body)
        found = None
    except ApiError as caught:
        found = caught.message
    if error is not None and error.endswith("exceeded max depth"):
        assert found is not None
    assert found == error


@pytest.mark.parametrize(
    ("operation", "body", "expected"),
    [
        ("generate", '{"MODEL":"a","Prompt":"b"}', {"model": "a", "prompt": "b"}),
        ("generate", '{"model":"a","model":"b"}', {"model": "b"}),
        ("generate", '{"model":"a","MODEL":"b"}', {"model": "b"}),
        ("generate", '{"MODEL":"a","model":"b","Model":null}', {"model": "b"}),
        ("generate", '{"\\u017ftream":false}', {"stream": False}),
        ("generate", "null", {}),
        ("generate", ' {"model":"a"} {', {"model": "a"}),
        ("generate", b'{"prompt":"a\xffb\xe2\x82"}', {"prompt": "a\ufffdb\ufffd\ufffd"}),
        ("generate", '{"prompt":"a\\ud800b"}', {"prompt": "a\ufffdb"}),
        ("generate", '{"prompt":"\\ud83d\\ude00"}', {"prompt": "\U0001f600"}),
        ("generate", '{"images":[[104,105],null]}', {"images": ["aGk=", None]}),
        ("generate", '{"context":[1,null]}', {"context": [1, 0]}),
        ("generate", '{"options":{"TOP_K":1.0,"a":null}}', {"options": {"TOP_K": 1.0, "a": None}}),
        ("generate", '{"unknown":1e999,"Stream":true}', {"stream": True}),
        (
            "generate",
            '{"Options":{"top_k":2,"temperature":1e2}}',
            {"options": {"top_k": 2, "temperature": 100.0}},
        ),
        (
            "chat",
            '{"messages":[{"Role":"USER","Content":"a"},null]}',
            {"messages": [{"role": "user", "content": "a"}, {}]},
        ),
        (
            "chat",
            '{"tools":[{"Function":{"NAME":"f","parameters":{"properties":'
            '{"A":{"TYPE":["string"],"default":1}}}}}]}',
            {
                "tools": [
                    {
                        "function": {
                            "name": "f",
                            "parameters": {"properties": {"A": {"type": ["string"], "default": 1}}},
                        }
                    }
                ]
            },
        ),
        (
            "chat",
            '{"messages":[{"role":"tool","tool_calls":[{"FUNCTION":{"name":"f","arguments":'
            '{"A":1}}}]}]}',
            {
                "messages": [
                    {
                        "role": "tool",
                        "tool_calls": [{"function": {"name": "f", "arguments": {"A": 1}}}],
                    }
                ]
            },
        ),
    ],
)
def test_what_is_read(operation: str, body: bytes | str, expected: Any) -> None:
    found = read(operation, body)
    assert found == expected
    assert json.dumps(found) == json.dumps(expected), "with the same types"


@pytest.mark.parametrize(
    ("operation", "value"),
    [
        (operation.id, example["value"])
        for operation in CONTRACT.operations.values()
        if operation.body
        for example in CONTRACT.document["paths"][operation.path]["post"]["requestBody"]["content"][
            "application/json"
        ]["examples"].values()
    ],
)
def test_the_quick_way_and_the_exact_one_agree(operation: str, value: Any) -> None:
    body = json.dumps(value).encode()
    reader = READERS[operation]
    assert reader(body) == (reader._exactly(body), True) == (value, True)
    shouted = json.dumps({key.upper(): each for key, each in value.items()}).encode()
    assert reader(shouted) == (value, True)


def test_nesting_is_bounded() -> None:
    deepest = MAX_DEPTH - 1
    read("generate", '{"a":' + "[" * deepest + "]" * deepest + "}")
    with pytest.raises(MalformedBody, match=r"'\[' exceeded max depth") as caught:
        read("generate", '{"a":' + "[" * 100_000)
    assert caught.value.reason == "depth"


def test_the_place_of_a_fault_is_told() -> None:
    with pytest.raises(MalformedBody) as caught:
        read("generate", '{"model": nope}')
    assert (caught.value.reason, caught.value.position, caught.value.found) == ("syntax", 11, "o")


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("1h30m", 5_400_000_000_000),
        ("-1.5s", -1_500_000_000),
        ("+.5us", 500),
        ("1µs2μs", 3_000),
        ("0", 0),
        ("00000000000000000000000001s", 1_000_000_000),
        ("9223372036854775807ns", 2**63 - 1),
        ("-9223372036854775808ns", -(2**63)),
    ],
)
def test_durations_are_counted(text: str, nanoseconds: int) -> None:
    assert duration(text) == nanoseconds


def test_base64_is_read_as_go_reads_it() -> None:
    assert image("aGk=") == image("a\nG\r\nk\n=\n") == b"hi"
    assert image("aGl=") == b"hi", "bits that are left over do not matter"
    assert image("") == b""
    with pytest.raises(ApiError, match=r"input byte 1048576$"):
        image("aaaa" * 2**18 + "!")


@pytest.mark.parametrize("text", ["aaaa=", "aaaa==", "aaaa===", "aaaa===="])
def test_base64_with_more_padding_than_belongs_there_is_refused(text: str) -> None:
    with pytest.raises(ApiError, match=r"input byte 4$"):
        image(text)


def test_the_document_says_which_base64_is_good() -> None:
    operation = CONTRACT.operations["generate"]
    assert operation.body is not None
    for length in range(8):
        for characters in itertools.product("A=\n!", repeat=length):
            text = "".join(characters)
            try:
                image(text)
                good = True
            except ApiError:
                good = False
            assert operation.body.is_valid({"model": "a", "images": [text]}) == good, repr(text)


@pytest.mark.parametrize(
    ("operation", "value", "found"),
    [
        ("generate", {"context": [1, None]}, {"context": [1, 0]}),
        ("generate", {"images": [[104, 105], None]}, {"images": ["aGk=", None]}),
        (
            "chat",
            {"tools": [{"function": {"name": "f", "parameters": {"required": [None]}}}]},
            {"tools": [{"function": {"name": "f", "parameters": {"required": [""]}}}]},
        ),
    ],
)
def test_what_the_document_allows_is_read_as_go_reads_it(
    operation: str, value: Any, found: Any
) -> None:
    body = {"model": "a", **value}

    assert READERS[operation](json.dumps(body).encode()) == ({"model": "a", **found}, True)

    body["long"] = "x" * 2**17
    with pytest.raises(ApiError, match="no null in an array"):
        READERS[operation](json.dumps(body).encode())
