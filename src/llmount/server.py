"""The reference server: which models are served, and the one app that serves them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from . import models
from .app import App, ai_app, chat_app, gateway, generate_app
from .backends.echo import EchoBackend
from .backends.images import ScriptedImageBackend
from .backends.routing import Route, RoutingBackend
from .keys import is_key
from .types import Backend

__all__ = ["ENGINES", "Engine", "KeyFileError", "ModelSpec", "SpecError", "assemble", "read_keys"]

Engine: TypeAlias = Literal["llamacpp", "ctransformers"]
ENGINES: tuple[Engine, ...] = ("llamacpp", "ctransformers")

_UPSTREAMS = {"ollama": "http://127.0.0.1:11434", "openai": None}


class SpecError(ValueError):
    """A `--model` that cannot be understood; the text says what would be."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One `--model`: `[NAME=]smollm2`, `PATH.gguf`, `echo`, `ollama:MODEL@URL` or
    `openai:MODEL@URL`.

    name: what clients call it. kind: "local", "echo", "ollama" or "openai". source: the
    path or known name, or what the upstream calls it. url: the upstream's address.
    """

    name: str
    kind: str
    source: str
    url: str | None = None

    @classmethod
    def parse(cls, text: str) -> ModelSpec:
        """Raises `SpecError`."""
        alias, equals, spec = text.partition("=")
        if not equals or "/" in alias or "@" in alias:
            alias, spec = "", text
        if spec == "echo":
            return cls(alias or "echo", "echo", "echo")
        kind, _, rest = spec.partition(":")
        if kind in _UPSTREAMS and rest:
            return cls._upstream(kind, rest, alias)
        if spec.endswith(".gguf"):
            path = Path(spec).expanduser()
            if not path.is_file():
                raise SpecError(f"there is no file {spec}")
            return cls(alias or path.stem, "local", str(path))
        if spec in models.KNOWN:
            return cls(alias or spec, "local", spec)
        raise SpecError(
            f"cannot understand the model {spec!r}; give {' or '.join(models.KNOWN)}, a path that "
            "ends in .gguf, echo, ollama:MODEL@URL or openai:MODEL@URL"
        )

    @classmethod
    def _upstream(cls, kind: str, rest: str, alias: str) -> ModelSpec:
        model, at, url = rest.rpartition("@")
        if not at:
            model, url = rest, _UPSTREAMS[kind] or ""
        if not model or not url.startswith(("http://", "https://")):
            raise SpecError(f"write {kind}:MODEL@URL, with a URL that begins with http")
        return cls(alias or model, kind, model, url)


class KeyFileError(ValueError):
    """Keys that cannot be read; the text says why, and has none of them."""


def read_keys(file: Path | None, listed: str | None) -> frozenset[str] | None:
    """The keys that are good, None if nothing says that there are any.

    file: one key a line; empty lines and those that begin with # do not count. listed:
    keys with space between them.

    Raises `KeyFileError` for what cannot be read, and if there turns out to be none.
    """
    if file is None and listed is None:
        return None
    found = [("a word in LLMOUNT_KEYS", key) for key in (listed or "").split()]
    if file is not None:
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise KeyFileError(f"cannot read the keys in {file}: {reason}") from None
        for number, line in enumerate(map(str.strip, text.splitlines()), 1):
            if line and not line.startswith("#"):
                found.append((f"line {number} of {file}", line))
    for place, key in found:
        if not is_key(key):
            raise KeyFileError(f"{place} is not one key of visible ASCII")
    if not found:
        raise KeyFileError("there is no key, neither in LLMOUNT_KEYS nor in --key-file")
    return frozenset(key for _, key in found)


def assemble(
    specs: Sequence[ModelSpec],
    *,
    engine: Engine = "llamacpp",
    pull: Callable[[str], Path] = models.pull,
    **options: Any,
) -> tuple[App, RoutingBackend]:
    """The app over all three families, and the backend behind it.

    pull: fetches a known model that is not there yet. options: as for `App`.
    `/ai/v1` knows the models by their kind (`echo:echo`, `llamacpp:smollm2`), and all that
    is not an OpenAI upstream also as `ollama:NAME`. Images are drawn by a script.

    Raises `SpecError` for a name that is given twice, `PullError`, and what an engine
    raises about its file; `ImportError` where its extra is not installed.
    """
    routes: dict[str, dict[str, Route]] = {}
    upstreams: dict[tuple[str, str | None], Backend] = {}
    for spec in specs:
        if any(spec.name in names for names in routes.values()):
            raise SpecError(f"two models are called {spec.name!r}; write NAME=… before one")
        provider = engine if spec.kind == "local" else spec.kind
        route = _route(spec, engine, pull, upstreams)
        routes.setdefault(provider, {})[spec.name] = route
    backend = RoutingBackend(_flat(routes.values()))
    here = _flat(names for provider, names in routes.items() if provider != "openai")
    providers: dict[str, Backend] = {
        **({"ollama": RoutingBackend(here)} if here else {}),
        **{name: RoutingBackend(names) for name, names in routes.items() if name != "ollama"},
    }
    drawing = ScriptedImageBackend()
    chat = (chat_app(backend), chat_app(backend, dialect="responses"))
    app = gateway(
        {
            "/api": generate_app(backend, images=drawing),
            "/v1": chat,
            "/ai/v1": ai_app(providers, images={"openai": drawing}),
            # Clients whose base URL lacks the version.
            "": chat,
        },
        **options,
    )
    return app, backend


def _flat(groups: Iterable[Mapping[str, Route]]) -> dict[str, Route]:
    return {name: route for group in groups for name, route in group.items()}


def _route(
    spec: ModelSpec,
    engine: Engine,
    pull: Callable[[str], Path],
    upstreams: dict[tuple[str, str | None], Backend],
) -> Route:
    if spec.kind == "echo":
        return Route(EchoBackend(), "echo")
    if spec.kind == "local":
        path = pull(spec.source) if spec.source in models.KNOWN else Path(spec.source)
        return Route(_engine(engine, path, spec.name), spec.name)
    key = (spec.kind, spec.url)
    if key not in upstreams:
        upstreams[key] = _upstream(spec)
    return Route(upstreams[key], spec.source)


def _engine(engine: Engine, path: Path, name: str) -> Backend:
    # Here, because each needs its own extra.
    if engine == "llamacpp":
        from .backends.llamacpp import LlamaCppBackend

        return LlamaCppBackend(path, name=name)
    from .backends.ctransformers import CTransformersBackend

    return CTransformersBackend(path, name=name)


def _upstream(spec: ModelSpec) -> Backend:
    from .backends.http import OllamaBackend, OpenAIBackend

    assert spec.url is not None
    if spec.kind == "ollama":
        return OllamaBackend(spec.url)
    return OpenAIBackend(spec.url, api_key=os.environ.get("OPENAI_API_KEY"))
