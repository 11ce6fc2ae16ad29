"""A prompt as a picture, before anything is painted: its colours, its patches, its words."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from .images_motifs import Paints, motifs_in
from .images_shapes import Colour, Patch, arc, disc, line, mix, placed
from .images_sheet import Sheet

__all__ = ["Scene", "scene_of"]


@dataclass(frozen=True, slots=True)
class _Palette:
    sky: tuple[Colour, Colour]
    sun: Colour
    land: tuple[Colour, Colour]
    main: Colour
    second: Colour
    paper: Colour
    ink: Colour


def _colour(code: str) -> Colour:
    red, green, blue = bytes.fromhex(code)
    return red, green, blue


def _palette(codes: str) -> _Palette:
    """From above to below: the sky twice, the sun, the land far and near; then the rest."""
    high, low, sun, far, near, main, second, paper, ink = map(_colour, codes.split())
    return _Palette((high, low), sun, (far, near), main, second, paper, ink)


_DAYS: Final = tuple(
    map(
        _palette,
        (
            "f2b880 fbe6c2 f26b4e 8fa98f 2f5d62 f08a4b e4572e fdf6e8 2b2d42",
            "8ecae6 e0f4f5 ffb703 7fb685 2a6f4e fb8500 e63946 fbfaf2 14324a",
            "f7a9a8 ffe3d3 ff6f59 a08fb5 4f3b78 ffb347 d7263d fff7f0 2e1f47",
            "7fc8a9 eaf6d9 f4d35e 5fa777 215c4a ee964b f95738 fdfbee 123c3a",
            "b8b8ff eee5ff ff9f80 8d86c9 3f3d73 f4a259 bc4b51 fbf8ff 23204a",
            "f6c667 fff1c9 f04a3a d98b5f 7a3b2e 2a9d8f e76f51 fffaf0 3a1f1a",
        ),
    )
)
_NIGHTS: Final = tuple(
    map(
        _palette,
        (
            "0f1b3d 3d4f8a fdf0c4 2c3a6b 141d3f f4a259 f25f5c f4f1e8 0c1329",
            "1b1035 5b2a6e ffe0b5 3f2358 1c0f33 ff9f5a ff5d8f f8f0f4 170b2b",
            "05282e 1f6f6b f6f2c6 17504f 082f33 f2c14e ee6c4d f1f5ec 04191d",
        ),
    )
)
_DARK: Final = frozenset(("night", "moon", "midnight", "star", "stars", "space", "dark", "galaxy"))


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture whose shorter side is 1, from (0, 0) at the top left; patches lie on those
    before them.

    sky: the colours at the top and at the bottom. window: left, top, right, bottom of what
    is to be seen; around it is `paper`. things: the patches of the sky and the land, and
    those in front, which are there without a background as well. caption: in `ink`, below.
    """

    size: tuple[float, float]
    window: tuple[float, float, float, float]
    sky: tuple[Colour, Colour]
    paper: Colour
    ink: Colour
    background: Sequence[Patch]
    things: Sequence[Patch]
    caption: str


def scene_of(sheet: Sheet) -> Scene:
    """The same scene for the same words, seed and number, in whatever resolution."""
    random = Random(hashlib.sha256(sheet.key).digest())
    short = min(sheet.width, sheet.height)
    width, height = sheet.width / short, sheet.height / short
    motifs, cool = motifs_in(sheet.text)
    night = not _DARK.isdisjoint(re.findall("[a-z]+", sheet.text.lower()))
    palettes = _NIGHTS if night else _DAYS
    palette = palettes[int(random.random() * len(palettes))]
    margin, foot = 0.045, 0.13
    window = (margin, margin, width - margin, height - foot)
    ground = window[3] - 0.12
    background = [*_sky(random, palette, window, night=night), *_land(random, palette, window)]
    paints = Paints(palette.main, palette.second, palette.paper, palette.ink, cool)
    things: list[Patch] = []
    if motifs:
        room = (window[2] - window[0]) / len(motifs)
        tall = min(0.68 * (window[3] - window[1]), 0.9 * room)
        for number, motif in enumerate(motifs):
            middle = (window[0] + room * (number + 0.5), ground + 0.03 * (number % 2))
            things += _shadow(middle, tall, palette)
            things += placed(list(motif(paints)), middle, tall)
    else:
        things += _rosette(random, palette, ((window[0] + window[2]) / 2, 0.45 * height), 0.3)
    return Scene(
        (width, height),
        window,
        palette.sky,
        palette.paper,
        palette.ink,
        background,
        things,
        # No font has half a surrogate pair, nor what is not to be seen.
        "".join(filter(str.isprintable, " ".join(sheet.text.split()))),
    )


def _between(random: Random, low: float, high: float) -> float:
    return low + (high - low) * random.random()


