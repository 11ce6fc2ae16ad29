"""Several backends behind one, by the name of the model."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

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
from .listing import LISTING_SECONDS, of_models, of_residents
from .several import close_all, distinct, name_key

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
    tag means. prefixes: where all other names lead that begin with one of these, to be asked
    for the rest of the name; the longest counts, and "" takes every name. timeout: seconds
    until a backend has to have said what it has, or it is left out.
    """

    def __init__(
        self,
        routes: Mapping[str, Backend | Route],
        *,
        prefixes: Mapping[str, Backend] | None = None,
        timeout: float = LISTING_SECONDS,
    ) -> None:
        self.routes = {
            name: route if isinstance(route, Route) else Route(route, name)
            for name, route in routes.items()
        }
        self.prefixes = dict(sorted((prefixes or {}).items(), key=_by_length, reverse=True))
        self._by_name = {name_key(name): name for name in self.routes}
        self._offers = of_models(timeout=timeout)
        self._residents = of_residents(timeout=timeout)

    def route(self, model: str) -> Route:
        """Raises `ModelNotFound`."""
        name = self._by_name.get(name_key(model))
        if name is not None:
            return self.routes[name]
        for prefix, backend in self.prefixes.items():
            if model[: len(prefix)].casefold() == prefix.casefold() and len(model) > len(prefix):
                return Route(backend, model[len(prefix) :])
        raise ModelNotFound(model)

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Event, None]:
        route = self.route(prompt.model)
        inner = route.backend.generate(replace(prompt, model=route.model))
        async with aclosing(inner) as events:
            try:
                async for event in events:
                    yield event
            except ModelNotFound:
                # By the name that was asked for: theirs says nothing to a client.
                raise ModelNotFound(prompt.model) from None

    async def models(self) -> Sequence[Model]:
        """Each route's model under the route's name, then what is behind the prefixes.

        The backends are asked at once, and none for long; what one has that does not answer
        is left out. A model that its backend does not list is known by its name only.
        """
        backends = self._backends()
        answers = await self._offers.each(backends)
        listed = {id(each): models for each, models in zip(backends, answers, strict=True)}
        found: dict[str, Model] = {}
        for name, route in self.routes.items():
            if (models := listed[id(route.backend)]) is not None:
                model = _named(route.model, models)
                found[name_key(name)] = replace(model, name=name) if model else _unknown(name)
        for prefix, backend in self.prefixes.items():
            for model in listed[id(backend)] or ():
                name = prefix + model.name
                found.setdefault(name_key(name), replace(model, name=name))
        return tuple(found.values())

    async def model(self, name: str) -> Model | None:
        """As `Directory` says: only the backend is asked that the name leads to."""
        try:
            route = self.route(name)
        except ModelNotFound:
            return None
        if isinstance(route.backend, Directory):
            model = await route.backend.model(route.model)
        else:
            model = _named(route.model, await route.backend.models())
        if model is None:
            return None
        prefix = name.removesuffix(route.model)
        return replace(model, name=self._by_name.get(name_key(name), prefix + model.name))

    async def embed(self, prompt: EmbeddingPrompt) -> Embeddings:
        route = self.route(prompt.model)
        if not isinstance(route.backend, EmbeddingBackend):
            raise Unsupported("embedding", model=prompt.model)
        try:
            return await route.backend.embed(replace(prompt, model=route.model))
        except ModelNotFound:
            raise ModelNotFound(prompt.model) from None

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
            (id(route.backend), name_key(route.model)): name for name, route in self.routes.items()
        }
        prefixes = {id(backend): prefix for prefix, backend in self.prefixes.items()}
        backends = self._backends()
        found = []
        for backend, listed in zip(backends, await self._residents.each(backends), strict=True):
            for each in listed or ():
                prefixed = prefixes.get(id(backend), "") + each.model.name
                name = names.get((id(backend), name_key(each.model.name)), prefixed)
                found.append(replace(each, model=replace(each.model, name=name)))
        return tuple(found)

    async def aclose(self) -> None:
        """Close every backend that can be closed, once."""
        await close_all(self._backends())

    def _backends(self) -> Sequence[Backend]:
        return distinct(
            [*(route.backend for route in self.routes.values()), *self.prefixes.values()]
        )


def _named(name: str, models: Sequence[Model]) -> Model | None:
    return next((model for model in models if name_key(model.name) == name_key(name)), None)


def _by_length(prefix: tuple[str, Backend]) -> int:
    return len(prefix[0])


def _unknown(name: str) -> Model:
    return Model(name=name, capabilities=frozenset())
