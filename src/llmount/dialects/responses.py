"""OpenAI's responses, without a store: the server half.

`llmount.dialects.responses_request` reads bodies, `responses_form`, `responses_items` and
`responses_codec` write answers, `responses_errors` draws errors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..contract import Operation
from ..errors import ApiError
from ..types import JSON, Backend, Quota
from .openai import service_headers
from .protocol import Codec, Drawing, Handler, Headers, Reply, Request, Run
from .responses_codec import ResponseCodec
from .responses_errors import draw
from .responses_request import prompt

__all__ = ["Responses"]


class Responses:
    """Responses over a backend. A `Dialect`."""

    contract = "chat/responses"

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    @property
    def backends(self) -> Sequence[object]:
        return (self.backend,)

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return {"createResponse": self.create}

    async def create(self, request: Request) -> Reply:
        body = request.body
        asked = prompt(body)
        return Run(self.backend.generate(asked), ResponseCodec(body), body["stream"])

    def draw(self, error: ApiError, operation: Operation | None) -> Drawing:
        return draw(error)

    def draw_item(self, error: ApiError, codec: Codec) -> Iterable[JSON]:
        assert isinstance(codec, ResponseCodec)
        return codec.failed(error)

    def headers(self, started: int, quota: Quota | None) -> Headers:
        return service_headers(started, quota)
