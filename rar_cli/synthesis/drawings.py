"""Clean pictures that are no photographs: black, flat, gradients, stars, text, screens, drawings, charts, halftone.

They teach the assessor that nothing is wrong with a page of text, a night sky or a lens cap.
"""

from __future__ import annotations

from collections.abc import Callable
from string import ascii_letters, digits

import numpy as np
import PIL.Image
from numpy.random import Generator
from PIL import ImageDraw, ImageFont

from rar_cli.synthesis.fields import smooth_field
from rar_cli.synthesis.pixels import Image, quantise, softened

Drawing = Callable[[int, Generator], Image]
Colour = tuple[int, int, int]

PUNCTUATION = "      .,;:-()"


def drawing(size_px: int, rng: Generator) -> Image:
    """One of `DRAWINGS`, (size, size, 3) in [0, 1] on 8-bit levels."""
    made = DRAWINGS[int(rng.integers(len(DRAWINGS)))](size_px, rng)
    return quantise(np.clip(made, 0.0, 1.0).astype(np.float32))


def dark(size_px: int, rng: Generator) -> Image:
    """A lens cap: black or almost, sometimes with the faintest light from one side."""
    light = rng.uniform(0.0, 0.04) * smooth_field((size_px, size_px), 2, rng) if rng.random() < 0.5 else 0.0
    level = np.full((size_px, size_px), rng.uniform(0.0, 0.06) * (rng.random() < 0.7), np.float32) + light
    return np.asarray(level[..., None] * rng.uniform(0.8, 1.0, 3), np.float32)


def flat(size_px: int, rng: Generator) -> Image:
    """One colour, half the time a grey."""
    colour = rng.uniform(0.0, 1.0, 3) if rng.random() < 0.5 else np.full(3, rng.uniform(0.0, 1.0))
    return np.ones((size_px, size_px, 3), np.float32) * colour.astype(np.float32)


def gradient(size_px: int, rng: Generator) -> Image:
    """From one colour to another, along a line or around a point."""
    y, x = np.mgrid[-1 : 1 : size_px * 1j, -1 : 1 : size_px * 1j].astype(np.float32)
    angle = rng.uniform(0.0, 2.0 * np.pi)
    along = x * np.cos(angle) + y * np.sin(angle) if rng.random() < 0.6 else np.hypot(x - np.cos(angle), y)
    share = ((along - along.min()) / np.ptp(along))[..., None]
    first, last = rng.uniform(0.0, 1.0, (2, 3))
    return np.asarray(first + (last - first) * share, np.float32)


def stars(size_px: int, rng: Generator) -> Image:
    """A night sky: points of light, few of them bright, over black or a faint glow."""
    sky = np.ones((size_px, size_px, 3), np.float32) * np.float32(rng.uniform(0.0, 0.08)) * rng.uniform(0.6, 1.0, 3)
    if rng.random() < 0.3:
        sky = sky + 0.08 * smooth_field((size_px, size_px), 3, rng)[..., None] ** 2
    count = int(size_px**2 * 10.0 ** rng.uniform(-3.5, -2.2)) + 1
    points = np.zeros((size_px, size_px, 3), np.float32)
    rows, columns = rng.integers(0, size_px, (2, count))
    points[rows, columns] = rng.power(0.4, (count, 1)) * rng.uniform(0.8, 1.0, (count, 3))
    return np.asarray(sky + softened(points, rng.uniform(0.4, 0.9)) * rng.uniform(2.0, 6.0), np.float32)


def page(size_px: int, rng: Generator) -> Image:
    """Lines of text in dark ink on white or yellowed paper."""
    paper: Colour = (255, 255, 255) if rng.random() < 0.5 else _colour(rng, 225, 256)
    canvas = PIL.Image.new("RGB", (size_px, size_px), paper)
    _write(ImageDraw.Draw(canvas), size_px, _colour(rng, 0, 90), rng)
    return _pixels(canvas)


