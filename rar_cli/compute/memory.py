"""Memory: what one tile's tensors leave behind is kept for the next tile's.

glibc gives blocks above 128 KiB to 32 MiB back to the system as soon as they are freed, so every large tensor pays
for its pages anew (mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD).
"""

from __future__ import annotations

import ctypes
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""mallopt's numbers for its parameters (malloc.h)."""

LARGEST_KEPT = 64 * 2**20
"""Bytes: the activations of a tile are below it, whole pictures that would tear holes into the heap are above."""
MOST_KEPT = 2**29
"""Bytes that may lie free at the heap's end."""


def keep_freed() -> bool:
    """From now on, freed memory stays with the process; False where the C library cannot be told."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    return bool(mallopt(MMAP_THRESHOLD, LARGEST_KEPT)) and bool(mallopt(TRIM_THRESHOLD, MOST_KEPT))
