"""The neutral vocabulary: what is asked of a model and what it answers.

Everything here is a pure value or a protocol; nothing does I/O. A dialect turns a
request body into a `Prompt` and the events of an answer into its own wire format;
a backend turns a `Prompt` into events. Neither knows the other.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

__all__ = [
    "JSON",
    "AudioPart",
    "Backend",
    "Capability",
    "Directory",
    "EmbeddingBackend",
    "EmbeddingPrompt",
    "Embeddings",
    "Event",
    "FilePart",
    "Finish",
    "FinishReason",
    "ImagePart",
    "Message",
    "Model",
    "Part",
    "Prompt",
    "Quota",
    "ReasoningDelta",
    "Residency",
    "Resident",
    "Role",
    "Sampling",
    "TextDelta",
    "TextPart",
    "Timings",
    "TokenLogprob",
    "Tool",
    "ToolCall",
    "ToolCallDelta",
    "Usage",
]

JSON: TypeAlias = Any
"""A value that `json.dumps` takes. Spelled `Any` because Python cannot say it usefully."""

Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]
Capability = Literal[
    "completion", "tools", "insert", "vision", "embedding", "thinking", "image", "audio"
]


# What is asked


@dataclass(frozen=True, slots=True)
class TextPart:
    text: str


@dataclass(frozen=True, slots=True)
class ImagePart:
    """An image, by its bytes or by its address; exactly one of the two is set."""

    data: bytes | None = None
    url: str | None = None
    detail: Literal["auto", "low", "high"] | None = None


@dataclass(frozen=True, slots=True)
class AudioPart:
    data: bytes
    format: str


@dataclass(frozen=True, slots=True)
class FilePart:
    """A document, by its bytes or by an id that the upstream knows."""

    data: bytes | None = None
    file_id: str | None = None
    filename: str | None = None


Part: TypeAlias = TextPart | ImagePart | AudioPart | FilePart


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the model made. `arguments` is JSON text, as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call. `parameters` is a JSON Schema."""

    name: str
    description: str = ""
    parameters: Mapping[str, JSON] = field(default_factory=dict)
    strict: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. `tool_call_id` names the call that a turn of role `tool` answers."""

    role: Role
    parts: tuple[Part, ...] = ()
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None

    @property
    def text(self) -> str:
        """The text parts, joined."""
        return "".join(part.text for part in self.parts if isinstance(part, TextPart))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How to pick tokens. `None` leaves the choice to the engine.

    `max_tokens` counts generated tokens; a negative number means no limit.
    `logit_bias` maps token ids to a number that is added to the logit.
    """

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    typical_p: float | None = None
    repeat_penalty: float | None = None
    repeat_last_n: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    logit_bias: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One request for one answer.

    Either `messages` is a conversation, which the engine renders with the model's chat
    template, or `text` is continued verbatim (`messages` is then empty).

    suffix: the text after the gap, for a model that fills in the middle.
    context: tokens of an earlier exchange (`Finish.context`) to be put in front.
    tool_choice: "auto", "none", "required", or the name of the one tool to call.
    format: None for free text, "json" for any JSON object, or a JSON Schema.
    reasoning: None for the model's default, a bool, or an effort such as "low".
    logprobs: None for none, else how many alternatives to report beside each token.
    template: a prompt template that replaces the model's own.
    keep_alive: seconds to keep the model in memory afterwards; negative means for ever.
    options: settings that only some engines know, by the engine's own names.
    """

    model: str
    messages: tuple[Message, ...] = ()
    text: str | None = None
    suffix: str | None = None
    context: tuple[int, ...] = ()
    sampling: Sampling = field(default_factory=Sampling)
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    parallel_tool_calls: bool = True
    format: Literal["json"] | Mapping[str, JSON] | None = None
    reasoning: bool | str | None = None
    logprobs: int | None = None
    template: str | None = None
    keep_alive: float | None = None
    options: Mapping[str, JSON] = field(default_factory=dict)


# What is answered


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token's natural logarithm of probability, minus infinity for none at all; `top` are
    the likeliest alternatives."""

    token: str
    logprob: float
    bytes: bytes | None = None
    top: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A further piece of the answer's text: whole characters, never half a code point."""

    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """A further piece of the model's thinking."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A further piece of call number `index` (from 0, growing by 1).

    The first delta of a call has its `id` and `name`; later ones have neither. The
    joined `arguments` of a call are one JSON object.
    """

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Token counts. `prompt` includes `cached`; `completion` includes `reasoning`."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    reasoning: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Where the time went, in nanoseconds. `load` is waiting for the model to be ready."""

    load: int = 0
    prompt: int = 0
    completion: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """The end of an answer: exactly once, and last.

    context: the tokens of prompt and answer, where the engine can tell them.
    raw: the upstream's own whole answer, where there is an upstream.
    """

    reason: FinishReason = "stop"
    usage: Usage = field(default_factory=Usage)
    timings: Timings = field(default_factory=Timings)
    context: tuple[int, ...] = ()
    raw: Mapping[str, JSON] | None = None


