"""The reference server: every API over one script, with faults, a journal and a verdict."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Final

from ...access import Limits
from ...app import App, ai_app, chat_app, gateway, generate_app
from ...backends.echo import Step
from ...types import Backend
from .answers import Answers, Call, ScriptedBackend, When, steps
from .client_verdict import ClientVerdict, Expected, judge_client
from .connections import Port
from .failing import FailingBackend
from .faults import Faults
from .faulty import Faulty
from .hanging_up import ASGIApp
from .journal import Asked, Journal

__all__ = ["ENVIRONMENT", "ReferenceServer"]

_PROVIDERS: Final = ("openai", "ollama", "anthropic", "hf", "llmount")
"""What may stand before the colon of a model at `/ai/v1`."""

ENVIRONMENT: Final[Mapping[str, str]] = {
    "OPENAI_BASE_URL": "{openai}",
    "OPENAI_API_KEY": "llmount",
    "OLLAMA_HOST": "{ollama}",
    # A proxy, if there is one, knows nothing of this machine's ports.
    "NO_PROXY": "127.0.0.1",
    "no_proxy": "127.0.0.1",
}
"""The variables by which clients find their server."""


class ReferenceServer:
    """A server for the tests of a client; `app` is the ASGI app.

    It has `/api` of Ollama, `/v1` of OpenAI with chat completions and responses, `/openai` of
    Azure and `/ai/v1`. Every model answers, whatever its name: what was queued with `say`,
    then what a `reply` has for it, then an echo. port: where it is; without one it is only
    in process, and has no `url`.
    """

    def __init__(self, port: Port | None = None) -> None:
        self._port = port
        self._answers = Answers()
        self._journal = Journal()
        self._limits: Limits | None = None
        self._accepted: bool | None = None
        self.fault = Faults()
        self.app: ASGIApp = Faulty(
            self._gateway(FailingBackend(ScriptedBackend(self._answers))),
            self.fault,
            self._journal,
            hang_up=None if port is None else port.hang_up,
        )
        if port is not None:
            port.app = self.app

    # Where

    @property
    def url(self) -> str:
        """Raises RuntimeError if it is only in process."""
        if self._port is None:
            raise RuntimeError("this server is in process only, and has no address")
        return self._port.url

    @property
    def openai_url(self) -> str:
        """The base URL for clients of OpenAI."""
        return f"{self.url}/v1"

    @property
    def ollama_url(self) -> str:
        """The host for clients of Ollama."""
        return self.url

    @property
    def environment(self) -> dict[str, str]:
        """Variables that lead clients here which are not told otherwise."""
        places = {"openai": self.openai_url, "ollama": self.ollama_url}
        return {name: value.format(**places) for name, value in ENVIRONMENT.items()}

    # Answers

    def say(
        self,
        text: str = "",
        *,
        tool_call: Call | None = None,
        tool_calls: Sequence[Call] = (),
        reasoning: str = "",
        events: Sequence[Step] | None = None,
    ) -> None:
        """Queue an answer for one prompt.

        tool_call: a name and arguments, which may be text that is no JSON. events: what a
        backend would yield, in place of all the others.
        """
        self._answers.queue(_steps(text, tool_call, tool_calls, reasoning, events))

    def reply(
        self,
        text: str = "",
        *,
        when: When | None = None,
        model: str = "*",
        nth: int | None = None,
        tool_call: Call | None = None,
        tool_calls: Sequence[Call] = (),
        reasoning: str = "",
        events: Sequence[Step] | None = None,
    ) -> None:
        """Answer every prompt so that fits, as long as nothing is queued; the first rule wins.

        when: words of the prompt, or a function of the `Prompt`. model: its name, or a pattern
        such as `gpt-*`. nth: only the prompt of this number, from 1. Others as for `say`.
        """
        answer = _steps(text, tool_call, tool_calls, reasoning, events)
        self._answers.rule(answer, when=when, model=model, nth=nth)

    def limit(self, requests: int | None, *, window: float = 60.0) -> None:
        """Allow so many requests in each window of so many seconds; None is no limit. The
        others are refused with status 429 and a `Retry-After` that is true."""
        self._limits = None if requests is None else Limits(requests=requests, window=window)

    def down(self) -> AbstractContextManager[None]:
        """For as long as the block lasts, connections are refused. Raises RuntimeError if the
        server is only in process."""
        if self._port is None:
            raise RuntimeError("this server is in process only, and has no port to close")
        return self._port.closed()

    # What came of it

    @property
    def requests(self) -> Sequence[Asked]:
        """What was asked so far, in the order in which it came."""
        return self._journal.requests

    def verdict(
        self,
        *,
        accepted: bool | None = None,
        patience: float = 30.0,
        most_tries: int = 6,
        ignore: Sequence[str] = (),
    ) -> ClientVerdict:
        """What is to be said of the client.

        accepted: whether it took its last answer for good, which only its test knows;
        `expect_error` knows it too. patience: seconds of silence that it may bear. most_tries:
        of one request that fails. ignore: ids of findings that are no matter.
        """
        taken = self._accepted if accepted is None else accepted
        expected = Expected(accepted=taken, patience=patience, most_tries=most_tries)
        return judge_client(self.requests, expected, ignore=ignore)

    @contextmanager
    def expect_error(self, *kinds: type[Exception]) -> Iterator[None]:
        """The block has to raise one of these, by default any `Exception`, which is swallowed.

        Raises AssertionError with the verdict on the client if it does not.
        """
        expected = kinds or (Exception,)
        try:
            yield
        except expected:
            self._accepted = False
        else:
            self._accepted = True
            raise AssertionError(f"the client raised nothing\n{self.verdict()}")

    # How

    def unplanned(self, record: logging.LogRecord) -> bool:
        """Whether a line of the log is of something else than a fault; a filter for it."""
        error = record.exc_info[1] if record.exc_info else None
        return not getattr(error, "planned", False)

    def _gateway(self, backend: Backend) -> App:
        chat = [chat_app(backend), chat_app(backend, dialect="responses")]
        return gateway(
            {
                "/api": generate_app(backend),
                "/v1": chat,
                "/openai": chat_app(backend, dialect="azure"),
                "/ai/v1": ai_app(dict.fromkeys(_PROVIDERS, backend)),
            },
            limits=lambda identity: self._limits,
        )


def _steps(
    text: str,
    tool_call: Call | None,
    tool_calls: Sequence[Call],
    reasoning: str,
    events: Sequence[Step] | None,
) -> Sequence[Step]:
    if events is not None:
        return events
    calls = tool_calls if tool_call is None else [tool_call, *tool_calls]
    return steps(text, reasoning=reasoning, tool_calls=calls)
