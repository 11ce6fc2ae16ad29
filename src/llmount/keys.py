"""Keys: which are good, and where a request has one."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import TypeAlias

__all__ = ["KEY_HEADERS", "KeyCheck", "Keys", "is_key", "known", "sent_key"]

KeyCheck: TypeAlias = Callable[[str], str | Awaitable[str | None] | None]
"""Given a key, the identity that it stands for, or None. May be async.

May raise an `ApiError`, such as `Forbidden`, which is then the answer.
"""

Keys: TypeAlias = Collection[str] | Mapping[str, str] | KeyCheck
"""The keys that are good: just them, by identity, or a function that knows."""

_KEY = re.compile(r"[!-~]+")

KEY_HEADERS = ("authorization", "api-key", "x-api-key")
"""Where a key may be if the document does not say: as OpenAI's clients send it, as Azure's
do, and as many others."""


def is_key(text: str) -> bool:
    """Whether a header can carry it without doubt: it is visible ASCII, and not empty."""
    return _KEY.fullmatch(text) is not None


def known(keys: Collection[str] | Mapping[str, str]) -> KeyCheck:
    """A check of just these. Raises `ValueError` for keys that cannot be sent or told apart,
    and if there are none; `TypeError` if `keys` is one text."""
    if isinstance(keys, str | bytes):
        # It is a collection too, of keys of one character.
        raise TypeError("keys is one text; put it into a list")
    for number, key in enumerate(keys.values() if isinstance(keys, Mapping) else keys, 1):
        # By its number: names and keys may have been mistaken for each other.
        if not isinstance(key, str) or not is_key(key):
            raise ValueError(f"key {number} is not a text of visible ASCII without spaces")
    if not keys:
        raise ValueError("there is no key, so nobody could come in")
    if isinstance(keys, Mapping):
        digests = [(identity, _digest(key)) for identity, key in keys.items()]
    else:
        # A key without a name goes by one that is the same in every process, and not the key.
        digests = [(digest.hex()[:12], digest) for digest in {_digest(key) for key in keys}]
    if not all(identity for identity, _ in digests):
        raise ValueError("a key has an empty name, which is that of everybody without a key")
    if len({digest for _, digest in digests}) < len(digests):
        raise ValueError("two names have the same key")

    def check(key: str) -> str | None:
        sent, found = _digest(key), None
        # Every one is compared, to the end, so that the time tells nothing.
        for identity, digest in digests:
            if hmac.compare_digest(sent, digest):
                found = identity
        return found

    return check


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def sent_key(headers: Iterable[tuple[bytes, bytes]], names: Collection[str]) -> str | None:
    """The key of a request, from the first of these headers that has one."""
    for name, value in headers:
        header = name.decode("latin-1").lower()
        if header not in names:
            continue
        text = value.decode("latin-1").strip()
        if header == "authorization":
            scheme, _, text = text.partition(" ")
            if scheme.lower() != "bearer":
                continue
        if text := text.strip():
            return text
    return None
