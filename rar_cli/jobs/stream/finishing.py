"""Finishing: an outcome -> the bytes of its file, its round pictures, its card in the report."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rar_cli.engine.restore import Outcome
from rar_cli.jobs.logs.book import Book
from rar_cli.jobs.stream.reading import Item
from rar_cli.jobs.stream.sinks import Sink
from rar_cli.pictures.encoding import encode_picture
from rar_cli.pictures.images import Picture, as_8_bit, image_to_picture
from rar_cli.report.figures import rounds_strip
from rar_cli.report.gallery import Gallery
from rar_cli.report.record import PictureRecord
from rar_cli.version import __version__


@dataclass
class Finish:
    """What is done with every outcome of a run.

    quality: of lossy formats, None for the default. provenance: name rar in what was restored. sink: where outputs
    go. rounds: where every round's picture goes. gallery: the report. Both are None where they are not wanted.
    """

    sink: Sink
    book: Book
    quality: int | None = None
    provenance: bool = True
    rounds: Sink | None = None
    gallery: Gallery | None = None

    def __call__(self, item: Item, outcome: Outcome, record: PictureRecord) -> PictureRecord:
        """Write one picture; the record with what was written.

        The line of the log is written between the bytes and their name, so that whatever bears the name is known.
        Raises ImageError where this picture cannot be written, UsageError where none can.
        """
        assert item.picture is not None
        finished, data, warnings = self._encoded(item, item.picture, outcome, record)
        rounds = [image_to_picture(image, item.picture) for image in outcome.images]
        record = record.written(len(data), hashlib.sha256(data).hexdigest(), warnings)

        def announce() -> None:
            nonlocal record
            if item.stamp is not None and item.stamp.lost:
                record = replace(record, warnings=(*record.warnings, *item.stamp.lost))
            self.book.announce(record)  # raises where this worker may not write: no round pictures then
            if self.rounds is not None and rounds:
                self._write_rounds(item, rounds, record)

        self.sink.put(item.job.relative, data, item.stamp, announce)
        if self.gallery is not None:
            small = [as_8_bit(each).pixels for each in (item.whole(), finished or item.whole(), *rounds)]
            self.gallery.add(record.as_dict(), small[0], small[1], small[2:])
        return record

    def _encoded(
        self, item: Item, picture: Picture, outcome: Outcome, record: PictureRecord
    ) -> tuple[Picture | None, bytes, tuple[str, ...]]:
        """(restored picture, None where the input is kept; bytes of its file; warnings)."""
        kind = item.job.format or picture.format
        if outcome.image is None and kind == picture.format:
            return None, item.bytes(), ()  # accepted as it is: the very bytes
        restored = None if outcome.image is None else self._signed(image_to_picture(outcome.image, picture), record)
        return restored, *encode_picture(restored or item.whole(), kind, self.quality)

    def _signed(self, restored: Picture, record: PictureRecord) -> Picture:
        """The picture, with rar and the rounds named in its metadata where that is wanted."""
        if not self.provenance:
            return restored
        best = record.best_round
        digest = str(record.weights_sha256)[:8]
        text = f"rar {__version__} ({record.weights} {digest}, {best} {'round' if best == 1 else 'rounds'})"
        return replace(restored, metadata=restored.metadata.with_provenance(text))

    def _write_rounds(self, item: Item, rounds: Sequence[Picture], record: PictureRecord) -> None:
        """Every round, and all of them in one labelled strip, under the full name of the output."""
        assert self.rounds is not None
        labels = [f"round {each['round']}: {each['score']:.0f} {each['verdict']}" for each in record.rounds]
        strip = rounds_strip([as_8_bit(each).pixels for each in (item.whole(), *rounds)], labels)
        pictures = {f"round{number}": each for number, each in enumerate(rounds, 1)}
        for label, picture in {**pictures, "rounds": Picture(strip, "PNG")}.items():
            data, _ = encode_picture(picture, "PNG")
            self.rounds.put(f"{item.job.relative}.{label}.png", data, None, lambda: None)
