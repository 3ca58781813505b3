"""Pictures of the report as data URIs: thumbnails, before and after, lossless crops of what changed most."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]

BUDGET = 45_000_000
"""Most characters that the pictures of one page take."""

ROOM = 4
"""A scale is refined again where a picture took less than this part of its share."""


@dataclass(frozen=True)
class Scale:
    """How finely pictures are shown. Longest sides in pixels, quality of WebP; `crops` places of `crop_px` a side."""

    view_px: int
    quality: int
    crop_px: int
    crops: int
    thumb_px: int
    round_px: int


SCALES = (
    Scale(1280, 80, 176, 2, 420, 320),
    Scale(960, 76, 176, 2, 360, 240),
    Scale(720, 72, 144, 1, 300, 200),
    Scale(540, 66, 112, 1, 260, 160),
    Scale(420, 60, 80, 1, 220, 120),
    Scale(320, 55, 56, 1, 200, 96),
)
"""From the finest; a page of a few pictures affords the first, one of 500 the last three."""


@dataclass(frozen=True)
class Crop:
    """One place at 100 %: data URIs before and after, side in pixels."""

    before: str
    after: str
    side_px: int


@dataclass(frozen=True)
class Views:
    """What the page shows of one picture, as data URIs."""

    thumb_before: str
    thumb_after: str
    before: str
    after: str
    crops: tuple[Crop, ...]
    rounds: tuple[str, ...]

    @property
    def size(self) -> int:
        """Characters on the page."""
        crops = [uri for crop in self.crops for uri in (crop.before, crop.after)]
        return sum(map(len, (self.thumb_before, self.thumb_after, self.before, self.after, *crops, *self.rounds)))


class Budget:
    """Hands out scales so that a page stays within `BUDGET`, whatever its pictures are."""

    def __init__(self, expected: int) -> None:
        self.left, self.remaining, self.at = BUDGET, max(expected, 1), 0

    def views(self, before: Pixels, after: Pixels, rounds: Sequence[Pixels]) -> Views | None:
        """The finest views that fit this picture's share of the page; None where nothing does."""
        share = self.left / max(self.remaining, 1)
        for at in range(self.at, len(SCALES)):
            found = views_of(before, after, rounds, SCALES[at])
            last = at == len(SCALES) - 1
            if found.size <= share or (last and found.size <= self.left):
                self.at = max(at - 1, 0) if found.size * ROOM < share else at
                self.left -= found.size
                self.remaining -= 1
                return found
        return None


def views_of(before: Pixels, after: Pixels, rounds: Sequence[Pixels], scale: Scale) -> Views:
    """Pixels (h, w, 3) uint8 at one scale; `after` equal to `before` costs nothing more."""
    same = before is after or np.array_equal(before, after)
    small, large = uri(before, scale.thumb_px, scale.quality), uri(before, scale.view_px, scale.quality)
    crops = [] if same else places_of_change(before, after, scale.crop_px, scale.crops)
    return Views(
        thumb_before="" if same else small,
        thumb_after=small if same else uri(after, scale.thumb_px, scale.quality),
        before=large,
        after="" if same else uri(after, scale.view_px, scale.quality),
        crops=tuple(_crop(before, after, *place, scale.crop_px) for place in crops),
        rounds=tuple(uri(image, scale.round_px, scale.quality) for image in rounds),
    )


def change(before: Pixels, after: Pixels) -> float:
    """Mean absolute difference in grey levels, 0 to 255."""
    return 0.0 if before is after else float(cv2.absdiff(before, after).mean())


def places_of_change(before: Pixels, after: Pixels, side_px: int, count: int) -> list[tuple[int, int]]:
    """(top, left) of up to `count` squares apart from each other in which the two differ most, the worst first."""
    height, width = before.shape[:2]
    side = min(side_px, height, width)
    difference = cv2.absdiff(before, after).mean(axis=2).astype(np.float32)
    box = cv2.boxFilter(difference, -1, (side, side), anchor=(0, 0), borderType=cv2.BORDER_CONSTANT)
    valid = np.asarray(box)[: height - side + 1, : width - side + 1].copy()
    found: list[tuple[int, int]] = []
    while len(found) < count and valid.max() > 0:
        top, left = (int(v) for v in np.unravel_index(int(valid.argmax()), valid.shape))
        found.append((top, left))
        valid[max(top - side + 1, 0) : top + side, max(left - side + 1, 0) : left + side] = 0
    return found


def uri(pixels: Pixels, longest_px: int, quality: int | None) -> str:
    """A picture (h, w, 3) within `longest_px` as a WebP data URI; quality None: lossless."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.thumbnail((longest_px, longest_px), Image.Resampling.LANCZOS, reducing_gap=3.0)
    buffer = io.BytesIO()
    if quality is None:
        image.save(buffer, "WEBP", lossless=True, quality=10, method=1)
    else:
        image.save(buffer, "WEBP", quality=quality, method=2)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def _crop(before: Pixels, after: Pixels, top: int, left: int, side_px: int) -> Crop:
    side = min(side_px, *before.shape[:2])
    place = (slice(top, top + side), slice(left, left + side))
    return Crop(uri(before[place], side, None), uri(after[place], side, None), side)
