"""What the client half of a dialect is: requests to another server, and its answers read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ..errors import ApiError
from ..framing import Decoder
from ..types import JSON, Event, Model, Prompt
from .embedding_client import EmbeddingClient

__all__ = ["Client", "Incoming"]


class Incoming(Protocol):
    """One answer in the making, from the items of its stream."""

    @property
    def complete(self) -> bool:
        """Nothing of the answer itself is missing; of its usage something may be."""

    @property
    def done(self) -> bool:
        """The upstream has said that its stream ends, so nothing needs to be fed any more."""

    def feed(self, item: JSON, /) -> list[Event]:
        """The deltas in one item.

        Raises the `ApiError` that an error in it stands for, BackendError if it makes
        no sense.
        """

    def close(self) -> list[Event]:
        """What the end of the stream tells, the `Finish` last.

        Raises BackendError if the upstream stopped before its answer was complete.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """The client half of a dialect, as a row.

    request: the path and the body that ask for a streamed answer; raises Unsupported.
    decoder: of an answer's body, by its media type. answer: begins to read an answer of
    the model of this name. error: what a response's status and body mean, of a request
    for the model of this name. models: reads what GET `models_path` gives; raises
    BackendError for anything but a list of models.
    """

    request: Callable[[Prompt], tuple[str, JSON]]
    decoder: Callable[[str], Decoder]
    answer: Callable[[str], Incoming]
    error: Callable[[int, JSON, str], ApiError]
    models_path: str
    models: Callable[[JSON], list[Model]]
    embedding: EmbeddingClient
