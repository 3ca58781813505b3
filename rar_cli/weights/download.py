"""`rar download-weights`: files from the hub, any https URL or a folder -> a verified weights folder.

Every file is written as `.part`, continued where it broke off, checked, then renamed; the manifest
comes last, so a folder with a manifest is whole.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from filelock import FileLock

from rar_cli.errors import WeightsError
from rar_cli.version import __version__
from rar_cli.weights.find import (
    MANIFEST,
    Weights,
    cache_folder,
    fault_of,
    file_sha256,
    is_hub_id,
    read_manifest,
    shipped,
    verify,
)
from rar_cli.weights.registry import ENTRIES, Entry, entries

CHUNK = 1 << 20

TRIES = 5
"""Attempts per file where the network or the server fails for a while."""

TIMEOUT_S = 30.0

WAIT_S = 1.0
"""Before the second attempt; doubled for each further one."""

Told = Callable[[str, int, int | None], None]
"""Told (file, bytes so far, bytes in all) as a download goes on."""


@dataclass(frozen=True)
class Remote:
    """One file to fetch. sha256, size: None where the source does not say."""

    url: str
    sha256: str | None = None
    size: int | None = None
    token: str | None = None


@dataclass(frozen=True)
class Source:
    """What a set of weights consists of, and what its manifest is to say."""

    name: str
    files: Mapping[str, Remote]
    about: Mapping[str, str] = field(default_factory=dict)
    manifest: bytes | None = None


def download(name: str, source: str | None = None, to: Path | None = None, told: Told | None = None) -> list[Weights]:
    """Fetch the weights of that name, unless they are here and whole; a group's members one by one.

    source: an https URL or a folder that holds them, for mirrors. to: the folder to put them into.
    Raises WeightsError.
    """
    known = entries(name)
    if known is None and source is None and not is_hub_id(name):
        raise WeightsError(f"{name}: unknown; `rar download-weights --list` shows the names, or give owner/name")
    members = known or (Entry(name, "", "see its model card", name, 0, repository=name),)
    return [
        _one(entry, _beside(source, entry, members), (to or cache_folder()) / entry.name, told) for entry in members
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
    folders = {member: _here(member, to) for member in names}
    absent = [member for member, folder in folders.items() if folder is None]
    if absent:
        raise WeightsError(f"{', '.join(absent)}: not here; `rar download-weights {name}` fetches it")
    return [verify(folder) for folder in folders.values() if folder is not None]


def _here(name: str, to: Path | None) -> Path | None:
    places = [(to or cache_folder()) / name, *([] if to else [shipped("weights") / name])]
    return next((place for place in places if (place / MANIFEST).is_file()), None)


def _beside(source: str | None, entry: Entry, members: tuple[Entry, ...]) -> str | None:
    """The place of one member: a mirror holds the members of a group side by side."""
    return f"{source.rstrip('/')}/{entry.name}" if source and len(members) > 1 else source


def _one(entry: Entry, source: str | None, target: Path, told: Told | None) -> Weights:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(str(target) + ".lock"):  # a second process waits here, and then finds them whole
            if (target / MANIFEST).is_file():
                try:
                    return verify(target)
                except WeightsError:
                    (target / MANIFEST).unlink()  # fetched anew below, file by file as needed
            return _fetch_all(_source(entry, source), target, told)
    except OSError as error:
        raise WeightsError(f"{target}: cannot be written ({error.strerror or error}); choose another --to") from error


def _fetch_all(source: Source, target: Path, told: Told | None) -> Weights:
    rows = {}
    for relative, remote in source.files.items():
        path = target / relative
        expected = {"bytes": remote.size, "sha256": remote.sha256}
        if not (remote.sha256 and remote.size is not None and fault_of(path, expected) is None):
            _fetch(remote, path, told)
        rows[relative] = {"bytes": path.stat().st_size, "sha256": remote.sha256 or file_sha256(path)}
    text = (
        source.manifest or (json.dumps({"name": source.name, **source.about, "files": rows}, indent=2) + "\n").encode()
    )
    part = target / (MANIFEST + ".part")
    part.write_bytes(text)
    os.replace(part, target / MANIFEST)
    name = read_manifest(text, str(target))["name"]
    return Weights(name, target, hashlib.sha256(text).hexdigest())  # every file was checked as it came


# --- where the files are ------------------------------------------------------------------------


def _source(entry: Entry, source: str | None) -> Source:
    if source is None and not entry.repository:
        return _from_place(entry, (shipped("weights") / entry.name).as_uri())
    if source is None:
        return _from_hub(entry)
    if "://" in source:
        if urllib.parse.urlsplit(source).scheme not in {"https", "http", "file"}:
            raise WeightsError(f"--from {source}: use an https URL or a folder")
        return _from_place(entry, source)
    folder = Path(source).expanduser().resolve()
    if not folder.is_dir():
        raise WeightsError(f"--from {source}: no such folder")
    return _from_place(entry, (folder / entry.name if (folder / entry.name).is_dir() else folder).as_uri())


def _from_place(entry: Entry, base: str) -> Source:
    """A mirror: a folder or URL with the files and their manifest."""
    address = f"{base.rstrip('/')}/{MANIFEST}"
    text = _read(address)
    manifest = read_manifest(text, address)
    known = shipped("weights") / entry.name / MANIFEST
    if known.is_file() and not entry.repository and text != known.read_bytes():
        raise WeightsError(f"{address}: not the {entry.name} that belongs to rar {__version__}; find the right mirror")
    files = {
        relative: Remote(f"{base.rstrip('/')}/{urllib.parse.quote(relative)}", row["sha256"], row["bytes"])
        for relative, row in manifest["files"].items()
    }
    for relative, digest in entry.sha256.items():
        if relative in files and files[relative].sha256 != digest:
            raise WeightsError(f"{address}: {relative} is not the file that the registry names; find the right mirror")
    return Source(entry.name, files, manifest=text)


def _from_hub(entry: Entry) -> Source:
    """The hub, at one commit; its endpoint, token and offline switch as `huggingface_hub` reads them."""
    import huggingface_hub
    from huggingface_hub import constants, errors

    if constants.HF_HUB_OFFLINE:
        raise WeightsError(f"{entry.name}: HF_HUB_OFFLINE is set; unset it, or give a mirror with --from")
    try:
        info = huggingface_hub.HfApi().model_info(entry.repository, revision=entry.revision, files_metadata=True)
    except (errors.RepositoryNotFoundError, errors.GatedRepoError, errors.RevisionNotFoundError) as error:
        raise WeightsError(
            f"{entry.repository}: not found or not open to you; accept its licence on the hub and set HF_TOKEN"
        ) from error
    except Exception as error:  # the transport below differs between releases of huggingface_hub
        reason = " ".join(str(error).split())[:160]
        raise WeightsError(f"{entry.repository}: the hub does not answer ({reason}); try --from a mirror") from error
    commit = str(info.sha)
    prefix = f"{entry.subfolder}/" if entry.subfolder else ""
    files = {}
    for sibling in info.siblings or ():
        relative = sibling.rfilename.removeprefix(prefix)
        if not sibling.rfilename.startswith(prefix) or not _wanted(relative, entry):
            continue
        url = huggingface_hub.hf_hub_url(entry.repository, sibling.rfilename, revision=commit)
        digest = entry.sha256.get(relative) or (sibling.lfs.sha256 if sibling.lfs else None)
        files[relative] = Remote(url, digest, sibling.size, huggingface_hub.get_token())
    if not files:
        raise WeightsError(f"{entry.repository}: holds no safetensors at {commit[:8]}; rar never loads pickles")
    origin = f"{entry.repository}@{commit}" + (f"/{entry.subfolder}" if entry.subfolder else "")
    return Source(entry.name, files, {"licence": entry.licence, "origin": origin})


def _wanted(relative: str, entry: Entry) -> bool:
    deep = relative.count("/") > (1 if not entry.subfolder else 0)
    return not deep and relative != MANIFEST and any(fnmatch.fnmatch(relative, p) for p in entry.patterns)


# --- one file -----------------------------------------------------------------------------------


def _fetch(remote: Remote, path: Path, told: Told | None) -> None:
    """Fetch one file: `.part`, continued where it broke off, checked, renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    wait = WAIT_S
    for attempt in range(TRIES):
        try:
            _stream(remote, part, path.name, told)
            break
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416:  # more than there is: the part is of another file
                part.unlink(missing_ok=True)
            elif error.code not in {408, 429, 500, 502, 503, 504} or attempt == TRIES - 1:
                _give_up(remote, f"HTTP {error.code} {error.reason}")
        except (urllib.error.URLError, ConnectionError, TimeoutError, _BrokenOffError) as error:
            if attempt == TRIES - 1:
                _give_up(remote, str(getattr(error, "reason", None) or error))
        time.sleep(wait)
        wait *= 2
    row = {"bytes": part.stat().st_size if remote.size is None else remote.size, "sha256": remote.sha256}
    fault = None if remote.sha256 is None and remote.size is None else fault_of(part, _full(row, part))
    if fault is not None:
        part.unlink(missing_ok=True)
        raise WeightsError(f"{remote.url}: {fault}: the bytes are wrong and were removed; try again or another --from")
    os.replace(part, path)


