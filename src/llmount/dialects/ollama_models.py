"""Ollama's names for models, and the finding and describing of them."""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Final, cast

from ..errors import ApiError, BadRequest, Unsupported
from ..types import JSON, Backend, Capability, Directory, Model, Residency
from .go_syntax import quote

__all__ = [
    "Asked",
    "bare",
    "find",
    "full_name",
    "listed",
    "resident",
    "shown",
    "tagged",
    "timestamp",
]

logger = logging.getLogger("llmount")


# Names

_NAME: Final = re.compile(
    r"(?:(?:(?:.*?://)?(?P<host>\w[\w.:-]{0,349})/)?(?P<namespace>\w[\w-]{0,79})/)?"
    r"(?P<model>\w[\w.-]{0,79})(?::(?P<tag>\w[\w.-]{0,79}))?",
    re.ASCII | re.DOTALL,
)
_LIBRARY: Final = re.compile(r"(?:(?:https?://)?registry\.ollama\.ai/)?library/", re.IGNORECASE)
_LOCAL: Final = re.compile(r":\s*(local|cloud)\s*", re.IGNORECASE)


def bare(name: str) -> str:
    """A name without what it does not need, the tag `latest`."""
    return name.strip().removesuffix(":latest")


def tagged(name: str) -> str:
    """A name with its tag."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _short(name: str) -> str:
    """A name without the registry and the namespace that are meant anyway."""
    return name if (found := _LIBRARY.match(name)) is None else name[found.end() :]


def full_name(name: str) -> str:
    """With the registry, the namespace and the tag: what Ollama calls the model itself."""
    found = _NAME.fullmatch(name.strip())
    if found is None:
        return name
    host, namespace = found["host"] or "registry.ollama.ai", found["namespace"] or "library"
    return f"{host}/{namespace}/{found['model']}:{found['tag'] or 'latest'}"


def _unsourced(name: str) -> str:
    """The name without `:local`, which is where all models are. Raises `BadRequest`."""
    base, colon, source = name.rpartition(":")
    if not _LOCAL.fullmatch(colon + source):
        return name
    _, colon, nested = base.rpartition(":")
    if _LOCAL.fullmatch(colon + nested) or (colon and nested.lower().endswith("-cloud")):
        raise BadRequest(
            f"use either :local or :cloud, not both: {quote(name[:200])}", param="model"
        )
    return base if source.strip().lower() == "local" else name


# Finding


@dataclass(frozen=True, slots=True)
class Asked:
    """A model that a request names. sent: as it does. name: as the backend is asked.
    model: what the backend lists under it, None if nothing."""

    sent: str
    name: str
    model: Model | None

    def lacks(self, capability: Capability) -> bool:
        """Whether it is known that the model cannot do this."""
        known = self.model.capabilities if self.model else ()
        return bool(known) and capability not in known

    def thinking(self, think: bool | str | None) -> bool | str | None:
        """Whether or how hard to think. Raises `Unsupported`."""
        if self.lacks("thinking"):
            if think:
                raise Unsupported("thinking", model=self.sent, param="think")
            return None
        if think is None and self.model is not None and "thinking" in self.model.capabilities:
            return True
        return think


async def find(backend: Backend, sent: str, *, only_listed: bool = False) -> Asked:
    """The model that is meant. Raises `BadRequest` for what cannot be the name of one.

    only_listed: what is not listed is not there, so raise what prevents the listing; else
    a backend that cannot list its models may answer nevertheless.
    """
    name = _short(sent.strip())
    if (model := await _listed(backend, name, only_listed)) is not None:
        return Asked(sent, model.name, model)
    local = _unsourced(name)
    if not _NAME.fullmatch(local):
        raise BadRequest("invalid model name", param="model")
    model = await _listed(backend, local, only_listed) if local != name else None
    return Asked(sent, model.name if model else bare(local), model)


async def _listed(backend: Backend, name: str, certain: bool) -> Model | None:
    try:
        if _is_directory(type(backend)):
            return await cast(Directory, backend).model(name)
        models = await backend.models()
    except ApiError as error:
        if certain:
            raise
        logger.info("a backend does not list its models: %s", error)
        return None
    wanted = bare(name).casefold()
    return next((model for model in models if bare(model.name).casefold() == wanted), None)


@cache
def _is_directory(kind: type) -> bool:
    # Asked of an instance, a protocol takes ten microseconds for it, on every request's path.
    return issubclass(kind, Directory)


# Describing


def listed(models: Sequence[Model]) -> JSON:
    """The models as `/tags` lists them."""
    return [
        {
            "name": tagged(model.name),
            "model": tagged(model.name),
            "modified_at": timestamp(model.created),
            "size": model.size,
            "digest": _digest(model),
            "details": _details(model)
            | _present(
                context_length=model.context_length, embedding_length=model.embedding_length
            ),
            **_present(capabilities=sorted(model.capabilities)),
        }
        for model in models
    ]


def shown(model: Model) -> JSON:
    """A model as `/show` describes it."""
    return {
        **_present(
            license=model.license,
            modelfile=f'# Modelfile generated by "ollama show"\nFROM {tagged(model.name)}\n',
            template=model.template,
        ),
        "details": _details(model),
        "model_info": dict(model.metadata),
        **_present(capabilities=sorted(model.capabilities)),
        "modified_at": timestamp(model.created),
    }


def resident(models: Sequence[Residency]) -> JSON:
    """The models in memory as `/ps` lists them, the one that stays longest first."""
    return [
        {
            "name": tagged(each.model.name),
            "model": tagged(each.model.name),
            "size": each.size,
            "digest": _digest(each.model),
            "details": _details(each.model),
            "expires_at": timestamp(each.expires or _FOR_EVER),
            "size_vram": 0,
            "context_length": each.context_length,
        }
        for each in sorted(models, key=lambda each: -(each.expires or _FOR_EVER))
    ]


def _digest(model: Model) -> str:
    """The model's own or, where that is unknown, that of its name: clients take two models of
    the same digest for one."""
    return model.digest or hashlib.sha256(tagged(model.name).encode()).hexdigest()


def _details(model: Model) -> dict[str, JSON]:
    return {
        "parent_model": "",
        "format": model.format,
        "family": model.family,
        "families": [model.family] if model.family else [],
        "parameter_size": model.parameter_size,
        "quantization_level": model.quantization,
    }


def _present(**fields: JSON) -> dict[str, JSON]:
    return {key: value for key, value in fields.items() if value}


# Times

_FOR_EVER: Final = 253_402_300_799
"""The last second of the year 9999, in Unix seconds."""


def timestamp(seconds: float | None = None) -> str:
    """Unix seconds, or now, in UTC as Go writes it: no trailing zeros in the fraction.

    What is beyond the year 9999, where the calendar ends, is its last second.
    """
    if seconds is None:
        whole, fraction = divmod(time.time_ns(), 1_000_000_000)
    else:
        # Not in nanoseconds at once, which a float does not hold.
        whole = int(min(seconds, _FOR_EVER))
        fraction = int(seconds % 1 * 1_000_000_000) if whole < _FOR_EVER else 0
    if not fraction:
        return f"{_second(whole)}Z"
    return f"{_second(whole)}.{fraction:09d}".rstrip("0") + "Z"


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
