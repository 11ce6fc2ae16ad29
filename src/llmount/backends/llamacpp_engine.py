"""llama.cpp in this process, by way of the `xllamacpp` package, which only this file imports."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Literal
from urllib.parse import urlsplit

from ..errors import BackendUnavailable
from ..types import JSON
from .llamacpp_wire import refusal

__all__ = ["Engine", "Loaded", "OnChunk", "spare_cores"]

OnChunk = Callable[[Mapping[str, JSON]], bool]
"""Takes a chunk of an answer; True stops the answer."""

# Prompt tokens that are read at a time: an answer can only be stopped between two such
# batches, and on a processor larger ones are hardly faster.
_BATCH = 64
_SILENT, _VERBOSE = -1, 4
_TIMEOUT = 60.0


def spare_cores() -> int:
    """The cores that this process may use, less one for the rest of it; at least 1."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, cores - 1)


def _library() -> ModuleType:
    try:
        import xllamacpp  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError as error:
        raise ImportError(
            "this backend needs the package xllamacpp: pip install 'llmount[llamacpp]'",
            name="xllamacpp",
        ) from error
    library: ModuleType = xllamacpp
    return library


class Loaded:
    """A model in memory. All methods block, and may be called from any thread.

    The library opens a port on the loopback interface, which a key made for the occasion
    locks. What the library does not offer as functions is asked for there.
    """

    def __init__(self, server: Any, key: str) -> None:
        self._server = server
        self._key = key
        self.address: str = server.listening_address

    def chat(self, body: Mapping[str, JSON], on_chunk: OnChunk) -> None:
        """Continue `messages`, rendered by the model's chat template."""
        self._run(self._server.handle_chat_completions, body, on_chunk)

    def complete(self, body: Mapping[str, JSON], on_chunk: OnChunk) -> None:
        """Continue `prompt`, which is a list of tokens."""
        self._run(self._server.handle_completions, body, on_chunk)

    def _run(
        self, handle: Callable[..., None], body: Mapping[str, JSON], on_chunk: OnChunk
    ) -> None:
        # The library swallows what a callback raises, and goes on.
        raised: list[BaseException] = []

        def guarded(chunk: Mapping[str, JSON]) -> bool:
            try:
                return on_chunk(chunk)
            except BaseException as error:
                raised.append(error)
                return True

        try:
            handle(dict(body), guarded)
        except (ValueError, RuntimeError) as error:
            code = 400 if isinstance(error, ValueError) else 500
            raise refusal({"code": code, "message": str(error)}) from error
        if raised:
            raise raised[0]

    def render(self, body: Mapping[str, JSON]) -> str:
        """The text that `messages` come to."""
        text: str = self._ask("/apply-template", body)["prompt"]
        return text

    def tokens(self, text: str, *, special: bool = True, start: bool = False) -> list[int]:
        """The tokens of a text. special: find special tokens in it. start: as at the start
        of a prompt, where some models want a token of their own."""
        body = {"content": text, "parse_special": special, "add_special": start}
        found: list[int] = self._ask("/tokenize", body)["tokens"]
        return found

    def embed(self, tokens: Sequence[int]) -> Sequence[float]:
        """The embedding of a text, as the model gives it. Only for an engine that embeds."""
        body = {"input": [list(tokens)], "embd_normalize": -1}
        answer = self._server.handle_embeddings(body)
        if "data" not in answer:
            raise refusal(answer.get("error", answer))
        vector: Sequence[float] = answer["data"][0]["embedding"]
        return vector

    def slots(self) -> Sequence[Mapping[str, JSON]]:
        """What each slot is doing: `is_processing` and more."""
        found: Sequence[Mapping[str, JSON]] = self._ask("/slots")
        return found

    def _ask(self, path: str, body: Mapping[str, JSON] | None = None) -> Any:
        address = urlsplit(self.address)
        connection = http.client.HTTPConnection(
            address.hostname or "", address.port, timeout=_TIMEOUT
        )
        try:
            connection.request(
                "GET" if body is None else "POST",
                path,
                None if body is None else json.dumps(body),
                {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"},
            )
            response = connection.getresponse()
            answer = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise BackendUnavailable from error
        finally:
            connection.close()
        if response.status != 200:
            raise refusal(answer.get("error", answer))
        return answer


class Engine:
    """A model's file, loaded once, on first use, and unloaded when its time is up.

    embeds: for embeddings, with the pooling that the file names or, for "mean", with the
    mean of all tokens. All methods block, and may be called from any thread. `expires` is in
    Unix seconds, None for never. Raises `ImportError` if the library is missing.
    """

    def __init__(
        self,
        path: Path,
        *,
        name: str,
        context_length: int,
        slots: int,
        threads: int,
        verbose: bool,
        chat_template: str | None = None,
        embeds: Literal["mean", "own"] | None = None,
    ) -> None:
        self._library = _library()
        self._embeds = embeds
        self._path = path
        self._name = name
        self._context_length = context_length
        self._slots = slots
        self._threads = threads
        self._verbose = verbose
        self._chat_template = chat_template
        self._loaded: Loaded | None = None
        self._leases = 0
        self._timer: threading.Timer | None = None
        self._state = threading.Lock()
        self.closed = False
        self.expires: float | None = None

    @property
    def is_loaded(self) -> bool:
        return self._loaded is not None

    @contextmanager
    def lease(self, keep_alive: float | None = None) -> Iterator[Loaded]:
        """The model in memory, which stays there meanwhile and `keep_alive` seconds longer.

        None or a negative number keeps it for ever. Raises `BackendUnavailable` if it
        cannot be loaded, or after `close`.
        """
        with self._state:
            if self.closed:
                raise BackendUnavailable
            self._set_timer(None)
            self._loaded = loaded = self._loaded or self._load()
            self._leases += 1
        try:
            yield loaded
        finally:
            # The last reference frees the memory, so the name must go before the next lease.
            del loaded
            with self._state:
                self._leases -= 1
                if not self._leases:
                    self._expire_in(keep_alive)

    def unload(self) -> None:
        """Free the memory, as soon as the answers under way are finished."""
        with self._state:
            self._set_timer(None)
            self._loaded = None

    def close(self) -> None:
        """Stop the answers under way, free the memory then, and refuse to load it again."""
        self.closed = True
        self.unload()

    def _load(self) -> Loaded:
        params = self._library.CommonParams()
        key = secrets.token_urlsafe(32)
        params.model.path = str(self._path)
        # Otherwise the file's path is the model's name.
        params.model_alias = {self._name}
        params.hostnames = ["127.0.0.1"]
        params.port = 0
        params.api_keys = [key]
        params.ui = False
        params.endpoint_slots = True
        params.n_threads_http = 2
        params.n_ctx = self._context_length * self._slots
        params.n_parallel = self._slots
        params.n_batch = params.n_ubatch = max(_BATCH, self._slots)
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = self._threads
        if self._embeds is not None:
            params.embedding = True
            # A text is read at once, or not at all.
            params.n_batch = params.n_ubatch = self._context_length
        if self._embeds == "mean":
            params.pooling_type = self._library.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
        if self._chat_template is not None:
            params.chat_template = self._chat_template
        params.warmup = False
        # A second cache of prompts in memory, of 8 GiB by default.
        params.cache_ram_mib = 0
        params.verbosity = _VERBOSE if self._verbose else _SILENT
        try:
            return Loaded(self._library.Server(params), key)
        except RuntimeError as error:
            raise BackendUnavailable("the model cannot be loaded") from error

    def _expire_in(self, seconds: float | None) -> None:
        if seconds == 0:
            self._loaded = None
        elif seconds is not None and seconds > 0 and self._loaded is not None:
            self._set_timer(seconds)

    def _set_timer(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self.expires = None, None
        if seconds is not None:
            seconds = min(seconds, threading.TIMEOUT_MAX)
            self._timer = threading.Timer(seconds, self._expire)
            self._timer.daemon = True
            self._timer.start()
            self.expires = time.time() + seconds

    def _expire(self) -> None:
        with self._state:
            # A timer that was cancelled too late is no longer the one that counts.
            if threading.current_thread() is self._timer and not self._leases:
                self._timer, self.expires, self._loaded = None, None, None
