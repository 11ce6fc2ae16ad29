"""OpenAI's API, or the part of it that most clients speak: the server half.

`llmount.dialects.openai_request` and `openai_tools` read the bodies of chat completions,
`openai_answer` and `openai_calls` write the answers; `openai_text` and `openai_embedding`
do both for theirs, and `openai_errors` draws errors.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, TypeAlias, get_args

from ..contract import Operation
from ..decoding import decode
from ..errors import ApiError, ModelNotFound, UnknownFields
from ..jsontext import dumps
from ..media import ImageBackend
from ..types import JSON, Backend, Model, Quota
from .completion import in_turn, repeated
from .embedding import embed
from .openai_answer import Choices, Chunks
from .openai_embedding import embedded, embedding_prompt
from .openai_errors import draw, envelope
from .openai_images import images_run
from .openai_request import prompt
from .openai_text import Texts, order
from .openai_tools import offered
from .protocol import Answer, Codec, Drawing, Handler, Headers, Reply, Request, Run

__all__ = ["OpenAI", "Unknown", "service_headers"]

Unknown: TypeAlias = Literal["ignore", "reject"]


class OpenAI:
    """Chat and text completions, embeddings and images over a backend. A `Dialect`.

    images: what draws. unknown: whether a field of a body that the document does not have is
    ignored, as self-hosted servers do, or refused, as OpenAI does.
    """

    contract = "chat/openai"

    def __init__(
        self,
        backend: Backend,
        images: ImageBackend | None = None,
        *,
        unknown: Unknown = "ignore",
    ) -> None:
        if unknown not in get_args(Unknown):
            raise ValueError(f"unknown is {unknown!r}, not one of {', '.join(get_args(Unknown))}")
        self.backend = backend
        self.images = images
        self.unknown = unknown

    @property
    def backends(self) -> Sequence[object]:
        return (self.backend, self.images)

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return {
            "createChatCompletion": self.create,
            "createCompletion": self.create_text,
            "createEmbedding": self.create_embedding,
            "createImage": self.create_image,
            "listModels": self.list_models,
            "retrieveModel": self.retrieve_model,
        }

    def read(self, body: bytes, request: Request) -> None:
        """As `read_strictly`; raises `UnknownFields` where they are rejected."""
        found = decode(body)
        if self.unknown == "reject" and isinstance(found, dict):
            names = [name for name in found if name not in request.operation.fields]
            if names:
                raise UnknownFields(names)
        request.body = request.operation.validate(found)

    async def create(self, request: Request) -> Reply:
        body = request.body
        offer = offered(body)
        asked = prompt(body, offer)
        codec = Chunks(body["model"], usage=_wants_usage(body), offer=offer)
        count = int(body["n"])
        if count == 1:
            return Run(self.backend.generate(asked), codec, body["stream"])
        events = in_turn(self.backend.generate, tuple(repeated(asked, count)))
        return Run(events, Choices(codec, count), body["stream"])

    async def create_text(self, request: Request) -> Reply:
        asked = order(request.body)
        codec = Texts(asked, usage=_wants_usage(request.body))
        return Run(in_turn(self.backend.generate, asked.prompts), codec, request.body["stream"])

    async def create_embedding(self, request: Request) -> Reply:
        asked = embedding_prompt(request.body)
        found = await embed(self.backend, asked)
        return Answer(embedded(request.body, asked, found), tokens=found.usage.prompt)

    async def create_image(self, request: Request) -> Reply:
        return images_run(self.images, request.body)

    async def list_models(self, request: Request) -> Reply:
        models = await self._models()
        return Answer({"object": "list", "data": [_model(model) for model in models]})

    async def retrieve_model(self, request: Request) -> Reply:
        name = request.params["model"]
        for model in await self._models():
            if model.name == name:
                return Answer(_model(model))
        raise ModelNotFound(name)

    async def _models(self) -> Sequence[Model]:
        models = await self.backend.models()
        if self.images is None:
            return models
        known = {model.name for model in models}
        drawing = [model for model in await self.images.models() if model.name not in known]
        return [*models, *drawing]

    def draw(self, error: ApiError, operation: Operation | None) -> Drawing:
        return draw(error, _READ.get(operation.id if operation else "", "messages"))

    def draw_item(self, error: ApiError, codec: Codec) -> Iterable[JSON]:
        # No [DONE] after it: that would claim success.
        return [{"data": dumps({"error": envelope(error)})}]

    def headers(self, started: int, quota: Quota | None) -> Headers:
        return service_headers(started, quota)


_READ = {"createCompletion": "prompt", "createEmbedding": "input"}
"""What the model reads, and may be too long for it, by operation; else `messages`."""


def service_headers(started: int, quota: Quota | None) -> Headers:
    """What every answer of the service carries. Arguments as for `Dialect.headers`."""
    milliseconds = (time.perf_counter_ns() - started) // 1_000_000
    headers = (
        ("x-request-id", "req_" + secrets.token_hex(16)),
        ("openai-processing-ms", str(milliseconds)),
        ("openai-version", "2020-10-01"),
    )
    if quota is None:
        return headers
    return (
        *headers,
        ("x-ratelimit-limit-requests", str(quota.limit)),
        ("x-ratelimit-remaining-requests", str(quota.remaining)),
        ("x-ratelimit-reset-requests", _duration(quota.reset - time.time())),
    )


def _duration(seconds: float) -> str:
    """Whole seconds, rounded up, in Go's notation: `1s`, `6m0s`, `24h0m0s`."""
    minutes, rest = divmod(max(0, math.ceil(seconds)), 60)
    if not minutes:
        return f"{rest}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{rest}s" if hours else f"{minutes}m{rest}s"


def _wants_usage(body: JSON) -> bool:
    return bool((body.get("stream_options") or {}).get("include_usage"))


def _model(model: Model) -> JSON:
    return {
        "id": model.name,
        "object": "model",
        "created": model.created,
        "owned_by": model.owner,
    }
