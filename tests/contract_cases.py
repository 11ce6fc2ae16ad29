"""The cases of `tests/contracts`: reading them, playing their scripts, comparing answers."""

from __future__ import annotations

import builtins
import re
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from llmount import EchoBackend, ScriptedImageBackend, ai_app, chat_app, errors, generate_app
from llmount.app import App
from llmount.backends.echo import Fail, Step
from llmount.backends.speech import ScriptedSpeechBackend, ScriptedTranscriptionBackend
from llmount.types import (
    EmbeddingPrompt,
    Embeddings,
    Event,
    Finish,
    Model,
    Prompt,
    ReasoningDelta,
    Residency,
    TextDelta,
    Timings,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)

FOLDER = Path(__file__).parent / "contracts"
Case = Mapping[str, Any]
KEY = "sk-good"
"""The one that is good, where keys are checked."""


# The data


def cases_of(contract: str) -> Iterator[tuple[str, Case]]:
    """The cases of a document, each with the id of its operation."""
    for file in sorted((FOLDER / contract.replace("/", "-")).glob("*.yaml")):
        for case in yaml.safe_load(file.read_text("utf-8"))["cases"]:
            yield file.stem, case


# The scripted backend


def raised(described: Any) -> Exception:
    """`BackendError`, or `{BackendError: {upstream_status: 500}}`, or a list of arguments."""
    [(name, arguments)] = described.items() if isinstance(described, dict) else [(described, {})]
    kind = getattr(errors, name, None) or getattr(builtins, name)
    error = kind(**arguments) if isinstance(arguments, dict) else kind(*arguments)
    assert isinstance(error, Exception)
    return error


def logprob(token: str, value: float, top: Sequence[Any] = ()) -> TokenLogprob:
    return TokenLogprob(token, value, token.encode(), tuple(logprob(*each) for each in top))


def finish(
    reason: Any, usage: Any = None, timings: Any = None, context: Any = (), raw: Any = None
) -> Finish:
    return Finish(
        reason=reason,
        usage=Usage(**usage or {}),
        timings=Timings(**timings or {}),
        context=tuple(context),
        raw=raw,
    )


STEPS: Mapping[str, Callable[..., Step]] = {
    "text": lambda text, logprobs=(): TextDelta(text, tuple(logprob(*each) for each in logprobs)),
    "reasoning": ReasoningDelta,
    "call": ToolCallDelta,
    "fail": lambda described: Fail(raised(described)),
    "finish": finish,
}


def step(described: Mapping[str, Any]) -> Step:
    """A step is named by its first key, whose value is its first argument."""
    name, *rest = described
    return STEPS[name](described[name], **{key: described[key] for key in rest})


class Scripted(EchoBackend):
    """An `EchoBackend` that remembers what it was asked and can fail to list its models."""

    def __init__(self, case: Case) -> None:
        listed = case.get("models", ["echo"])
        self._failure = raised(listed["fail"]) if isinstance(listed, dict) else None
        known = [
            Model(**{**each, "capabilities": frozenset(each.get("capabilities", ("completion",)))})
            if isinstance(each, dict)
            else each
            for each in ([] if self._failure else listed)
        ]
        script = [step(each) for each in case["script"]] if "script" in case else None
        super().__init__(script, models=known)
        self.asked: list[Prompt] = []
        self.told: list[Any] = []
        self.embedded: list[EmbeddingPrompt] = []
        self._embedding = case.get("embedding")

    async def models(self) -> Sequence[Model]:
        if self._failure is not None:
            raise self._failure
        return await super().models()

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Event, None]:
        self.asked.append(prompt)
        events = super().generate(prompt)
        try:
            async for event in events:
                yield event
        finally:
            await events.aclose()

    async def embed(self, prompt: EmbeddingPrompt) -> Embeddings:
        self.embedded.append(prompt)
        if self._embedding is None:
            return await super().embed(prompt)
        if "fail" in self._embedding:
            raise raised(self._embedding["fail"])
        usage, timings = self._embedding["usage"], self._embedding["timings"]
        return Embeddings(
            vectors=self._embedding["vectors"], usage=Usage(**usage), timings=Timings(**timings)
        )


class InMemory(Scripted):
    """One that holds models in memory."""

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self._resident = case["resident"]

    async def load(self, model: str, keep_alive: float | None) -> None:
        self.told.append(["load", model, keep_alive])

    async def unload(self, model: str) -> None:
        self.told.append(["unload", model])

    async def resident(self) -> Sequence[Residency]:
        if isinstance(self._resident, dict):
            raise raised(self._resident["fail"])
        return [
            Residency(**{**each, "model": Model(name=each["model"])}) for each in self._resident
        ]


def images(case: Case) -> Mapping[str, Any]:
    drawing = case.get("drawing", {})
    told = {"failure": raised(drawing["fail"])} if "fail" in drawing else {}
    return told | {key: drawing[key] for key in ("models",) if key in drawing}


