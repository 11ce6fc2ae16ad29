"""OpenAI's API as Azure has it: the model is a deployment, named in the path."""

from __future__ import annotations

from collections.abc import Mapping

from ..contract import Operation
from ..errors import ApiError, ModelNotFound
from .openai import OpenAI
from .openai_errors import envelope
from .protocol import Drawing, Handler, Request

__all__ = ["Azure"]


class Azure(OpenAI):
    """Chat and text completions, and embeddings, of deployments. A `Dialect`."""

    contract = "chat/azure"

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return {name: each for name, each in super().handlers.items() if name != "createImage"}

    def read(self, body: bytes, request: Request) -> None:
        """As `OpenAI.read`; the model is the deployment, whatever the body calls it."""
        super().read(body, request)
        request.body["model"] = request.params["deployment"]

    def draw(self, error: ApiError, operation: Operation | None) -> Drawing:
        if not isinstance(error, ModelNotFound) or operation is None or operation.body is None:
            return super().draw(error, operation)
        told = {
            **envelope(error),
            "message": f"The API deployment `{error.model[:_MOST_SHOWN]}` does not exist.",
            "param": None,
            "code": "DeploymentNotFound",
        }
        return Drawing.of(error, {"error": told})


_MOST_SHOWN = 200
