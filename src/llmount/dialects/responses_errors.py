"""How errors of responses differ from those of chat completions, in the same envelope."""

from __future__ import annotations

from collections.abc import Mapping
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
from ..validation import show
from . import openai_errors
from .protocol import Drawing

__all__ = ["draw", "envelope", "failure"]

_STATELESS = "nothing is stored; send the whole conversation as input"
_UNSUPPORTED: Mapping[str, str] = {
    "previous_response_id": f"previous_response_id ({_STATELESS})",
    "conversation": f"conversation ({_STATELESS})",
    "prompt": "prompt templates",
    "context_management": "context management",
    "background": "background responses",
    "file_url": "files by their address",
}
"""What the service has and the document does not allow, by the name of the field."""


def draw(error: ApiError) -> Drawing:
    return replace(openai_errors.draw(error), content={"error": envelope(error)})


def envelope(error: ApiError) -> JSON:
    for violation in error.violations if isinstance(error, InvalidRequest) else ():
        if what := _unsupported(violation):
            error = Unsupported(what, param=show(violation.path))
            break
    drawn: dict[str, JSON] = openai_errors.envelope(error)
    match error:
        case InvalidRequest(violation=Violation(keyword="required", path=("model",))):
            drawn["message"] = "Missing required parameter: 'model'."
            drawn["param"], drawn["code"] = "model", "missing_required_parameter"
        case InvalidRequest(violation=Violation(keyword="not", value="required")):
            drawn["message"] = "Tool choice 'required' must be specified with 'tools' parameter."
        case ContextTooLong():
            drawn["message"] = (
                "Your input exceeds the context window of this model. Please adjust your input "
                "and try again."
            )
            drawn["param"] = "input"
        case BadRequest(param="input") if not isinstance(error, Unsupported):
            # Items that do not fit together: the service has no code for it.
            drawn["code"] = None
    return drawn


def _unsupported(violation: Violation) -> str | None:
    """What the client asked for, if the service has it and this server has not."""
    if violation.keyword == "enum" and violation.value == "item_reference":
        return f"references to items ({_STATELESS})"
    field = violation.path[-1] if violation.path else ""
    # Deeper in the body the same names are the client's own.
    if isinstance(field, str) and (len(violation.path) == 1 or field == "file_url"):
        return _UNSUPPORTED.get(field)
    return None


def failure(error: ApiError) -> JSON:
    """The `error` of a response that has failed."""
    code = "server_error"
    if isinstance(error, RateLimited):
        code = "rate_limit_exceeded"
    elif isinstance(error, BadRequest):
        code = "invalid_prompt"
    return {"code": code, "message": envelope(error)["message"]}
