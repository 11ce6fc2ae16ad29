"""Several image backends behind one, by the name of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..errors import ModelNotFound
from ..media import Image, ImageBackend, ImagePrompt
from ..types import Model
from .several import close_all, name_key

__all__ = ["ImageRoute", "RoutingImageBackend"]


@dataclass(frozen=True, slots=True)
class ImageRoute:
    """Where a name leads: what draws, and what the model is called there."""

    backend: ImageBackend
    model: str


class RoutingImageBackend:
    """Draws with what the model's name leads to: an `ImageBackend`.

    routes: by name; names are compared as Ollama does. Listing them asks nobody.
    """

    def __init__(self, routes: Mapping[str, ImageRoute]) -> None:
        self.routes = dict(routes)
        self._by_key = {name_key(name): route for name, route in self.routes.items()}

    async def draw(self, prompt: ImagePrompt, /) -> Sequence[Image]:
        """See `ImageBackend`."""
        route = self._by_key.get(name_key(prompt.model))
        if route is None:
            raise ModelNotFound(prompt.model)
        return await route.backend.draw(replace(prompt, model=route.model))

    async def models(self) -> Sequence[Model]:
        return tuple(Model(name=name, capabilities=frozenset({"image"})) for name in self.routes)

    async def aclose(self) -> None:
        """Close every backend that can be closed, once."""
        await close_all(route.backend for route in self.routes.values())
