"""The mountable apps: a document and a dialect become a plain ASGI callable.

A sub-app finds its own route path, and draws its own 404, 405, 413 and 500, because what
a host does with the scope of a mounted app differs from host to host: see
`docs/architecture.md`. It opens nothing at start-up, since a mounted app's lifespan
never runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

from .access import Access, Keys, KeysRequired, LimitsOf, LimitStore
from .backends.listing import of_models
from .contract import Contract, Operation
from .dialects import DIALECTS
from .dialects.openai import Unknown
from .dialects.protocol import Dialect
from .errors import MethodNotAllowed, RouteNotFound
from .exchange import Exchange
from .media import ImageBackend, SpeechBackend, TranscriptionBackend
from .pages import document_page, try_page
from .routing import Endpoint, Routes, Surface, allowed, route_paths
from .streaming import Outlet, Receive, Scope, Send
from .types import Backend
from .validation import Engine

__all__ = ["MAX_BODY", "App", "ContractMismatch", "ai_app", "chat_app", "gateway", "generate_app"]

MAX_BODY = 32 * 1024 * 1024
"""Bytes. Room for a conversation with several images."""


class ContractMismatch(Exception):
    """The document and the dialect's handlers do not name the same operations."""

    def __init__(self, contract: str, unhandled: Iterable[str], unknown: Iterable[str]) -> None:
        super().__init__(
            f"document {contract!r} and its dialect differ: "
            f"operations without a handler: {', '.join(sorted(unhandled)) or 'none'}; "
            f"handlers without an operation: {', '.join(sorted(unknown)) or 'none'}"
        )


class Mount(NamedTuple):
    """Where a dialect stands in an app, and who may ask it, if that is its own affair."""

    prefix: str
    dialect: Dialect
    access: Access | None = None


class App:
    """An ASGI application that serves one or more dialects.

    mounts: where each dialect stands, relative to where this app is mounted ("" is
    right there). keys: who may ask: the good keys, a mapping of names to keys, or a
    function, plain or async, from a key to a name (its identity) or None; every operation
    then wants one, unless its document says that it does not. limits: `Limits` for all, or
    a function from an identity to its own; "" is whoever needs no key. limit_store: where
    use is counted, if not in this process alone. max_body: bytes; larger requests are
    refused. keep_alive: seconds of silence after which a stream of server-sent events gets
    a comment, so that proxies do not cut it; before the first event it begins with status
    200 then, and an error is told in the stream. engine: who validates. check_answers: also
    hold every answer, whole or item by item, to the document, and fail with a 500 if one
    breaks it; for tests.

    Raises `ContractMismatch` if a document and its handlers differ, `KeysRequired` if a
    document demands keys and there are none, `ValueError` for keys that cannot be sent and for a
    `keep_alive` that is no time.
    """

    def __init__(
        self,
        mounts: Iterable[Mount | tuple[str, Dialect]],
        *,
        keys: Keys | None = None,
        limits: LimitsOf | None = None,
        limit_store: LimitStore | None = None,
        max_body: int = MAX_BODY,
        keep_alive: float | None = None,
        engine: Engine = "jsonschema-rs",
        check_answers: bool = False,
    ) -> None:
        if keep_alive is not None and not keep_alive > 0:
            raise ValueError(f"keep_alive is {keep_alive}, not a number of seconds")
        self.max_body = max_body
        self.keep_alive = keep_alive
        self.engine: Engine = engine
        self.check_answers = check_answers
        common = None
        if keys is not None or limits is not None:
            common = Access(keys, limits, limit_store)
        self.mounts = [
            Mount(each.prefix.rstrip("/"), each.dialect, each.access or common)
            for each in (Mount(*mount) for mount in mounts)
        ]
        self._routes = Routes()
        self._surfaces: list[tuple[str, Surface]] = []
        for prefix, dialect, access in self.mounts:
            contract = Contract.load(dialect.contract, engine=engine)
            _match(contract, dialect)
            _guard(contract, access)
            surface = Surface(dialect, contract, access)
            self._surfaces.append((prefix, surface))
            for operation in contract.operations.values():
                self._routes.add(prefix, self._endpoint(surface, operation))
            # The first at a prefix has its pages there, the others below their names.
            shared = any(prefix == other for other, _ in self._surfaces[:-1])
            pages = f"{prefix}/{PurePath(contract.name).stem}" if shared else prefix
            self._routes.add_page(f"{pages}/openapi.json", document_page(contract, prefix, pages))
            self._routes.add_page(f"{pages}/docs", try_page())
        # The most specific mount draws the errors of what it does not have.
        self._surfaces.sort(key=lambda mount: len(mount[0]), reverse=True)

    def _endpoint(self, surface: Surface, operation: Operation) -> Endpoint:
        if operation.body is not None:
            operation.body.compile()
        outlet = operation.stream and Outlet.of(
            operation.stream, check=self.check_answers, keep_alive=self.keep_alive
        )
        handler = surface.dialect.handlers[operation.id]
        return Endpoint(surface, operation, handler, outlet or None)

    async def aclose(self) -> None:
        """Close the backends, where they can be closed."""
        closed: set[int] = set()
        for _, surface in self._surfaces:
            for backend in surface.dialect.backends:
                if id(backend) not in closed and hasattr(backend, "aclose"):
                    closed.add(id(backend))
                    await backend.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        """Only a server that runs this app by itself calls it."""
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self.aclose()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not scope["method"].isupper():
            # ASGI demands upper case, but servers pass on what `curl -X post` sends.
            scope = {**scope, "method": scope["method"].upper()}
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        found = self._routes.find(route_paths(scope))
        if found is None:
            path = next(route_paths(scope))
            exchange = self._exchange(self._nearest(path), scope, receive, send)
            await exchange.refuse(RouteNotFound(scope["method"], path))
            return
        methods, params = found
        target = methods.get(method)
        if isinstance(target, Endpoint):
            exchange = self._exchange(target.surface, scope, receive, send)
            await exchange.run(target, params)
        elif target is not None:
            await target.send(scope, send)
        else:
            some = next(iter(methods.values()))
            path = next(route_paths(scope))
            surface = some.surface if isinstance(some, Endpoint) else self._nearest(path)
            exchange = self._exchange(surface, scope, receive, send)
            await exchange.refuse(MethodNotAllowed(scope["method"], allowed(methods)))

    def _exchange(self, surface: Surface, scope: Scope, receive: Receive, send: Send) -> Exchange:
        return Exchange(
            surface,
            scope,
            receive,
            send,
            max_body=self.max_body,
            check_answers=self.check_answers,
        )

    def _nearest(self, path: str) -> Surface:
        for prefix, surface in self._surfaces:
            if path == prefix or path.startswith(prefix + "/"):
                return surface
        return self._surfaces[-1][1]