def screen(size_px: int, rng: Generator) -> Image:
    """A dark screen: light text, panels and bars."""
    canvas = PIL.Image.new("RGB", (size_px, size_px), _colour(rng, 5, 60))
    draw = ImageDraw.Draw(canvas)
    for _ in range(int(rng.integers(0, 5))):
        draw.rectangle(_box(size_px, rng), fill=_colour(rng, 10, 120))
    _write(draw, size_px, _colour(rng, 150, 256), rng)
    for _ in range(int(rng.integers(1, 6))):
        draw.rounded_rectangle(_box(size_px // 2, rng), radius=4, fill=_colour(rng, 0, 256))
    return _pixels(canvas)


def lines(size_px: int, rng: Generator) -> Image:
    """A line drawing, some of its shapes filled."""
    canvas = PIL.Image.new("RGB", (size_px, size_px), _colour(rng, 215, 256))
    draw, ink = ImageDraw.Draw(canvas), _colour(rng, 0, 90)
    for _ in range(int(rng.integers(8, 60))):
        width = int(rng.integers(1, 4))
        if rng.random() < 0.6:
            points = [(int(a), int(b)) for a, b in rng.integers(0, size_px, (int(rng.integers(2, 5)), 2))]
            draw.line(points, fill=ink, width=width, joint="curve")
        else:
            fill = _colour(rng, 0, 256) if rng.random() < 0.3 else None
            draw.ellipse(_box(size_px // 2, rng), outline=ink, fill=fill, width=width)
    return _pixels(canvas)


def chart(size_px: int, rng: Generator) -> Image:
    """Bars and a curve over a grid."""
    canvas = PIL.Image.new("RGB", (size_px, size_px), (255, 255, 255))
    draw, count = ImageDraw.Draw(canvas), int(rng.integers(3, 12))
    for y in range(10, size_px, max(size_px // 10, 8)):
        draw.line((0, y, size_px, y), fill=(205, 205, 205))
    wide = max((size_px - 20) // count, 3)
    for i in range(count):
        top = int(rng.integers(5, max(size_px - 12, 6)))
        draw.rectangle((10 + i * wide, top, 8 + (i + 1) * wide, size_px - 6), fill=_colour(rng, 0, 256))
    curve = [(10 + i * wide, int(v)) for i, v in enumerate(rng.integers(0, size_px, count + 1))]
    draw.line(curve, fill=_colour(rng, 0, 160), width=2)
    _write(draw, size_px // 6, (40, 40, 40), rng)
    return _pixels(canvas)


def halftone(size_px: int, rng: Generator) -> Image:
    """A print of dots, whose size is its tone."""
    y, x = np.mgrid[0:size_px, 0:size_px].astype(np.float32)
    angle, pitch = rng.uniform(0.0, np.pi / 2), rng.uniform(3.0, 9.0)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    waves = (np.cos(2 * np.pi * u / pitch) + np.cos(2 * np.pi * v / pitch)) / 4 + 0.5
    tone = smooth_field((size_px, size_px), 3, rng)
    cover = np.clip((tone - waves) * rng.uniform(3.0, 20.0) + 0.5, 0.0, 1.0)[..., None]
    paper, ink = rng.uniform(0.85, 1.0, 3), rng.uniform(0.0, 0.3, 3)
    return np.asarray(paper + (ink - paper) * cover, np.float32)


DRAWINGS: tuple[Drawing, ...] = (dark, flat, gradient, stars, page, page, screen, lines, chart, halftone)


def _write(draw: ImageDraw.ImageDraw, size_px: int, ink: Colour, rng: Generator) -> None:
    """Lines of letters down a square."""
    height = int(rng.integers(8, 24))
    font = ImageFont.load_default(height)
    letters = list(ascii_letters + digits + 4 * PUNCTUATION)
    y, spacing = int(rng.integers(2, 16)), rng.uniform(1.15, 1.8)
    while y < size_px:
        words = "".join(rng.choice(letters, int(rng.integers(6, 90))))
        draw.text((int(rng.integers(2, 14)), y), words, font=font, fill=ink)
        y += int(height * spacing)


def _box(size_px: int, rng: Generator) -> tuple[int, int, int, int]:
    left, top = (int(v) for v in rng.integers(0, max(size_px - 8, 1), 2))
    width, height = (int(v) for v in rng.integers(6, max(size_px // 2, 8), 2))
    return left, top, left + width, top + height


def _colour(rng: Generator, low: int, high: int) -> Colour:
    red, green, blue = (int(v) for v in rng.integers(low, high, 3))
    return red, green, blue


def _pixels(canvas: PIL.Image.Image) -> Image:
    return np.asarray(canvas, np.float32) / np.float32(255.0)
