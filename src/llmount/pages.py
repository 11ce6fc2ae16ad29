"""What every mount serves of itself: its document, and a page to read and try it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from .contract import Contract
from .jsontext import dumps_bytes
from .streaming import Scope, Send, send_bytes

__all__ = ["Page", "document_page", "try_page"]

_POLICY = (
    "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)


@dataclass(frozen=True, slots=True)
class Page:
    """Something to GET that is no operation of a document."""

    render: Callable[[Scope], tuple[bytes, Mapping[str, str]]]

    async def send(self, scope: Scope, send: Send) -> None:
        body, headers = self.render(scope)
        await send_bytes(send, 200, body, list(headers.items()), head=scope["method"] == "HEAD")


def document_page(contract: Contract, prefix: str, pages: str) -> Page:
    """The document as JSON, its `servers` set to where it is mounted.

    prefix: where its operations stand in the app. pages: where this page does.
    """
    document = contract.document

    def render(scope: Scope) -> tuple[bytes, Mapping[str, str]]:
        base = _base(scope, f"{pages}/openapi.json")
        shown = {**document, "servers": [{"url": (base + prefix) or "/"}]}
        shown["paths"] = {path: _at(base, item) for path, item in document["paths"].items()}
        return dumps_bytes(shown), {"content-type": "application/json"}

    return Page(render)


def try_page() -> Page:
    """A page that reads the document beside it."""

    def render(scope: Scope) -> tuple[bytes, Mapping[str, str]]:
        nonce = secrets.token_urlsafe(16)
        return _html().replace(b"__NONCE__", nonce.encode()), {
            "content-type": "text/html; charset=utf-8",
            "content-security-policy": _POLICY.format(nonce=nonce),
            "cache-control": "no-store",
            "referrer-policy": "no-referrer",
            "x-content-type-options": "nosniff",
        }

    return Page(render)


@cache
def _html() -> bytes:
    return (Path(__file__).parent / "page.html").read_bytes()


def _base(scope: Scope, route: str) -> str:
    """The prefix under which the client sees this app."""
    root: str = scope.get("root_path", "").rstrip("/")
    path: str = scope["path"].rstrip("/")
    return root or path.removesuffix(route)


def _at(base: str, path_item: Mapping[str, Any]) -> Mapping[str, Any]:
    if "servers" not in path_item:
        return path_item
    return {**path_item, "servers": [{"url": base or "/"}]}
