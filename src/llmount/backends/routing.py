"""Several backends behind one, by the name of the model."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from ..errors import ModelNotFound, Unsupported
from ..types import (
    Backend,
    Directory,
    EmbeddingBackend,
    EmbeddingPrompt,
    Embeddings,
    Event,
    Model,
    Prompt,
    Residency,
    Resident,
)

__all__ = ["Route", "RoutingBackend"]


@dataclass(frozen=True, slots=True)
class Route:
    """Where a name leads: a backend, and what the model is called there."""

    backend: Backend
    model: str


class RoutingBackend:
    """Answers each prompt with the backend that its model's name leads to.

    routes: by name; a bare backend is asked for the model of the same name. Names are
    compared as Ollama does: without regard to case, and `:latest` is what a name without a
    tag means.
    """

    def __init__(self, routes: Mapping[str, Backend | Route]) -> None:
        self.routes = {
            name: route if isinstance(route, Route) else Route(route, name)
            for name, route in routes.items()
        }
        self._by_name = {_key(name): name for name in self.routes}

    def route(self, model: str) -> Route:
        """Raises `ModelNotFound`."""
        name = self._by_name.get(_key(model))
        if name is None:
            raise ModelNotFound(model)
        return self.routes[name]

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Event, None]:
        route = self.route(prompt.model)
        inner = route.backend.generate(replace(prompt, model=route.model))
        async with aclosing(inner) as events:
            async for event in events:
                yield event

    async def models(self) -> Sequence[Model]:
        """Each route's model under the route's name; one that its backend does not list
        is known by its name only."""
        listed: dict[int, dict[str, Model]] = {}
        found = []
        for name, route in self.routes.items():
            key = id(route.backend)
            if key not in listed:
                listed[key] = {_key(model.name): model for model in await route.backend.models()}
            model = listed[key].get(_key(route.model))
            found.append(replace(model, name=name) if model else _unknown(name))
        return tuple(found)

    async def model(self, name: str) -> Model | None:
        """As `Directory` says: only the backend is asked that the name leads to."""
        route = self._by_name.get(_key(name))
        if route is None:
            return None
        backend, asked = self.routes[route].backend, self.routes[route].model
        if isinstance(backend, Directory):
            model = await backend.model(asked)
        else:
            listed = {_key(each.name): each for each in await backend.models()}
            model = listed.get(_key(asked))
        return replace(model, name=route) if model else None

    async def embed(self, prompt: EmbeddingPrompt) -> Embeddings:
        route = self.route(prompt.model)
        if not isinstance(route.backend, EmbeddingBackend):
            raise Unsupported("embedding", model=prompt.model)
        return await route.backend.embed(replace(prompt, model=route.model))

    # `Resident`, as far as the backends are

    async def load(self, model: str, keep_alive: float | None) -> None:
        route = self.route(model)
        if isinstance(route.backend, Resident):
            await route.backend.load(route.model, keep_alive)

    async def unload(self, model: str) -> None:
        route = self.route(model)
        if isinstance(route.backend, Resident):
            await route.backend.unload(route.model)

    async def resident(self) -> Sequence[Residency]:
        names = {
            (id(route.backend), _key(route.model)): name for name, route in self.routes.items()
        }
        found = []
        for backend in self._backends():
            if isinstance(backend, Resident):
                for each in await backend.resident():
                    name = names.get((id(backend), _key(each.model.name)), each.model.name)
                    found.append(replace(each, model=replace(each.model, name=name)))
        return tuple(found)

    async def aclose(self) -> None:
        """Close every backend that can be closed, once."""
        for backend in self._backends():
            if hasattr(backend, "aclose"):
                await backend.aclose()

    def _backends(self) -> Sequence[Any]:
        return tuple({id(route.backend): route.backend for route in self.routes.values()}.values())


def _unknown(name: str) -> Model:
    return Model(name=name, capabilities=frozenset())


def _key(name: str) -> str:
    return name.strip().casefold().removesuffix(":latest")
