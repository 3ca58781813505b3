"""Plan: inputs and OUTPUT -> a list of jobs, with every clash found before any work begins."""

from __future__ import annotations

import glob
import os
import re
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rar_cli.errors import UsageError
from rar_cli.jobs.naming.portable import folded, folds_case, name_fault
from rar_cli.jobs.naming.walk import STREAM, Found, Selection, find
from rar_cli.pictures.formats import FORMAT_SUFFIX, FORMATS, WRITABLE, WRITES, unwritable
from rar_cli.pictures.remote import is_remote, place


@dataclass(frozen=True)
class Job:
    """One picture to do. source, target: a path, or None for standard input or output.

    name: the input as the user knows it (log, messages). relative: its place below the output folder. fault: why it
    cannot be done, known before any work; such a job has no target.
    """

    source: Path | None
    target: Path | None
    name: str
    relative: str
    format: str | None
    fault: str | None = None

    @property
    def output(self) -> str | None:
        """The output as the user knows it, None where there is to be none."""
        if self.fault is not None:
            return None
        return STREAM if self.target is None else str(self.target)


Ours = Callable[[Path], bool]
"""Whether rar made a file."""


@dataclass(frozen=True)
class Naming:
    """How outputs are named. format: same, png, jpg, webp or tiff. suffix: added to the stem."""

    format: str = "same"
    suffix: str = ""

    def __post_init__(self) -> None:
        if self.format != "same" and self.format not in FORMAT_SUFFIX:
            raise UsageError(f"--format {self.format}: use same, {', '.join(FORMAT_SUFFIX)}")
        if Path(self.suffix + "x").name != self.suffix + "x" or {"\\", "\0"} & set(self.suffix):
            raise UsageError(f"--suffix {self.suffix}: is a part of a name, without slashes")

    def rename(self, relative: Path) -> tuple[Path, str]:
        """The output's relative path and format."""
        suffix = relative.suffix if self.format == "same" else FORMAT_SUFFIX[self.format]
        kind = FORMATS.get(suffix.lower(), "")
        if kind not in WRITABLE:
            suffix, kind = ".png", "PNG"
        return relative.with_name(relative.stem + self.suffix + suffix), kind


@dataclass(frozen=True)
class Shard:
    """Part `index` of `count`, from 1."""

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
        """Whether the group whose first picture has that relative name belongs to this shard."""
        return zlib.crc32(relative.encode("utf-8", "surrogateescape")) % self.count == self.index - 1


def plan(
    inputs: Sequence[str], output: str, naming: Naming, selection: Selection, ours: Ours = lambda output: False
) -> list[Job]:
    """The jobs for INPUT... OUTPUT, in order. A file that cannot be read is a job with its fault.

    ours: whether rar made a file. Outputs in a folder of inputs are no inputs where rar made them, so that
    `rar restore photos photos --suffix _r` takes only what is new. Raises UsageError on clashes, on names that cannot
    be, or where nothing is found.
    """
    for name in inputs:
        selection.leftovers.add_beside(name)
    try:
        if is_file_target(inputs, output):
            return [_single(inputs[0], output, naming)]
        if STREAM in (*inputs, output):
            raise UsageError("`-` stands for one picture: write `rar restore - OUTPUT` or `rar restore INPUT -`")
        folder = place(output)
        if not folder.is_dir() and (folder.exists() or _names_a_picture(output)):
            raise UsageError(f"{output}: is a file; several pictures need a folder as OUTPUT, with / at its end")
        jobs = [_job(found, folder, naming) for found in find(inputs, selection, outside=folder)]
        jobs = _without_outputs(jobs, ours)
        _refuse_clashes(jobs, root := _real(folder))
        jobs = _failing_alone(jobs, root)
    except OSError as error:
        raise UsageError(f"{error.filename or output}: cannot be used ({error.strerror or error})") from error
    return jobs


def _job(found: Found, folder: Path, naming: Naming) -> Job:
    if found.fault is not None:
        return Job(found.source, None, str(found.source), found.relative.as_posix(), None, found.fault)
    renamed, kind = naming.rename(found.relative)
    return Job(found.source, folder / renamed.as_posix(), str(found.source), renamed.as_posix(), kind)


