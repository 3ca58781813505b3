"""Memory: freed memory is kept for the tensors of the next tile.

glibc returns freed blocks above 128 KiB to 32 MiB to the system at once, so every large tensor pays for its pages anew
(mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD).
"""

from __future__ import annotations

import ctypes
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""mallopt's numbers for its parameters (malloc.h)."""

LARGEST_KEPT = 64 * 2**20
"""Bytes. The activations of a tile are smaller. Whole pictures are larger and would fragment the heap."""
MOST_KEPT = 2**29
"""Bytes that may lie free at the heap's end."""


def keep_freed() -> bool:
    """Let freed memory stay with the process. Returns False where the C library has no such setting."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    return bool(mallopt(MMAP_THRESHOLD, LARGEST_KEPT)) and bool(mallopt(TRIM_THRESHOLD, MOST_KEPT))
