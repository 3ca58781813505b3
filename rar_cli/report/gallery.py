"""Gallery: collects pictures during a run, then writes one page that needs no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray

from rar_cli.pictures.files import write_bytes
from rar_cli.report.cards import Card, card_of, place, point_out
from rar_cli.report.tables import common_folder
from rar_cli.report.text import printable
from rar_cli.report.views import Budget, change
from rar_cli.report.words import EVERYTHING, Choice, band, lasted
from rar_cli.version import __version__

Pixels = NDArray[np.uint8]

MOST = 500
"""Most pictures shown; of a longer run the first ones, and every failure by name."""


class Gallery:
    """Collects records with their pictures, then writes the page.

    expected: how many pictures will come; the fewer, the finer each is shown. choice: what was to be removed.
    """

    def __init__(self, title: str, expected: int = MOST, choice: Choice = EVERYTHING) -> None:
        self.title, self.choice = title, choice
        self.budget = Budget(min(expected, MOST))
        self.cards: list[Card] = []
        self.counts: dict[str, int] = {}
        self.scores: list[tuple[float, float]] = []
        self.unseen = 0

    def add(
        self,
        record: Mapping[str, Any],
        before: Pixels,
        after: Pixels,
        rounds: Sequence[Pixels] = (),
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """One restored or accepted picture; pixels (h, w, 3) uint8. metrics: figures against a reference."""
        self.scores.append((record["score_before"], record["score_after"]))
        card = card_of(record, self.choice)
        self._count(card.word)
        if len(self.cards) - self.counts.get("failed", 0) >= MOST:
            self.unseen += 1
            return
        card.change = change(before, after)
        card.metrics = dict(metrics or {})
        card.views = self.budget.views(before, after, rounds)
        self.cards.append(card)

    def add_other(self, record: Mapping[str, Any]) -> None:
        """A picture that failed or was done before: counted, failures shown by their reason."""
        if record["status"] != "failed":
            self._count("done before")
            return
        self._count("failed")
        self.cards.append(card_of(record, self.choice))

    def write(self, path: Path, seconds: float, megapixels: float) -> None:
        """Render and write the page, atomically. Raises ImageError where it cannot be written."""
        names = [str(card.record["input"]) for card in self.cards]
        folder = common_folder(names)
        for number, (card, name) in enumerate(zip(self.cards, names, strict=True)):
            card.number = number
            card.name = printable(name.removeprefix(folder))
            place(card, path.absolute())
        point_out(self.cards)
        page = (
            _environment()
            .get_template("report.html")
            .render(
                title=printable(self.title),
                folder=printable(folder),
                version=__version__,
                cards=self.cards,
                groups=_groups(self.cards),
                headline=_headline(self.counts),
                lede=_lede(self.counts, self.scores),
                counts=self.counts,
                kinds=list(dict.fromkeys(card.word for card in self.cards)),
                degradations=sorted({name for card in self.cards for name in card.names}),
                unseen=self.unseen,
                took=lasted(seconds),
                pace=megapixels / max(seconds, 1e-9),
            )
        )
        write_bytes(page.encode("utf-8", "backslashreplace"), path)

    def _count(self, word: str) -> None:
        self.counts[word] = self.counts.get(word, 0) + 1


GRAVITY = ("failed", "put back", "last round put back", "changed most", "gained least")


def _groups(cards: Sequence[Card]) -> list[tuple[str, str, list[Card]]]:
    """(id, heading, cards): what needs an eye, the gravest first, and all others as they were done."""
    eye = sorted((card for card in cards if card.eye), key=lambda card: GRAVITY.index(card.eye[0]))
    rest = [card for card in cards if not card.eye]
    return [("eye", "Needs your eye", eye), ("rest", "All others" if eye else "All pictures", rest)]


def _headline(counts: Mapping[str, int]) -> str:
    """ "7 of 8 pictures restored"."""
    total = sum(counts.values())
    restored = counts.get("restored", 0)
    return f"{restored} of {total} picture{'' if total == 1 else 's'} restored"


def _lede(counts: Mapping[str, int], scores: Sequence[tuple[float, float]]) -> str:
    """One or two sentences: the others, and how the score went on average."""
    others = [f"{number} {word}" for word, number in counts.items() if word != "restored"]
    sentences = [f"{', '.join(others)}."] if others else []
    if scores:
        before, after = (float(value) for value in np.mean(scores, axis=0))
        went = f"from {band(before)} ({before:.0f}) to {band(after)} ({after:.0f})"
        sentences.append(f"The mean score went {went} of 100.")
    return " ".join(sentences)


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("rar_cli.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
