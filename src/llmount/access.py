"""Who may ask, and how often."""

from __future__ import annotations

import inspect
import logging
import traceback
from collections.abc import Iterable, Sequence

from .contract import Operation
from .errors import ApiError, InternalError, Unauthenticated
from .keys import KEY_HEADERS, KeyCheck, Keys, is_key, known, sent_key
from .limits import Admission, Limits, LimitsOf, LimitStore, MemoryLimitStore

__all__ = [
    "Access",
    "KeyCheck",
    "Keys",
    "KeysRequired",
    "LimitStore",
    "Limits",
    "LimitsOf",
    "MemoryLimitStore",
]

logger = logging.getLogger("llmount")


class KeysRequired(Exception):
    """A document demands keys, but the app was given no way to check them."""

    def __init__(self, contract: str, operations: Sequence[str]) -> None:
        super().__init__(
            f"document {contract!r} demands a key for {', '.join(operations)}: give the app "
            "keys=…, which is the good keys, a mapping of names to keys, or a function from a "
            "key to a name or None"
        )


class Access:
    """What every request of an app has to pass.

    keys: None lets everybody in, as the identity "". Raises `ValueError` for keys that
    cannot be sent or told apart, and if there are none; `TypeError` if `keys` is one text.
    """

    def __init__(
        self,
        keys: Keys | None = None,
        limits: LimitsOf | None = None,
        store: LimitStore | None = None,
    ) -> None:
        self._check = keys if keys is None or callable(keys) else known(keys)
        self._limits = limits if callable(limits) else lambda identity: limits
        self._store: LimitStore = MemoryLimitStore() if store is None else store

    @property
    def has_keys(self) -> bool:
        return self._check is not None

    async def identify(
        self, headers: Iterable[tuple[bytes, bytes]], operation: Operation | None
    ) -> str:
        """Who asks: "" if it need not be told. Raises `Unauthenticated`, and what the check
        of the host raises: as `InternalError`, unless it is an `ApiError`."""
        if self._check is None or (operation is not None and operation.secured is False):
            return ""
        names = operation.key_headers if operation is not None else ()
        key = sent_key(headers, names or KEY_HEADERS)
        if key is None:
            raise Unauthenticated("No API key was provided.", missing=True)
        identity = await self._look_up(key) if is_key(key) else None
        if not identity:
            raise Unauthenticated("Incorrect API key provided.")
        return identity

    async def _look_up(self, key: str) -> str | None:
        assert self._check is not None
        try:
            found = self._check(key)
            identity = await found if inspect.isawaitable(found) else found
            if identity and not isinstance(identity, str):
                raise TypeError(f"keys gave {type(identity).__name__}, not the name of an identity")
        except ApiError:
            raise
        except Exception as error:
            # Not its text, which may have the key: that of a `KeyError` has.
            told = "".join(traceback.format_tb(error.__traceback__))
            logger.error("the check of a key raised %s\n%s", type(error).__name__, told)
        else:
            return identity
        # Here, so that the error is not its context.
        raise InternalError

    def admission(self, identity: str) -> Admission | None:
        """How a request of this identity is counted; None if it has no limits."""
        limits = self._limits(identity)
        return None if limits is None else Admission(self._store, identity, limits)
