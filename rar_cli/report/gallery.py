"""Gallery: before and after in small, kept while a run goes on, and the one page made of them.

The page is self-contained: it asks nothing of anywhere. Pictures sit in it as inert data and are
shown as they scroll into view, so that a page of 500 opens at once.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray
from PIL import Image

from rar_cli.pictures.files import write_bytes
from rar_cli.report.text import printable
from rar_cli.report.words import describe, outcome
from rar_cli.version import __version__

Pixels = NDArray[np.uint8]

MOST = 500
"""Most pictures shown; of a longer run the first ones, and every failure by name."""

THUMB_PX = 440
DETAIL_PX = 128
ROUND_PX = 160
BINS = 20


class Gallery:
    """Collects records with thumbnails, then writes the page."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.cards: list[dict[str, Any]] = []
        self.failures: list[dict[str, str]] = []
        self.counts: dict[str, int] = {}
        self.before: list[float] = []
        self.after: list[float] = []

    def add(
        self,
        record: Mapping[str, Any],
        before: Pixels,
        after: Pixels,
        rounds: Sequence[Pixels] = (),
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """One restored or accepted picture; pixels (h, w, 3) uint8. metrics: figures against a reference."""
        self._count(record)
        self.before.append(record["score_before"])
        self.after.append(record["score_after"])
        if len(self.cards) >= MOST:
            return
        self.cards.append(
            {
                "name": printable(record["input"]),
                "status": record["status"],
                "outcome": outcome(record),
                "best": record["best_round"],
                "score_before": record["score_before"],
                "score_after": record["score_after"],
                "gain": round(record["score_after"] - record["score_before"], 2),
                "size": f"{record['width']} x {record['height']}",
                "found": describe(record["rounds"][0]["degradations"]),
                "main": _main(record["rounds"][0]["degradations"]),
                "rounds": record["rounds"],
                "reason": record["rounds"][-1]["reason"],
                "metrics": dict(metrics or {}),
                "aspect": f"{before.shape[1]} / {before.shape[0]}",
                "pictures": _pictures(before, after, rounds),
            }
        )

    def add_other(self, record: Mapping[str, Any]) -> None:
        """A picture that failed or was skipped: counted, failures named."""
        self._count(record)
        if record["error"]:
            self.failures.append({"name": printable(record["input"]), "error": printable(record["error"])})

    def write(self, path: Path, seconds: float, megapixels: float) -> None:
        """Render and write the page, atomically. Raises ImageError where it cannot be written."""
        environment = Environment(
            loader=PackageLoader("rar_cli.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )
        page = environment.get_template("report.html").render(
            title=printable(self.title),
            version=__version__,
            cards=self.cards,
            failures=self.failures,
            counts=self.counts,
            histogram=_histogram(self.before, self.after),
            degradations=sorted({card["main"] for card in self.cards if card["main"]}),
            unseen=len(self.before) - len(self.cards),
            mean_before=_mean(self.before),
            mean_after=_mean(self.after),
            seconds=seconds,
            pace=megapixels / max(seconds, 1e-9),
        )
        write_bytes(page.encode("utf-8", "backslashreplace"), path)

    def _count(self, record: Mapping[str, Any]) -> None:
        self.counts[record["status"]] = self.counts.get(record["status"], 0) + 1


def _main(severities: Mapping[str, float]) -> str:
    """The strongest degradation found, by its plain name; empty where nothing stands out."""
    name, severity = max(severities.items(), key=lambda pair: pair[1])
    return name.replace("_", " ") if severity >= 0.12 else ""


def _pictures(before: Pixels, after: Pixels, rounds: Sequence[Pixels]) -> dict[str, Any]:
    """Data URIs: before and after, the place of greatest change at full size, each round."""
    top, left, side = _greatest_change(before, after)
    detail = (slice(top, top + side), slice(left, left + side))
    return {
        "before": _uri(before, THUMB_PX),
        "after": _uri(after, THUMB_PX),
        "detail_before": _uri(before[detail], DETAIL_PX),
        "detail_after": _uri(after[detail], DETAIL_PX),
        "rounds": [_uri(image, ROUND_PX) for image in rounds],
    }


def _greatest_change(before: Pixels, after: Pixels) -> tuple[int, int, int]:
    """(top, left, side) of the square in which the two differ most."""
    height, width = before.shape[:2]
    side = min(DETAIL_PX, height, width)
    change = np.abs(before.astype(np.int16) - after.astype(np.int16)).mean(axis=2).astype(np.float32)
    box = cv2.boxFilter(change, -1, (side, side), anchor=(0, 0), borderType=cv2.BORDER_CONSTANT)
    valid = box[: height - side + 1, : width - side + 1]
    top, left = np.unravel_index(int(valid.argmax()), valid.shape)
    return int(top), int(left), side


def _uri(pixels: Pixels, longest_px: int) -> str:
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.thumbnail((longest_px, longest_px), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=70)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def _histogram(before: Sequence[float], after: Sequence[float]) -> list[dict[str, float]]:
    """Shares of the tallest bar per bin of five points, before and after."""
    counts = [np.histogram(values, bins=BINS, range=(0, 100))[0] for values in (before, after)]
    most = max(1, int(max(c.max() for c in counts)))
    return [
        {"from": i * 100 // BINS, "before": int(b), "after": int(a), "b": b / most, "a": a / most}
        for i, (b, a) in enumerate(zip(*counts, strict=True))
    ]


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
