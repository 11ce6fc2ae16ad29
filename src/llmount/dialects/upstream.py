"""Reading what other servers send, and writing what all of them read.

Other servers deviate; what is absent, null or of an odd type where it does not matter is
overlooked, while an answer that is incomplete or makes no sense is a `BackendError`.
"""

from __future__ import annotations

import base64
import binascii
import mimetypes
import secrets
from collections.abc import Mapping
from dataclasses import fields
from typing import Final

from ..errors import BackendError
from ..jsontext import loads
from ..media import data_url, image_type
from ..types import JSON, FilePart, ImagePart, Sampling, Timings, TokenLogprob

__all__ = [
    "array",
    "base64_text",
    "bytes_of",
    "call_id",
    "count",
    "cut_off",
    "event_object",
    "file_fields",
    "image_url",
    "malformed",
    "object_of",
    "settings_of",
    "text_of",
    "timings_of",
    "token_logprobs",
]


# What is sent


_NUMBERS: Final = tuple(
    field.name for field in fields(Sampling) if field.name not in ("stop", "logit_bias")
)


def settings_of(sampling: Sampling) -> dict[str, JSON]:
    """The settings that are set and are one number, by the names of their fields."""
    values = {name: getattr(sampling, name) for name in _NUMBERS}
    return {name: value for name, value in values.items() if value is not None}


def base64_text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


# What is received


def image_url(part: ImagePart) -> str:
    """Where the image is, or an address that holds it."""
    data = part.data or b""
    return part.url or data_url(image_type(data), data)


def file_fields(part: FilePart) -> dict[str, JSON]:
    """What OpenAI's APIs are told of a document; one of an unknown kind is taken for a PDF."""
    file: dict[str, JSON] = {}
    if part.file_id is not None:
        file["file_id"] = part.file_id
    if part.data is not None:
        media_type, _ = mimetypes.guess_type(part.filename or "")
        file["file_data"] = data_url(media_type or "application/pdf", part.data)
    if part.filename is not None:
        file["filename"] = part.filename
    return file


def event_object(data: str) -> dict[str, JSON]:
    """The object that the data of a server-sent event is. Raises BackendError for another."""
    try:
        value = loads(data)
    except ValueError as fault:
        raise malformed() from fault
    if not isinstance(value, dict):
        raise malformed()
    return value


def malformed() -> BackendError:
    return BackendError("the upstream's answer is malformed")


def cut_off() -> BackendError:
    return BackendError("the upstream's answer is cut off")


def object_of(value: JSON) -> Mapping[str, JSON]:
    """An object; an empty one where there is none."""
    return value if isinstance(value, dict) else {}


def array(value: JSON) -> list[dict[str, JSON]]:
    """The objects in a list; none where there is no list."""
    if not isinstance(value, list):
        return []
    return [entry for entry in value if isinstance(entry, dict)]


def count(value: JSON) -> int:
    """A number that counts something, 0 where there is none."""
    return int(value) if isinstance(value, int | float) and value > 0 else 0


def bytes_of(value: JSON) -> bytes:
    """What is there in base64. Raises BackendError for nothing, and for what is not."""
    if not isinstance(value, str) or not value:
        raise malformed()
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise malformed() from None


def text_of(value: JSON) -> str:
    """A text, which some servers send as a list of parts. Raises BackendError for no text."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(text_of(part.get("text")) for part in array(value))
    raise malformed()


def timings_of(value: JSON) -> Timings:
    """The times that llama.cpp tells beside its answers."""
    told = object_of(value)
    return Timings(
        prompt=_nanoseconds(told.get("prompt_ms")),
        completion=_nanoseconds(told.get("predicted_ms")),
    )


def _nanoseconds(milliseconds: JSON) -> int:
    return int(milliseconds * 1e6) if isinstance(milliseconds, int | float) else 0


def token_logprobs(value: JSON) -> tuple[TokenLogprob, ...]:
    """The entries of a list of log probabilities, in the shape that OpenAI gave them."""
    return tuple(
        TokenLogprob(
            text_of(entry.get("token")),
            float(entry["logprob"]),
            _bytes(entry.get("bytes")),
            token_logprobs(entry.get("top_logprobs")),
        )
        for entry in array(value)
        if isinstance(entry.get("logprob"), int | float)
    )


def _bytes(value: JSON) -> bytes | None:
    if not isinstance(value, list):
        return None
    try:
        return bytes(value)
    except (TypeError, ValueError):
        raise malformed() from None


def call_id() -> str:
    """An id for a tool call that came without one."""
    return f"call_{secrets.token_hex(12)}"
