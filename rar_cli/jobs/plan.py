"""Plan: inputs and OUTPUT -> a list of jobs, with every clash found before any work begins."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rar_cli.errors import UsageError
from rar_cli.pictures.images import FORMATS, WRITABLE
from rar_cli.pictures.remote import below, is_remote, place

STREAM = "-"
SYSTEM_FILES = ("._*", ".DS_Store", "Thumbs.db", "desktop.ini", ".rar-*")
FORMAT_SUFFIX = {"png": ".png", "jpg": ".jpg", "webp": ".webp", "tiff": ".tiff"}


@dataclass(frozen=True)
class Job:
    """One picture to do. source, target: a path, or None for standard input or output.

    name: the input as the user knows it (log, messages). relative: its place below the output folder.
    """

    source: Path | None
    target: Path | None
    name: str
    relative: str
    format: str | None

    @property
    def output(self) -> str:
        """The output as the user knows it."""
        return STREAM if self.target is None else str(self.target)


@dataclass(frozen=True)
class Naming:
    """How outputs are named. format: same, png, jpg, webp or tiff. suffix: added to the stem."""

    format: str = "same"
    suffix: str = ""

    def __post_init__(self) -> None:
        if self.format != "same" and self.format not in FORMAT_SUFFIX:
            raise UsageError(f"--format {self.format}: use same, {', '.join(FORMAT_SUFFIX)}")

    def rename(self, relative: Path) -> tuple[Path, str]:
        """The output's relative path and format."""
        suffix = relative.suffix if self.format == "same" else FORMAT_SUFFIX[self.format]
        kind = FORMATS.get(suffix.lower(), "")
        if kind not in WRITABLE:
            suffix, kind = ".png", "PNG"
        return relative.with_name(relative.stem + self.suffix + suffix), kind


@dataclass(frozen=True)
class Shard:
    """Part `index` of `count`, from 1; membership depends on the name alone."""

    index: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """ "2/8" -> Shard(2, 8)."""
        try:
            index, count = (int(part) for part in text.split("/"))
        except ValueError as error:
            raise UsageError(f"--shard {text}: write I/N, such as 2/8") from error
        if not 1 <= index <= count:
            raise UsageError(f"--shard {text}: I must lie in 1..N")
        return cls(index, count)

    def holds(self, relative: str) -> bool:
        """Whether the picture of that relative name belongs to this shard."""
        return zlib.crc32(relative.encode("utf-8", "surrogateescape")) % self.count == self.index - 1


@dataclass(frozen=True)
class Selection:
    """Which files of a folder count."""

    recursive: bool = False
    exclude: tuple[str, ...] = ()
    shard: Shard = Shard()

    def takes(self, relative: Path) -> bool:
        """Whether a file found in a folder is a picture that is wanted."""
        if relative.suffix.lower() not in FORMATS:
            return False
        if any(fnmatch.fnmatch(relative.name, pattern) for pattern in SYSTEM_FILES):
            return False
        return not any(
            fnmatch.fnmatch(relative.name, p) or fnmatch.fnmatch(relative.as_posix(), p) for p in self.exclude
        )


def plan(inputs: Sequence[str], output: str, naming: Naming, selection: Selection) -> list[Job]:
    """The jobs for INPUT... OUTPUT, in order. Raises UsageError on clashes or where nothing is found."""
    if len(inputs) == 1 and _is_file_target(inputs[0], output):
        return [_single(inputs[0], output, naming)]
    if STREAM in (*inputs, output):
        raise UsageError("`-` stands for one picture: write `rar restore - OUTPUT` or `rar restore INPUT -`")
    folder = place(output)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{output}: is a file; several pictures need a folder as OUTPUT")
    jobs = []
    for source, relative in find(inputs, selection, outside=folder):
        renamed, kind = naming.rename(relative)
        jobs.append(Job(source, folder / renamed.as_posix(), str(source), renamed.as_posix(), kind))
    _refuse_clashes(jobs)
    return [job for job in jobs if selection.shard.holds(job.relative)]


