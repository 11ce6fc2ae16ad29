"""A response's body as a `Prompt`, and the rules that JSON Schema cannot say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from ..errors import BadRequest
from ..types import (
    JSON,
    FilePart,
    ImagePart,
    Message,
    Part,
    Prompt,
    Role,
    TextPart,
    Tool,
    ToolCall,
)
from .openai_request import bytes_of
from .sampling import sampling

__all__ = ["prompt"]

_ROLES: Mapping[str, Role] = {
    "developer": "system",
    "system": "system",
    "user": "user",
    "assistant": "assistant",
}


def prompt(body: JSON) -> Prompt:
    """The neutral prompt. Raises `BadRequest` with the path of the field at fault."""
    tools, choice = _tools(body)
    effort = (body.get("reasoning") or {}).get("effort")
    with_logprobs = "message.output_text.logprobs" in (body.get("include") or ())
    return Prompt(
        model=body["model"],
        messages=tuple(_messages(body)),
        sampling=sampling(body, "temperature", "top_p", max_tokens="max_output_tokens"),
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=body["parallel_tool_calls"],
        format=_format((body.get("text") or {}).get("format")),
        reasoning=False if effort == "none" else effort,
        logprobs=int(body.get("top_logprobs") or 0) if with_logprobs else None,
    )


def _format(text_format: JSON) -> JSON:
    match text_format:
        case {"type": "json_object"}:
            return "json"
        case {"type": "json_schema", "schema": schema}:
            return schema
    return None


# Tools


def _tools(body: JSON) -> tuple[tuple[Tool, ...], str]:
    tools = {
        tool["name"]: Tool(
            tool["name"],
            tool.get("description") or "",
            tool.get("parameters") or {},
            bool(tool.get("strict")),
        )
        for tool in body.get("tools") or ()
    }
    choice = body.get("tool_choice") or "auto"
    if isinstance(choice, str):
        return tuple(tools.values()), choice
    if choice["type"] == "function":
        return tuple(tools.values()), _named(choice, tools)
    names = [_named(tool, tools) for tool in choice["tools"]]
    return tuple(tools[name] for name in names), choice["mode"]


def _named(choice: JSON, tools: Mapping[str, Tool]) -> str:
    name: str = choice["name"]
    if name not in tools:
        raise BadRequest(
            f"Tool choice '{name[:64]}' not found in 'tools' parameter.", param="tool_choice"
        )
    return name


# Input


def _messages(body: JSON) -> Iterator[Message]:
    if instructions := body.get("instructions"):
        yield Message("system", (TextPart(instructions),))
    items = body["input"]
    if isinstance(items, str):
        yield Message("user", (TextPart(items),))
    else:
        _check_calls(items)
        yield from _turns(items)


def _check_calls(items: Sequence[JSON]) -> None:
    """Every output comes after its call, and every call has its output."""
    unanswered: dict[str, None] = {}
    called: set[str] = set()
    for item in items:
        kind = item.get("type")
        if kind == "function_call":
            called.add(item["call_id"])
            unanswered[item["call_id"]] = None
        elif kind == "function_call_output":
            if item["call_id"] not in called:
                raise BadRequest(
                    f"No tool call found for function call output with call_id {item['call_id']}.",
                    param="input",
                )
            unanswered.pop(item["call_id"], None)
    for call_id in unanswered:
        raise BadRequest(f"No tool output found for function call {call_id}.", param="input")


def _turns(items: Sequence[JSON]) -> Iterator[Message]:
    """The messages that the items make: reasoning, text and calls of the model that follow
    each other are one turn of the assistant."""
    turn: Message | None = None
    for number, item in enumerate(items):
        path = f"input[{number}]"
        said = _said(item, path)
        if said.role != "assistant":
            if turn is not None:
                yield _checked(turn, items[number - 1])
                turn = None
            yield said
        elif turn is None:
            turn = said
        elif (joined := _joined(turn, said)) is not None:
            turn = joined
        else:
            yield turn
            turn = said
    if turn is not None:
        yield _checked(turn, items[-1])


def _joined(turn: Message, said: Message) -> Message | None:
    """Both as one turn, or None if the second begins a turn of its own."""
    if said.tool_calls:
        return replace(turn, tool_calls=turn.tool_calls + said.tool_calls)
    if turn.parts or turn.tool_calls:
        return None
    return replace(turn, parts=said.parts, reasoning=turn.reasoning + said.reasoning)


def _checked(turn: Message, last: JSON) -> Message:
    if last.get("type") == "reasoning":
        raise BadRequest(
            f"Item '{(last.get('id') or '')[:64]}' of type 'reasoning' was provided without its "
            "required following item.",
            param="input",
        )
    return turn


def _said(item: JSON, path: str) -> Message:
    """The item as a message of its own."""
    match item.get("type"):
        case "function_call":
            call = ToolCall(item["call_id"], item["name"], item["arguments"])
            return Message("assistant", tool_calls=(call,))
        case "function_call_output":
            parts = tuple(_parts(item["output"], f"{path}.output"))
            return Message("tool", parts, tool_call_id=item["call_id"])
        case "reasoning":
            return Message("assistant", reasoning=_reasoning(item))
    return Message(_ROLES[item["role"]], tuple(_parts(item["content"], f"{path}.content")))


def _reasoning(item: JSON) -> str:
    if thought := "".join(part["text"] for part in item.get("content") or ()):
        return thought
    return "\n\n".join(part["text"] for part in item["summary"])


def _parts(content: JSON, path: str) -> Iterator[Part]:
    if isinstance(content, str):
        yield TextPart(content)
        return
    for number, part in enumerate(content):
        yield _part(part, f"{path}[{number}]")


def _part(part: JSON, path: str) -> Part:
    match part["type"]:
        case "refusal":
            return TextPart(part["refusal"])
        case "input_image":
            return _image(part, path)
        case "input_file":
            return _file(part, path)
    return TextPart(part["text"])


def _image(part: JSON, path: str) -> ImagePart:
    url: str = part["image_url"]
    detail = part.get("detail")
    if detail == "original":
        detail = "high"
    if url.startswith("data:"):
        return ImagePart(data=bytes_of(url, f"{path}.image_url"), detail=detail)
    return ImagePart(url=url, detail=detail)


def _file(part: JSON, path: str) -> FilePart:
    data = part.get("file_data")
    return FilePart(
        None if data is None else bytes_of(data, f"{path}.file_data"),
        part.get("file_id"),
        part.get("filename"),
    )
