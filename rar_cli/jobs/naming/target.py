"""Target: OUTPUT as the user wrote it -> the places of all files of a run, and the outputs of earlier runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rar_cli.errors import UsageError
from rar_cli.jobs.logs import log
from rar_cli.jobs.logs.log import Known
from rar_cli.jobs.naming import names
from rar_cli.jobs.naming.names import Claim
from rar_cli.jobs.naming.plan import Shard, is_file_target
from rar_cli.jobs.naming.walk import ROUNDS_MARK, STREAM
from rar_cli.jobs.stream.sinks import Sink, There, digest_of, sink_for
from rar_cli.pictures.files import write_bytes
from rar_cli.pictures.remote import is_remote, place

if TYPE_CHECKING:
    from rar_cli.jobs.request import Request

ROUNDS = "rounds"
"""Folder of the round pictures, beside the outputs."""


@dataclass
class Target:
    """Where a run writes.

    text: OUTPUT as the user wrote it. root: the folder that outputs lie below, None for standard output. folder: the
    same where OUTPUT is a folder, None where it is one file. known: what earlier runs made there.
    """

    text: str
    root: Path | None
    folder: Path | None
    known: Known = field(default_factory=Known)
    _seen: dict[tuple[str, int, int], There] = field(default_factory=dict)

    @classmethod
    def of(cls, inputs: Sequence[str], output: str, log_path: Path | None = None) -> Target:
        """The target of a command line. Reads the logs of its folder and the one of --log."""
        if output == STREAM:
            return cls(output, None, None)
        if not output:  # an unset variable of a shell, not the working folder
            raise UsageError("OUTPUT is empty; name a file or a folder, or write . for this one")
        single = is_file_target(inputs, output)
        root = place(output).parent if single else place(output)
        logs = [] if log_path is None else [log_path]
        if not is_remote(root) and root.is_dir():
            logs += sorted(root.glob("rounds*.jsonl"))
        return cls(output, root, None if single else root, Known.read(logs))

    def log(self, path: Path | None, shard: Shard) -> Path | None:
        """The log to write: that of --log, else that of the folder. One file and standard output have none."""
        if path is not None or self.folder is None:
            return path
        if is_remote(self.folder):
            raise UsageError(f"{self.text}: name a local --log FILE; logs cannot grow on that file system")
        return self.folder / (log.NAME if shard.count == 1 else f"rounds.{shard.index}-of-{shard.count}.jsonl")

    def claims(self, request: Request) -> list[Claim]:
        """The files that a run writes beside its outputs."""
        path = self.log(request.log, request.shard)
        wanted = (
            (path, "--log", names.LOG), (request.report, "--report", names.REPORT),
            (request.profile, "--profile", names.TRACE),
        )  # fmt: skip
        return [Claim(each, option, kind) for each, option, kind in wanted if each is not None]

    @property
    def rounds(self) -> Path | None:
        """The folder of the round pictures."""
        return None if self.root is None else self.root / ROUNDS

    def rounds_sink(self) -> Sink | None:
        """The folder of round pictures. A mark shows that rar made all of it, so that none of it is an input."""
        if self.rounds is None:
            return None
        sink = sink_for(self.rounds, lambda name, there: True)
        write_bytes(
            b"Round pictures of rar: they may be replaced, and are not taken as inputs.\n", self.rounds / ROUNDS_MARK
        )
        return sink

    def look(self) -> Sink | None:
        """The sink of outputs, to look and not to write; None if nothing can be there yet."""
        if self.root is None or not self.root.is_dir():
            return None
        return sink_for(self.root, lambda name, there: False)

    def ours(self, path: Path) -> bool:
        """Whether rar made a file; it is read again only where its size or time has changed."""
        try:
            about = path.stat()
            key = (str(path), about.st_size, int(about.st_mtime * 1e9) if is_remote(path) else about.st_mtime_ns)
            if key not in self._seen:
                self._seen[key] = digest_of(path)
        except OSError:
            return False
        return self.known.made(str(path), self._seen[key])