def find(inputs: Sequence[str], selection: Selection, outside: Path | None = None) -> Iterator[tuple[Path, Path]]:
    """(file, its path relative to the input it came from), sorted; named files are always taken.

    outside: a folder that is not entered, so that outputs inside an input are not read again.
    """
    found = False
    for text in inputs:
        for path in _expand(text):
            if path.is_dir():
                for source in _walk(path, selection, outside):
                    found = True
                    yield source, below(source, path)
            else:
                found = True
                yield path, Path(path.name)
    if not found:
        advice = "" if selection.recursive else " (folders are read one level deep without --recursive)"
        raise UsageError(f"{', '.join(inputs)}: no pictures found{advice}")


def _is_file_target(source: str, output: str) -> bool:
    if output == STREAM:
        return True
    if source != STREAM and (glob.has_magic(source) and not place(source).exists() or place(source).is_dir()):
        return False
    suffix = Path(output).suffix
    if place(output).is_dir() or output.endswith(("/", os.sep)):
        return False
    if re.fullmatch(r"\.[A-Za-z]\w{1,4}", suffix) and suffix.lower() not in FORMATS:
        known = ", ".join(dict.fromkeys(ending for ending, kind in FORMATS.items() if kind in WRITABLE))
        raise UsageError(f"{output}: {suffix} is no ending rar writes; use {known}, or a folder with / at its end")
    return suffix.lower() in FORMATS


def _single(source: str, output: str, naming: Naming) -> Job:
    path = None if source == STREAM else place(source)
    target = None if output == STREAM else place(output)
    if path and not path.exists():
        raise UsageError(f"{source}: no such file or folder")
    if path and path.is_dir():
        raise UsageError(f"{source}: is a folder; give a folder as OUTPUT")
    if path and target and target.exists() and target.resolve() == path.resolve():
        raise UsageError(f"{output}: is the input itself; choose another OUTPUT")
    wanted = naming.format if naming.format != "same" else ""
    kind: str | None = FORMATS[FORMAT_SUFFIX[wanted]] if wanted else None
    if target is not None and not wanted:
        kind = FORMATS[target.suffix.lower()]
    return Job(path, target, source, target.name if target else STREAM, kind)


def _expand(text: str) -> list[Path]:
    if text != STREAM and (path := place(text)).exists():
        return [path]
    if glob.has_magic(text) and not is_remote(text):
        return [Path(p) for p in sorted(glob.glob(text, recursive=True))]
    if text == STREAM:
        raise UsageError("`-` stands for one picture: write `rar restore - OUTPUT`")
    raise UsageError(f"{text}: no such file or folder")


def _walk(folder: Path, selection: Selection, outside: Path | None) -> Iterator[Path]:
    """Pictures below a folder, sorted; links to folders are followed once each, never in circles."""
    avoid = outside.resolve() if outside is not None else None
    seen = {folder.resolve()}
    if avoid in seen and not selection.recursive:
        avoid = None  # IN and OUT are the same folder: clashes are reported as such
    pending = [folder]
    while pending:
        here = pending.pop()
        try:
            entries = sorted(here.iterdir(), key=lambda entry: entry.name)
        except OSError as error:
            raise UsageError(f"{here}: cannot be read ({error.strerror})") from error
        deeper = []
        for entry in entries:
            if entry.is_dir():
                real = entry.resolve()
                if selection.recursive and real not in seen and real != avoid:
                    seen.add(real)
                    deeper.append(entry)
            elif selection.takes(below(entry, folder)) and entry.is_file():
                yield entry
        pending.extend(reversed(deeper))


def _refuse_clashes(jobs: Sequence[Job]) -> None:
    owners: dict[Path, Job] = {}
    sources = {job.source.resolve() for job in jobs if job.source is not None}
    for job in jobs:
        assert job.target is not None
        other = owners.setdefault(job.target, job)
        if other is not job:
            raise UsageError(
                f"{other.name} and {job.name} would both become {job.target}: "
                "keep --format same, or restore them into two folders"
            )
        if job.target.exists() and job.target.resolve() in sources:
            raise UsageError(f"{job.target}: would overwrite an input; choose another OUTPUT or a --suffix")
