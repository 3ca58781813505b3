"""What `restore` and `assess` return: a picture, its record, and words for people."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from rar_cli.api.sources import Given, no_zero_in, path_text
from rar_cli.errors import UsageError
from rar_cli.pictures.encoding import encode_picture
from rar_cli.pictures.files import write_bytes
from rar_cli.pictures.formats import WRITES
from rar_cli.pictures.images import Picture, as_8_bit
from rar_cli.pictures.remote import place
from rar_cli.report.record import AssessmentRecord, PictureRecord
from rar_cli.report.views import uri
from rar_cli.report.words import EVERYTHING, Choice, band, banded, follows, outcome, steps_line
from rar_cli.types import Round
from rar_cli.version import __version__

SHOWN_PX = 360
"""Longest side of a picture in a notebook."""


@dataclass(frozen=True, repr=False, eq=False)
class Restored:
    """One picture after `restore`. If it was left alone, `picture` is the input.

    record: as `rar restore --json` has it. Its warnings say what of the input cannot be kept. rounds: assessment and
    decision of each, the input first. round_pictures: after each round, if they were kept.
    """

    given: Given
    result: Picture
    record: PictureRecord
    rounds: tuple[Round, ...]
    round_pictures: tuple[Picture, ...] = ()
    choice: Choice = field(default=EVERYTHING)

    @property
    def accepted(self) -> bool:
        """Whether the picture was left as it is."""
        return self.result is self.given.picture

    @property
    def score(self) -> float:
        """Quality after restoring, 0 to 100, higher is better."""
        return float(self.record.score_after or 0.0)

    @property
    def picture(self) -> Any:
        """The picture as it was given: a tensor for a tensor, an array for an array, else a PIL picture."""
        if self.given.kind == "tensor":
            return self.tensor[: self.given.channels]
        return self.array if self.given.kind == "array" else self.image

    @property
    def image(self) -> Image.Image:
        """A PIL picture, 8 bits for each colour."""
        return _pil(self.result)

    @property
    def array(self) -> NDArray[Any]:
        """(h, w, c) in the depth and with the channels of the input; (h, w) where it was given so."""
        pixels = self.result.pixels[..., :1] if self.result.grey else self.result.pixels
        if self.result.alpha is not None:
            pixels = np.dstack([pixels, self.result.alpha])
        flat = self.given.kind == "array" and self.given.channels == 0
        whole = np.ascontiguousarray(pixels[..., 0] if flat else pixels)
        return whole.astype(self.given.dtype, copy=False) if isinstance(self.given.dtype, np.dtype) else whole

    @property
    def tensor(self) -> Tensor:
        """(3, h, w), uint8 or uint16 at full range, or float in [0, 1], as the input is."""
        whole = torch.from_numpy(np.ascontiguousarray(self.result.pixels).copy()).permute(2, 0, 1).contiguous()
        return whole.to(self.given.dtype) if isinstance(self.given.dtype, torch.dtype) else whole

    def save(self, path: str | os.PathLike[str], quality: int | None = None) -> Path:
        """Write the picture with its metadata, atomically, in the format of the ending; returns the path.

        A picture that was left alone and keeps its format is copied byte for byte. quality: 1 to 100, of lossy formats.
        Raises UsageError for an unknown ending, ImageError if the file cannot be written.
        """
        if not isinstance(path, str | os.PathLike):
            raise UsageError(f"save: a path is needed, got {type(path).__name__}")
        no_zero_in(path)
        if quality is not None and not (type(quality) is int and 1 <= quality <= 100):
            raise UsageError(f"save: quality is a whole number from 1 to 100, got {quality!r}")
        target = place(path_text(path))
        row = WRITES.get(target.suffix.lower())
        if row is None:
            known = ", ".join(WRITES)
            raise UsageError(f"{target}: {target.suffix or 'no ending'} is none that rar writes; use {known}")
        if self.accepted and self.given.data is not None and row.name == self.given.picture.format:
            data = self.given.data
        else:
            data, _ = encode_picture(self.result if self.accepted else self._signed(), row.name, quality)
        write_bytes(data, target)
        return target

    def _signed(self) -> Picture:
        best = self.record.best_round
        text = (
            f"rar {__version__} ({self.record.weights or 'own weights'}, {best} {'round' if best == 1 else 'rounds'})"
        )
        return replace(self.result, metadata=self.result.metadata.with_provenance(text))

    def __repr__(self) -> str:
        height, width = self.result.size
        before, after = float(self.record.score_before or 0.0), self.score
        score = banded(before) if self.accepted else f"{banded(before)} -> {banded(after)}"
        said = outcome(self.record.as_dict(), self.choice)
        return f"<Restored {self.record.input}, {width}x{height}: {said}; {score}>"

    def _repr_html_(self) -> str:
        """Before, each round, after."""
        if self.accepted:
            pictures = [("as it is", self.result)]
        else:
            between = [(f"step {n}", each) for n, each in enumerate(self.round_pictures, 1)]
            between = [] if len(between) < 2 else between
            pictures = [("before", self.given.picture), *between, ("after", self.result)]
        said = outcome(self.record.as_dict(), self.choice)
        line = steps_line(self.record.as_dict(), "→")
        words = [f"{said[:1].upper()}{said[1:]}.", *([line] if line else []), f"Score {banded(self.score)}."]
        return _shown(pictures, words)


@dataclass(frozen=True, repr=False, eq=False)
class Assessed:
    """One picture after `assess`. record: as `rar assess --json` has it."""

    given: Given
    record: AssessmentRecord
    choice: Choice = field(default=EVERYTHING)

    @property
    def score(self) -> float:
        """Quality, 0 to 100, higher is better."""
        return float(self.record.score or 0.0)

    @property
    def band(self) -> str:
        """The score in words: poor, fair, good or very good."""
        return band(self.score)

    @property
    def degradations(self) -> dict[str, float]:
        """Severity in [0, 1] by name."""
        return dict(self.record.degradations or {})

    @property
    def description(self) -> str:
        """The degradations, in words."""
        return self.record.description or ""

    @property
    def follows(self) -> str:
        """What `restore` would do, and why, in words."""
        return follows(self.record.as_dict(), self.choice)

    def __repr__(self) -> str:
        return f"<Assessed {self.record.input}: {banded(self.score)}; {self.description}; {self.follows}>"

    def _repr_html_(self) -> str:
        return _shown([("", self.given.picture)], [f"{banded(self.score)}; {self.description}; {self.follows}."])


def _pil(picture: Picture) -> Image.Image:
    narrow = as_8_bit(picture)
    image = Image.fromarray(np.ascontiguousarray(narrow.pixels[..., 0] if narrow.grey else narrow.pixels))
    if narrow.alpha is not None:
        image.putalpha(Image.fromarray(np.ascontiguousarray(narrow.alpha)))
    if picture.metadata.icc:
        image.info["icc_profile"] = picture.metadata.icc
    if picture.metadata.exif:
        image.info["exif"] = picture.metadata.exif
    return image


def _shown(pictures: Sequence[tuple[str, Picture]], words: Sequence[str]) -> str:
    figures = "".join(
        f'<figure style="margin:0"><img alt="{escape(label)}" src="{uri(as_8_bit(picture).pixels, SHOWN_PX, 85)}">'
        f"<figcaption>{escape(label)}</figcaption></figure>"
        for label, picture in pictures
    )
    text = "<br>".join(escape(line) for line in words)
    return f'<div><div style="display:flex;flex-wrap:wrap;gap:8px">{figures}</div><p>{text}</p></div>'
