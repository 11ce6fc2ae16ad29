"""What is asked of a server, and what its answer says, whatever the API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ..types import JSON

__all__ = ["Ask", "Call", "Feature", "Said", "Tokens", "Turn", "Word"]

Feature = Literal[
    "stream",
    "whole",
    "max_tokens",
    "temperature",
    "stop",
    "seed",
    "n",
    "logprobs",
    "json",
    "schema",
    "tools",
    "tool_choice",
    "system",
    "history",
    "usage",
    "thinking",
    "context",
]
"""What a request may ask for, beside an answer."""

Word = Literal["finish", "tokens", "model"]
"""What an answer may tell of itself."""


@dataclass(frozen=True, slots=True)
class Turn:
    """An earlier turn of a conversation."""

    role: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A question. What is None or empty is not sent.

    schema: the JSON Schema that the answer's text has to fit. json: any JSON will do. tools:
    JSON Schemas of parameters by the names of functions. tool_choice: "required", "none" or
    a function's name. usage: a stream has to end with the token counts. thinking: whether
    the model has to think first. context: the tokens of an earlier exchange.
    """

    text: str = "Count from one to ten, in words."
    system: str = ""
    history: tuple[Turn, ...] = ()
    stream: bool = False
    max_tokens: int | None = 24
    temperature: float | None = 0.0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    n: int | None = None
    logprobs: int | None = None
    json: bool = False
    schema: Mapping[str, JSON] | None = None
    tools: Mapping[str, JSON] = field(default_factory=dict)
    tool_choice: str | None = None
    usage: bool = False
    thinking: bool | None = None
    context: tuple[int, ...] = ()

    @property
    def features(self) -> set[Feature]:
        """What an API has to know for this question to be asked."""
        given: dict[Feature, object] = {
            "stream": self.stream,
            "whole": not self.stream,
            "stop": self.stop,
            "seed": self.seed is not None,
            "n": self.n is not None,
            "logprobs": self.logprobs is not None,
            "json": self.json,
            "schema": self.schema,
            "tools": self.tools,
            "tool_choice": self.tool_choice,
            "system": self.system,
            "history": self.history,
            "usage": self.usage,
            "thinking": self.thinking is not None,
            "context": self.context,
        }
        return {name for name, value in given.items() if value}


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a tool; arguments as JSON text."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token counts; None where the answer has none."""

    prompt: int | None = None
    completion: int | None = None
    total: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What an answer says. Read leniently: what is missing is empty.

    finish: "stop", "length", "tool_calls", another word, or "" for none. choices: the text of
    each of several answers; the first is `text`. logprobs: of each token. durations: by name,
    in nanoseconds. error: told in band.
    """

    text: str = ""
    reasoning: str = ""
    calls: Sequence[Call] = ()
    finish: str = ""
    tokens: Tokens = Tokens()
    choices: Sequence[str] = ()
    logprobs: Sequence[JSON] = ()
    durations: Mapping[str, float] = field(default_factory=dict)
    context: Sequence[int] = ()
    model: str = ""
    error: str = ""
