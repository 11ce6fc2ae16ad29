"""Things that can be in a picture, by the words for them.

Each stands at (0, 0), is about 1 high, and has y upwards.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from .images_shapes import Colour, Patch, arc, disc, line, mix

__all__ = ["Motif", "Paints", "motifs_in"]


@dataclass(frozen=True, slots=True)
class Paints:
    """The colours of a thing. cool: it wears sunglasses, if it has eyes."""

    main: Colour
    second: Colour
    light: Colour
    dark: Colour
    cool: bool = False


Motif: TypeAlias = Callable[[Paints], Iterator[Patch]]

_COOL: Final = frozenset(("cool", "funky", "groovy", "hip", "jazzy", "disco", "swag"))


def _both(*points: tuple[float, float]) -> tuple[list[tuple[float, float]], ...]:
    """A shape and its mirror image."""
    return list(points), [(-x, y) for x, y in points]


def _eyes(paints: Paints, height: float, apart: float, size: float) -> Iterator[Patch]:
    if not paints.cool:
        for x in (-apart, apart):
            yield Patch(disc((x, height), (size, size * 1.15)), paints.light)
            yield Patch(disc((x, height), (size * 0.42, size * 0.95)), paints.dark)
            yield Patch(
                disc((x - size * 0.2, height + size * 0.45), (size * 0.2,) * 2), paints.light
            )
        return
    top = height + size * 0.9
    edge = apart + size * 1.9
    yield from line([(-edge, top), (edge, top)], size * 0.4, paints.dark)
    for x in (-apart, apart):
        lens = arc((x, top), (size * 1.6, size * 2.2), 180, 360)
        yield Patch(lens, paints.dark)
        glint = [(x - size * 0.7, top - size * 0.45), (x - size * 0.1, top - size * 1.3)]
        yield from line(glint, size * 0.24, mix(paints.dark, paints.light, 0.55))


def _cat(paints: Paints) -> Iterator[Patch]:
    stripe = mix(paints.main, paints.dark, 0.45)
    pale = mix(paints.main, paints.light, 0.65)
    tail = [
        (0.18, 0.09),
        *arc((0.3, 0.2), (0.2, 0.12), 270, 360),
        *arc((0.58, 0.34), (0.09, 0.2), 180, 20),
    ]
    yield from line(tail, 0.085, paints.main)
    yield from line(tail[-8:], 0.087, stripe)
    yield Patch(disc((0, 0.26), (0.27, 0.29)), paints.main)
    yield Patch(disc((0, 0.22), (0.15, 0.2)), pale)
    for side in (-1, 1):
        for low in (0.18, 0.27, 0.36):
            reach = 0.27 * (1 - ((low - 0.26) / 0.29) ** 2) ** 0.5
            yield from line(
                [(side * reach * 0.97, low + 0.01), (side * reach * 0.66, low - 0.01)], 0.03, stripe
            )
        yield Patch(disc((side * 0.13, 0.03), (0.105, 0.055)), paints.main)
        for toe in (-0.03, 0.03):
            yield from line([(side * 0.13 + toe, 0.05), (side * 0.13 + toe, 0.015)], 0.012, stripe)
    for ear in _both((-0.28, 0.66), (-0.265, 0.98), (-0.03, 0.84)):
        yield Patch(ear, paints.main)
    for ear in _both((-0.23, 0.76), (-0.228, 0.9), (-0.11, 0.83)):
        yield Patch(ear, paints.second)
    yield Patch(disc((0, 0.67), (0.3, 0.235)), paints.main)
    for x, low in ((0, 0.79), (-0.085, 0.805), (0.085, 0.805)):
        yield from line([(x, 0.885 - abs(x) * 0.3), (x * 0.8, low)], 0.035, stripe)
    for side in (-1, 1):
        yield from line([(side * 0.285, 0.69), (side * 0.2, 0.68)], 0.028, stripe)
        yield from line([(side * 0.27, 0.61), (side * 0.2, 0.62)], 0.028, stripe)
    for x in (-0.058, 0.058):
        yield Patch(disc((x, 0.565), (0.085, 0.062)), pale)
    yield from _eyes(paints, 0.69, 0.125, 0.06)
    yield Patch(((-0.038, 0.605), (0.038, 0.605), (0, 0.565)), paints.second)
    for side in (-1, 1):
        mouth = arc((side * 0.04, 0.565), (0.04, 0.035), 270 - side * 90, 270 + side * 60)
        yield from line(mouth, 0.014, paints.dark)
        for rise in (-0.035, 0.005, 0.045):
            whisker = [(side * 0.12, 0.56 + rise * 0.3), (side * 0.4, 0.555 + rise * 1.6)]
            yield from line(whisker, 0.008, paints.light)


def _bird(paints: Paints) -> Iterator[Patch]:
    for x in (-0.06, 0.06):
        yield from line([(x, 0), (x, 0.22)], 0.025, paints.dark)
        yield from line([(x - 0.05, 0), (x + 0.07, 0)], 0.025, paints.dark)
    yield Patch(((-0.2, 0.35), (-0.62, 0.3), (-0.5, 0.42), (-0.58, 0.5), (-0.2, 0.55)), paints.dark)
    yield Patch(disc((0, 0.42), (0.33, 0.26), 12), paints.main)
    yield Patch(disc((0.06, 0.33), (0.2, 0.14), 12), paints.light)
    yield Patch(disc((0.2, 0.74), (0.19, 0.19)), paints.main)
    yield Patch(((0.36, 0.81), (0.56, 0.72), (0.36, 0.66)), paints.second)
    yield Patch(disc((-0.1, 0.45), (0.24, 0.12), -22), mix(paints.main, paints.dark, 0.4))
    for x in (0.12, 0.2, 0.26):
        yield from line([(0.2, 0.9), (x, 1.0)], 0.025, paints.second)
    yield Patch(disc((0.25, 0.79), (0.05, 0.05)), paints.light)
    yield Patch(disc((0.262, 0.79), (0.026, 0.026)), paints.dark)


def _fish(paints: Paints) -> Iterator[Patch]:
    yield Patch(((-0.3, 0.5), (-0.68, 0.8), (-0.56, 0.5), (-0.68, 0.2)), paints.second)
    yield Patch(((-0.2, 0.7), (0.02, 0.99), (0.26, 0.7)), paints.second)
    yield Patch(((-0.1, 0.3), (0.0, 0.08), (0.18, 0.3)), paints.second)
    yield Patch(disc((0.06, 0.5), (0.46, 0.29)), paints.main)
    for x in (-0.24, -0.08, 0.08):
        reach = 0.26 * (1 - ((x - 0.06) / 0.46) ** 2) ** 0.5
        yield from line(arc((x, 0.5), (0.06, reach), -80, 80), 0.05, paints.light)
    yield Patch(disc((0.32, 0.57), (0.075, 0.075)), paints.light)
    yield Patch(disc((0.335, 0.57), (0.04, 0.04)), paints.dark)
    yield from line(arc((0.42, 0.45), (0.07, 0.05), 200, 300), 0.016, paints.dark)
    for x, y, size in ((0.66, 0.72, 0.035), (0.72, 0.86, 0.05), (0.64, 0.98, 0.028)):
        yield Patch(disc((x, y), (size, size)), paints.light)


def _tree(paints: Paints) -> Iterator[Patch]:
    trunk = mix(paints.dark, paints.second, 0.35)
    yield Patch(((-0.07, 0), (-0.035, 0.5), (0.035, 0.5), (0.07, 0)), trunk)
    shade = mix(paints.main, paints.dark, 0.3)
    crowns = ((-0.19, 0.56, 0.2), (0.2, 0.58, 0.19), (0, 0.76, 0.24), (0, 0.56, 0.21))
    for x, y, size in crowns:
        yield Patch(disc((x + 0.02, y - 0.03), (size, size)), shade)
    for x, y, size in crowns:
        yield Patch(disc((x - 0.015, y + 0.02), (size * 0.9, size * 0.9)), paints.main)
    for x, y in ((-0.2, 0.6), (0.16, 0.64), (-0.05, 0.86), (0.1, 0.75), (0.02, 0.56), (-0.1, 0.7)):
        yield Patch(disc((x, y), (0.032, 0.032)), paints.second)


def _house(paints: Paints) -> Iterator[Patch]:
    yield Patch(((0.16, 0.6), (0.16, 0.98), (0.29, 0.98), (0.29, 0.6)), paints.second)
    yield Patch(((-0.38, 0), (-0.38, 0.56), (0.38, 0.56), (0.38, 0)), paints.light)
    yield Patch(((-0.5, 0.52), (0, 0.96), (0.5, 0.52)), paints.main)
    yield Patch(((-0.26, 0), (-0.26, 0.34), (-0.08, 0.34), (-0.08, 0)), paints.dark)
    yield Patch(disc((-0.115, 0.17), (0.014, 0.014)), paints.second)
    yield Patch(((0.06, 0.16), (0.06, 0.38), (0.28, 0.38), (0.28, 0.16)), paints.second)
    for ends in ([(0.17, 0.16), (0.17, 0.38)], [(0.06, 0.27), (0.28, 0.27)]):
        yield from line(ends, 0.02, paints.light)
    yield Patch(disc((0, 0.68), (0.075, 0.075)), paints.light)
    yield Patch(disc((0, 0.68), (0.05, 0.05)), paints.dark)


def _lighthouse(paints: Paints) -> Iterator[Patch]:
    beam = mix(paints.light, paints.second, 0.25)
    for tip in _both((0.02, 0.86), (1.1, 1.06), (1.1, 0.76)):
        yield Patch(tip, beam)
    rock = mix(paints.dark, paints.main, 0.25)
    yield Patch(((-0.42, 0), (-0.3, 0.08), (-0.1, 0.1), (0.22, 0.09), (0.44, 0)), rock)

    def reach(y: float) -> float:
        return 0.17 - 0.09 * (y - 0.08) / 0.66

    for number in range(6):
        low, high = 0.08 + number * 0.11, 0.08 + (number + 1) * 0.11
        band = ((-reach(low), low), (-reach(high), high), (reach(high), high), (reach(low), low))
        yield Patch(band, paints.main if number % 2 == 0 else paints.light)
    yield from line([(-0.12, 0.75), (0.12, 0.75)], 0.03, paints.dark)
    yield Patch(((-0.065, 0.76), (-0.065, 0.9), (0.065, 0.9), (0.065, 0.76)), paints.dark)
    yield Patch(disc((0, 0.83), (0.048, 0.052)), paints.second)
    yield Patch((*arc((0, 0.9), (0.09, 0.09), 0, 180), (0, 0.9)), paints.main)
    yield from line([(0, 0.98), (0, 1.02)], 0.016, paints.dark)
    yield Patch((*arc((0, 0.22), (0.04, 0.05), 0, 180), (-0.04, 0.14), (0.04, 0.14)), paints.dark)


def _boat(paints: Paints) -> Iterator[Patch]:
    yield from line([(0, 0.2), (0, 1.0)], 0.025, paints.dark)
    yield Patch(((0.03, 0.28), (0.03, 0.95), (0.46, 0.3)), paints.light)
    yield Patch(((-0.03, 0.32), (-0.03, 0.86), (-0.34, 0.34)), paints.second)
    yield Patch(((0, 1.03), (0, 0.95), (-0.14, 0.99)), paints.main)
    yield Patch(((-0.5, 0.24), (0.56, 0.24), (0.36, 0.02), (-0.34, 0.02)), paints.main)
    yield from line([(-0.44, 0.185), (0.5, 0.185)], 0.022, paints.light)
    for x in (-0.4, -0.1, 0.2):
        yield from line(arc((x, 0.0), (0.15, 0.05), 20, 160), 0.022, paints.light)


def _flower(paints: Paints) -> Iterator[Patch]:
    leaf = mix(paints.dark, paints.main, 0.2)
    yield from line([(0, 0), (0.015, 0.3), (0, 0.62)], 0.04, leaf)
    yield Patch(disc((-0.15, 0.22), (0.16, 0.06), -28), leaf)
    yield Patch(disc((0.15, 0.32), (0.16, 0.06), 28), leaf)
    for turn, colour in ((0, mix(paints.main, paints.dark, 0.25)), (22.5, paints.main)):
        for number in range(8):
            [(x, y), *_] = arc((0, 0.7), (0.17, 0.17), turn + number * 45, turn + number * 45 + 1)
            yield Patch(disc((x, y), (0.14, 0.062), turn + number * 45), colour)
    yield Patch(disc((0, 0.7), (0.1, 0.1)), paints.second)
    yield Patch(disc((0, 0.7), (0.055, 0.055)), mix(paints.second, paints.dark, 0.35))


def _rocket(paints: Paints) -> Iterator[Patch]:
    yield Patch(disc((0, 0.12), (0.085, 0.16)), paints.second)
    yield Patch(disc((0, 0.15), (0.045, 0.09)), paints.light)
    for fin in _both((-0.13, 0.46), (-0.3, 0.16), (-0.11, 0.24)):
        yield Patch(fin, paints.second)
    right = arc((-0.2, 0.48), (0.38, 0.56), -25, 58)
    yield Patch([*right, *((-x, y) for x, y in reversed(right))], paints.light)
    nose = [(x, y) for x, y in right if y > 0.78]
    yield Patch([*nose, *((-x, y) for x, y in reversed(nose))], paints.main)
    yield Patch(disc((0, 0.6), (0.095, 0.095)), paints.dark)
    yield Patch(disc((0, 0.6), (0.068, 0.068)), mix(paints.second, paints.light, 0.6))
    yield from line([(-0.14, 0.32), (0.14, 0.32)], 0.03, paints.main)


_MOTIFS: Final[Mapping[Motif, str]] = {
    _cat: "cat kitten kitty tabby",
    _bird: "bird sparrow robin duck chick chicken parrot",
    _fish: "fish goldfish shark salmon aquarium",
    _lighthouse: "lighthouse tower beacon",
    _house: "house home cottage hut cabin village",
    _boat: "boat ship sailboat yacht harbour harbor regatta",
    _rocket: "rocket spaceship spacecraft astronaut",
    _flower: "flower rose tulip daisy sunflower garden",
    _tree: "tree forest wood woods oak park",
}
_BY_WORD: Final = {word: motif for motif, words in _MOTIFS.items() for word in words.split()}


def motifs_in(text: str) -> tuple[list[Motif], bool]:
    """The things that a text names, each once, in its order; and whether they are cool."""
    words = re.findall(r"[a-z]+", text.lower())
    found = (_BY_WORD.get(word) or _BY_WORD.get(word.removesuffix("s")) for word in words)
    return list(dict.fromkeys(motif for motif in found if motif)), not _COOL.isdisjoint(words)
