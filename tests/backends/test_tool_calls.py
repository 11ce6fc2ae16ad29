"""Tool calls, read out of what models write."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from llmount.backends.tool_calls import ToolCallReader
from llmount.backends.tool_calls_json import JsonScanner
from llmount.backends.tool_formats import FORMATS, format_named, format_of
from llmount.errors import BackendError
from llmount.types import TextDelta, TokenLogprob, Tool, ToolCallDelta

CASES = yaml.safe_load(Path(__file__).with_name("tool_calls.yaml").read_text(encoding="utf-8"))
TOOLS = (
    Tool(
        "get_weather",
        "The weather in a city.",
        {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        },
    ),
    Tool("get_time"),
)


def tools_of(case: dict[str, Any]) -> tuple[Tool, ...]:
    return tuple(Tool(name) for name in case["tools"]) if "tools" in case else TOOLS


def told(
    format: str, tools: tuple[Tool, ...], pieces: Iterable[str], *, cut: bool = False
) -> tuple[str, list[list[str]], bool]:
    """All text, the names and arguments of the calls, and whether it ended with an error."""
    reader = ToolCallReader(format_named(format), tools)
    text, calls, ids = "", list[list[str]](), set[str]()

    def take(event: TextDelta | ToolCallDelta) -> None:
        nonlocal text
        if isinstance(event, TextDelta):
            text += event.text
            return
        if event.index == len(calls):
            assert event.id is not None
            assert event.name is not None
            ids.add(event.id)
            calls.append([event.name, ""])
        else:
            assert (event.index, event.id, event.name) == (len(calls) - 1, None, None)
        calls[-1][1] += event.arguments

    try:
        for piece in pieces:
            for event in reader.read(TextDelta(piece)):
                take(event)
        for event in reader.close(cut=cut):
            take(event)
    except BackendError:
        return text, calls, True
    assert len(ids) == len(calls) == reader.begun
    return text, calls, False


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
@pytest.mark.parametrize("size", [None, 1, 3, 7])
def test_what_models_write_is_read(case: dict[str, Any], size: int | None) -> None:
    written = case["written"]
    size = size or len(written)
    pieces = [written[at : at + size] for at in range(0, len(written), size)]
    text, calls, broken = told(case["format"], tools_of(case), pieces, cut=case.get("cut", False))
    assert text == case.get("text", "")
    assert broken == case.get("broken", False)
    if "partial" in case:
        assert calls == case["partial"]
    else:
        assert [[name, json.loads(text)] for name, text in calls] == case.get("calls", [])


FRAGMENTS = [
    "<tool_call>", "</tool_call>", "<function=", "get_weather", "get_time>", "<parameter=city>",
    "</parameter>", "</function>", "<|python_tag|>", "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]",
    "```json", "```", "{", "}", "[", "]", '"name"', '"arguments"', '"parameters"', ":", ",", ";",
    '"get_time"', '"get_weather"', '{"name": "get_time", "arguments": ', '{"city": "x"}', "{}",
    '"', "\\", "\n", " ", "1", "-", "true", "é", "🙂", "Hello",
]  # fmt: skip


def cut_at(text: str, places: list[int]) -> list[str]:
    ends = sorted({place % (len(text) + 1) for place in places} | {0, len(text)})
    return [text[a:b] for a, b in pairwise(ends)]


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(list(FORMATS)),
    st.one_of(
        st.lists(st.sampled_from(FRAGMENTS), max_size=24).map("".join),
        st.lists(st.sampled_from([case["written"] for case in CASES]), max_size=3).map("".join),
    ),
    st.lists(st.integers(0, 10_000), max_size=12),
    st.booleans(),
)
def test_how_the_text_is_cut_up_makes_no_difference(
    format: str, written: str, places: list[int], cut: bool
) -> None:
    whole = told(format, TOOLS, [written], cut=cut)
    assert told(format, TOOLS, cut_at(written, places), cut=cut) == whole
    text, calls, broken = whole
    if not calls and not broken:
        assert text == written
    if not cut and not broken:
        assert all(isinstance(json.loads(arguments), dict) for _, arguments in calls)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(st.text(), values, max_size=4),
    st.booleans(),
    st.sampled_from([None, 2]),
    st.lists(st.integers(0, 10_000), max_size=12),
)
def test_any_arguments_come_through_every_format(
    arguments: dict[str, Any], ascii: bool, indent: int | None, places: list[int]
) -> None:
    text = json.dumps(arguments, ensure_ascii=ascii, indent=indent)
    call = f'{{"name": "get_weather", "arguments": {text}}}'
    forms = {
        "hermes": f"<tool_call>\n{call}\n</tool_call>",
        "mistral": f"[TOOL_CALLS]get_weather[ARGS]{text}",
        "function": f"<function=get_weather>{text}</function>",
        "llama": call,
        "json": f"```json\n[{call}]\n```",
    }
    for format, written in forms.items():
        said, calls, broken = told(format, TOOLS, cut_at(written, places))
        assert (said, broken) == ("", False)
        assert calls == [["get_weather", text]]


def no_constant(name: str) -> None:
    raise ValueError(name)


@settings(max_examples=400, deadline=None)
@given(
    st.one_of(values.map(json.dumps), st.text('{}[]":,\\u0 1-.eE+tfnulrsaé\n', max_size=20)),
    st.lists(st.integers(0, 10_000), max_size=4),
)
def test_a_value_is_followed_to_the_end_that_json_gives_it(text: str, places: list[int]) -> None:
    text = f"[{text}]]"
    decoder = json.JSONDecoder(parse_constant=no_constant, strict=False)
    try:
        value, end = decoder.raw_decode(text)
    except ValueError:
        end = None
    scanner, used, strict = JsonScanner(), 0, ""
    for piece in cut_at(text, places):
        count, taken = scanner.feed(piece)
        used, strict = used + count, strict + taken
    if end is None:
        assert not scanner.complete
    else:
        assert (scanner.complete, used) == (True, end)
        assert json.loads(strict) == value


@pytest.mark.parametrize("deep", [127, 128])
def test_a_value_has_a_greatest_depth(deep: int) -> None:
    scanner = JsonScanner()
    scanner.feed('{"a":' + "[" * deep + "]" * deep + "}")
    assert (scanner.complete, scanner.broken) == (deep == 127, deep == 128)


def test_text_is_held_back_only_while_it_may_begin_a_call() -> None:
    reader = ToolCallReader(FORMATS["hermes"], TOOLS)
    said = []
    for piece in ("a <too", "thpick", " <tool_call>", '{"na', "sa", " \n", "x"):
        events = list(reader.read(TextDelta(piece)))
        said.append("".join(event.text for event in events if isinstance(event, TextDelta)))
    assert said == ["a", " <toothpick", "", "", ' <tool_call>{"nasa', "", " \nx"]


def test_a_call_is_told_as_it_is_written() -> None:
    reader = ToolCallReader(FORMATS["json"], TOOLS)
    assert list(reader.read(TextDelta('{"name": "get_weather", "arguments": '))) == []
    begun, first = reader.read(TextDelta('{"city": "Pa'))
    assert isinstance(begun, ToolCallDelta)
    assert (begun.index, begun.name, begun.arguments) == (0, "get_weather", "")
    assert first == ToolCallDelta(0, arguments='{"city": "Pa')
    assert list(reader.read(TextDelta('ris"'))) == [ToolCallDelta(0, arguments='ris"')]
    assert (reader.begun, reader.complete) == (1, 0)
    assert list(reader.read(TextDelta("}}"))) == [ToolCallDelta(0, arguments="}")]
    assert (reader.begun, reader.complete) == (1, 1)
    assert list(reader.close()) == []


def test_log_probabilities_are_passed_on_in_order() -> None:
    reader = ToolCallReader(FORMATS["hermes"], TOOLS)
    written = 'Hi <tool_call>{"name": "get_time", "arguments": {}}</tool_call> you'
    events = [
        event
        for number, piece in enumerate(cut_at(written, [3, 9, 30, 44, 52, 60]))
        for event in reader.read(TextDelta(piece, (TokenLogprob(piece, -float(number)),)))
    ]
    entries = [each for event in events if isinstance(event, TextDelta) for each in event.logprobs]
    assert "".join(entry.token for entry in entries) == written
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "Hiyou"


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("{{ tools }} <tool_call></tool_call>", "hermes"),
        ("{{ tools }} <tool_call><function=x></function></tool_call>", "hermes"),
        ("{{ tools }} [TOOL_CALLS]", "mistral"),
        ("{{ tools }} <function=x>", "function"),
        ("{{ tools }} <|python_tag|>", "llama"),
        ('{{ tools }} {"name": "f", "parameters": {}}', "llama"),
        ("{{ tools }} ```json", "json"),
        ("", "json"),
    ],
)
def test_the_chat_template_tells_the_format(template: str, name: str) -> None:
    assert format_of(template) is FORMATS[name]


def test_an_unknown_format_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="'yaml': there are hermes, mistral"):
        format_named("yaml")
