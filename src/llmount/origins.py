"""Which web pages may use a server that runs on one's own machine.

Any page that a browser shows can send requests to localhost, or to a name of its own that
it makes lead there. What Ollama does about it is done here around any ASGI app: pages of
other origins are refused, and where the server listens on the loopback interface only, so are
requests for hosts elsewhere. A host application that has middleware for this needs none of it.

What is answered here never reaches the app. So it has no `Allow`, which Ollama sends there,
too: only the app knows its methods, and a preflight would count as a request.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from .streaming import Message, Receive, Scope, Send

__all__ = ["DEFAULT_ORIGINS", "ASGIApp", "Origins", "is_loopback"]

DEFAULT_ORIGINS: Final = (
    *(
        f"{scheme}://{host}{port}"
        for host in ("localhost", "127.0.0.1", "0.0.0.0")
        for port in ("", ":*")
        for scheme in ("http", "https")
    ),
    "app://*",
    "file://*",
    "tauri://*",
    "vscode-webview://*",
    "vscode-file://*",
)

_PREFLIGHT: Final = (
    (
        b"access-control-allow-headers",
        b"Authorization,Content-Type,User-Agent,Accept,X-Requested-With,Openai-Beta,"
        b"X-Stainless-Arch,X-Stainless-Async,X-Stainless-Custom-Poll-Interval,"
        b"X-Stainless-Helper-Method,X-Stainless-Lang,X-Stainless-Os,"
        b"X-Stainless-Package-Version,X-Stainless-Poll-Helper,X-Stainless-Retry-Count,"
        b"X-Stainless-Runtime,X-Stainless-Runtime-Version,X-Stainless-Timeout",
    ),
    (b"access-control-allow-methods", b"GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS"),
    (b"access-control-max-age", b"43200"),
)
_ALLOW_ORIGIN: Final = b"access-control-allow-origin"
_VARY: Final = (b"vary", b"Origin")
_VARY_PREFLIGHT: Final = (
    _VARY,
    (b"vary", b"Access-Control-Request-Method"),
    (b"vary", b"Access-Control-Request-Headers"),
)

ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers: TypeAlias = list[tuple[bytes, bytes]]


class Origins:
    """An ASGI app around another, as this module says.

    origins: further ones that may use it, such as `https://chat.example.com`; each may have
    one `*` in it, and `*` alone lets every page in. loopback: whether the server listens on
    the loopback interface only; the Host of a request must then be this machine, a private
    address, a local name or the host of one of `origins`.

    Raises `ValueError` for what cannot be an origin.
    """

    def __init__(self, app: ASGIApp, origins: Iterable[str] = (), *, loopback: bool = True) -> None:
        self.app = app
        given = [origin.strip() for origin in origins]
        for origin in given:
            if origin.count("*") > 1 or not ("*" in origin or "://" in origin):
                raise ValueError(f"{origin!r} is no origin; write https://HOST, or one * in it")
        self._any = "*" in given
        allowed = [*(origin.lower() for origin in given), *DEFAULT_ORIGINS]
        self._exact = frozenset(origin for origin in allowed if "*" not in origin)
        self._wild = [tuple(origin.split("*")) for origin in allowed if "*" in origin]
        self._loopback = loopback
        self._hosts = {urlsplit(origin).hostname for origin in given if "*" not in origin}
        self._hosts |= {"", "localhost", socket.gethostname().lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        origin, host = _header(scope, b"origin"), _header(scope, b"host")
        preflight = scope["method"] == "OPTIONS"
        if origin and origin not in (f"http://{host}", f"https://{host}"):
            if not self._allows(origin):
                await _answer(send, 403)
                return
            shown = b"*" if self._any else origin.encode("latin-1")
            headers: Headers = [(_ALLOW_ORIGIN, shown)]
            if preflight:
                headers += [*_PREFLIGHT, *(() if self._any else _VARY_PREFLIGHT)]
                await _answer(send, 204, headers)
                return
            send = _adding([*headers, *(() if self._any else (_VARY,))], send)
        if self._loopback:
            name = _hostname(host)
            if not _is_near(name):
                if not self._knows(name):
                    await _answer(send, 403)
                    return
                if preflight:
                    await _answer(send, 204)
                    return
        await self.app(scope, receive, send)

    def _allows(self, origin: str) -> bool:
        if self._any or origin in self._exact:
            return True
        return any(
            origin.startswith(before)
            and origin.endswith(after)
            and len(origin) >= len(before) + len(after)
            for before, after in self._wild
        )

    def _knows(self, name: str) -> bool:
        name = name.lower()
        return name in self._hosts or name.endswith((".localhost", ".local", ".internal"))


def _header(scope: Scope, wanted: bytes) -> str:
    for name, value in scope["headers"]:
        if name == wanted:
            return str(value.decode("latin-1"))
    return ""


def _adding(headers: Headers, send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *headers]}
        await send(message)

    return sending


async def _answer(send: Send, status: int, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    fields = list(headers) if status == 204 else [*headers, (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": b""})


# Hosts

_WITH_PORT: Final = re.compile(r"\[([^\[\]]*)\](?::[^\[\]:]*)?|([^\[\]:]*):[^\[\]:]*")

_PRIVATE: Final = tuple(
    ipaddress.ip_network(network)
    for network in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)


def _hostname(host: str) -> str:
    """The Host without its port and brackets."""
    match = _WITH_PORT.fullmatch(host)
    return host if match is None else match[1] or match[2] or ""


def _is_near(name: str) -> bool:
    """Whether it is the address of this machine or of one in its own network."""
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_loopback or address.is_unspecified:
        return True
    if any(address.version == each.version and address in each for each in _PRIVATE):
        return True
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    # No name is looked up and nothing is sent: only an own address can be bound to.
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((name, 0))
        except OSError:
            return False
    return True


def is_loopback(host: str) -> bool:
    """Whether a server that listens on this host can only be reached from the same machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
