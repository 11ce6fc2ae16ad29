"""Ending an answer in the way that ASGI has no word for: by closing the connection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import anyio

from ...streaming import Receive, Scope, Send

__all__ = ["ASGIApp", "HangUp", "cut"]

ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

HangUp: TypeAlias = Callable[[Scope, bool], None]
"""Closes the connection of a request; True: at once, with a reset."""

_LONGEST: Final = 5.0
"""Seconds until a connection that was closed is gone."""


async def cut(
    scope: Scope, receive: Receive, hang_up: HangUp | None, *, abruptly: bool = False
) -> None:
    """Close the connection, and wait until the server knows. Without a `hang_up`, as in one
    process, raises `ConnectionResetError`, and so do the clients there."""
    if hang_up is None:
        raise ConnectionResetError("the connection is cut, as planned")
    hang_up(scope, abruptly)
    with anyio.move_on_after(_LONGEST):
        while (await receive())["type"] != "http.disconnect":
            pass
