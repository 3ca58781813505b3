"""Paths of other file systems (s3://, gs://, ...), by `fsspec` through `universal_pathlib`, beside local ones."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import cast

from rar_cli.errors import UsageError


def is_remote(path: str | PurePath) -> bool:
    """Whether a path names a file system by its scheme; a local `Path` never does."""
    return "://" in str(path)


def place(text: str) -> Path:
    """A local path, or one of the file system that its scheme names. Raises UsageError where that is not there."""
    if not is_remote(text):
        return Path(text)
    try:
        from upath import UPath

        path = UPath(text)
        path.exists()  # the packages of most stores are imported only now
        return cast(Path, path)
    except ImportError as error:
        raise UsageError(f"{text}: {error}; install rar-cli[remote] and the fsspec package of that store") from error
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"{text}: cannot be reached ({reason}); check address and credentials") from error


def below(path: Path, folder: Path) -> Path:
    """A path relative to a folder that holds it."""
    if not is_remote(path):
        return path.relative_to(folder)
    return Path(str(path).removeprefix(str(folder).rstrip("/")).lstrip("/"))
