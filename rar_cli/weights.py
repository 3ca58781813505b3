"""Names -> verified weight folders. Everything is checked against the folder's manifest before use."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from rar_cli.errors import WeightsError

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Weights:
    """A verified folder. sha256: of its manifest, which holds the sha256 of every file."""

    name: str
    folder: Path
    sha256: str


def find(name: str) -> Weights:
    """The weights of that name (shipped with rar) or at that path, verified. Raises WeightsError."""
    known = _known()
    folder = known[name] if name in known else Path(name).expanduser()
    if not folder.is_dir():
        listed = ", ".join(sorted(known)) or "none"
        raise WeightsError(f"{name}: no such weights; shipped: {listed}; or give the path of a weights folder")
    return verify(folder)


def verify(folder: Path) -> Weights:
    """Check every file against the manifest: bytes and sha256, nothing missing, nothing unpicklable."""
    try:
        text = (folder / MANIFEST).read_bytes()
        manifest = json.loads(text)
        files = dict(manifest["files"])
        name = str(manifest["name"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{folder}: no readable {MANIFEST}; fetch the weights again") from error
    for relative, row in files.items():
        try:
            data = (folder / relative).read_bytes()
        except OSError as error:
            raise WeightsError(f"{folder / relative}: missing; fetch the weights again") from error
        if len(data) != row["bytes"] or hashlib.sha256(data).hexdigest() != row["sha256"]:
            raise WeightsError(f"{folder / relative}: sha256 differs from the manifest; fetch the weights again")
    return Weights(name, folder, hashlib.sha256(text).hexdigest())


def write_manifest(folder: Path, name: str, licence: str, origin: str) -> None:
    """Write the manifest of a finished weights folder, last of all its files."""
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix in {".safetensors", ".json"} and path.name != MANIFEST:
            data = path.read_bytes()
            row = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            files[path.relative_to(folder).as_posix()] = row
    manifest = {"name": name, "licence": licence, "origin": origin, "files": files}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")


def shipped(what: str) -> Path:
    """The folder `weights` or `samples`: inside the wheel, or beside the package in a checkout."""
    here = Path(__file__).resolve().parent
    packed = here / f"_{what}"
    return packed if packed.is_dir() else here.parent / what


def _known() -> dict[str, Path]:
    """name -> folder of the weights that travel with rar."""
    return {p.parent.name: p.parent for p in shipped("weights").glob(f"*/{MANIFEST}")}
