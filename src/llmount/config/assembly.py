"""From a `Config` to backends, and to the one app that serves them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, TypeVar

from ..app import App, ai_app, chat_app, gateway, generate_app
from ..backends.pool import Member, PoolBackend
from ..backends.routing import Route, RoutingBackend
from ..backends.routing_images import ImageRoute, RoutingImageBackend
from ..media import ImageBackend, SpeechBackend, TranscriptionBackend
from ..models import pull as pull_model
from ..types import Backend
from .kinds import DRAWERS, LISTENERS, PROVIDERS, SPEAKERS, Kind, Pull
from .problems import ConfigError, Problem
from .values import Config, Provider, Shared

__all__ = ["SHARED", "Service", "assemble", "build", "make"]

SHARED = "models"
"""The provider on /ai/v1 that has what several providers serve together."""

B = TypeVar("B")

_INNER = 0.75
"""How much of the time for a list a list within it has, to be in time with what it has got."""


@dataclass(frozen=True, slots=True)
class Service:
    """What is served: all models by their names, each provider's own, and what draws.

    local: the names of those that are run in this process. images: None if nothing draws.
    drawers, speech, transcription: by the names of their providers. options: of the app, as
    for `App`.
    """

    models: RoutingBackend
    local: Sequence[str]
    providers: Mapping[str, Backend]
    images: ImageBackend | None
    drawers: Mapping[str, ImageBackend]
    speech: Mapping[str, SpeechBackend]
    transcription: Mapping[str, TranscriptionBackend]
    options: Mapping[str, Any]

    def app(self, **options: Any) -> App:
        """`/api`, `/v1` and `/ai/v1`, and chat at the root, for clients whose base URL lacks
        the version. options: in place of its own."""
        chat = (
            chat_app(self.models, images=self.images),
            chat_app(self.models, dialect="responses"),
        )
        return gateway(
            {
                "/api": generate_app(self.models, images=self.images),
                "/v1": chat,
                "/ai/v1": ai_app(
                    self.providers,
                    images=self.drawers,
                    speech=self.speech,
                    transcription=self.transcription,
                ),
                "": chat,
            },
            **{**self.options, **options},
        )


def build(config: Config, *, pull: Pull = pull_model, **options: Any) -> App:
    """The app of a configuration, to be served or mounted. Nothing is opened yet.

    pull: fetches a model that is known by name and not there yet. options: as for `App`;
    they come before the configuration's own keys, limits and max_body.

    Raises `ConfigError` for what an engine or an upstream does not take, and `PullError`.
    """
    return assemble(config, pull=pull).app(**options)


def assemble(config: Config, *, pull: Pull = pull_model) -> Service:
    """Its backends. Arguments and errors as for `build`."""
    made = [(each, make(each, PROVIDERS, pull)) for each in config.providers]
    backends = {provider.name: backend for provider, backend in made}
    timeout = config.server.list_timeout
    shared = {
        each.name: Route(_pool(each, backends, timeout * _INNER**2), each.name)
        for each in config.models
    }
    routes = {
        name: route for each, backend in made for name, route in _routes(each, backend).items()
    }
    prefixes = {each.prefix: backend for each, backend in made if each.models is None}
    images, drawers = _images(config.images, pull)
    return Service(
        models=RoutingBackend({**shared, **routes}, prefixes=prefixes, timeout=timeout),
        local=[
            each.prefix + name
            for each in config.providers
            if PROVIDERS[each.type].models == "files"
            for name in each.models or ()
        ],
        providers=_by_provider(config, made, shared, timeout * _INNER),
        images=images,
        drawers=drawers,
        speech={each.name: make(each, SPEAKERS, pull) for each in config.speech},
        transcription={each.name: make(each, LISTENERS, pull) for each in config.transcription},
        options={"keys": config.keys, "limits": config.limits, "max_body": config.server.max_body},
    )


def _by_provider(
    config: Config,
    made: Sequence[tuple[Provider, Backend]],
    shared: Mapping[str, Route],
    timeout: float,
) -> dict[str, Backend]:
    """Who answers on /ai/v1.

    There `ollama:` knows the named models of all but OpenAI upstreams too, since this server
    speaks Ollama's API as well.
    """
    alien = {each.name for each, _ in made if PROVIDERS[each.type].alien}
    near = {
        each.name: shared[each.name]
        for each in config.models
        if not alien & {member.provider for member in each.members}
    }
    routes: dict[str, dict[str, Route]] = {SHARED: {**shared}} if shared else {}
    whole: dict[str, Backend] = {}
    for each, backend in made:
        own = routes.setdefault(each.name, {})
        own |= _routes(each, backend, bare=True)
        if each.models is None:
            whole[each.name] = backend
        if each.name not in alien:
            near |= _routes(each, backend)
    if near:
        routes["ollama"] = {**near, **routes.get("ollama", {})}
    return {
        name: RoutingBackend(
            own, prefixes={"": whole[name]} if name in whole else {}, timeout=timeout
        )
        if own
        else whole[name]
        for name, own in routes.items()
        if own or name in whole
    }


def make(provider: Provider, kinds: Mapping[str, Kind[B]], pull: Pull) -> B:
    """The backend of a provider. Raises `ConfigError` if the provider has a place in a file,
    otherwise what the backend raises."""
    kind = kinds[provider.type]
    try:
        if kind.needs and find_spec(kind.needs) is None:
            raise ImportError(f"this needs {kind.needs}: pip install 'llmount[{kind.extra}]'")
        return kind.make(provider, pull)
    except (ImportError, ValueError, OSError) as error:
        if provider.place is None:
            raise
        raise ConfigError([Problem(provider.place, str(error))]) from error


def _routes(provider: Provider, backend: Backend, *, bare: bool = False) -> dict[str, Route]:
    """The models that a provider names. bare: without its prefix."""
    upstream = PROVIDERS[provider.type].models == "upstream"
    return {
        name if bare else provider.prefix + name: Route(backend, source if upstream else name)
        for name, source in (provider.models or {}).items()
    }


def _pool(shared: Shared, backends: Mapping[str, Backend], timeout: float) -> Backend:
    members = [Member(backends[each.provider], each.model, each.tier) for each in shared.members]
    return PoolBackend(
        members, retry=shared.retry, circuit=shared.circuit, name=shared.name, timeout=timeout
    )


def _images(
    providers: Sequence[Provider], pull: Pull
) -> tuple[ImageBackend | None, dict[str, ImageBackend]]:
    """What draws all models, and what draws those of each provider."""
    every: dict[str, ImageRoute] = {}
    drawers: dict[str, ImageBackend] = {}
    for each in providers:
        kind, backend = DRAWERS[each.type], make(each, DRAWERS, pull)
        names = each.models if each.models is not None else dict.fromkeys(kind.default, "")
        own = {
            name: ImageRoute(backend, source if kind.models == "upstream" else name)
            for name, source in names.items()
        }
        every |= own
        drawers[each.name] = RoutingImageBackend(own)
    return RoutingImageBackend(every) if every else None, drawers
