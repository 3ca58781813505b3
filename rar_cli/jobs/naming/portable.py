"""Output names on other systems: names that Windows refuses, and folders that ignore case."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path, PurePosixPath

from rar_cli.pictures.remote import is_remote

RESERVED = re.compile(r"(con|prn|aux|nul|com[1-9]|lpt[1-9])(\..*)?", re.IGNORECASE)
FORBIDDEN = re.compile(r'[<>:"|?*\\\x00-\x1f]')
WINDOWS_LONGEST = 259
"""Characters of a path, unless long paths are switched on in the system."""


def name_fault(relative: str, target: str, windows: bool = os.name == "nt") -> str | None:
    """Why an output cannot have its name on this system, with the cure; None where it can."""
    if not windows:
        return None
    for part in PurePosixPath(relative).parts:
        if RESERVED.fullmatch(part):
            return f"{part} is a reserved name on Windows; use --suffix"
        if FORBIDDEN.search(part) or part.endswith((" ", ".")):
            return f"{part} cannot be a name on Windows; rename the input"
    if len(target) > WINDOWS_LONGEST:
        return f"is longer than {WINDOWS_LONGEST} characters; choose a shorter OUTPUT, or enable long paths"
    return None


def folded(name: str) -> str:
    """The same for names that differ in case or in how their letters are composed: one file on macOS."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())


def folds_case(path: Path) -> bool:
    """Whether names that differ in case alone are one file where `path` is to be, as its nearest folder shows."""
    if is_remote(path):
        return False
    for folder in path.absolute().parents:
        other = folder.with_name(folder.name.swapcase())
        if folder.exists() and other != folder:
            return other.exists() and os.path.samefile(folder, other)
    return os.name == "nt"
