"""How each API is asked and how its answers are read: a row for each operation that writes.

Reading is lenient, since what is checked here is another server; whether an answer has the
right form is for other checks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..types import JSON
from . import (
    codeinferflow_api,
    completions_api,
    geenii_api,
    ktransformers_api,
    ollama_api,
    openai_api,
    responses_api,
)
from .said import Ask, Feature, Said, Word

__all__ = ["APIS", "Api", "apis_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """One operation that writes text.

    body: what asks. whole, items: what an answer says, of its body or of the items of its
    stream. knows: what it can be asked for. untold: what its answers do not tell. error: the
    text of a refusal's body, None if the body is not in the envelope. optional: many servers
    of the API do without it, and so do their clients.
    """

    contract: str
    operation: str
    body: Callable[[str, Ask], JSON]
    whole: Callable[[JSON], Said]
    items: Callable[[Sequence[JSON]], Said]
    knows: frozenset[Feature]
    error: Callable[[JSON], str | None]
    untold: frozenset[Word] = frozenset()
    optional: bool = False

    def lacks(self, ask: Ask) -> set[Feature]:
        """What the question asks for that this API has no word for."""
        return ask.features - self.knows


_BOTH: frozenset[Feature] = frozenset({"whole", "stream"})
_LENGTH: frozenset[Feature] = frozenset({"max_tokens", "temperature"})
_TURNS: frozenset[Feature] = frozenset({"system", "history"})
_TEXT: frozenset[Feature] = _BOTH | _LENGTH | {"stop", "seed", "system"}
_SHAPED: frozenset[Feature] = frozenset({"json", "schema"})
_TOOLS: frozenset[Feature] = frozenset({"tools", "tool_choice"})
_EVERYTHING: frozenset[Word] = frozenset({"finish", "tokens", "model"})


def _chat_completions(contract: str) -> Api:
    return Api(
        contract=contract,
        operation="createChatCompletion",
        body=openai_api.chat,
        whole=openai_api.whole,
        items=openai_api.items,
        knows=_TEXT | _SHAPED | _TOOLS | {"history", "n", "logprobs", "usage"},
        error=openai_api.error,
    )


def _text_completions(contract: str) -> Api:
    return Api(
        contract=contract,
        operation="createCompletion",
        body=completions_api.body,
        whole=completions_api.whole,
        items=completions_api.items,
        knows=(_TEXT - {"system"}) | {"n", "logprobs", "usage"},
        error=openai_api.error,
        optional=True,
    )


_ROWS = (
    Api(
        contract="generate/ollama",
        operation="generate",
        body=ollama_api.generate,
        whole=ollama_api.whole,
        items=ollama_api.items,
        knows=_TEXT | _SHAPED | {"logprobs", "context", "thinking"},
        error=ollama_api.error,
    ),
    Api(
        contract="generate/ollama",
        operation="chat",
        body=ollama_api.chat,
        whole=ollama_api.whole,
        items=ollama_api.items,
        knows=_TEXT | _SHAPED | {"history", "logprobs", "tools", "thinking"},
        error=ollama_api.error,
    ),
    Api(
        contract="generate/ajstudioz",
        operation="generate",
        body=ollama_api.generate,
        whole=ollama_api.whole,
        items=ollama_api.items,
        knows=(_TEXT - {"seed"}) | {"context"},
        error=ollama_api.coded_error,
    ),
    Api(
        contract="generate/ajstudioz",
        operation="chat",
        body=ollama_api.chat,
        whole=ollama_api.whole,
        items=ollama_api.items,
        knows=(_TEXT - {"seed"}) | _SHAPED | {"history", "tools"},
        error=ollama_api.coded_error,
    ),
    Api(
        contract="generate/codeinferflow",
        operation="generate",
        body=codeinferflow_api.code,
        whole=codeinferflow_api.generated,
        items=ollama_api.items,
        knows=frozenset({"whole"}),
        error=codeinferflow_api.error,
        untold=frozenset({"finish", "model"}),
    ),
    Api(
        contract="generate/ktransformers",
        operation="generate",
        body=ktransformers_api.generate,
        whole=ktransformers_api.whole,
        items=ollama_api.items,
        knows=frozenset({"stream"}),
        error=ollama_api.error,
        untold=frozenset({"finish", "tokens"}),
    ),
    _chat_completions("chat/openai"),
    _text_completions("chat/openai"),
    _chat_completions("chat/azure"),
    _text_completions("chat/azure"),
    Api(
        contract="chat/responses",
        operation="createResponse",
        body=responses_api.body,
        whole=responses_api.whole,
        items=responses_api.items,
        knows=_BOTH | _LENGTH | _TURNS | _SHAPED | _TOOLS,
        error=openai_api.error,
    ),
    Api(
        contract="chat/codeinferflow",
        operation="createChatCompletion",
        body=openai_api.chat,
        whole=openai_api.whole,
        items=openai_api.items,
        knows=_BOTH | _LENGTH | _TURNS | {"seed"},
        error=openai_api.error,
        untold=frozenset({"tokens", "model"}),
    ),
    Api(
        contract="chat/codeinferflow",
        operation="createCompletion",
        body=codeinferflow_api.complete,
        whole=codeinferflow_api.written,
        items=openai_api.items,
        knows=frozenset({"whole"}),
        error=openai_api.error,
        untold=_EVERYTHING,
    ),
    Api(
        contract="chat/ktransformers",
        operation="createChatCompletion",
        body=ktransformers_api.chat,
        whole=ktransformers_api.whole,
        items=openai_api.items,
        knows=_TURNS | {"stream"},
        error=ktransformers_api.error,
        untold=frozenset({"tokens"}),
    ),
    Api(
        contract="ai/geenii",
        operation="completion",
        body=geenii_api.body,
        whole=geenii_api.whole,
        items=geenii_api.items,
        knows=_BOTH | _LENGTH | {"system"},
        error=geenii_api.error,
        untold=frozenset({"finish", "tokens"}),
    ),
)

APIS: Mapping[tuple[str, str], Api] = {(api.contract, api.operation): api for api in _ROWS}
"""By contract and `operationId`."""


def apis_of(contract: str) -> list[Api]:
    """The operations of a contract that write text."""
    return [api for (name, _), api in APIS.items() if name == contract]
