"""How errors of responses differ from those of chat completions, in the same envelope."""

from __future__ import annotations

from dataclasses import replace

from ..errors import (
    ApiError,
    BadRequest,
    ContextTooLong,
    InvalidRequest,
    RateLimited,
    Unsupported,
    Violation,
)
from ..types import JSON
from . import openai_errors
from .protocol import Drawing

__all__ = ["draw", "envelope", "failure"]


def draw(error: ApiError) -> Drawing:
    return replace(openai_errors.draw(error), content={"error": envelope(error)})


def envelope(error: ApiError) -> JSON:
    drawn: dict[str, JSON] = openai_errors.envelope(error)
    match error:
        case InvalidRequest(violation=Violation(keyword="required", path=("model",))):
            drawn["message"] = "Missing required parameter: 'model'."
            drawn["param"], drawn["code"] = "model", "missing_required_parameter"
        case ContextTooLong():
            drawn["message"] = (
                "Your input exceeds the context window of this model. Please adjust your input "
                "and try again."
            )
            drawn["param"] = "input"
        case Unsupported():
            pass
        case BadRequest(param="input"):
            # Items that do not fit together: the service has no code for it.
            drawn["code"] = None
    return drawn


def failure(error: ApiError) -> JSON:
    """The `error` of a response that has failed."""
    code = "server_error"
    if isinstance(error, RateLimited):
        code = "rate_limit_exceeded"
    elif isinstance(error, BadRequest):
        code = "invalid_prompt"
    return {"code": code, "message": envelope(error)["message"]}