Event: TypeAlias = TextDelta | ReasoningDelta | ToolCallDelta | Finish


# Who answers


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model that a backend offers.

    created: Unix seconds. size: bytes on disk. digest: sha256 in hex.
    context_length and embedding_length: tokens and numbers; 0 where unknown.
    capabilities: what it can do; empty where that is unknown.
    metadata: what the model's file says of itself, by GGUF key.
    """

    name: str
    created: int = 0
    owner: str = "library"
    description: str = ""
    size: int = 0
    digest: str = ""
    format: str = ""
    family: str = ""
    parameter_size: str = ""
    quantization: str = ""
    context_length: int = 0
    embedding_length: int = 0
    capabilities: frozenset[Capability] = frozenset({"completion"})
    template: str = ""
    license: str = ""
    metadata: Mapping[str, JSON] = field(default_factory=dict)


class Backend(Protocol):
    """What answers prompts. Two methods; anything that has them is a backend.

    `generate` returns an async generator of events that ends with exactly one `Finish`.
    It may raise any `llmount.errors.ApiError`, before the first event or later:
    `ModelNotFound` for a name it does not know, `Unsupported` for what it cannot do.
    Closing the generator, or cancelling the task that waits for it, stops the work:
    an answer that nobody reads is not computed. Options it does not know it ignores.

    `models` lists what can be named in `Prompt.model`. It is cheap enough for every
    request: a backend with a slow source caches.

    A backend opens what it needs on first use, because a mounted app has no start-up.
    One that holds resources has `async def aclose(self) -> None` as well, which may be
    called more than once: several apps may share it.
    """

    def generate(self, prompt: Prompt, /) -> AsyncGenerator[Event, None]: ...

    async def models(self) -> Sequence[Model]: ...


@runtime_checkable
class Directory(Protocol):
    """A backend that can tell of one model without listing all of them.

    None for a model that it does not list; that it may have all the same.
    """

    async def model(self, name: str, /) -> Model | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Residency:
    """A model in memory. `size` in bytes; `expires` in Unix seconds, None for never."""

    model: Model
    size: int = 0
    context_length: int = 0
    expires: float | None = None


@runtime_checkable
class Resident(Protocol):
    """A backend that can be told to load or unload a model, and says what is loaded."""

    async def load(self, model: str, keep_alive: float | None, /) -> None: ...

    async def unload(self, model: str, /) -> None: ...

    async def resident(self) -> Sequence[Residency]: ...


@dataclass(frozen=True, slots=True)
class Quota:
    """Requests that may be sent in this window, those that are left, and its end in Unix
    seconds."""

    limit: int
    remaining: int
    reset: float


# Embeddings


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingPrompt:
    """One request for the embeddings of texts.

    dimensions: how many numbers are wanted of each; None or too many is all.
    truncate: cut a text that is too long for the model, rather than `ContextTooLong`.
    keep_alive: as in `Prompt`.
    """

    model: str
    texts: tuple[str, ...]
    dimensions: int | None = None
    truncate: bool = True
    keep_alive: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Embeddings:
    """A vector of numbers for each text, in their order; whether it has the length 1 is up
    to the model. `usage` counts the texts' tokens together."""

    vectors: Sequence[Sequence[float]]
    usage: Usage = field(default_factory=Usage)
    timings: Timings = field(default_factory=Timings)


@runtime_checkable
class EmbeddingBackend(Protocol):
    """What embeds texts; many a `Backend` does so too.

    `embed` raises `ModelNotFound`, `ContextTooLong`, `Unsupported` ("embedding", for a model
    that cannot) or another `ApiError`. Cancelling the task that awaits it stops the work.
    """

    async def embed(self, prompt: EmbeddingPrompt, /) -> Embeddings: ...
