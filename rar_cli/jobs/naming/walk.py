"""Walk: inputs -> the files to read, each with its fault if it has one. A bad entry fails alone."""

from __future__ import annotations

import contextlib
import fnmatch
import glob
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rar_cli.errors import UsageError
from rar_cli.jobs.naming.leftovers import Leftovers
from rar_cli.pictures.formats import FORMATS
from rar_cli.pictures.remote import below, is_remote, place

STREAM = "-"
SYSTEM_FILES = ("._*", ".DS_Store", "Thumbs.db", "desktop.ini", ".rar-*")

ROUNDS_MARK = ".rar-rounds"
"""A file that says that its folder holds nothing but rar's own round pictures."""

FOLDER = "a folder"


@dataclass(frozen=True)
class Found:
    """A file that is to be read. relative: its path below the input that it came from.

    fault: why it cannot be, with its name; then it may be a folder as well.
    """

    source: Path
    relative: Path
    fault: str | None = None


@dataclass(frozen=True)
class Selection:
    """Which files of a folder count. exclude: patterns of names or of paths below the input, of folders too.

    leftovers: what was seen and not taken.
    """

    recursive: bool = False
    exclude: tuple[str, ...] = ()
    leftovers: Leftovers = field(default_factory=Leftovers, compare=False)

    def takes(self, relative: Path) -> bool:
        """Whether a file found in a folder is a picture that is wanted."""
        if relative.suffix.lower() not in FORMATS:
            return False
        return not any(fnmatch.fnmatch(relative.name, pattern) for pattern in SYSTEM_FILES)

    def excludes(self, relative: Path) -> bool:
        """Whether the user excludes a file or a folder. Checked before it is read."""
        return any(
            fnmatch.fnmatch(relative.name, pattern) or fnmatch.fnmatch(relative.as_posix(), pattern)
            for pattern in self.exclude
        )


def find(inputs: Sequence[str], selection: Selection, outside: Path | None = None) -> Iterator[Found]:
    """The files of all inputs, sorted; named files are always taken.

    outside: a folder that is not entered, so that outputs inside an input are not read again. Raises UsageError where
    an input is not there, or no input holds a picture.
    """
    if "" in inputs:  # an unset variable of a shell, not the working folder
        raise UsageError("INPUT is empty; name a file or a folder, or write . for this one")
    readable, first_fault = False, None
    for text in inputs:
        for path in _expand(text):
            for found in _below(path, selection, outside):
                readable |= found.fault is None
                first_fault = first_fault or found.fault
                yield found
    if not readable:
        advice = "" if selection.recursive else " (folders are read one level deep without --recursive)"
        left_out = f"; {selection.leftovers}" if str(selection.leftovers) else ""
        raise UsageError(first_fault or f"{', '.join(inputs)}: no pictures found{advice}{left_out}")


def kind_of(mode: int) -> str:
    """The kind of file that a mode means, in words."""
    kinds = {
        stat.S_IFDIR: FOLDER, stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket", stat.S_IFBLK: "a device",
        stat.S_IFCHR: "a device",
    }  # fmt: skip
    return kinds.get(stat.S_IFMT(mode), "something else")


def _below(path: Path, selection: Selection, outside: Path | None) -> Iterator[Found]:
    """The files of one input: a folder's pictures, or the file itself."""
    fault = None if is_remote(path) else _fault_of(path)
    if fault is not None and fault != FOLDER:
        yield Found(path, Path(path.name), fault)
    elif fault == FOLDER or is_remote(path) and path.is_dir():
        yield from _walk(path, selection, outside)
    else:
        yield Found(path, Path(path.name))


def _walk(folder: Path, selection: Selection, outside: Path | None) -> Iterator[Found]:
    """Pictures below a folder, sorted; links to folders are followed once each, never in circles."""
    avoid = _real(outside) if outside is not None else None
    seen = {_real(folder)}
    if avoid in seen and not selection.recursive:
        avoid = None  # IN and OUT are the same folder: clashes are reported as such
    pending = [folder]
    while pending:
        here = pending.pop()
        try:
            entries = _entries(here)
        except OSError as error:
            yield Found(here, below(here, folder), f"{here}: cannot be read ({error.strerror or error})")
            continue
        deeper = []
        for entry in entries:
            relative = below(entry, folder)
            if selection.excludes(relative):
                continue
            fault = _kind_on_store(entry) if is_remote(entry) else _fault_of(entry)
            if fault == FOLDER:
                real = _real(entry)
                if selection.recursive and real not in seen and real != avoid and not _holds_rounds(entry):
                    seen.add(real)
                    deeper.append(entry)
            elif selection.takes(relative):
                yield Found(entry, relative, fault)
            else:
                selection.leftovers.add(entry)
        pending.extend(reversed(deeper))


def _entries(folder: Path) -> list[Path]:
    """The entries of a folder, sorted by name. Raises OSError if the folder or its entries cannot be read."""
    entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    if entries and not is_remote(folder):
        with contextlib.suppress(FileNotFoundError):
            os.lstat(entries[0])  # without execute permission a folder lists names, but they cannot be opened
    return entries


def _fault_of(path: Path) -> str | None:
    """The fault of a file: None without one, FOLDER for a folder, else a sentence with its name."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        return f"{path}: cannot be read ({error.strerror})"
    if stat.S_ISREG(mode):
        return None
    return FOLDER if stat.S_ISDIR(mode) else f"{path}: is no file but {kind_of(mode)}; left alone"


def _kind_on_store(path: Path) -> str | None:
    return FOLDER if path.is_dir() else None


def _real(path: Path) -> str:
    """The path without links; a loop of links stays as it is."""
    return str(path.resolve()) if is_remote(path) else os.path.realpath(path)


def _holds_rounds(folder: Path) -> bool:
    return os.path.lexists(folder / ROUNDS_MARK) if not is_remote(folder) else (folder / ROUNDS_MARK).exists()


def _expand(text: str) -> list[Path]:
    if text == STREAM:
        raise UsageError("`-` stands for one picture: write `rar restore - OUTPUT`")
    try:
        if (path := place(text)).exists() or os.path.lexists(text):
            return [path]
    except OSError:
        return [place(text)]  # reading it will report the fault, and other inputs go on
    if glob.has_magic(text) and not is_remote(text):
        return [Path(p) for p in sorted(glob.glob(text, recursive=True))]
    raise UsageError(f"{text}: no such file or folder")