def _full(row: dict[str, Any], part: Path) -> dict[str, Any]:
    return row if row["sha256"] else {**row, "sha256": file_sha256(part)}


class _BrokenOffError(Exception):
    """The connection ended before the file did."""


def _stream(remote: Remote, part: Path, name: str, told: Told | None) -> None:
    done = part.stat().st_size if part.exists() else 0
    if remote.size is not None and done >= remote.size:
        return  # whole, or wrong: the check that follows says which
    request = urllib.request.Request(remote.url, headers={"User-Agent": f"rar/{__version__}"})
    if done:
        request.add_header("Range", f"bytes={done}-")
    if remote.token:
        request.add_unredirected_header("Authorization", f"Bearer {remote.token}")  # never to another host
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
        resumed = done and getattr(answer, "status", None) == 206
        if done and not resumed:
            done = 0
        length = answer.headers.get("Content-Length")
        total = remote.size if remote.size is not None else (done + int(length) if length else None)
        with part.open("ab" if resumed else "wb") as file:
            while chunk := answer.read(CHUNK):
                file.write(chunk)
                done += len(chunk)
                if told is not None:
                    told(name, done, total)
    if total is not None and done < total:
        raise _BrokenOffError(f"broke off after {done} of {total} bytes")


def _read(url: str) -> bytes:
    """A small file in memory."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
            data: bytes = answer.read()
            return data
    except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(error, urllib.error.HTTPError):
            error.close()
            reason = f"HTTP {error.code}"
        raise WeightsError(f"{url}: cannot be read ({reason}); check --from and the network") from error


def _give_up(remote: Remote, reason: str) -> NoReturn:
    raise WeightsError(f"{remote.url}: cannot be fetched ({reason}); run the command again to go on, or try --from")
