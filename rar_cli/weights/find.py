"""Names -> verified weight folders. Everything is checked against the folder's manifest before use.

A name is looked for among the weights that travel with rar, then in the cache folder
(`RAR_WEIGHTS`, else the platform's), then as a path.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import platformdirs

from rar_cli.errors import WeightsError
from rar_cli.weights.manifest import MANIFEST, Weights, verify
from rar_cli.weights.seal import SEALS

_WORD = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"


def cache_folder() -> Path:
    """Where downloaded weights live."""
    chosen = os.environ.get("RAR_WEIGHTS")
    return expanded(chosen) if chosen else platformdirs.user_cache_path("rar") / "weights"


def cached(name: str) -> Path | None:
    """The finished folder of that name in the cache, if it is there."""
    folder = cache_folder() / name
    return folder if is_plain(name) and is_there(folder / MANIFEST) else None


def find(name: str) -> Weights:
    """The weights of that name or at that path, verified. Raises WeightsError."""
    known = _known()
    if name in known:
        return verify(known[name], SEALS.get(name))
    folder = cached(name) or (expanded(name) if name else None)
    if folder is None or not is_there(folder):
        listed = ", ".join(sorted(known)) or "none"
        cure = f"`rar download-weights {name}` fetches it from the hub" if is_hub_id(name) else "or give a folder"
        raise WeightsError(f"{name or 'weights'}: no such weights here; shipped: {listed}; {cure}")
    return verify(folder)


def is_hub_id(name: str) -> bool:
    """Whether a name has the form owner/name of the hub."""
    return name.count("/") == 1 and is_plain(name)


def is_plain(name: str) -> bool:
    """Whether a name is one word or owner/name: it stays below the folder that it is put into."""
    return re.fullmatch(f"{_WORD}(/{_WORD})?", name) is not None


def expanded(text: str) -> Path:
    """A path as the user wrote it, with ~ replaced. Raises WeightsError where there is no such user."""
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise WeightsError(f"{text}: no such home folder; write the whole path") from error


def shipped(what: str) -> Path:
    """The folder `weights` or `samples`: inside the wheel, or beside the package in a checkout."""
    here = Path(__file__).resolve().parent.parent
    packed = here / f"_{what}"
    return packed if packed.is_dir() else here.parent / what


def is_there(path: Path) -> bool:
    """Whether a file or folder is there; one whose name no file system takes is not."""
    try:
        return path.exists()
    except OSError:
        return False


def _known() -> dict[str, Path]:
    """name -> folder of the weights that travel with rar."""
    return {p.parent.name: p.parent for p in shipped("weights").glob(f"*/{MANIFEST}")}
