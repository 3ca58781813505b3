"""Silences the libraries that read pictures, so that only rar reports a fault, and once."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import threading
import warnings
from collections.abc import Iterator
from functools import cache

import cv2

_ONE_AT_A_TIME = threading.Lock()


def hush() -> None:
    """Keep Pillow, tifffile and Pillow's libtiff from writing to stderr; a caller's own handlers of logs still hear."""
    warnings.filterwarnings("ignore", module=r"PIL\.")  # at every call: others reset the filters
    _hush_once()


@contextlib.contextmanager
def silent_opencv() -> Iterator[None]:
    """OpenCV without its log, for one thread at a time."""
    with _ONE_AT_A_TIME:
        level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        try:
            yield
        finally:
            cv2.utils.logging.setLogLevel(level)


@cache
def _hush_once() -> None:
    for name in ("PIL", "tifffile"):
        logging.getLogger(name).addHandler(logging.NullHandler())
    with contextlib.suppress(OSError, AttributeError):  # where libtiff cannot be found, it stays loud
        from PIL import _imaging

        library = ctypes.CDLL(_imaging.__file__)
        for handler in (library.TIFFSetErrorHandler, library.TIFFSetWarningHandler):
            handler.argtypes, handler.restype = [ctypes.c_void_p], ctypes.c_void_p
            handler(None)
