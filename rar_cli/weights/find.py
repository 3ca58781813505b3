"""Names -> verified weight folders. Everything is checked against the folder's manifest before use.

A name is looked for among the weights that travel with rar, then in the cache folder
(`RAR_WEIGHTS`, else the platform's), then as a path.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from rar_cli.errors import WeightsError

MANIFEST = "manifest.json"

PICKLES = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"}
"""Suffixes that may hold code; a weights folder with one of them is refused."""


@dataclass(frozen=True)
class Weights:
    """A verified folder. sha256: of its manifest, which holds the sha256 of every file."""

    name: str
    folder: Path
    sha256: str


def cache_folder() -> Path:
    """Where downloaded weights live."""
    chosen = os.environ.get("RAR_WEIGHTS")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("rar") / "weights"


def cached(name: str) -> Path | None:
    """The finished folder of that name in the cache, if it is there."""
    folder = cache_folder() / name
    return folder if name and (folder / MANIFEST).is_file() else None


def find(name: str) -> Weights:
    """The weights of that name or at that path, verified. Raises WeightsError."""
    known = _known()
    folder = known.get(name) or cached(name) or Path(name).expanduser()
    if not folder.is_dir():
        listed = ", ".join(sorted(known)) or "none"
        cure = f"`rar download-weights {name}` fetches it from the hub" if is_hub_id(name) else "or give a folder"
        raise WeightsError(f"{name}: no such weights here; shipped: {listed}; {cure}")
    return verify(folder)


def is_hub_id(name: str) -> bool:
    """Whether a name has the form owner/name of the hub."""
    return name.count("/") == 1 and not name.startswith((".", "/", "~", "-")) and not name.endswith("/")


def read_manifest(text: bytes, origin: str) -> dict[str, Any]:
    """A manifest whose file names stay inside its folder. Raises WeightsError."""
    try:
        manifest = json.loads(text)
        rows = {str(k): (int(v["bytes"]), str(v["sha256"])) for k, v in manifest["files"].items()}
        named = {"name": str(manifest["name"]), "files": {k: {"bytes": b, "sha256": s} for k, (b, s) in rows.items()}}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{origin}: no readable {MANIFEST}; fetch the weights again") from error
    for relative in named["files"]:
        if Path(relative).is_absolute() or ".." in Path(relative).parts:
            raise WeightsError(f"{origin}: {relative} points outside the weights folder; do not use it")
    return {**manifest, **named}


def verify(folder: Path) -> Weights:
    """Check every file against the manifest: bytes and sha256, nothing missing, nothing unpicklable."""
    try:
        text = (folder / MANIFEST).read_bytes()
    except OSError as error:
        raise WeightsError(f"{folder}: no readable {MANIFEST}; fetch the weights again") from error
    manifest = read_manifest(text, str(folder))
    pickles = sorted(p.name for p in folder.rglob("*") if p.suffix.lower() in PICKLES)
    if pickles:
        raise WeightsError(f"{folder / pickles[0]}: may run code when loaded and is refused; remove it")
    for relative, row in manifest["files"].items():
        fault = fault_of(folder / relative, row)
        if fault is not None:
            raise WeightsError(f"{folder / relative}: {fault}; fetch the weights again")
    return Weights(str(manifest["name"]), folder, hashlib.sha256(text).hexdigest())


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
    for path in sorted(folder.rglob("*")):
        if path.suffix in {".safetensors", ".json"} and path.name != MANIFEST:
            row = {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
            files[path.relative_to(folder).as_posix()] = row
    manifest = {"name": name, "licence": licence, "origin": origin, "files": files}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")


def shipped(what: str) -> Path:
    """The folder `weights` or `samples`: inside the wheel, or beside the package in a checkout."""
    here = Path(__file__).resolve().parent.parent
    packed = here / f"_{what}"
    return packed if packed.is_dir() else here.parent / what


def _known() -> dict[str, Path]:
    """name -> folder of the weights that travel with rar."""
    return {p.parent.name: p.parent for p in shipped("weights").glob(f"*/{MANIFEST}")}
