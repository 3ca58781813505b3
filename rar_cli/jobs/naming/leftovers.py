"""Leftovers: files in the input folders that rar does not read. They are counted by ending and reported."""

from __future__ import annotations

import fnmatch
import os
from collections import Counter
from pathlib import PurePath

from rar_cli.pictures.formats import FORMATS

OWN = ("rounds*.jsonl",)
"""Logs of rar that lie beside pictures."""


class Leftovers:
    """Files of folders that rar does not read. Each counts once, even if it is seen again."""

    def __init__(self) -> None:
        self.seen: set[str] = set()

    def add(self, path: PurePath) -> None:
        """A file that was not taken; hidden ones and those that rar would read do not count."""
        name = path.name
        own = any(fnmatch.fnmatch(name, pattern) for pattern in OWN)
        if not own and not name.startswith(".") and path.suffix.lower() not in FORMATS:
            self.seen.add(str(path))

    def add_beside(self, photograph: str) -> None:
        """The sidecars of a named file: an editor's notes, which no output gets."""
        base, ending = os.path.splitext(photograph)
        if ending and os.path.isfile(photograph):
            self.seen.update(name for name in (f"{base}.xmp", f"{photograph}.xmp") if os.path.isfile(name))

    def __str__(self) -> str:
        """ "9 left out: 4 cr2, 3 gif, 2 jxl"; empty where there is nothing to say."""
        kinds = Counter(_ending(name) for name in self.seen)
        ordered = sorted(kinds.items(), key=lambda kind: (-kind[1], kind[0]))
        listed = ", ".join(f"{count} {kind}" for kind, count in ordered)
        return f"{len(self.seen)} left out: {listed}" if listed else ""


def _ending(name: str) -> str:
    """The ending in lower case; one that is not made of letters and digits is not printed."""
    ending = PurePath(name).suffix.lower().lstrip(".")
    return ending if ending.isascii() and ending.isalnum() else "others"
