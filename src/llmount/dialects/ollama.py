"""Ollama's `/api`: the server half.

`go_json` reads bodies, `ollama_request` makes prompts of them, `ollama_answer` the answers,
and `ollama_errors` draws errors. The handlers make the real server's checks in its order.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager

from ..contract import Contract, Operation
from ..errors import (
    ApiError,
    BadRequest,
    InvalidRequest,
    ModelNotFound,
    Unsupported,
)
from ..media import ImageBackend
from ..types import (
    JSON,
    Backend,
    EmbeddingPrompt,
    Embeddings,
    Event,
    Prompt,
    Quota,
    Resident,
)
from . import go_values, ollama_models
from .drawing import drawing
from .embedding import embed
from .go_json import GoReader
from .go_syntax import quote
from .ollama_answer import CHAT, GENERATE, Drawn, Form, Written, embedded
from .ollama_errors import draw
from .ollama_models import Asked, bare, find, timestamp
from .ollama_request import (
    chat_prompt,
    fills_gaps,
    generate_prompt,
    image_prompt,
    texts,
)
from .protocol import Answer, Codec, Drawing, Handler, Headers, Reply, Request, Run, quota_headers

__all__ = ["CHAT", "GENERATE", "Form", "Ollama", "Written", "timestamp"]


class Ollama:
    """Generate, chat, embed and model information over a backend. A `Dialect`.

    images: what draws for `/generate`, if the model is one of its own. version: what
    `/version` says, by default the release that the document imitates.
    """

    contract = "generate/ollama"

    def __init__(
        self, backend: Backend, images: ImageBackend | None = None, *, version: str | None = None
    ) -> None:
        self.backend = backend
        self.images = images
        self._version = version
        self._readers: dict[str, GoReader] = {}

    @property
    def backends(self) -> Sequence[object]:
        return (self.backend, self.images)

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return {
            "generate": self.generate,
            "chat": self.chat,
            "embed": self.embed,
            "embeddings": self.embeddings,
            "list": self.list,
            "show": self.show,
            "ps": self.ps,
            "version": self.version,
            "root": self.root,
        }

    def read(self, body: bytes, request: Request) -> None:
        """The body as Go reads it. What else the document has against it is a later check."""
        operation = request.operation
        if (reader := self._readers.get(operation.id)) is None:
            reader = self._readers[operation.id] = GoReader(operation)
        found, allowed = reader(body)
        request.body = operation.fill(found)
        request.fault = None if allowed else operation.fault(found)

    async def generate(self, request: Request) -> Reply:
        body = request.body
        _hold(request.fault, "top_logprobs")
        if _unnamed(request.fault):
            raise ModelNotFound(body.get("model", ""))
        sent, prompt = body["model"], body["prompt"]
        written = Written(sent, GENERATE, request.started, raw=body["raw"])
        if self.images is not None:
            name = bare(sent)
            if prompt and name in [model.name for model in await self.images.models()]:
                _hold(request.fault)
                drawn = Drawn(sent, request.started)
                events = drawing(self.images, image_prompt(body, name))
                return Run(events, drawn, body["stream"])
        asked = await find(self.backend, sent)
        keep_alive = go_values.seconds(body.get("keep_alive"))
        if not prompt and keep_alive == 0:
            return await self._unload(asked, written)
        if asked.lacks("completion") and not asked.lacks("image"):
            raise BadRequest("image generation models are not currently supported")
        _hold(request.fault, "template", "system", "context")
        body["think"] = asked.thinking(body.get("think"))
        if asked.lacks("completion"):
            raise BadRequest(f"{quote(sent)} does not support generate")
        if body["suffix"] and asked.lacks("insert") and not fills_gaps(body["template"]):
            raise Unsupported("insert", model=asked.name, param="suffix")
        if not prompt:
            _hold(request.fault, but="format")
            return await self._load(asked, keep_alive, written)
        _hold(request.fault)
        return self._run(asked, generate_prompt(body, asked.name), written, body["stream"])

    async def chat(self, request: Request) -> Reply:
        body = request.body
        _hold(request.fault, "top_logprobs")
        if _unnamed(request.fault):
            raise BadRequest("model is required")
        sent = body["model"]
        asked = await find(self.backend, sent)
        written = Written(sent, CHAT, request.started)
        keep_alive = go_values.seconds(body.get("keep_alive"))
        if not body.get("messages") and keep_alive == 0:
            return await self._unload(asked, written)
        body["think"] = asked.thinking(body.get("think"))
        if asked.lacks("completion"):
            raise BadRequest(f"{quote(sent)} does not support chat")
        if body.get("tools") and asked.lacks("tools"):
            raise Unsupported("tools", model=asked.name, param="tools")
        if not body.get("messages"):
            _hold(request.fault, but="format")
            return await self._load(asked, keep_alive, written)
        _hold(request.fault)
        return self._run(asked, chat_prompt(body, asked.name), written, body["stream"])

    def _run(self, asked: Asked, prompt: Prompt, written: Written, stream: bool) -> Run:
        events = self.backend.generate(prompt)
        return Run(events if asked.model else _as_sent(events, asked), written, stream)

    async def _load(self, asked: Asked, keep_alive: float | None, written: Written) -> Answer:
        if isinstance(self.backend, Resident):
            with _named(asked):
                await self.backend.load(asked.name, keep_alive)
        elif asked.model is None:
            raise ModelNotFound(asked.sent)
        return Answer(written.empty("load"))

    async def _unload(self, asked: Asked, written: Written) -> Answer:
        if isinstance(self.backend, Resident):
            with _named(asked):
                await self.backend.unload(asked.name)
        elif asked.model is None:
            raise ModelNotFound(asked.sent)
        return Answer(written.empty("unload"))

    async def embed(self, request: Request) -> Reply:
        body = request.body
        if _unnamed(request.fault):
            raise ModelNotFound(body.get("model", ""))
        asked = await find(self.backend, body["model"])
        found = await self._embed(request, asked, texts(body.get("input")))
        content = embedded(asked.sent, found, body["dimensions"], request.started)
        return Answer(content, tokens=found.usage.prompt)

    async def embeddings(self, request: Request) -> Reply:
        body = request.body
        if _unnamed(request.fault):
            raise BadRequest("model is required")
        asked = await find(self.backend, body["model"])
        found = await self._embed(request, asked, (body["prompt"],) if body["prompt"] else ())
        vector = list(found.vectors[0]) if found.vectors else []
        return Answer({"embedding": vector}, tokens=found.usage.prompt)

    async def _embed(self, request: Request, asked: Asked, texts: Sequence[str]) -> Embeddings:
        """With no texts the model is only loaded."""
        _hold(request.fault)
        body = request.body
        keep_alive = go_values.seconds(body.get("keep_alive"))
        if not texts:
            await self._load(asked, keep_alive, Written(asked.sent, GENERATE, request.started))
            return Embeddings(vectors=())
        prompt = EmbeddingPrompt(
            model=asked.name,
            texts=tuple(texts),
            dimensions=dimensions if (dimensions := body.get("dimensions", 0)) > 0 else None,
            truncate=body.get("truncate") is not False,
            keep_alive=keep_alive,
        )
        with _named(asked):
            return await embed(self.backend, prompt)

    async def list(self, request: Request) -> Reply:
        return Answer({"models": ollama_models.listed(await self.backend.models())})

    async def show(self, request: Request) -> Reply:
        if _unnamed(request.fault):
            raise BadRequest("model is required")
        _hold(request.fault)
        name = request.body["model"] or request.body["name"]
        asked = await find(self.backend, name, only_listed=True)
        if asked.model is None:
            raise ModelNotFound(ollama_models.tagged(asked.name))
        return Answer(ollama_models.shown(asked.model))

    async def ps(self, request: Request) -> Reply:
        resident = await self.backend.resident() if isinstance(self.backend, Resident) else ()
        return Answer({"models": ollama_models.resident(resident)})

    async def version(self, request: Request) -> Reply:
        return Answer({"version": self._version or Contract.load(self.contract).version})

    async def root(self, request: Request) -> Reply:
        return Answer("Ollama is running")

    def draw(self, error: ApiError, operation: Operation | None) -> Drawing:
        return draw(error, operation)

    def draw_item(self, error: ApiError, codec: Codec) -> Iterable[JSON]:
        return [draw(error, None).content]

    def headers(self, started: int, quota: Quota | None) -> Headers:
        return quota_headers(quota)


def _hold(fault: InvalidRequest | None, *only: str, but: str = "") -> None:
    """Raise what the document has against a body: all, of some fields, or but of one."""
    for violation in fault.violations if fault else ():
        field = violation.path[0] if violation.path else ""
        if field != but and (not only or field in only):
            raise InvalidRequest(violation)


def _unnamed(fault: InvalidRequest | None) -> bool:
    """Whether the document says that the request names no model."""
    violations = fault.violations if fault else ()
    return any(each.path[:1] in (("model",), ("name",)) for each in violations)


@contextmanager
def _named(asked: Asked) -> Iterator[None]:
    """A model that is not found is told by the name that the client used."""
    try:
        yield
    except ModelNotFound as error:
        if error.model != asked.name:
            raise
        raise ModelNotFound(asked.sent) from error


async def _as_sent(
    events: AsyncGenerator[Event, None], asked: Asked
) -> AsyncGenerator[Event, None]:
    async with aclosing(events):
        with _named(asked):
            async for event in events:
                yield event