def sound(case: Case) -> Mapping[str, Any]:
    """Who speaks and who listens; some answer to the names that requests have by default."""
    failure = raised(case["sounding"]["fail"]) if "sounding" in case else None
    translations = {"de": {"Hi": "Hallo"}}
    speaker = ScriptedSpeechBackend(["tones", "llama-2:latest"], failure=failure)
    listener = ScriptedTranscriptionBackend(
        ["tones", "whisper-1:latest"], translations=translations, failure=failure
    )
    return {"speech": {"hf": speaker}, "transcription": {"whisper": listener}}


def _generate(case: Case, backend: Scripted, options: Mapping[str, Any]) -> App:
    """Only Ollama draws."""
    draws = options["dialect"] == "ollama"
    painter = ScriptedImageBackend(["painter"], **images(case)) if draws else None
    return generate_app(backend, images=painter, **options)


def _chat(case: Case, backend: Scripted, options: Mapping[str, Any]) -> App:
    """It draws where the case says how."""
    painter = ScriptedImageBackend(**images(case)) if "drawing" in case else None
    return chat_app(backend, images=painter, **options)


SERVERS: Mapping[str, Callable[[Case, Scripted, Mapping[str, Any]], App]] = {
    "generate": _generate,
    "chat": _chat,
    "ai": lambda case, backend, options: ai_app(
        {"mine": backend, "ollama": backend, "openai": backend},
        images={"openai": ScriptedImageBackend(**images(case)), "easel": ScriptedImageBackend()},
        **sound(case),
        **options,
    ),
}
"""What is served of each family, of whatever dialect."""


# Comparing

_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,8}[1-9])?Z"

PLACEHOLDERS: Mapping[str, str | Callable[[Any], Any]] = {
    "id": r"[A-Za-z0-9_-]{10,}",
    "hex": r"[0-9a-f]+",
    "timestamp": _TIME,
    "second": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
    "local": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d",
    "spaced": r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}",
    "uuid": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "words": r"[^\n]*",
    "base64": r"[A-Za-z0-9+/]{64,}={0,2}",
    "digits": r"\d+",
    "wait": lambda value: type(value) is int and value >= 1,
    "any": r"(?s).+",
    "nanoseconds": lambda value: type(value) is int and value >= 1,
    "seconds": lambda value: type(value) is float and 0 <= value < 10 and value == round(value, 3),
    "now": lambda value: type(value) is int and abs(value - time.time()) < 60,
    "later": lambda value: type(value) is int and abs(value - time.time()) < 60,
    "tokens": lambda value: type(value) is list and {type(each) for each in value} == {int},
}
"""What a text in their place matches, or a test of the value there."""

_SAME = ("id", "uuid", "now")
"""What has to be the same everywhere in one answer."""

_PLACEHOLDER = re.compile(f"<({'|'.join(PLACEHOLDERS)})>")


def differences(
    actual: Any, wanted: Any, where: str = "$", *, seen: dict[str, Any], ordered: bool = True
) -> Iterator[str]:
    """Where the two differ. ordered: objects have the same keys in the same order, rather
    than at least those that are wanted."""
    if isinstance(wanted, str) and _PLACEHOLDER.search(wanted):
        yield from _unmatched(actual, wanted, where, seen)
    elif isinstance(wanted, dict) and isinstance(actual, dict):
        if ordered and list(actual) != list(wanted):
            yield f"{where}: keys are {list(actual)}, not {list(wanted)}"
        for key in wanted.keys() & actual.keys() if ordered else wanted:
            yield from differences(
                actual.get(key), wanted[key], f"{where}.{key}", seen=seen, ordered=ordered
            )
    elif isinstance(wanted, list) and isinstance(actual, list | tuple):
        if len(actual) != len(wanted):
            yield f"{where}: {len(actual)} values, not {len(wanted)}: {actual!r}"
        for number, (one, other) in enumerate(zip(actual, wanted, strict=False)):
            yield from differences(one, other, f"{where}[{number}]", seen=seen, ordered=ordered)
    elif type(actual) is not type(wanted) or actual != wanted:
        yield f"{where}: {actual!r}, not {wanted!r}"


def _unmatched(actual: Any, wanted: str, where: str, seen: dict[str, Any]) -> Iterator[str]:
    name, *others = _PLACEHOLDER.findall(wanted)
    meaning = PLACEHOLDERS[name]
    if callable(meaning):
        fits = meaning(actual)
    else:
        assert not others, "one placeholder a text"
        before, after = map(re.escape, wanted.split(f"<{name}>"))
        pattern = f"{before}(?:{meaning}){after}" if name != "any" else meaning
        fits = isinstance(actual, str) and re.fullmatch(pattern, actual) is not None
    if not fits:
        yield f"{where}: {actual!r} is no {wanted}"
    elif name in _SAME and seen.setdefault(wanted, actual) != actual:
        yield f"{where}: {actual!r}, where it was {seen[wanted]!r} before"