def _sky(
    random: Random, palette: _Palette, window: tuple[float, float, float, float], *, night: bool
) -> Iterator[Patch]:
    left, top, right, bottom = window
    high, low = palette.sky
    centre = (_between(random, left + 0.25, right - 0.25), _between(random, top + 0.22, 0.4))
    size = _between(random, 0.13, 0.19)
    reach = right - left + bottom - top
    if night:
        for _ in range(70):
            x, y = _between(random, left, right), _between(random, top, bottom)
            radius = _between(random, 0.0015, 0.005)
            yield Patch(disc((x, y), (radius, radius)), mix(high, palette.sun, 0.8))
    elif random.random() < 0.6:
        count = 10 + int(random.random() * 8)
        turn = random.random() * 360
        for number in range(count):
            begin = turn + number * 360 / count
            ray = arc(centre, (reach, reach), begin, begin + 90 / count)
            yield Patch((centre, *ray), mix(mix(high, low, 0.5), palette.sun, 0.16))
    for ring in (1.7, 1.35):
        halo = mix(mix(high, low, 0.4), palette.sun, 0.25 if ring > 1.5 else 0.45)
        yield Patch(disc(centre, (size * ring, size * ring)), halo)
    yield Patch(disc(centre, (size, size)), palette.sun)
    if night:
        crater = mix(palette.sun, high, 0.14)
        for x, y, radius in ((-0.35, -0.2, 0.2), (0.3, 0.25, 0.26), (0.25, -0.45, 0.12)):
            spot = (centre[0] + x * size, centre[1] + y * size)
            yield Patch(disc(spot, (radius * size, radius * size)), crater)
        return
    for _ in range(3):
        x, y = _between(random, left, right), _between(random, top + 0.06, top + 0.4)
        stretch = _between(random, 0.6, 1.1)
        cloud = mix(low, palette.paper, 0.75)
        for dx, dy, radius in ((-0.08, 0, 0.03), (0, -0.022, 0.045), (0.075, 0, 0.033)):
            spot = (x + dx * stretch, y + dy * stretch)
            yield Patch(disc(spot, (radius * stretch * 1.3, radius * stretch)), cloud)
        base = [(x - 0.11 * stretch, y + 0.014), (x + 0.11 * stretch, y + 0.014)]
        yield from line(base, 0.036 * stretch, cloud)


def _land(
    random: Random, palette: _Palette, window: tuple[float, float, float, float]
) -> Iterator[Patch]:
    left, top, right, bottom = window
    far, near = palette.land
    for layer in range(4):
        share = layer / 3
        level = bottom - (0.36 - 0.085 * layer) * (bottom - top)
        swell = 0.07 - 0.015 * layer
        ridge = _ridge(random, left, right, level, swell)
        colour = mix(mix(far, palette.sky[1], 0.45 * (1 - share)), near, share)
        yield Patch(((left, bottom), *ridge, (right, bottom)), colour)


def _ridge(
    random: Random, left: float, right: float, level: float, swell: float
) -> list[tuple[float, float]]:
    waves = [(_between(random, 2, 9), random.random() * math.tau) for _ in range(3)]
    points = 160

    def height(x: float) -> float:
        return sum(math.sin(pace * x + phase) / (1 + 0.3 * pace) for pace, phase in waves)

    steps = [left + (right - left) * step / points for step in range(points + 1)]
    return [(x, level - swell * height(x)) for x in steps]


def _shadow(foot: tuple[float, float], tall: float, palette: _Palette) -> Iterator[Patch]:
    colour = mix(palette.land[1], palette.ink, 0.35)
    yield Patch(disc((foot[0], foot[1] + 0.005), (tall * 0.42, tall * 0.05)), colour)


def _rosette(
    random: Random, palette: _Palette, centre: tuple[float, float], size: float
) -> Iterator[Patch]:
    """What is painted for words that name nothing that is known."""
    inks = (palette.ink, palette.main, palette.second, palette.paper, palette.sun)
    yield Patch(disc(centre, (size * 1.06, size * 1.06)), palette.paper)
    yield Patch(disc(centre, (size, size)), palette.ink)
    petals = 6 + int(random.random() * 7)
    first = int(random.random() * len(inks))
    for ring in range(5):
        radius = size * (0.74 - 0.14 * ring)
        fullness = (0.71, 0.85, 0.97)[int(random.random() * 3)]
        turn = 180 / petals * (ring % 2)
        colour = inks[1 + (first + ring) % (len(inks) - 1)]
        for petal in range(petals):
            angle = turn + petal * 360 / petals
            [spot, *_] = arc(centre, (radius, radius), angle, angle + 1)
            wide = math.pi * radius / petals
            yield Patch(disc(spot, (size * 0.24, wide * fullness), angle), colour)
    yield Patch(disc(centre, (size * 0.1, size * 0.1)), palette.ink)
    yield Patch(disc(centre, (size * 0.055, size * 0.055)), palette.sun)
