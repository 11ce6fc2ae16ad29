"""What Schemathesis sends to a server, and what comes back, in bounded time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from llmount.contract import essence
from llmount.types import JSON

__all__ = ["Bound", "Exchange", "PatientTransport", "exchange"]

Bound = Callable[[str, JSON], JSON]
"""The body to send for one that was generated, of the operation "POST /chat"."""

_MAX_READ: Final = 16 * 2**20
"""Bytes of an answer."""

_PIECE: Final = 64 * 2**10
_OWN_HEADERS: Final = ("x-schemathesis-testcaseid", "connection", "content-length")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and what came of it.

    operation: as the document has it, "POST /chat". valid: whether the document allows the
    request. status: None if no answer began. cut: its rest was not waited for. fault: how the
    connection failed, in the words of the HTTP library. seconds: until the answer was read.
    """

    operation: str
    valid: bool
    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    status: int | None = None
    response_headers: tuple[tuple[str, str], ...] = ()
    content: bytes = b""
    cut: bool = False
    fault: str = ""
    seconds: float = 0.0

    @property
    def text(self) -> str:
        """The beginning of the answer."""
        return self.content[:500].decode("utf-8", "replace")


class PatientTransport:
    """Sends as `inner` does, a transport of Schemathesis's, but waits for no answer longer
    than `patience`, in seconds.

    An answer that goes on is cut. One that does not begin, or whose connection fails, is
    noted, and a made-up one is passed on, so that the run goes on. bound: see `Bound`.

    What is noted goes by the id of the case. unanswered: no answer began. cut: its rest was
    not waited for. faults: how the connection failed. seconds: how long it took.
    """

    def __init__(self, inner: Any, patience: float, bound: Bound | None = None) -> None:
        from requests import Session

        self._inner = inner
        self._patience = patience
        self._bound = bound
        self.unanswered: set[str] = set()
        self.cut: set[str] = set()
        self.faults: dict[str, str] = {}
        self.seconds: dict[str, float] = {}
        # An own one, which knows no proxies and no passwords of the machine.
        self._session = Session()
        self._session.trust_env = False
        self._session.hooks["response"].append(self._read)
        self._case = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def send(self, case: Any, *, session: Any = None, **options: Any) -> Any:
        import requests

        if self._bound is not None and isinstance(case.body, dict):
            case.body = self._bound(case.operation.label, case.body)
        options["timeout"] = self._patience
        self._case = case.id
        begun = time.perf_counter()
        try:
            response = self._inner.send(case, session=self._session, **options)
        except requests.RequestException as error:
            self.unanswered.add(case.id)
            if not isinstance(error, requests.Timeout):
                self.faults[case.id] = _words(error)
            if error.request is None:
                raise
            response = _made_up(error.request)
        finally:
            self.seconds[case.id] = time.perf_counter() - begun
            self._session.cookies.clear()
        if response.stream_cut_short:
            self.cut.add(case.id)
        return response

    def _read(self, response: Any, **_: Any) -> None:
        """Read an answer. Of event streams Schemathesis has a reader of its own, which keeps
        to the time as well."""
        from urllib3.exceptions import HTTPError, ReadTimeoutError

        if essence(response.headers.get("Content-Type", "")) == "text/event-stream":
            return
        deadline = time.monotonic() + self._patience
        kept = bytearray()
        try:
            while piece := response.raw.read1(_PIECE, decode_content=True):
                kept += piece
                if time.monotonic() > deadline or len(kept) > _MAX_READ:
                    self.cut.add(self._case)
                    break
        except ReadTimeoutError:
            self.cut.add(self._case)
        except (HTTPError, OSError) as error:
            self.faults[self._case] = _words(error)
        response._content = bytes(kept)
        response._content_consumed = True
        if self._case in self.cut or self._case in self.faults:
            response.close()


def exchange(
    label: str, case: Any, interaction: Any, transport: PatientTransport | None
) -> Exchange:
    """Of what Schemathesis recorded of a case. transport: who sent it, if there was one."""
    request, response = interaction.request, interaction.response
    lost = response is None or (transport is not None and case.id in transport.unanswered)
    return Exchange(
        operation=label,
        valid=case.meta is None or case.meta.generation.mode.is_positive,
        method=request.method,
        url=request.uri,
        headers=_flat(request.headers),
        body=request.body,
        status=None if lost else response.status_code,
        response_headers=() if lost else _flat(response.headers),
        content=b"" if lost else response.content,
        cut=transport is not None and case.id in transport.cut,
        fault=transport.faults.get(case.id, "") if transport else "",
        seconds=transport.seconds.get(case.id, 0.0) if transport else 0.0,
    )


def _flat(headers: Mapping[str, list[str]]) -> tuple[tuple[str, str], ...]:
    return tuple(
        (name.lower(), value)
        for name, values in headers.items()
        if name.lower() not in _OWN_HEADERS
        for value in values
    )


def _made_up(request: Any) -> Any:
    from schemathesis.core.transport import Response

    return Response(
        status_code=200, headers={}, content=b"", request=request, elapsed=0.0, verify=True
    )


def _words(error: Exception) -> str:
    """The innermost reason, without the addresses of objects that the outer ones have."""
    reason: BaseException = error
    while reason.args and isinstance(reason.args[-1], Exception):
        reason = reason.args[-1]
    return f"{type(reason).__name__}: {reason}"
