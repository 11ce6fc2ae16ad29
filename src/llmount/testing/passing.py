"""What of a request may be kept, and what is passed on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlencode

from ..streaming import Scope

__all__ = ["NOT_PASSED", "Incoming"]

NOT_PASSED: Final = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers that are about one connection."""

_SECRET: Final = re.compile(r"auth|cookie|key|token|secret", re.IGNORECASE)
_SHORTEST: Final = 12
"""Characters of a key; a made-up one that is shorter may be any word of an answer."""

_HIDDEN: Final = "…"


@dataclass(frozen=True, slots=True)
class Incoming:
    """A request. headers: by lower-case names."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    @classmethod
    def of(cls, scope: Scope, body: bytes) -> Incoming:
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        query = scope.get("query_string", b"").decode("latin-1")
        return cls(scope["method"], scope["path"], query, headers, body)

    @property
    def shown_path(self) -> str:
        """With the query, its parameters sorted and those masked that may be secret."""
        pairs = sorted(parse_qsl(self.query, keep_blank_values=True))
        shown = [(name, _HIDDEN if _SECRET.search(name) else value) for name, value in pairs]
        return f"{self.path}?{urlencode(shown, safe=_HIDDEN)}" if shown else self.path

    def without_secrets(self, data: bytes) -> bytes:
        """The data with every value masked that a header or the query has as a secret."""
        given = [*self.headers.items(), *parse_qsl(self.query)]
        for secret in {value.rpartition(" ")[2] for name, value in given if _SECRET.search(name)}:
            if len(secret) >= _SHORTEST:
                data = data.replace(secret.encode(), _HIDDEN.encode())
        return data
