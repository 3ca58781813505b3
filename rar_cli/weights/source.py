"""Where the files of a set of weights are: the hub, a mirror on the network, or a folder."""

from __future__ import annotations

import fnmatch
import hashlib
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rar_cli.errors import WeightsError
from rar_cli.version import __version__
from rar_cli.weights.find import expanded, shipped
from rar_cli.weights.manifest import (
    MANIFEST,
    MOST_BYTES,
    MOST_FILES,
    check_name,
    read_manifest,
)
from rar_cli.weights.registry import Entry
from rar_cli.weights.seal import SEALS
from rar_cli.weights.transfer import Remote, read_small


@dataclass(frozen=True)
class Source:
    """What a set of weights consists of, and what its manifest is to say."""

    name: str
    files: Mapping[str, Remote]
    about: Mapping[str, str] = field(default_factory=dict)
    manifest: bytes | None = None

    def made(self, manifest: bytes) -> bool:
        """Whether this manifest is of these weights. Weights of a hub may be of any commit."""
        if self.manifest is not None:
            return manifest == self.manifest
        try:
            origin = str(read_manifest(manifest, self.name).get("origin"))
        except WeightsError:
            return False
        return origin.partition("@")[0] == self.about["origin"].partition("@")[0]


def source_of(entry: Entry, given: str | None) -> Source:
    """The files of an entry: where `--from` says, else shipped or on the hub. Raises WeightsError."""
    if given is None:
        return _from_hub(entry) if entry.repository else _from_place(entry, shipped("weights") / entry.name)
    if not given:
        raise WeightsError("--from: give an https URL or a folder")
    if "://" not in given:
        return _from_place(entry, _folder(given, expanded(given), entry))
    try:
        url = urllib.parse.urlsplit(given)
    except ValueError as error:
        raise WeightsError(f"--from {given}: no URL ({error}); use an https URL or a folder") from error
    if url.scheme == "file":
        return _from_place(entry, _folder(given, Path(urllib.request.url2pathname(url.path)), entry))
    if url.scheme not in {"https", "http"}:
        raise WeightsError(f"--from {given}: use an https URL or a folder")
    return _from_place(entry, given.rstrip("/"))


def _folder(given: str, path: Path, entry: Entry) -> Path:
    try:
        folder = path.resolve()
        if not folder.is_dir():
            raise WeightsError(f"--from {given}: no such folder")
        return folder / entry.name if (folder / entry.name).is_dir() else folder
    except (OSError, RuntimeError) as error:  # a loop of links
        raise WeightsError(f"--from {given}: cannot be read ({error})") from error


def _from_place(entry: Entry, base: str | Path) -> Source:
    """A mirror: a folder or URL with the files and their manifest."""
    address = _below(base, MANIFEST)
    text = read_small(address, MOST_BYTES)
    manifest = read_manifest(text, str(address))
    if entry.name in SEALS and hashlib.sha256(text).hexdigest() != SEALS[entry.name]:
        raise WeightsError(f"{address}: not the {entry.name} that belongs to rar {__version__}; find the right mirror")
    files = {
        relative: Remote(_below(base, relative), row["sha256"], row["bytes"])
        for relative, row in manifest["files"].items()
    }
    for relative, digest in entry.sha256.items():
        if relative in files and files[relative].sha256 != digest:
            raise WeightsError(f"{address}: {relative} is not the file that the registry names; find the right mirror")
    return Source(entry.name, files, manifest=text)


def _below(base: str | Path, relative: str) -> str | Path:
    return base / relative if isinstance(base, Path) else f"{base}/{urllib.parse.quote(relative)}"


def _from_hub(entry: Entry) -> Source:
    """The hub, at one commit; its endpoint, token and offline switch as `huggingface_hub` reads them."""
    import huggingface_hub

    info = _asked(entry)
    commit = str(info.sha)
    prefix = f"{entry.subfolder}/" if entry.subfolder else ""
    files = {}
    for sibling in info.siblings or ():
        relative = sibling.rfilename.removeprefix(prefix)
        if not sibling.rfilename.startswith(prefix) or not _wanted(relative, entry):
            continue
        url = huggingface_hub.hf_hub_url(entry.repository, sibling.rfilename, revision=commit)
        digest = entry.sha256.get(relative) or (sibling.lfs.sha256 if sibling.lfs else None)
        name = check_name(relative, entry.repository)
        files[name] = Remote(url, digest, sibling.size, huggingface_hub.get_token())
    if not files:
        raise WeightsError(f"{entry.repository}: holds no safetensors at {commit[:8]}; rar never loads pickles")
    if len(files) > MOST_FILES:
        raise WeightsError(f"{entry.repository}: holds {len(files)} files, more than weights need; do not use it")
    origin = f"{entry.repository}@{commit}" + (f"/{entry.subfolder}" if entry.subfolder else "")
    return Source(entry.name, files, {"licence": entry.licence, "origin": origin})


def _asked(entry: Entry) -> Any:
    """What the hub says of a repository. Raises WeightsError."""
    import huggingface_hub
    from huggingface_hub import constants, errors

    if constants.HF_HUB_OFFLINE:
        raise WeightsError(f"{entry.name}: HF_HUB_OFFLINE is set; unset it, or give a mirror with --from")
    try:
        return huggingface_hub.HfApi().model_info(entry.repository, revision=entry.revision, files_metadata=True)
    except (errors.RepositoryNotFoundError, errors.GatedRepoError, errors.RevisionNotFoundError) as error:
        raise WeightsError(
            f"{entry.repository}: not found or not open to you; accept its licence on the hub and set HF_TOKEN"
        ) from error
    except Exception as error:  # the transport below differs between releases of huggingface_hub
        reason = " ".join(str(error).split())[:160]
        raise WeightsError(f"{entry.repository}: the hub does not answer ({reason}); try --from a mirror") from error


def _wanted(relative: str, entry: Entry) -> bool:
    deep = relative.count("/") > (1 if not entry.subfolder else 0)
    return not deep and relative != MANIFEST and any(fnmatch.fnmatch(relative, p) for p in entry.patterns)
