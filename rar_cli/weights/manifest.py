"""The manifest of a weights folder: the size and sha256 of every file that may be opened.

Its own sha256 names the weights; for the weights that travel with rar it stands in `seal.py`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from rar_cli.errors import WeightsError

MANIFEST = "manifest.json"

PICKLES = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"}
"""Suffixes that may hold code; a weights folder with one of them is refused."""

OPENED = {".json", ".safetensors"}
"""Suffixes of the files that loading may open; each must stand in the manifest."""

DEPTH = 3
"""Folders below a weights folder in which loading looks for files."""

MOST_BYTES = 1 << 24
"""Of a manifest."""

MOST_FILE_BYTES = 1 << 42
"""Of a file that a manifest names."""

MOST_FILES = 1000
"""Of one set of weights."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*){0,3}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Weights:
    """A verified folder. sha256: of its manifest, which holds the sha256 of every file."""

    name: str
    folder: Path
    sha256: str


def check_name(relative: str, origin: str) -> str:
    """The name of a file below a weights folder: plain letters, nothing hidden, nothing outside. Raises WeightsError.

    relative: with / between folders. origin: who gave the name, for the message.
    """
    odd = relative in {"", "."} or relative.endswith((".part", ".lock")) or relative == MANIFEST
    if PurePosixPath(relative).is_absolute() or ".." in PurePosixPath(relative).parts:
        raise WeightsError(f"{origin}: {relative!a} points outside the weights folder; do not use it")
    if odd or not _NAME.fullmatch(relative):
        raise WeightsError(f"{origin}: {relative[:80]!a} is no name for a file of weights; do not use it")
    return relative


def read_manifest(text: bytes, origin: str) -> dict[str, Any]:
    """A manifest whose files have plain names, sizes and sums. Raises WeightsError."""
    try:
        manifest = json.loads(text)
        rows = {name: _row(row) for name, row in manifest["files"].items()}
        if len(text) > MOST_BYTES or len(rows) > MOST_FILES:
            raise ValueError("too long")
        named = {"name": _title(manifest["name"]), "files": rows}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise WeightsError(f"{origin}: no readable {MANIFEST}; fetch the weights again") from error
    for relative in rows:
        check_name(relative, origin)
    return {**manifest, **named}


def _title(name: str) -> str:
    if not isinstance(name, str) or not name.isprintable() or not 1 <= len(name) <= 100:
        raise ValueError("a name that is none")
    return name


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    size, digest = row["bytes"], row["sha256"]
    if type(size) is not int or not 0 <= size <= MOST_FILE_BYTES or not _SHA256.fullmatch(digest):
        raise ValueError("a size or a sum that is none")
    return {"bytes": size, "sha256": digest}


def verify(folder: Path, sealed: str | None = None) -> Weights:
    """Check a folder against its manifest: nothing missing, changed, added or unpicklable. Raises WeightsError.

    sealed: the sha256 that the manifest itself must have, where it is known.
    """
    text = _manifest_bytes(folder)
    manifest = read_manifest(text, str(folder))
    digest = hashlib.sha256(text).hexdigest()
    if sealed is not None and digest != sealed:
        raise WeightsError(f"{folder}: not the weights that belong to this rar; install rar-cli again")
    refuse_strays(folder, manifest["files"])
    for relative, row in manifest["files"].items():
        fault = fault_of(folder / relative, row)
        if fault is not None:
            raise WeightsError(f"{folder / relative}: {fault}; fetch the weights again")
    return Weights(manifest["name"], folder, digest)


def _manifest_bytes(folder: Path) -> bytes:
    path = folder / MANIFEST
    try:
        if not path.is_file():  # a pipe would never end
            raise FileNotFoundError(path)
        with path.open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except OSError as error:
        raise WeightsError(f"{folder}: no readable {MANIFEST}; fetch the weights again") from error


def refuse_strays(folder: Path, rows: Mapping[str, Any]) -> None:
    """Raise WeightsError where a file might be opened that its manifest does not name, or holds code."""
    for relative in _files_below(folder):
        suffix = Path(relative).suffix.lower()
        if suffix in PICKLES:
            raise WeightsError(f"{folder / relative}: may run code when loaded and is refused; remove it")
        if suffix in OPENED and relative not in rows and relative != MANIFEST:
            raise WeightsError(f"{folder / relative}: does not stand in the {MANIFEST}; remove it")


def _files_below(folder: Path) -> Iterator[str]:
    """Relative names of the files as far down as loading goes, through links too; hidden folders are not opened."""
    for place, folders, names in os.walk(folder, followlinks=True):
        below = Path(place).relative_to(folder)
        yield from sorted((below / name).as_posix() for name in names)
        deeper = len(below.parts) < DEPTH
        folders[:] = sorted(name for name in folders if deeper and not name.startswith("."))


def fault_of(path: Path, row: Mapping[str, Any]) -> str | None:
    """What is wrong with a file beside its manifest row {bytes, sha256}; None where it is right."""
    try:
        if path.stat().st_size != row["bytes"]:
            return "its size differs from the manifest"
        found = file_sha256(path)
    except OSError:
        return "missing"
    return None if found == row["sha256"] else "sha256 differs from the manifest"


def file_sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(folder: Path, name: str, licence: str, origin: str) -> None:
    """Write the manifest of a finished weights folder, last of all its files."""
    files = {}
    for relative in sorted(_files_below(folder)):
        if Path(relative).suffix in OPENED and relative != MANIFEST:
            path = folder / relative
            files[relative] = {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
    manifest = {"name": name, "licence": licence, "origin": origin, "files": files}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
