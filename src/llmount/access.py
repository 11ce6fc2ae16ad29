"""Who may ask, and how often: keys, limits, and the place where limits are counted."""

from __future__ import annotations

import hashlib
import hmac
import inspect
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from .errors import RateLimited, Unauthenticated
from .types import Quota

__all__ = ["Access", "KeyCheck", "Keys", "LimitStore", "Limits", "MemoryLimitStore"]

KeyCheck: TypeAlias = Callable[[str], str | Awaitable[str | None] | None]
"""Given a key, the identity that it stands for, or None. May be async."""

Keys: TypeAlias = Collection[str] | Mapping[str, str] | KeyCheck
"""The keys that are good: just them, by identity, or a function that knows."""


# Keys


def _known(keys: Collection[str] | Mapping[str, str]) -> KeyCheck:
    named = keys if isinstance(keys, Mapping) else {_fingerprint(key): key for key in keys}
    if any(not key for key in named.values()):
        raise ValueError("an empty key would let everybody in")
    digests = [(identity, _digest(key)) for identity, key in named.items()]

    def check(key: str) -> str | None:
        sent, found = _digest(key), None
        # Every one is compared, to the end, so that the time tells nothing.
        for identity, digest in digests:
            if hmac.compare_digest(sent, digest):
                found = identity
        return found

    return check


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _fingerprint(key: str) -> str:
    """A name for a key that has none; the key cannot be told from it."""
    return _digest(key).hex()[:12]


def sent_key(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The key of a request: a bearer token, or `api-key` as Azure's clients send it."""
    for name, value in headers:
        if name == b"authorization":
            scheme, _, token = value.decode("latin-1").partition(" ")
            if scheme.lower() == "bearer" and token.strip():
                return token.strip()
        elif name in (b"api-key", b"x-api-key") and value.strip():
            return value.decode("latin-1").strip()
    return None


# Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one identity may use; None is no limit.

    requests: in each window of `window` seconds. tokens: of prompt and answer, in each
    window of `tokens_window` seconds; counted when an answer ends, so the last one may
    exceed it. concurrent: requests at a time.
    """

    requests: int | None = None
    window: float = 60.0
    tokens: int | None = None
    tokens_window: float = 86_400.0
    concurrent: int | None = None


class LimitStore(Protocol):
    """Where use is counted. One in process by default; a shared one for several processes."""

    async def acquire(self, identity: str, limits: Limits, /) -> Quota:
        """Count a request that begins. Raises `RateLimited`, with `quota` where known."""

    async def release(self, identity: str, limits: Limits, tokens: int, /) -> None:
        """Count that it has ended, and the tokens that it took."""


@dataclass(slots=True)
class _Use:
    """One identity's use. A window is known by its number since the epoch."""

    requests: int = 0
    window: int = 0
    tokens: int = 0
    tokens_window: int = 0
    running: int = 0


@dataclass
class MemoryLimitStore:
    """Counts in this process. most: identities remembered; the longest unseen is forgotten
    first, if it has nothing running. clock: Unix seconds."""

    most: int = 100_000
    clock: Callable[[], float] = time.time
    _uses: OrderedDict[str, _Use] = field(default_factory=OrderedDict, repr=False)

    async def acquire(self, identity: str, limits: Limits, /) -> Quota:
        now = self.clock()
        use = self._uses.setdefault(identity, _Use())
        self._uses.move_to_end(identity)
        self._forget()
        window, reset = _window(now, limits.window)
        if use.window != window:
            use.window, use.requests = window, 0
        tokens_window, tokens_reset = _window(now, limits.tokens_window)
        if use.tokens_window != tokens_window:
            use.tokens_window, use.tokens = tokens_window, 0
        limit = limits.requests
        if limit is not None and use.requests >= limit:
            raise _limited(Quota(limit, 0, reset), reset - now)
        left = 0 if limit is None else limit - use.requests
        if limits.tokens is not None and use.tokens >= limits.tokens:
            raise _limited(Quota(limit or 0, left, reset), tokens_reset - now)
        if limits.concurrent is not None and use.running >= limits.concurrent:
            raise _limited(Quota(limit or 0, left, reset), 1.0)
        use.requests += 1
        use.running += 1
        return Quota(limit or 0, max(0, left - 1), reset)

    async def release(self, identity: str, limits: Limits, tokens: int, /) -> None:
        if use := self._uses.get(identity):
            use.running = max(0, use.running - 1)
            use.tokens += tokens

    def _forget(self) -> None:
        while len(self._uses) > self.most:
            oldest = next(iter(self._uses))
            if self._uses[oldest].running:
                self._uses.move_to_end(oldest)
                return
            del self._uses[oldest]


def _window(now: float, length: float) -> tuple[int, float]:
    """The number of the window, and when it ends."""
    number = int(now // length)
    return number, (number + 1) * length


def _limited(quota: Quota, seconds: float) -> RateLimited:
    return RateLimited(
        "Rate limit exceeded. Please wait before retrying.",
        retry_after=max(seconds, 0.0),
        quota=quota,
    )


# Both


class Access:
    """What every request of an app has to pass.

    keys: None lets everybody in, as the identity "". limits: the same for all, or a
    function of the identity. Raises `ValueError` for an empty key.
    """

    def __init__(
        self,
        keys: Keys | None = None,
        limits: Limits | Callable[[str], Limits | None] | None = None,
        store: LimitStore | None = None,
    ) -> None:
        self._check = keys if keys is None or callable(keys) else _known(keys)
        self._limits = limits if callable(limits) else lambda identity: limits
        self.limited = limits is not None
        self.store: LimitStore = store or MemoryLimitStore()

    async def identify(self, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """Raises `Unauthenticated`."""
        if self._check is None:
            return ""
        key = sent_key(headers)
        if key is None:
            raise Unauthenticated("no API key was sent", missing=True)
        found = self._check(key)
        identity = await found if inspect.isawaitable(found) else found
        if identity is None:
            raise Unauthenticated("the API key is not valid")
        return identity

    async def admit(self, identity: str) -> Admission:
        """Count a request. Raises `RateLimited`; every admission has to be released."""
        limits = self._limits(identity)
        if limits is None:
            return Admission(None)
        quota = await self.store.acquire(identity, limits)

        async def release(tokens: int) -> None:
            await self.store.release(identity, limits, tokens)

        return Admission(quota, release)


@dataclass(frozen=True, slots=True)
class Admission:
    """A request that was let in: its identity's quota, and how to say that it ended."""

    quota: Quota | None
    release: Callable[[int], Awaitable[None]] | None = None
