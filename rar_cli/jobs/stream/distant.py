"""The book of a run, used from other processes: each worker is connected to the process that leads the run.

A worker asks the leader before an output appears under its name. If the leader has died, the connection is cut, so an
orphaned worker writes nothing. Messages are JSON; nothing is unpickled.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from multiprocessing.connection import Client, Connection, Listener
from typing import Any

from rar_cli.errors import ImageError, UsageError
from rar_cli.jobs.logs.book import OwnBook, Standing, Stop
from rar_cli.jobs.stream.sinks import There
from rar_cli.report.record import PictureRecord, to_json


@dataclass(frozen=True)
class Line:
    """Where the leader listens, and the key that a worker shows."""

    host: str
    port: int
    key: bytes


class Leader:
    """The leader's end: answers from its own book. A part that is done again counts once."""

    def __init__(self, book: OwnBook, stop: Stop, host: str) -> None:
        self.book, self.stop = book, stop
        self.fault: BaseException | None = None
        self._lock = threading.Lock()
        self._announced: set[tuple[str | None, str | None]] = set()
        self._finished: set[tuple[str, str | None]] = set()
        self._answers: dict[str, Callable[..., Any]] = {
            "standing": self._standing, "replaces": self._replaces, "announce": self._announce, "finish": self._finish,
        }  # fmt: skip
        key = secrets.token_bytes(32)
        self._listener = Listener((host, 0), backlog=64, authkey=key)
        self.line = Line(host, self._listener.address[1], key)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Listen no longer."""
        self._listener.close()

    def raise_fault(self) -> None:
        """Raise what made the book useless, if anything did."""
        if self.fault is not None:
            raise self.fault

    def _accept(self) -> None:
        while True:
            try:
                connection = self._listener.accept()
            except OSError:
                return  # closed
            except Exception:  # a stranger, or a worker that died on the way
                continue
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: Connection) -> None:
        with connection, contextlib.suppress(EOFError, OSError):
            while True:
                question = json.loads(connection.recv_bytes())
                connection.send_bytes(to_json({**self._answer(question), "stop": self.stop.signal}).encode())

    def _answer(self, question: Mapping[str, Any]) -> dict[str, Any]:
        try:
            with self._lock:
                return {"answer": self._answers[question["ask"]](**question["about"])}
        except ImageError as error:
            return {"refused": str(error)}
        except Exception as error:  # the leader raises it where the run is led
            self.fault = self.fault or error
            return {"fault": str(error)}

    def _standing(self, output: str, there: Mapping[str, Any], input_sha256: str, options_sha256: str) -> str:
        return self.book.standing(output, There(**there), input_sha256, options_sha256).value

    def _replaces(self, output: str, there: Mapping[str, Any]) -> bool:
        return self.book.replaces(output, There(**there))

    def _announce(self, record: Mapping[str, Any]) -> None:
        known = PictureRecord.from_json(record)
        if (known.output, known.output_sha256) not in self._announced:
            self.book.announce(known)
            self._announced.add((known.output, known.output_sha256))

    def _finish(self, record: Mapping[str, Any]) -> None:
        known = PictureRecord.from_json(record)
        if (known.input, known.output) not in self._finished:
            self._finished.add((known.input, known.output))
            self.book.finish(known)


class DistantBook:
    """A worker's end."""

    def __init__(self, line: Line, stop: Stop) -> None:
        self.stop = stop
        self._lock = threading.Lock()  # reading and writing threads share the line
        self._connection = Client((line.host, line.port), authkey=line.key)

    def standing(self, output: str, there: There, input_sha256: str, options_sha256: str) -> Standing:
        """How an output stands, as the leader's logs have it."""
        about = {"output": output, "there": asdict(there)}
        digests = {"input_sha256": input_sha256, "options_sha256": options_sha256}
        return Standing(self._ask("standing", {**about, **digests}))

    def replaces(self, output: str, there: There) -> bool:
        """Whether what is there may be replaced."""
        return bool(self._ask("replaces", {"output": output, "there": asdict(there)}))

    def announce(self, record: PictureRecord) -> None:
        """Ask the leader to log an output before it is shown. Raises UsageError if the leader has died."""
        self._ask("announce", {"record": record.as_dict()})

    def finish(self, record: PictureRecord) -> None:
        """Hand in the record of a picture."""
        self._ask("finish", {"record": record.as_dict()})

    def _ask(self, what: str, about: Mapping[str, Any]) -> Any:
        try:
            with self._lock:
                self._connection.send_bytes(to_json({"ask": what, "about": about}).encode())
                reply = json.loads(self._connection.recv_bytes())
        except (EOFError, OSError) as error:
            raise UsageError("the run that this worker belongs to has ended") from error
        self.stop.signal = reply["stop"]
        if "refused" in reply:
            raise ImageError(reply["refused"])
        if "fault" in reply:
            raise UsageError(reply["fault"])
        return reply["answer"]


@contextlib.contextmanager
def serving(book: OwnBook, stop: Stop, host: str) -> Iterator[Leader]:
    """Answer workers for the while."""
    leader = Leader(book, stop, host)
    try:
        yield leader
    finally:
        leader.close()
