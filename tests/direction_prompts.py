"""What may be asked of a model, thing by thing: the rows of the first table of directions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from llmount.types import (
    AudioPart,
    FilePart,
    ImagePart,
    Message,
    Part,
    Prompt,
    Sampling,
    TextPart,
    Tool,
    ToolCall,
)

__all__ = ["ASKED", "Asked"]

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
LOOK, GO = Tool("get_weather", "The weather.", CITY), Tool("get_time", "The time.")


def user(*parts: str | Part, name: str | None = None) -> Message:
    read = (TextPart(part) if isinstance(part, str) else part for part in parts)
    return Message("user", tuple(read), name=name)


HI = user("Hi")
HELLO = Message("assistant", (TextPart("Hello"),))
CALL = Message("assistant", tool_calls=(ToolCall("call_1", "get_weather", '{"city": "Oslo"}'),))
RESULT = Message("tool", (TextPart("rain"),), tool_call_id="call_1")
PICTURE = ImagePart(data=b"\x89PNG\r\n\x1a\n")


@dataclass(frozen=True)
class Asked:
    """One thing to ask. fields: of the prompt that asks for it. sampling: likewise. beside:
    what the prompt that does not ask for it has as well, and beside_sampling."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    sampling: Mapping[str, Any] = field(default_factory=dict)
    beside: Mapping[str, Any] = field(default_factory=dict)
    beside_sampling: Mapping[str, Any] = field(default_factory=dict)

    def prompts(self, model: str, **sampling: Any) -> tuple[Prompt, Prompt]:
        """Without it and with it."""
        common = Sampling(**{**sampling, **self.beside_sampling})
        without = Prompt(**{"model": model, "messages": (HI,), "sampling": common, **self.beside})
        return without, replace(
            without, **{"sampling": replace(common, **self.sampling), **self.fields}
        )


def _said(*messages: Message, **more: Any) -> Asked:
    return Asked({"messages": messages, **more})


def _tools(**fields: Any) -> Asked:
    return Asked(fields, beside={"tools": (LOOK, GO)})


def _set(**sampling: Any) -> Asked:
    return Asked(sampling=sampling)


ASKED: Mapping[str, Asked] = {
    "a conversation": _said(HI, HELLO, user("Why?")),
    "a system message": _said(Message("system", (TextPart("Be brief."),)), HI),
    "a text to be continued": Asked({"messages": (), "text": "Once"}),
    "the text after a gap": Asked({"suffix": "("}, beside={"messages": (), "text": "Once"}),
    "tokens of an earlier answer": Asked({"context": (97, 98)}, beside={"messages": (HI,)}),
    "a prompt template": Asked({"template": "{{ .Prompt }}!"}),
    "who speaks (`name`)": _said(user("Hi", name="ann")),
    "what was thought before": Asked(
        {"messages": (HI, replace(HELLO, reasoning="Hm."), HI)},
        beside={"messages": (HI, HELLO, HI)},
    ),
    "images": _said(user("Hi", PICTURE)),
    "images by their address": _said(user("Hi", ImagePart(url="https://example.com/a.png"))),
    "sound": _said(user("Hi", AudioPart(b"RIFF", "wav"))),
    "documents": _said(user("Hi", FilePart(b"%PDF", filename="a.pdf"))),
    "tools": Asked({"tools": (LOOK,)}),
    "calls and their results": _said(HI, CALL, RESULT, tools=(LOOK,)),
    "no call (`tool_choice: none`)": _tools(tool_choice="none"),
    "a forced call": _tools(tool_choice="required"),
    "one call at most": _tools(parallel_tool_calls=False),
    "strict arguments": _tools(tools=(replace(LOOK, strict=True), GO)),
    "JSON": Asked({"format": "json"}),
    "a JSON Schema": Asked({"format": CITY}),
    "to think": Asked({"reasoning": True}, beside={"reasoning": False}),
    "how much to think": Asked({"reasoning": "low"}, beside={"reasoning": True}),
    "not to think": Asked({"reasoning": False}),
    "log probabilities": Asked({"logprobs": 2}),
    "`max_tokens`": _set(max_tokens=20),
    "`temperature`": _set(temperature=1.75),
    "`top_p`": _set(top_p=0.05),
    "`top_k`": _set(top_k=1),
    "`min_p`": _set(min_p=0.95),
    "`typical_p`": _set(typical_p=0.05),
    "`repeat_penalty`": _set(repeat_penalty=20.0),
    "`repeat_last_n`": Asked(
        sampling={"repeat_last_n": 0}, beside_sampling={"repeat_penalty": 20.0}
    ),
    "`presence_penalty`": _set(presence_penalty=2.0),
    "`frequency_penalty`": _set(frequency_penalty=2.0),
    "`seed`": _set(seed=2),
    "`stop`": _set(stop=("b",)),
    "`logit_bias`": _set(logit_bias={ord("z"): 100.0}),
    "`keep_alive`": Asked({"keep_alive": 7200}),
    "options of the engine": Asked({"options": {"grammar": 'root ::= "zz"'}}),
}
