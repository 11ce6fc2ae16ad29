"""OpenAI's text completions: a body as prompts, and the events of the answers to them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import fsum

from ..errors import BadRequest, Unsupported
from ..jsontext import dumps
from ..types import JSON, Finish, Prompt, TextDelta, TokenLogprob, Usage
from .completion import Choice, Completion, gather, repeated
from .logprobs import logprob_of
from .openai_answer import DONE, FINGERPRINT, together, usage_of
from .openai_request import sampling
from .plain import plain_reason

__all__ = ["Order", "Texts", "order"]

_MOST_ANSWERS = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be written: `written` answers to each text, `sent` of which are sent.

    logprobs: as `Prompt.logprobs`, for the client.
    """

    model: str
    texts: tuple[str, ...]
    written: int
    sent: int
    echo: bool
    logprobs: int | None
    prompts: tuple[Prompt, ...]
    """One for each answer."""


def order(body: JSON) -> Order:
    """What the body asks for. Raises `BadRequest` with the path of the field at fault."""
    model, echo, sent = body["model"], body["echo"], int(body["n"])
    written = int(body.get("best_of") or sent)
    texts = _texts(body)
    logprobs = None if body.get("logprobs") is None else int(body["logprobs"])
    _check(body, len(texts), written)
    if echo and logprobs is not None:
        raise Unsupported("echo beside logprobs", model=model, param="echo")
    settings = sampling(body, body["max_tokens"])
    prompts = [
        Prompt(
            model=model,
            text=text,
            suffix=body.get("suffix") or None,
            sampling=settings,
            # Without them nobody can say which answers are the best.
            logprobs=0 if logprobs is None and written > sent else logprobs,
        )
        for text in texts
    ]
    return Order(
        model=model,
        texts=texts,
        written=written,
        sent=sent,
        echo=echo,
        logprobs=logprobs,
        prompts=tuple(each for prompt in prompts for each in repeated(prompt, written)),
    )


def _texts(body: JSON) -> tuple[str, ...]:
    sent = body["prompt"]
    texts = [sent] if isinstance(sent, str) else sent
    if not all(isinstance(text, str) for text in texts):
        raise Unsupported("prompts of token numbers", model=body["model"], param="prompt")
    return tuple(texts)


def _check(body: JSON, texts: int, written: int) -> None:
    if written < body["n"]:
        raise BadRequest("Invalid 'best_of': it must be at least 'n'.", param="best_of")
    if written > body["n"] and body["stream"]:
        raise BadRequest("Invalid 'best_of': only 'n' answers can be streamed.", param="best_of")
    if texts * written > _MOST_ANSWERS:
        raise BadRequest(
            f"Invalid 'n': {texts} prompts with {written} answers each are more than "
            f"{_MOST_ANSWERS} answers.",
            param="n",
        )


class Texts:
    """The codec of the answers to an order: their events come as `Choice`s."""

    def __init__(self, asked: Order, *, usage: bool) -> None:
        self.finished = False
        self._asked = asked
        self._usage = usage
        self._head = {
            "id": "cmpl-" + secrets.token_urlsafe(21),
            "object": "text_completion",
            "created": int(time.time()),
            "model": asked.model,
        }
        self._offsets: dict[int, int] = {}
        self._usages: list[Usage] = []

    def items(self, choice: Choice) -> list[JSON]:
        return list(self._items(*choice))

    def _items(self, index: int, event: object) -> Iterator[JSON]:
        if index not in self._offsets:
            prompt = self._prompt(index)
            self._offsets[index] = len(prompt)
            if self._asked.echo and prompt:
                yield self._chunk(index, prompt)
        if isinstance(event, TextDelta) and (event.text or event.logprobs):
            logprobs = self._logprobs(event.logprobs, self._offsets[index])
            self._offsets[index] += sum(len(token.token) for token in event.logprobs)
            yield self._chunk(index, event.text, logprobs)
        elif isinstance(event, Finish):
            self._usages.append(event.usage)
            yield self._chunk(index, "", reason=plain_reason(event.reason))
            if len(self._usages) == len(self._asked.prompts):
                self.finished = True
                yield from self._end()

    def _end(self) -> Iterator[JSON]:
        if self._usage:
            usage = usage_of(together(self._usages, self._asked.written))
            yield {"data": dumps({**self._head, "choices": [], "usage": usage})}
        yield DONE

    def _chunk(
        self, index: int, text: str, logprobs: JSON = None, reason: str | None = None
    ) -> JSON:
        chunk = {**self._head, "choices": [_choice(index, text, logprobs, reason)]}
        if self._usage:
            chunk["usage"] = None
        return {"data": dumps(chunk)}

    def whole(self, choices: Sequence[Choice]) -> JSON:
        events: list[list[object]] = [[] for _ in self._asked.prompts]
        for index, event in choices:
            events[index].append(event)
        completions = [gather(each) for each in events]  # type: ignore[arg-type]
        usages = [completion.finish.usage for completion in completions]
        return {
            **self._head,
            "choices": list(self._choices(completions)),
            "usage": usage_of(together(usages, self._asked.written)),
            "system_fingerprint": FINGERPRINT,
        }

    def _choices(self, completions: Sequence[Completion]) -> Iterator[JSON]:
        asked = self._asked
        for number, prompt in enumerate(asked.texts):
            group = completions[number * asked.written : (number + 1) * asked.written]
            for place, answer in enumerate(self._best(group)):
                yield _choice(
                    number * asked.sent + place,
                    prompt + answer.text if asked.echo else answer.text,
                    self._logprobs(answer.logprobs, len(prompt)),
                    plain_reason(answer.finish.reason),
                )

    def _best(self, group: Sequence[Completion]) -> Sequence[Completion]:
        if self._asked.written == self._asked.sent:
            return group
        if any(answer.text and not answer.logprobs for answer in group):
            raise Unsupported("best_of", model=self._asked.model, param="best_of")
        return sorted(group, key=_likelihood, reverse=True)[: self._asked.sent]

    def _prompt(self, index: int) -> str:
        return self._asked.texts[index // self._asked.written]

    def _logprobs(self, tokens: Sequence[TokenLogprob], offset: int) -> JSON:
        if self._asked.logprobs is None or not tokens:
            return None
        offsets = []
        for token in tokens:
            offsets.append(offset)
            offset += len(token.token)
        return {
            "tokens": [token.token for token in tokens],
            "token_logprobs": [logprob_of(token) for token in tokens],
            "top_logprobs": [
                {
                    each.token: logprob_of(each)
                    for each in (*token.top[: self._asked.logprobs], token)
                }
                for token in tokens
            ],
            "text_offset": offsets,
        }


def _likelihood(answer: Completion) -> float:
    """Of its tokens, on average."""
    if not answer.logprobs:
        return float("-inf")
    return fsum(map(logprob_of, answer.logprobs)) / len(answer.logprobs)


def _choice(index: int, text: str, logprobs: JSON, reason: str | None) -> JSON:
    return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason}
