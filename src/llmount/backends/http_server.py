"""One server elsewhere, as every backend over httpx has it: connections, time-outs, errors."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import httpx
from anyio.lowlevel import RunVar

from ..errors import ApiError, BackendError, Overloaded, RateLimited
from ..jsontext import loads
from ..types import JSON, Model
from .http_exchange import Exchange

__all__ = ["MAX_ANSWER", "TIMEOUTS", "Listing", "Server", "Timeouts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long to wait for an upstream, in seconds.

    connect: for a connection. first: from the request to the first item of the answer,
    the loading of the model included. idle: from one item to the next, not counting
    what the reader takes in between. whole: for an answer that is not streamed, such as
    a list of models or an error's body.
    """

    connect: float = 5.0
    first: float = 300.0
    idle: float = 60.0
    whole: float = 10.0


TIMEOUTS: Final = Timeouts()
MAX_ANSWER: Final = 128 * 2**20
"""Bytes of an answer on the wire, unless a backend is told otherwise."""

_KEPT: Final = 20
# Less than the 5 s after which common servers drop an idle connection, so as not to race.
_KEPT_SECONDS: Final = 4.0
_FRESH_SECONDS: Final = 5.0
_MAX_BODY: Final = 8 * 2**20
_SECRET_LENGTH: Final = 8


class Server:
    """A server at `base_url`, asked over HTTP.

    error: what a response's status and body mean, of a request for the model of this name.
    api_key: sent as the bearer token. headers: sent with every request. transport: how to
    reach the server, for tests in process.

    It may be shared by all requests of a server of ours. Each event loop that uses it gets
    an `httpx.AsyncClient` of its own at its first request; `aclose` closes that of the loop
    it is called on, and it may be used again afterwards. Raises ValueError for an address
    or headers that cannot be sent.
    """

    def __init__(
        self,
        base_url: str,
        error: Callable[[int, JSON, str], ApiError],
        *,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: Timeouts = TIMEOUTS,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        bearer = {"authorization": f"Bearer {api_key}"} if api_key else {}
        given = {**bearer, **(headers or {})}
        self.base_url = _address(base_url)
        self.timeout = timeout
        self._error = error
        self._headers = _fields(given)
        self._secrets = _secrets(given, api_key)
        self._transport = transport
        self._clients: RunVar[httpx.AsyncClient | None] = RunVar("llmount.http", None)

    def exchange(self, method: str, path: str, body: JSON, limit: float) -> Exchange:
        """A request, to be entered. body: None takes none. limit: as for `Exchange`."""
        return Exchange(self._client(), method, path, body, limit)

    async def check(self, exchange: Exchange, model: str) -> None:
        """Raises the `ApiError` that a response to a request for `model` stands for, if any."""
        response = exchange.response
        if response.is_success:
            return
        text = await exchange.text(_MAX_BODY, self.timeout.whole)
        # Before it is read, which may cut it in the middle of a secret.
        error = self._error(response.status_code, self._without_secrets(text), model)
        if isinstance(error, RateLimited | Overloaded):
            error.retry_after = _retry_after(response.headers)
        with self.masking():
            raise error

    @contextmanager
    def masking(self) -> Iterator[None]:
        """Takes this server's keys out of the errors in its words that are raised inside."""
        try:
            yield
        except ApiError as error:
            error.message = self._without_secrets(error.message)
            error.args = (error.message,)
            if hasattr(error, "__notes__"):
                error.__notes__ = [self._without_secrets(note) for note in error.__notes__]
            raise

    def _without_secrets(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    async def json(
        self,
        method: str,
        path: str,
        body: JSON,
        limit: float,
        model: str = "",
        *,
        most: int = _MAX_BODY,
    ) -> JSON:
        """The answer, not streamed, to a request about a model; `most` bytes within `limit`
        seconds. Raises as `check` does, and BackendError for what is not JSON."""
        async with self.exchange(method, path, body, limit) as exchange:
            await self.check(exchange, model)
            text = await exchange.text(most, limit)
        try:
            return loads(text)
        except ValueError as fault:
            raise BackendError("the upstream's answer is not JSON") from fault

    async def aclose(self) -> None:
        client = self._clients.get()
        self._clients.set(None)
        if client is not None:
            await client.aclose()

    def _client(self) -> httpx.AsyncClient:
        client = self._clients.get()
        if client is None:
            client = httpx.AsyncClient(
                base_url=self.base_url,
                headers=self._headers,
                timeout=httpx.Timeout(None, connect=self.timeout.connect),
                limits=httpx.Limits(
                    max_keepalive_connections=_KEPT, keepalive_expiry=_KEPT_SECONDS
                ),
                transport=self._transport,
            )
            self._clients.set(client)
        return client


class Listing:
    """The models that a server lists at `path`, at most 5 seconds old; `read` understands the
    answer. Only the one called `model`, where that is given, whether it is listed or not."""

    def __init__(
        self,
        server: Server,
        path: str,
        read: Callable[[JSON], Sequence[Model]],
        model: Model | None,
    ) -> None:
        self._server = server
        self._path = path
        self._read = read
        self._model = model
        self._listed: tuple[float, Sequence[Model]] | None = None

    async def get(self) -> Sequence[Model]:
        """Raises as `Server.json` does, and what `read` raises."""
        if self._listed is not None and time.monotonic() - self._listed[0] < _FRESH_SECONDS:
            return self._listed[1]
        body = await self._server.json("GET", self._path, None, self._server.timeout.whole)
        listed = self._read(body)
        if self._model is not None:
            named = [model for model in listed if model.name == self._model.name]
            listed = named or [self._model]
        self._listed = time.monotonic(), tuple(listed)
        return self._listed[1]


def _retry_after(headers: httpx.Headers) -> float | None:
    """Seconds, from either form of Retry-After; None where there is none to understand."""
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", text):
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _address(base_url: str) -> str:
    """Raises ValueError for what is not the plain address of an HTTP server."""
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL:
        raise ValueError("base_url is not a URL") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("base_url must begin with http:// or https:// and a host")
    if url.userinfo or url.query or url.fragment:
        # A secret in an address ends up in logs.
        raise ValueError("base_url must have no user, query or fragment; use headers")
    return base_url.rstrip("/")


def _secrets(headers: Mapping[str, str], api_key: str | None) -> Sequence[str]:
    """What must not be repeated: values of headers, also without the scheme before a key."""
    values = {*headers.values(), *(text.split()[-1] for text in headers.values() if text)}
    secrets = {text for text in values if len(text) >= _SECRET_LENGTH}
    # A part would be left of one that is replaced after its part.
    return sorted(secrets | {api_key} if api_key else secrets, key=len, reverse=True)


def _fields(headers: Mapping[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        # Checked here, because later the failure would quote the value.
        if not re.fullmatch(r"[\t\x20-\x7e]*", value) or value != value.strip():
            raise ValueError(f"the header {name} has a value that cannot be sent")
    return {"user-agent": "llmount", "accept-encoding": "identity", **headers}
