"""Which operation a request means, wherever the app is mounted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from .access import Access
from .contract import Contract, Operation
from .dialects.protocol import Dialect, Handler
from .pages import Page
from .streaming import Outlet, Scope

__all__ = ["Endpoint", "Routes", "Surface", "allowed", "below", "route_paths"]


@dataclass(frozen=True, slots=True)
class Surface:
    """One dialect with its compiled document, and who may ask; None is anybody, any time."""

    dialect: Dialect
    contract: Contract
    access: Access | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One operation at its place: what handles it and where its answers go."""

    surface: Surface
    operation: Operation
    handler: Handler
    outlet: Outlet | None


Methods: TypeAlias = dict[str, Endpoint | Page]


@dataclass(slots=True)
class Routes:
    """Methods by path: literal paths in a table, templated ones in their order."""

    literal: dict[str, Methods] = field(default_factory=dict)
    templated: list[tuple[str, Operation, Methods]] = field(default_factory=list)

    def add(self, prefix: str, endpoint: Endpoint) -> None:
        operation = endpoint.operation
        path = ("" if operation.absolute else prefix) + operation.path
        if operation.pattern is None:
            methods = self.literal.setdefault(_trim(path), {})
        else:
            for known_prefix, known, known_methods in self.templated:
                if known_prefix == prefix and known.path == operation.path:
                    methods = known_methods
                    break
            else:
                methods = {}
                self.templated.append((prefix, operation, methods))
        methods.setdefault(operation.method, endpoint)

    def add_page(self, path: str, page: Page) -> None:
        self.literal.setdefault(path, {}).setdefault("GET", page)

    def find(self, paths: Iterable[str]) -> tuple[Methods, Mapping[str, str]] | None:
        """The methods of the first path that there is, and its parameters."""
        for path in paths:
            path = _trim(path)
            if (methods := self.literal.get(path)) is not None:
                return methods, {}
            for prefix, operation, methods in self.templated:
                if not path.startswith(prefix):
                    continue
                assert operation.pattern is not None
                if match := operation.pattern.fullmatch(path, len(prefix)):
                    return methods, match.groupdict()
        return None


def route_paths(scope: Scope) -> Iterator[str]:
    """The paths that may be meant, best first, below where this app is mounted.

    Hosts disagree. Starlette leaves the full path and puts the mount into `root_path`;
    below a proxy that strips a prefix, `root_path` begins with what the path lacks
    (`app_root_path` says how much); channels leaves `path_remaining` alone.
    """
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    app_root: str = scope.get("app_root_path", "").rstrip("/")
    if "path_remaining" in scope:
        yield "/" + scope["path_remaining"].lstrip("/")
    if (rest := below(path, root)) is not None:
        yield rest
    mount = root.removeprefix(app_root)
    if mount != root and (rest := below(path, mount)) is not None:
        yield rest
    yield path


def below(path: str, root: str) -> str | None:
    """What is left of the path below a root ("/" at least), or None if it is elsewhere."""
    if not path.startswith(root) or path[len(root) : len(root) + 1] not in ("", "/"):
        return None
    return path[len(root) :] or "/"


def _trim(path: str) -> str:
    return path.rstrip("/") or "/"


def allowed(methods: Iterable[str]) -> tuple[str, ...]:
    """For the `Allow` header; where there is GET, HEAD is answered too."""
    names = set(methods)
    if "GET" in names:
        names.add("HEAD")
    return tuple(sorted(names))