def _without_outputs(jobs: Sequence[Job], ours: Ours) -> list[Job]:
    """The jobs whose input is not an output of another one that rar made before."""
    targets = {_real(job.target) for job in jobs if job.target is not None}
    return [
        job for job in jobs
        if job.source is None or job.fault or _real(job.source) not in targets or not ours(job.source)
    ]  # fmt: skip


def _names_a_picture(output: str) -> bool:
    """Whether OUTPUT reads like the name of one picture."""
    return not output.endswith(("/", os.sep)) and Path(output).suffix.lower() in FORMATS


def is_file_target(inputs: Sequence[str], output: str) -> bool:
    """Whether OUTPUT is one file or standard output, rather than a folder."""
    if len(inputs) != 1:
        return False
    if output == STREAM:
        return True
    source = inputs[0]
    if source != STREAM and (glob.has_magic(source) and not place(source).exists() or place(source).is_dir()):
        return False
    suffix = Path(output).suffix
    if place(output).is_dir() or output.endswith(("/", os.sep)):
        return False
    row = WRITES.get(suffix.lower())
    if row and row.module and (reason := unwritable(row)):
        raise UsageError(f"{output}: {reason}")
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
    if path and not path.is_file():
        raise UsageError(f"{source}: is no file; write `rar restore - OUTPUT` to read from a pipe")
    if path and target and _same(path, target):
        raise UsageError(f"{output}: is the input itself; choose another OUTPUT")
    wanted = naming.format if naming.format != "same" else ""
    kind: str | None = FORMATS[FORMAT_SUFFIX[wanted]] if wanted else None
    if target is not None and not wanted:
        kind = FORMATS[target.suffix.lower()]
    return Job(path, target, source, target.name if target else STREAM, kind)


def _same(path: Path, target: Path) -> bool:
    """Whether both are one file, by whatever name."""
    if is_remote(path) or is_remote(target):
        return str(path) == str(target)
    return target.exists() and os.path.samefile(path, target)


def _refuse_clashes(jobs: Sequence[Job], root: str) -> None:
    """Raise UsageError where the names alone, below OUTPUT, clash with each other or with an input."""
    owners: dict[str, Job] = {}
    folds = any(folds_case(job.target) for job in jobs[:1] if job.target is not None)
    for job in jobs:
        if job.target is None:
            continue
        plain = _plain(job, root)
        other = owners.setdefault(folded(plain) if folds else plain, job)
        if other is not job:
            raise UsageError(
                f"{other.name} and {job.name} would both become {job.target}: "
                "keep --format same, or restore them into two folders"
            )
        if job.source is not None and plain == _real(job.source):
            raise UsageError(f"{job.target}: would overwrite an input; choose another OUTPUT or a --suffix")


def _failing_alone(jobs: Sequence[Job], root: str) -> list[Job]:
    """The jobs; one whose output cannot have its name, or leads to a file of another job, has a fault instead."""
    sources = {_real(job.source) for job in jobs if job.source is not None}
    owners = Counter(_real(job.target) for job in jobs if job.target is not None)

    def fault_of(job: Job, target: Path) -> str | None:
        real = _real(target)
        if real in sources:  # a photograph, or an output that was edited
            return "is an input too; choose another OUTPUT or --suffix"
        if owners[real] > 1 and real != _plain(job, root):
            return "leads by a link to the output of another input; remove the link or choose another OUTPUT"
        return name_fault(job.relative, str(target))

    faults = [None if job.target is None else fault_of(job, job.target) for job in jobs]
    return [
        job if fault is None else replace(job, target=None, fault=f"{job.target}: {fault}")
        for job, fault in zip(jobs, faults, strict=True)
    ]


def _plain(job: Job, root: str) -> str:
    """Where an output goes if no link lies below OUTPUT, whose real path is `root`."""
    return str(job.target) if is_remote(root) else os.path.join(root, os.path.normpath(job.relative))


def _real(path: Path) -> str:
    return str(path) if is_remote(path) else os.path.realpath(path)
