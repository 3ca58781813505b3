"""One exception tree. Nothing else leaves the public functions on bad input.

RarError
├── UsageError      the request cannot be run (bad option, nothing found)   exit code 2
├── WeightsError    weights missing, damaged or foreign                     exit code 2
└── ImageError      one picture cannot be read or written                   that picture fails, exit code 1
"""

from __future__ import annotations


class RarError(Exception):
    """Base of all errors that rar raises on purpose; the message is one line with the cure."""


class UsageError(RarError):
    """The request cannot be run as it stands."""


class WeightsError(RarError):
    """Weights are missing, damaged, or do not fit their config."""


class ImageError(RarError):
    """One picture cannot be read or written."""
