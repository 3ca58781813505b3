"""`rar download-weights`: files from the hub, any https URL or a folder -> a verified weights folder.

The manifest is written last, so a folder with a manifest is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from rar_cli.errors import WeightsError
from rar_cli.weights.find import cache_folder, is_hub_id, is_plain, is_there, shipped
from rar_cli.weights.manifest import MANIFEST, Weights, fault_of, file_sha256, read_manifest, refuse_strays, verify
from rar_cli.weights.registry import ENTRIES, Entry, entries
from rar_cli.weights.seal import SEALS
from rar_cli.weights.source import Source, source_of
from rar_cli.weights.transfer import OnBytes, fetch


def download(
    name: str, source: str | None = None, to: Path | None = None, on_bytes: OnBytes | None = None
) -> list[Weights]:
    """Fetch the weights of that name, unless they are here and whole; a group's members one by one.

    source: an https URL or a folder that holds them, for mirrors. to: the folder to put them into.
    Raises WeightsError.
    """
    known = entries(name)
    if not is_plain(name):
        raise WeightsError(f"{name!a}: no name for weights; give a word, or owner/name of the hub")
    if known is None and source is None and not is_hub_id(name):
        raise WeightsError(f"{name}: unknown; `rar download-weights --list` shows the names, or give owner/name")
    members = known or (Entry(name, "", "see its model card", name, 0, repository=name),)
    return [
        _one(entry, _beside(source, entry, members), (to or cache_folder()) / entry.name, on_bytes, own=to is None)
        for entry in members
    ]


@dataclass(frozen=True)
class Holding:
    """One line of `--list`: an entry, and its folder where it is here."""

    entry: Entry
    folder: Path | None


def inventory(to: Path | None = None) -> list[Holding]:
    """Every entry of the registry, with where it is: shipped, or below `to` or the cache folder."""
    return [Holding(entry, _here(entry.name, to)) for entry in ENTRIES]


def verify_here(name: str, to: Path | None = None) -> list[Weights]:
    """Check the weights of that name, or of each member of a group, where they are. Raises WeightsError."""
    names = [entry.name for entry in entries(name) or ()] or [name]
    folders = {member: _here(member, to) for member in names if is_plain(member)}
    absent = [member for member in names if folders.get(member) is None]
    if absent:
        raise WeightsError(f"{', '.join(absent)}: not here; `rar download-weights {name}` fetches it")
    return [verify(folder, SEALS.get(member)) for member, folder in folders.items() if folder is not None]


def _here(name: str, to: Path | None) -> Path | None:
    places = [(to or cache_folder()) / name, *([] if to else [shipped("weights") / name])]
    return next((place for place in places if is_there(place / MANIFEST)), None)


def _beside(source: str | None, entry: Entry, members: tuple[Entry, ...]) -> str | None:
    """The place of one member: a mirror holds the members of a group side by side."""
    return f"{source.rstrip('/')}/{entry.name}" if source and len(members) > 1 else source


def _one(entry: Entry, source: str | None, target: Path, on_bytes: OnBytes | None, own: bool) -> Weights:
    """Fetch one member into `target`. own: the folder is in rar's cache, so all of it may be replaced."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(str(target) + ".lock"):  # a second process waits here, and then finds them whole
            if (target / MANIFEST).is_file():
                with suppress(WeightsError):  # fetched anew below, file by file as needed
                    return verify(target, SEALS.get(entry.name))
            files = source_of(entry, source)
            if not own:
                _refuse_foreign(files, target)
            (target / MANIFEST).unlink(missing_ok=True)
            return _fetch_all(files, target, on_bytes)
    except OSError as error:
        raise WeightsError(f"{target}: cannot be written ({error.strerror or error}); choose another --to") from error


def _refuse_foreign(source: Source, target: Path) -> None:
    """Raise WeightsError if a file would be replaced that no download of these weights wrote."""
    manifest = target / MANIFEST
    if _begun(target).exists() or (manifest.is_file() and source.made(manifest.read_bytes())):
        return
    right = {name for name, each in source.files.items() if each.sha256 and _has(target / name, each.sha256)}
    for relative in (MANIFEST, *source.files, *(f"{name}.part" for name in source.files)):
        if relative not in right and os.path.lexists(target / relative):
            raise WeightsError(f"{target / relative}: is not of {source.name}, and stays; choose another --to")


def _has(path: Path, sha256: str) -> bool:
    return path.is_file() and file_sha256(path) == sha256


def _begun(target: Path) -> Path:
    """The file that marks an unfinished download."""
    return target / (MANIFEST + ".part")


def _fetch_all(source: Source, target: Path, on_bytes: OnBytes | None) -> Weights:
    target.mkdir(parents=True, exist_ok=True)
    _begun(target).touch()
    rows = {}
    for relative, remote in source.files.items():
        path = target / relative
        expected = {"bytes": remote.size, "sha256": remote.sha256}
        if not (remote.sha256 and remote.size is not None and fault_of(path, expected) is None):
            fetch(remote, path, on_bytes)
        rows[relative] = {"bytes": path.stat().st_size, "sha256": remote.sha256 or file_sha256(path)}
    refuse_strays(target, rows)
    about = {"name": source.name, **source.about, "files": rows}
    text = source.manifest or (json.dumps(about, indent=2) + "\n").encode()
    name = read_manifest(text, str(target))["name"]
    _begun(target).write_bytes(text)
    os.replace(_begun(target), target / MANIFEST)
    return Weights(name, target, hashlib.sha256(text).hexdigest())  # every file was checked as it came
