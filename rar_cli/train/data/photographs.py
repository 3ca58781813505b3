"""Folders of clean photographs in every format that rar reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rar_cli.errors import ImageError, UsageError
from rar_cli.pictures.decoding import read_picture
from rar_cli.pictures.formats import FORMATS
from rar_cli.pictures.images import as_8_bit

Photo = NDArray[np.uint8]

OnEach = Callable[[int, int, str], None]
"""Gets how many are done, how many there are, and what they are; it may raise to end the work."""

NAMED = 3
"""Files left out that are named; of the others their number is said."""


def unseen(done: int, total: int, what: str) -> None:
    """Shows nothing."""


def load_photos(
    folders: Sequence[Path], least_px: int, say: Callable[[str], None] | None = None, on_each: OnEach = unseen
) -> list[Photo]:
    """All photographs below `folders` whose short side is at least `least_px`, as RGB uint8 (h, w, 3).

    say: gets a line: how many files were read, which were left out, and why. Raises UsageError where none is left.
    """
    paths = sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())
    photos: list[Photo] = []
    small: list[str] = []
    unread: list[str] = []
    others = Counter(path.suffix.lower() or "no ending" for path in paths if path.suffix.lower() not in FORMATS)
    readable = [path for path in paths if path.suffix.lower() in FORMATS]
    for number, path in enumerate(readable, 1):
        on_each(number, len(readable), "reading photographs")
        try:
            photo = read_photo(path)
        except ImageError as error:
            unread.append(str(error))
            continue
        if min(photo.shape[:2]) < least_px:
            small.append(path.name)
        else:
            photos.append(photo)
    if say is not None:
        for line in _left_out(len(photos), small, unread, others, least_px):
            say(line)
    if not photos:
        names = ", ".join(str(f) for f in folders)
        raise UsageError(f"{names}: no photographs of at least {least_px} px; pass --data a folder of photos")
    return photos


def read_photo(path: Path) -> Photo:
    """Its pixels, upright, (h, w, 3) in 8 bits. Raises ImageError."""
    try:
        picture = read_picture(path.read_bytes(), str(path))
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror})") from error
    return np.ascontiguousarray(as_8_bit(picture).pixels)


def _left_out(
    count: int, small: Sequence[str], unread: Sequence[str], others: Counter[str], least_px: int
) -> list[str]:
    """One line of what was read, and one for each reason to leave files out."""
    lines = [f"photographs: {count}"] if count else []
    if small:
        lines.append(f"left out, below {least_px} px: {_listed(small)}")
    if unread:
        lines.append(f"left out, cannot be read: {_listed(unread)}")
    if others:
        kinds = ", ".join(f"{number} {ending}" for ending, number in sorted(others.items()))
        lines.append(f"left out, no pictures: {kinds}")
    return lines


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
