"""How each API is asked and how its answers are read: a row for each operation that writes.

Reading is lenient, since what is checked here is another server; whether an answer has the
right form is for other checks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..types import JSON
from . import ollama_api, openai_api, responses_api
from .said import Ask, Feature, Said

__all__ = ["APIS", "Api", "apis_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """One operation that writes text.

    body: what asks. whole, items: what an answer says, of its body or of the items of its
    stream. knows: what it can be asked for. error: the text of a refusal's body, None if the
    body is not in the envelope.
    """

    contract: str
    operation: str
    body: Callable[[str, Ask], JSON]
    whole: Callable[[JSON], Said]
    items: Callable[[Sequence[JSON]], Said]
    knows: frozenset[Feature]
    error: Callable[[JSON], str | None]

    def lacks(self, ask: Ask) -> set[Feature]:
        """What the question asks for that this API has no word for."""
        return ask.features - self.knows


_TEXT: frozenset[Feature] = frozenset(
    {"whole", "stream", "max_tokens", "temperature", "stop", "seed", "system"}
)

APIS: Mapping[tuple[str, str], Api] = {
    (api.contract, api.operation): api
    for api in (
        Api(
            contract="generate/ollama",
            operation="generate",
            body=ollama_api.generate,
            whole=ollama_api.whole,
            items=ollama_api.items,
            knows=_TEXT | {"logprobs", "json", "schema", "raw", "context"},
            error=ollama_api.error,
        ),
        Api(
            contract="generate/ollama",
            operation="chat",
            body=ollama_api.chat,
            whole=ollama_api.whole,
            items=ollama_api.items,
            knows=_TEXT | {"history", "logprobs", "json", "schema", "tools"},
            error=ollama_api.error,
        ),
        Api(
            contract="chat/openai",
            operation="createChatCompletion",
            body=openai_api.chat,
            whole=openai_api.whole,
            items=openai_api.items,
            knows=_TEXT
            | {"history", "n", "logprobs", "json", "schema", "tools", "tool_choice", "usage"},
            error=openai_api.error,
        ),
        Api(
            contract="chat/responses",
            operation="createResponse",
            body=responses_api.body,
            whole=responses_api.whole,
            items=responses_api.items,
            knows=(_TEXT - {"stop", "seed"})
            | {"history", "json", "schema", "tools", "tool_choice"},
            error=openai_api.error,
        ),
    )
}
"""By contract and `operationId`."""


def apis_of(contract: str) -> list[Api]:
    """The operations of a contract that write text."""
    return [api for (name, _), api in APIS.items() if name == contract]