def generate_app(
    backend: Backend,
    *,
    images: ImageBackend | None = None,
    dialect: str | Dialect = "ollama",
    **options: Any,
) -> App:
    """`/api/generate` and what its clients need around it, over a backend; mount at `/api`.

    images: what draws, for the models that it has; `TypeError` if the dialect has no pictures.
    dialect: a name in `llmount.dialects.DIALECTS["generate"]`, or a dialect of your own.
    options: as for `App`.
    """
    drawing = {} if images is None else {"images": images}
    return App([("", _dialect("generate", dialect, backend, **drawing))], **options)


def chat_app(
    backend: Backend,
    *,
    images: ImageBackend | None = None,
    unknown: Unknown | None = None,
    dialect: str | Dialect = "openai",
    **options: Any,
) -> App:
    """`/chat/completions` and its neighbours, over a backend; mount at `/v1`.

    images: what draws for `/images/generations`, which is refused without it. unknown:
    "ignore" (the default) or "reject" fields that the document does not have; `TypeError`
    if the dialect has no such choice. Other arguments as for `generate_app`. The dialect
    "responses" has `/responses` alone; to serve it beside the others at one prefix, see
    `gateway`. The dialect "azure" is mounted at `/openai`.
    """
    given = {"images": images, "unknown": unknown}
    own = {name: each for name, each in given.items() if each is not None}
    return App([("", _dialect("chat", dialect, backend, **own))], **options)


def ai_app(
    providers: Mapping[str, Backend],
    *,
    images: Mapping[str, ImageBackend] | None = None,
    speech: Mapping[str, SpeechBackend] | None = None,
    transcription: Mapping[str, TranscriptionBackend] | None = None,
    dialect: str | Dialect = "geenii",
    **options: Any,
) -> App:
    """`/completion`, images and sound over named providers; mount at `/ai/v1`.

    providers, images, speech, transcription: who answers, draws, speaks and listens, by the
    word before the first colon of a model's id. Other arguments as for `generate_app`.
    """
    answering = _dialect(
        "ai", dialect, providers, images, speech, transcription, survey=of_models().each
    )
    return App([("", answering)], **options)


def _dialect(family: str, dialect: str | Dialect, *backends: Any, **others: Any) -> Dialect:
    if not isinstance(dialect, str):
        return dialect
    known = DIALECTS[family]
    if dialect not in known:
        raise LookupError(f"no dialect {dialect!r} in {family}; there are {', '.join(known)}")
    return known[dialect](*backends, **others)


def gateway(apps: Mapping[str, App | Sequence[App]], **options: Any) -> App:
    """One app for several, each at its prefix; one app may stand at two.

    Needed where several dialects share a root, because of two apps that a host mounts
    at the same prefix it asks only the first. Of several at one prefix the first has its
    `openapi.json` and `docs` there, the others below the names of their dialects:

        gateway({"/v1": [chat_app(backend), chat_app(backend, dialect="responses")]})

    has `/v1/openapi.json` and `/v1/responses/openapi.json`. Options as for `App`. An app
    that has keys or limits keeps them, the others get those given here; of the other
    options, the apps' own are not used.
    """
    mounts = [
        Mount(prefix.rstrip("/") + inner, dialect, access)
        for prefix, some in apps.items()
        for app in ([some] if isinstance(some, App) else some)
        for inner, dialect, access in app.mounts
    ]
    return App(mounts, **options)


def _match(contract: Contract, dialect: Dialect) -> None:
    documented, handled = set(contract.operations), set(dialect.handlers)
    if documented != handled:
        raise ContractMismatch(contract.name, documented - handled, handled - documented)


def _guard(contract: Contract, access: Access | None) -> None:
    secured = [operation for operation in contract.operations.values() if operation.secured]
    for operation in secured:
        if not operation.key_headers:
            raise ValueError(
                f"{contract.name}: {operation.id} demands neither a bearer token nor a key in a "
                "header, so nothing here can check it"
            )
    if secured and (access is None or not access.has_keys):
        raise KeysRequired(contract.name, [operation.id for operation in secured])
