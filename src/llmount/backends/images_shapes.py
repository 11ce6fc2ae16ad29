"""What pictures are composed of: patches of one colour, as polygons."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

__all__ = ["Colour", "Patch", "Point", "arc", "disc", "line", "mix", "placed"]

Point: TypeAlias = tuple[float, float]
Colour: TypeAlias = tuple[int, int, int]

_STEP = math.radians(4)


@dataclass(frozen=True, slots=True)
class Patch:
    """A polygon, filled with a colour."""

    points: Sequence[Point]
    colour: Colour


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """`share` of the second in the first, from 0 to 1."""
    red, green, blue = (
        round(one + (other - one) * share) for one, other in zip(first, second, strict=True)
    )
    return red, green, blue


def arc(centre: Point, radii: Point, begin: float, end: float) -> list[Point]:
    """Points along a part of an ellipse; angles in degrees, from the right towards greater y."""
    first, last = math.radians(begin), math.radians(end)
    steps = max(2, math.ceil(abs(last - first) / _STEP))
    angles = (first + (last - first) * step / steps for step in range(steps + 1))
    return [
        (centre[0] + radii[0] * math.cos(angle), centre[1] + radii[1] * math.sin(angle))
        for angle in angles
    ]


def disc(centre: Point, radii: Point, turn: float = 0) -> list[Point]:
    """An ellipse around `centre`, turned by so many degrees."""
    cosine, sine = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    return [
        (centre[0] + x * cosine - y * sine, centre[1] + x * sine + y * cosine)
        for x, y in arc((0, 0), radii, 0, 360)
    ]


def line(points: Sequence[Point], width: float, colour: Colour) -> Iterator[Patch]:
    """A line with round ends and corners."""
    half = width / 2
    for (x, y), (to_x, to_y) in pairwise(points):
        length = math.hypot(to_x - x, to_y - y) or 1
        dx, dy = (to_y - y) / length * half, (x - to_x) / length * half
        corners = ((x + dx, y + dy), (to_x + dx, to_y + dy), (to_x - dx, to_y - dy))
        yield Patch((*corners, (x - dx, y - dy)), colour)
    for point in points:
        yield Patch(disc(point, (half, half)), colour)


def placed(patches: Sequence[Patch], foot: Point, height: float) -> Iterator[Patch]:
    """Patches of a thing that stands at (0, 0), 1 high and with y upwards, where it belongs in
    a picture, whose y is downwards."""
    for patch in patches:
        points = [(foot[0] + x * height, foot[1] - y * height) for x, y in patch.points]
        yield Patch(points, patch.colour)
