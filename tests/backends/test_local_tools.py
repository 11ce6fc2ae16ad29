"""Tool calls of models in this process, from the client's request to its answer.

The models are real and tiny, and write what their weights say, one token after the other.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import anyio
import httpx
import jsonschema
import openai
import pytest
from tests.scripted_model import CHAT_WITH_TOOLS, write_scripted

from llmount import chat_app
from llmount.backends.llamacpp_tools import call_schema, opened
from llmount.backends.tool_formats import FORMATS
from llmount.errors import BackendError, BadRequest, Unsupported
from llmount.testing.transport import ASGITransport
from llmount.types import (
    Event,
    Finish,
    Message,
    Prompt,
    Sampling,
    TextDelta,
    TextPart,
    Tool,
    ToolCall,
    ToolCallDelta,
)

pytestmark = pytest.mark.anyio

ENGINES = {"ctransformers": "CTransformersBackend", "llamacpp": "LlamaCppBackend"}
WEATHER = Tool(
    "get_weather",
    "The weather in a city.",
    {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
)
TIME = Tool("get_time", "The time.", {"type": "object", "properties": {}})
OFFERED: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": dict(tool.parameters),
        },
    }
    for tool in (WEATHER, TIME)
]


def template(start: str, end: str = "", key: str = "arguments") -> str:
    text = CHAT_WITH_TOOLS.replace("OPEN", start).replace("CLOSE", end)
    return text.replace("KEY", key)


HERMES = template("<tool_call>\\n", "\\n</tool_call>")
CALL = [
    *("<tool_call>", "\n{", '"name": "', "get_", 'weather"', ', "arguments": '),
    *('{"city', '": "Pa', 'ris"'),
]
CALLED = [*CALL, "}}", "\n</tool_call>"]
SAID = ["Let me", " look."]
SECOND = ["\n<tool_call>\n", '{"name": "get_time", "arguments": {}}', "</tool", "_call>"]

Open = Callable[..., Any]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    pytest.importorskip({"llamacpp": "xllamacpp"}.get(request.param, request.param))
    return str(request.param)


@pytest.fixture
async def opened_(tmp_path: Path) -> AsyncGenerator[Open]:
    backends: list[Any] = []

    def open_(
        engine: str,
        pieces: Sequence[str],
        template: str = HERMES,
        control: Sequence[str] = (),
        **settings: Any,
    ) -> Any:
        path = tmp_path / f"{len(backends)}.gguf"
        write_scripted(path, pieces, chat_template=template, control=control)
        if engine == "ctransformers":
            settings["cache"] = tmp_path / "cache"
        make = getattr(import_module(f"llmount.backends.{engine}"), ENGINES[engine])
        backends.append(make(path, name="m", threads=1, **settings))
        return backends[-1]

    yield open_
    for backend in backends:
        await backend.aclose()


def user(text: str) -> tuple[Message, ...]:
    return (Message("user", (TextPart(text),)),)


async def ask(backend: Any, **fields: Any) -> list[Event]:
    sampling = Sampling(**{"temperature": 0.0, "max_tokens": 60, **fields.pop("sampling", {})})
    fields = {"messages": user("Rain?"), "tools": (WEATHER, TIME), **fields}
    with anyio.fail_after(20):
        async with aclosing(
            backend.generate(Prompt(model="m", sampling=sampling, **fields))
        ) as events:
            return [event async for event in events]


def read(events: Sequence[Event]) -> tuple[str, list[tuple[str, str]], str]:
    """The text, the names and arguments of the calls, and why the answer ended."""
    text, calls = "", dict[int, tuple[str, str]]()
    for event in events:
        if isinstance(event, TextDelta):
            text += event.text
        elif isinstance(event, ToolCallDelta):
            name, arguments = calls.get(event.index, (event.name or "", ""))
            calls[event.index] = (name, arguments + event.arguments)
    assert isinstance(events[-1], Finish)
    return text, list(calls.values()), events[-1].reason


@asynccontextmanager
async def client_of(backend: Any) -> AsyncGenerator[openai.AsyncOpenAI]:
    transport = ASGITransport(chat_app(backend))
    async with (
        httpx.AsyncClient(transport=transport, timeout=20) as http,
        openai.AsyncOpenAI(
            base_url="http://test",
            api_key="none",
            max_retries=0,
            http_client=http,
            _strict_response_validation=True,
        ) as client,
    ):
        yield client


REQUEST: Mapping[str, Any] = {
    "model": "m",
    "messages": [{"role": "user", "content": "Rain?"}],
    "tools": OFFERED,
    "temperature": 0,
    "max_tokens": 60,
}


async def test_a_client_reads_text_and_calls_whole(opened_: Open, engine: str) -> None:
    async with client_of(opened_(engine, [*SAID, *CALLED, *SECOND])) as client:
        with anyio.fail_after(20):
            answer = await client.chat.completions.create(**REQUEST)
    (choice,) = answer.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content == "Let me look."
    first, second = choice.message.tool_calls
    assert (first.function.name, json.loads(first.function.arguments)) == (
        "get_weather",
        {"city": "Paris"},
    )
    assert (second.function.name, json.loads(second.function.arguments)) == ("get_time", {})
    assert first.id != second.id
    # Mistral's templates take no others.
    assert all(len(call.id) == 9 and call.id.isalnum() for call in (first, second))


# On trio this client is told off for leaving its generators unclosed.
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_client_reads_text_and_calls_streamed(opened_: Open, engine: str) -> None:
    text, calls, reasons = "", list[list[str]](), list[str]()
    pieces = 0
    async with client_of(opened_(engine, [*SAID, *CALLED])) as client:
        with anyio.fail_after(20):
            async for chunk in await client.chat.completions.create(**REQUEST, stream=True):
                (choice,) = chunk.choices
                text += choice.delta.content or ""
                for call in choice.delta.tool_calls or ():
                    if call.function.name:
                        calls.append([call.function.name, ""])
                    assert call.index == len(calls) - 1
                    calls[-1][1] += call.function.arguments
                    pieces += bool(call.function.arguments)
                reasons += [choice.finish_reason] if choice.finish_reason else []
    assert text == "Let me look."
    assert [(name, json.loads(arguments)) for name, arguments in calls] == [
        ("get_weather", {"city": "Paris"})
    ]
    assert pieces > 2
    assert reasons == ["tool_calls"]


async def test_the_result_of_a_call_is_rendered(opened_: Open, engine: str) -> None:
    backend = opened_(engine, ["It", " rains."])
    call = ToolCall("abcdefgh1", "get_weather", '{"city": "Paris"}')
    turns = (
        Message("assistant", tool_calls=(call,)),
        Message("tool", (TextPart("rain"),), tool_call_id="abcdefgh1", name="get_weather"),
    )
    short = await ask(backend)
    events = await ask(backend, messages=(*user("Rain?"), *turns))
    assert read(events) == ("It rains.", [], "stop")
    assert isinstance(short[-1], Finish)
    assert isinstance(events[-1], Finish)
    rendered = (
        '#assistant\n<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n'
        "</tool_call>#\n#tool\nrain#\n"
    )
    assert events[-1].usage.prompt - short[-1].usage.prompt == len(rendered)


async def test_no_tool_is_shown_or_called_where_none_may_be(opened_: Open, engine: str) -> None:
    backend = opened_(engine, CALLED)
    events = await ask(backend, tool_choice="none")
    without = await ask(backend, tools=())
    assert read(events) == ("".join(CALLED), [], "stop")
    assert isinstance(events[-1], Finish)
    assert isinstance(without[-1], Finish)
    assert events[-1].usage.prompt == without[-1].usage.prompt


async def test_a_call_that_the_limit_cuts_off_is_told_so_far(opened_: Open, engine: str) -> None:
    backend = opened_(engine, CALLED)
    _, calls, reason = read(await ask(backend, sampling={"max_tokens": 8}))
    assert (calls, reason) == ([("get_weather", '{"city": "Pa')], "length")


async def test_a_model_whose_template_has_no_tools_is_given_none(
    opened_: Open, engine: str
) -> None:
    plain = "{% for message in messages %}<|im_start|>{{ message.content }}<|im_end|>\n{% endfor %}"
    backend = opened_(engine, ["Hi"], plain)
    (model,) = await backend.models()
    assert "tools" not in model.capabilities
    with pytest.raises(Unsupported, match='"m" does not support tools') as caught:
        await ask(backend)
    assert caught.value.param == "tools"


async def test_a_chat_template_may_be_given_with_tools(opened_: Open, engine: str) -> None:
    plain = "{% for message in messages %}<|im_start|>{{ message.content }}<|im_end|>\n{% endfor %}"
    backend = opened_(engine, SAID, plain, chat_template=HERMES)
    (model,) = await backend.models()
    assert "tools" in model.capabilities
    assert model.template == HERMES
    with_tools, without = await ask(backend), await ask(backend, tools=())
    assert isinstance(with_tools[-1], Finish)
    assert isinstance(without[-1], Finish)
    assert with_tools[-1].usage.prompt > without[-1].usage.prompt + 100


async def test_a_tool_that_is_not_offered_cannot_be_demanded(opened_: Open, engine: str) -> None:
    with pytest.raises(BadRequest, match="no tool named 'other'") as caught:
        await ask(opened_(engine, ["Hi"]), tool_choice="other")
    assert caught.value.param == "tool_choice"


class TestCTransformers:
    """What the engine leaves to us."""

    @pytest.fixture(autouse=True)
    def installed(self) -> None:
        pytest.importorskip("ctransformers")

    @pytest.mark.parametrize(
        ("pieces", "chat_template", "control", "settings"),
        [
            (
                ["[TOOL_CALLS]", '[{"name": "get_weather"', ', "arguments": {"city": "Paris"}}]'],
                template("[TOOL_CALLS]["),
                ["[TOOL_CALLS]"],
                {},
            ),
            (
                ["[TOOL_CALLS]", "get_", "weather", "[ARGS]", '{"city":', ' "Paris"}'],
                template("[TOOL_CALLS]"),
                ["[TOOL_CALLS]", "[ARGS]"],
                {},
            ),
            (
                ["<|python_tag|>", '{"name": "get_weather"', ', "parameters": {"city": "Paris"}}'],
                template("<|python_tag|>", key="parameters"),
                ["<|python_tag|>"],
                {},
            ),
            (
                ['{"name": "get_weather"', ', "parameters": {"city": "Paris"}}'],
                template("", key="parameters"),
                [],
                {},
            ),
            (
                [
                    "<tool_call>",
                    "<function=get_weather>",
                    "<parameter=city>\n",
                    "Paris",
                    "\n</para",
                    "meter></function>",
                    "</tool_call>",
                ],
                template("<tool_call>", "</tool_call>"),
                [],
                {},
            ),
            (
                [
                    "```json\n",
                    '{"name": "get_weather"',
                    ', "arguments": {"city": "Paris"}}',
                    "\n```",
                ],
                HERMES,
                [],
                {"tool_format": "json"},
            ),
        ],
        ids=["mistral", "mistral with names", "llama", "bare", "elements", "fence"],
    )
    async def test_the_formats_are_read_with_marks_that_are_control_tokens(
        self,
        opened_: Open,
        pieces: list[str],
        chat_template: str,
        control: list[str],
        settings: dict[str, Any],
    ) -> None:
        backend = opened_("ctransformers", pieces, chat_template, control, **settings)
        text, ((name, arguments),), reason = read(await ask(backend))
        assert (text, name, reason) == ("", "get_weather", "tool_calls")
        assert json.loads(arguments) == {"city": "Paris"}

    async def test_an_unknown_tool_is_text(self, opened_: Open) -> None:
        backend = opened_("ctransformers", CALLED)
        assert read(await ask(backend, tools=(TIME,))) == ("".join(CALLED), [], "stop")

    async def test_one_call_is_enough_where_only_one_may_be(self, opened_: Open) -> None:
        backend = opened_("ctransformers", [*CALLED, *SECOND])
        events = await ask(backend, parallel_tool_calls=False)
        assert read(events) == ("", [("get_weather", '{"city": "Paris"}')], "tool_calls")
        assert isinstance(events[-1], Finish)
        assert events[-1].usage.completion == len(CALL) + 1

    async def test_a_call_that_the_model_breaks_off_is_an_error(self, opened_: Open) -> None:
        with pytest.raises(BackendError, match="breaks off"):
            await ask(opened_("ctransformers", CALL))

    @pytest.mark.parametrize("choice", ["required", "get_weather"])
    async def test_a_call_cannot_be_forced(self, opened_: Open, choice: str) -> None:
        with pytest.raises(Unsupported) as caught:
            await ask(opened_("ctransformers", CALLED), tool_choice=choice)
        assert (caught.value.capability, caught.value.param) == (
            "a forced tool call",
            "tool_choice",
        )

    async def test_an_unknown_format_is_refused_at_once(self, opened_: Open) -> None:
        with pytest.raises(ValueError, match="no tool format is called 'yaml'"):
            opened_("ctransformers", ["Hi"], tool_format="yaml")


class TestLlamaCpp:
    """What the grammar enforces, on models that would write something else."""

    @pytest.fixture(autouse=True)
    def installed(self) -> None:
        pytest.importorskip("xllamacpp")

    @pytest.mark.parametrize("choice", ["required", "get_weather"])
    async def test_a_forced_call_is_made_by_a_model_that_makes_none(
        self, opened_: Open, choice: str
    ) -> None:
        schema = {
            "type": "object",
            "properties": {"city": {"enum": ["Rome", "Paris"]}, "days": {"$ref": "#/$defs/days"}},
            "required": ["city", "days"],
            "additionalProperties": False,
            "$defs": {"days": {"enum": [1, 2]}},
        }
        weather = Tool("get_weather", "", schema)
        backend = opened_("llamacpp", ["No", " I", " won't."])
        events = await ask(
            backend,
            tools=(weather,),
            tool_choice=choice,
            sampling={"stop": ("get", "}"), "max_tokens": 200},
        )
        text, ((name, arguments),), reason = read(events)
        assert (text, name, reason) == ("", "get_weather", "tool_calls")
        jsonschema.validate(json.loads(arguments), schema)

    async def test_thinking_is_not_asked_for_together_with_a_forced_call(
        self, opened_: Open
    ) -> None:
        backend = opened_("llamacpp", ["Hi"], HERMES + "{# <think> #}")
        with pytest.raises(Unsupported, match="thinking before a forced tool call"):
            await ask(backend, tool_choice="required", reasoning=True)

    async def test_parameters_must_be_those_of_an_object(self, opened_: Open) -> None:
        with pytest.raises(BadRequest, match="must be those of an object") as caught:
            await ask(
                opened_("llamacpp", ["Hi"]),
                tools=(TIME, Tool("odd", "", {"type": "string"})),
                tool_choice="required",
            )
        assert caught.value.param == "tools[1]"


def test_the_schema_of_a_call_keeps_what_the_tools_refer_to() -> None:
    inner = {"type": "object", "properties": {"a": {"$ref": "#/$defs/x"}, "$ref": {"type": "null"}}}
    tool = Tool("f", "", {**inner, "$defs": {"x": {"enum": ["yes"]}}, "required": ["a"]})
    schema = call_schema((TIME, tool), FORMATS["llama"])
    jsonschema.Draft202012Validator.check_schema(schema)
    good = {"name": "f", "parameters": {"a": "yes", "$ref": None}}
    assert jsonschema.Draft202012Validator(schema).is_valid(good)
    for bad in ({"a": "no"}, {}, {"a": "yes", "$ref": 1}):
        call = {"name": "f", "parameters": bad}
        assert not jsonschema.Draft202012Validator(schema).is_valid(call)
    assert list(schema["anyOf"][0]["properties"]) == ["name", "parameters"]


def test_a_thought_that_the_template_opens_is_ended_before_a_forced_call() -> None:
    assert opened("x<think>\n", FORMATS["hermes"]) == "x<think>\n\n</think>\n\n<tool_call>\n"
    assert opened("x", FORMATS["json"]) == "x"
