"""What the reference server answers: queued, by rule, or an echo."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TypeAlias

from ...backends.echo import EchoBackend, Step, tokens
from ...backends.echo import echo as echoed
from ...jsontext import dumps
from ...types import (
    JSON,
    EmbeddingPrompt,
    Embeddings,
    Event,
    Model,
    Prompt,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
)

__all__ = ["Answers", "Call", "ScriptedBackend", "When", "asked_text", "steps"]

Call: TypeAlias = tuple[str, "Mapping[str, JSON] | str"]
"""A tool's name and its arguments; as text they are sent as they are, good or not."""

When: TypeAlias = str | Callable[[Prompt], bool]
"""Words that are in the prompt, in whatever case; or a function of it."""


@dataclass(frozen=True, slots=True)
class _Rule:
    answer: Sequence[Step]
    when: When | None
    model: str
    nth: int | None

    def fits(self, prompt: Prompt, number: int) -> bool:
        if self.nth not in (None, number) or not fnmatchcase(prompt.model, self.model):
            return False
        if self.when is None:
            return True
        if callable(self.when):
            return self.when(prompt)
        return self.when.casefold() in asked_text(prompt).casefold()


class Answers:
    """Who answers a prompt: the queue, an answer each; then the first rule that fits; then
    an echo. Any thread may add to it."""

    def __init__(self) -> None:
        self._queue: deque[Sequence[Step]] = deque()
        self._rules: list[_Rule] = []
        self._lock = threading.Lock()
        self._count = 0

    def queue(self, answer: Sequence[Step]) -> None:
        self._queue.append(answer)

    def rule(
        self,
        answer: Sequence[Step],
        *,
        when: When | None = None,
        model: str = "*",
        nth: int | None = None,
    ) -> None:
        """model: a pattern such as `gpt-*`. nth: of the prompts, from 1."""
        self._rules.append(_Rule(answer, when, model, nth))

    @property
    def left(self) -> int:
        """How many queued answers nobody has asked for."""
        return len(self._queue)

    def __call__(self, prompt: Prompt) -> Iterator[Step]:
        with self._lock:
            self._count += 1
            number = self._count
            queued = self._queue.popleft() if self._queue else None
        if queued is not None:
            return iter(queued)
        for rule in self._rules:
            if rule.fits(prompt, number):
                return iter(rule.answer)
        return echoed(prompt)


def steps(
    text: str = "", *, reasoning: str = "", tool_calls: Sequence[Call] = ()
) -> Sequence[Step]:
    """An answer, word by word; the arguments of a call come in two pieces."""
    said: list[Step] = [ReasoningDelta(token) for token in tokens(reasoning)]
    said += [TextDelta(token) for token in tokens(text)]
    for index, (name, given) in enumerate(tool_calls):
        arguments = given if isinstance(given, str) else dumps(given)
        half = len(arguments) // 2
        said.append(ToolCallDelta(index, f"call_{index}_{name}", name))
        said += [
            ToolCallDelta(index, arguments=piece)
            for piece in (arguments[:half], arguments[half:])
            if piece
        ]
    return said


def asked_text(prompt: Prompt) -> str:
    """All that the prompt says, a line for each message."""
    return prompt.text or "\n".join(message.text for message in prompt.messages)


class ScriptedBackend:
    """Answers for every model, whatever its name. `Backend`, `Directory`, `EmbeddingBackend`.

    listed: the names of models that it lists.
    """

    def __init__(self, answers: Answers, listed: Sequence[str] = ("llmount",)) -> None:
        self._answers = answers
        self._listed = listed

    async def models(self) -> Sequence[Model]:
        return await EchoBackend(models=self._listed).models()

    async def model(self, name: str) -> Model:
        return (await EchoBackend(models=[name]).models())[0]

    def generate(self, prompt: Prompt) -> AsyncGenerator[Event, None]:
        return EchoBackend(self._answers, models=[prompt.model]).generate(prompt)

    async def embed(self, prompt: EmbeddingPrompt) -> Embeddings:
        return await EchoBackend(models=[prompt.model]).embed(prompt)
