"""A painter that needs no library: gradients and shapes, as PNG."""

from __future__ import annotations

import hashlib
import math
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence

import anyio.from_thread

from ..errors import Unsupported
from .images_sheet import Sheet

__all__ = ["gradients"]

_CELLS = 160
"""The longer side of what is computed; the rest of the resolution repeats it."""

_SHAPES: tuple[Callable[[float, float, float], float], ...] = (
    lambda x, y, size: math.sqrt(x * x + y * y) - size,
    lambda x, y, size: abs(math.sqrt(x * x + y * y) - size) - size / 4,
    lambda x, y, size: max(abs(x), abs(y)) - size,
    lambda x, y, size: abs(x) + abs(y) - size,
    lambda x, y, size: abs(x - y) - size / 4,
)
"""Disc, ring, square, diamond, stripe: how far a point is outside, negative within."""

_SHAPES_DRAWN = 4
_CORNERS_BYTES = 12
_SHAPE_BYTES = 7


def gradients(sheet: Sheet) -> bytes:
    """A PNG file of smooth colours with four shapes on them. A `Painter`.

    The same pixels on every machine. Raises `Unsupported` for other kinds of files, and for
    a background that one can see through.
    """
    if sheet.format not in (None, "png"):
        raise Unsupported(f"{sheet.format} files", model=sheet.model, param="output_format")
    if sheet.background == "transparent":
        raise Unsupported("a transparent background", model=sheet.model, param="background")
    return _draw(sheet.key, sheet.width, sheet.height)


def _draw(key: bytes, width: int, height: int) -> bytes:
    deflate = zlib.compressobj()
    body = bytearray()
    for lines in _scanlines(key, width, height):
        anyio.from_thread.check_cancelled()
        body += deflate.compress(lines)
    body += deflate.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", header), (b"IDAT", bytes(body)), (b"IEND", b""))
    )


def _scanlines(key: bytes, width: int, height: int) -> Iterator[bytes]:
    """PNG scanlines, each behind its filter: 0 for new pixels, 2 for those of the line above."""
    colour = _painter(key)
    longer = max(width, height)
    cell = -(-longer // _CELLS)
    unchanged = b"\x02" + bytes(3 * width)
    for top in range(0, height, cell):
        y = top / longer
        pixels = b"".join(colour(left / longer, y) * cell for left in range(0, width, cell))
        yield b"\x00" + pixels[: 3 * width] + unchanged * (min(cell, height - top) - 1)


def _painter(key: bytes) -> Callable[[float, float], bytes]:
    """A function from a point (the longer side is 0 to 1) to the three bytes of its colour."""
    entropy = hashlib.shake_256(key).digest(_CORNERS_BYTES + _SHAPES_DRAWN * _SHAPE_BYTES)
    corners = [entropy[start : start + 3] for start in range(0, _CORNERS_BYTES, 3)]
    shapes = [
        entropy[start : start + _SHAPE_BYTES]
        for start in range(_CORNERS_BYTES, len(entropy), _SHAPE_BYTES)
    ]
    placed = [
        (_SHAPES[kind % len(_SHAPES)], x / 255, y / 255, 0.08 + size / 1275, (red, green, blue))
        for kind, x, y, size, red, green, blue in shapes
    ]

    def colour(x: float, y: float) -> bytes:
        top = _mix(corners[0], corners[1], x)
        mixed = _mix(top, _mix(corners[2], corners[3], x), y)
        for outside, centre_x, centre_y, size, paint in placed:
            # A sixtieth of the side from full paint to none: edges without steps.
            cover = min(1.0, max(0.0, 0.5 - 60 * outside(x - centre_x, y - centre_y, size)))
            if cover:
                mixed = _mix(mixed, paint, 0.85 * cover)
        return bytes(map(int, mixed))

    return colour


def _mix(first: Sequence[float], second: Sequence[float], share: float) -> list[float]:
    return [one + (other - one) * share for one, other in zip(first, second, strict=True)]
