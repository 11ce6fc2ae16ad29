"""Judging the errors of other servers: first by their status, then by their texts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from ..errors import (
    ApiError,
    BackendError,
    BackendTimeout,
    BackendUnavailable,
    BadRequest,
    ContextTooLong,
    ModelNotFound,
    Overloaded,
    RateLimited,
    Unsupported,
)
from ..jsontext import loads
from ..types import JSON
from .upstream import array

__all__ = ["Fault", "Rule", "Rules", "fault_of", "judge", "rejected", "unsupported"]

_LONGEST: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What an upstream says about a failure, whatever it wraps it in.

    text: for people. code: for programs, all of its codes and types in a row. model: the
    one that was asked for.
    """

    status: int
    text: str = ""
    code: str = ""
    param: str | None = None
    model: str = ""


def fault_of(status: int, body: JSON, model: str) -> Fault:
    """The fault in a decoded error body, or in its text where that is not JSON.

    It may be `{"error": {...}}`, `{"error": "text"}`, flat, FastAPI's `detail`, a list
    of one of these, or one of these as a string within another.
    """
    if isinstance(body, list):
        body = next(iter(array(body)), None)
    if isinstance(body, str):
        try:
            inner = loads(body)
        except ValueError:
            text = "" if body.lstrip().startswith("<") else body.strip()
            return Fault(status=status, text=text[:_LONGEST], model=model)
        return fault_of(status, inner, model)
    if not isinstance(body, dict):
        return Fault(status=status, model=model)
    error = body.get("error")
    if isinstance(error, dict):
        return fault_of(status, error, model)
    text = error or body.get("message") or body.get("detail") or ""
    if isinstance(text, str) and text.startswith("{"):
        return fault_of(status, text, model)
    if isinstance(text, list):
        text = "; ".join(str(entry.get("msg", "")) for entry in array(text))
    code = [str(body[key]) for key in ("type", "code") if body.get(key)]
    tokens, limit = body.get("n_prompt_tokens"), body.get("n_ctx")
    if tokens and limit:
        code.append(f"({tokens} tokens) ({limit} tokens)")
    param = body.get("param")
    return Fault(
        status=status,
        text=str(text)[:_LONGEST],
        code=" ".join(code),
        param=param if isinstance(param, str) else None,
        model=model,
    )


# What faults mean

Make: TypeAlias = Callable[[Fault, re.Match[str]], ApiError]

Rule: TypeAlias = tuple[str, Make]
"""A pattern to search for in a fault's code and text, and the error that it then is."""

Rules: TypeAlias = Mapping[int, Sequence[Rule]]
"""By status; the first rule that fits counts."""


def rejected(fault: Fault, match: re.Match[str]) -> ApiError:
    """The client's fault, in the upstream's words."""
    return BadRequest(fault.text or "the upstream rejected the request", param=fault.param)


def unsupported(fault: Fault, match: re.Match[str]) -> ApiError:
    """The model lacks what the pattern calls `what`."""
    what = match["what"]
    return Unsupported("vision" if what == "image" else what, model=fault.model)


def _too_long(fault: Fault, match: re.Match[str]) -> ApiError:
    return ContextTooLong(int(match["tokens"]), int(match["limit"]))


def _model_not_found(fault: Fault, match: re.Match[str]) -> ApiError:
    return ModelNotFound(fault.model)


def _just(error: Callable[..., ApiError], *arguments: str) -> Make:
    return lambda fault, match: error(*arguments)


_REJECTED: Final[Sequence[Rule]] = (
    (r"maximum context length is (?P<limit>\d+)\b.*?(?P<tokens>\d+)[a-z ]* tokens", _too_long),
    (r"\((?P<tokens>\d+) tokens\).*?\((?P<limit>\d+) tokens\)", _too_long),
    (r"model_not_found|not a valid model", _model_not_found),
    ("", rejected),
)
_REFUSED: Final[Sequence[Rule]] = (
    ("", _just(BackendError, "the upstream refused this server's access")),
)
_TIMEOUT: Final[Sequence[Rule]] = (("", _just(BackendTimeout)),)
_BUSY: Final[Sequence[Rule]] = (
    (r"loading|starting|not ready|not available|no healthy", _just(BackendUnavailable)),
    ("", _just(Overloaded)),
)

_RULES: Final[Rules] = {
    400: _REJECTED,
    401: _REFUSED,
    402: _REFUSED,
    403: _REFUSED,
    404: (
        ("model", _model_not_found),
        ("", _just(BackendError, "the upstream does not have this API")),
    ),
    407: _REFUSED,
    408: _TIMEOUT,
    413: (("", _just(BadRequest, "the request is too large for the upstream")),),
    422: _REJECTED,
    429: (
        ("insufficient_quota", _just(BackendError, "the upstream's quota is used up")),
        ("", _just(RateLimited)),
    ),
    # llama.cpp answers this fault of the client with a 500.
    500: (("(?P<what>image|audio) input is not supported", unsupported),),
    501: _REJECTED,
    503: _BUSY,
    504: _TIMEOUT,
    529: _BUSY,
}


def judge(fault: Fault, rules: Rules) -> ApiError:
    """The error that a fault is: first by its status, then by its texts.

    `rules` are the dialect's own and come before the common ones. What the upstream
    said of itself does not reach the client: it is a note, for the log.
    """
    said = f"{fault.code} {fault.text}".strip()
    error: ApiError = BackendError("the upstream failed")
    for pattern, make in (*rules.get(fault.status, ()), *_RULES.get(fault.status, ())):
        if match := re.search(pattern, said, re.IGNORECASE | re.DOTALL):
            error = make(fault, match)
            break
    if isinstance(error, BackendError):
        error.upstream_status = fault.status
    if said and fault.text not in error.message:
        error.add_note(f"the upstream said: {said}")
    return error
