"""KTransformers' two surfaces, which only stream: `/api/generate` and chat completions."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from ..contract import Operation
from ..errors import ApiError, BadRequest, InvalidRequest, NotFound
from ..jsontext import dumps
from ..types import JSON, Backend, Finish, Message, Prompt, Quota, TextPart
from ..validation import show
from .openai_answer import FINGERPRINT
from .plain import Pieces, conversation, plain_reason
from .protocol import Codec, Drawing, Handler, Headers, Reply, Request, Run, quota_headers

__all__ = ["KTransformers", "KTransformersChat"]


class _Streaming:
    """What the two surfaces have in common."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    @property
    def backends(self) -> Sequence[object]:
        return (self.backend,)

    def headers(self, started: int, quota: Quota | None) -> Headers:
        return quota_headers(quota)


class KTransformers(_Streaming):
    """Answers to one prompt, as lines of JSON. A `Dialect`."""

    contract = "generate/ktransformers"

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return {"generate": self.generate}

    async def generate(self, request: Request) -> Reply:
        body = request.body
        turn = Message("user", (TextPart(body["prompt"]),))
        prompt = Prompt(model=body["model"], messages=(turn,))
        return Run(self.backend.generate(prompt), _Lines(body["model"]), stream=True)

    def draw(self, error: ApiError, operation: Operation | None) -> Drawing:
        return Drawing.of(error, {"error": _message(error)})

    def draw_item(self, error: ApiError, codec: Codec) -> Iterable[JSON]:
        return [{"error": _message(error)}]


class KTransformersChat(_Streaming):
    """Chat completions, as server-sent events. A `Dialect`."""

    contract = "chat/ktransformers"

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return {
            "createChatCompletion": self.create,
            **dict.fromkeys(_ASSISTANTS, self.assistants),
        }

    async def create(self, request: Request) -> Reply:
        body = request.body
        prompt = Prompt(model=body["model"], messages=conversation(body["messages"]))
        return Run(self.backend.generate(prompt), _Chunks(body["model"]), stream=True)

    async def assistants(self, request: Request) -> Reply:
        raise NotFound(_SHUT_DOWN)

    def draw(self, error: ApiError, operation: Operation | None) -> Drawing:
        return Drawing.of(error, _drawn(error))

    def draw_item(self, error: ApiError, codec: Codec) -> Iterable[JSON]:
        # Bare, as in an error response, clients would take it for a chunk and skip it.
        return [{"data": dumps({"error": _drawn(error)})}]


_ASSISTANTS = (
    "listAssistants",
    "createAssistant",
    "readAssistant",
    "writeAssistant",
    "deleteAssistant",
    "listThreads",
    "createThread",
    "readThread",
    "writeThread",
    "deleteThread",
)

_SHUT_DOWN = (
    "The Assistants API does not exist any more: OpenAI, who made it, shut it down on "
    "26 August 2026. Its successor is the Responses API, /v1/responses."
)


class _Lines(Pieces):
    def __init__(self, model: str) -> None:
        super().__init__()
        self._model = model

    def item(self, text: str, finish: Finish | None) -> JSON:
        return {
            "model": self._model,
            "created_at": datetime.now().strftime("%Y-%m-%d %H:%M:%S.%f"),
            "response": text,
            "done": finish is not None,
        }


class _Chunks(Pieces):
    last = ({"event": "done", "data": "[DONE]"},)

    def __init__(self, model: str) -> None:
        super().__init__()
        self._head = {
            "id": str(uuid.uuid4()),
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": FINGERPRINT,
            "usage": None,
        }
        self._role: str | None = "assistant"

    def item(self, text: str, finish: Finish | None) -> JSON:
        # Clients join the roles of all deltas, so it is told once.
        delta = {"content": text, "role": self._role, "name": None}
        self._role = None
        reason = finish and plain_reason(finish.reason)
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return {"data": dumps({**self._head, "choices": [choice]})}


# Errors

_TYPES = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    405: "MethodNotAllowedError",
    413: "ContentTooLargeError",
    415: "UnsupportedMediaTypeError",
    429: "RateLimitError",
}


def _drawn(error: ApiError) -> JSON:
    if isinstance(error, InvalidRequest):
        param = show(error.violation.path) or None
    else:
        param = error.param if isinstance(error, BadRequest) else None
    return _envelope(error.status, _message(error), param)


def _envelope(status: int, message: str, param: str | None = None) -> JSON:
    return {
        "object": "error",
        "message": message,
        "type": _TYPES.get(status, "InternalServerError"),
        "param": param,
        "code": status,
    }


def _message(error: ApiError) -> str:
    if isinstance(error, InvalidRequest) and error.violation.path == ("stream",):
        return "stream must be true or left out: an answer that is not streamed is not supported"
    return error.message
