"""What a configuration says, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..access import Limits
from ..backends.pool import Circuit, Retry
from .problems import Place

__all__ = ["Config", "Provider", "Server", "Shared", "Target"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where it listens, and to whom; the fields are those of the section `[server]`."""

    host: str
    port: int
    origins: Sequence[str]
    access_log: bool
    max_body: int
    list_timeout: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A named backend.

    type: a name in `llmount.config.kinds`. models: what is served, by the name that clients
    use, and what it is there: an upstream's name, a path, or a model that can be pulled; None
    is all that it has. prefix: comes before the names on /api and /v1. options: the rest, by
    the names of the file, secrets read and paths absolute. place: where it is written.
    """

    name: str
    type: str
    models: Mapping[str, str] | None = None
    prefix: str = ""
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    place: Place | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A model of a provider, by the name that it has there."""

    provider: str
    model: str
    tier: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """A model that several targets serve together."""

    name: str
    members: Sequence[Target]
    retry: Retry = field(default_factory=Retry)
    circuit: Circuit = field(default_factory=Circuit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All of it. keys: the good ones; None lets everybody in. Providers that have one name
    are one on /ai/v1."""

    server: Server
    keys: frozenset[str] | None = field(default=None, repr=False)
    limits: Limits | None = None
    providers: Sequence[Provider] = ()
    models: Sequence[Shared] = ()
    images: Sequence[Provider] = ()
    speech: Sequence[Provider] = ()
    transcription: Sequence[Provider] = ()
