"""Records -> what the report says of each picture: words, links, and which ones need an eye."""

from __future__ import annotations

import math
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rar_cli.report.views import Views
from rar_cli.report.words import NOTICED, Choice, Step, band, describe, outcome, plain, steps

Record = Mapping[str, Any]

KINDS = {"restored": "restored", "accepted": "left alone", "back": "put back", "failed": "failed"}
"""What a card is, and the word for it."""

EYE_SHARE = 0.1
"""Of the restored pictures, those that changed most and those that gained least need an eye,"""
EYE_MOST = 5
"""of each at most so many,"""
EYE_FROM = 6
"""and of fewer than so many pictures none: they are seen at once."""


@dataclass
class Card:
    """One picture of the page. links, shell: see `place`. eye: why it needs an eye, the gravest first."""

    record: Record
    kind: str
    sentence: str
    views: Views | None = None
    change: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)
    name: str = ""
    number: int = 0
    eye: list[str] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)
    shell: dict[str, str] = field(default_factory=dict)

    @property
    def word(self) -> str:
        """The kind in words."""
        return KINDS[self.kind]

    @property
    def aspect(self) -> float:
        """Width over height; 1.5 where nothing is known."""
        width, height = self.record["width"], self.record["height"]
        return round(width / height, 4) if width and height else 1.5

    @property
    def steps(self) -> tuple[Step, ...]:
        """Its rounds in words."""
        return steps(self.record)

    @property
    def found(self) -> str:
        """What the input showed, in words."""
        return describe(self.record["rounds"][0]["degradations"]) if self.record["rounds"] else ""

    @property
    def names(self) -> tuple[str, ...]:
        """Plain names of what the input showed."""
        rounds = self.record["rounds"]
        return tuple(plain(n) for n, s in rounds[0]["degradations"].items() if s >= NOTICED) if rounds else ()

    @property
    def bands(self) -> tuple[str, str]:
        """Bands of the score before and after; empty where there is none."""
        before, after = self.record["score_before"], self.record["score_after"]
        return ("", "") if before is None or after is None else (band(before), band(after))

    @property
    def gain(self) -> float:
        """In dB where the rounds tell it, else of the score; infinite where no round is kept."""
        if self.kind != "restored":
            return math.inf
        found = [step.found_db for step in self.steps if step.kept and step.found_db is not None]
        return sum(found) if found else self.record["score_after"] - self.record["score_before"]


def card_of(record: Record, choice: Choice) -> Card:
    """The words of one record; its pictures come later."""
    kind = {"failed": "failed", "restored": "restored"}.get(record["status"], "accepted")
    if kind != "failed" and record["stop"] == "revert":
        kind = "back" if record["best_round"] == 0 else kind
    sentence = outcome(record, choice).replace("->", "\N{RIGHTWARDS ARROW}")
    return Card(record, kind, sentence[:1].upper() + sentence[1:])


def point_out(cards: Sequence[Card]) -> None:
    """Say of each card why it needs an eye: failed, put back, changed most, gained least."""
    for card in cards:
        card.eye = [card.word] if card.kind in {"failed", "back"} else []
        if card.kind == "restored" and card.record["stop"] == "revert":
            card.eye.append("last round put back")
    restored = [card for card in cards if card.kind == "restored"]
    if len(restored) < EYE_FROM:
        return
    count = min(math.ceil(EYE_SHARE * len(restored)), EYE_MOST)
    for card in sorted(restored, key=lambda card: -card.change)[:count]:
        card.eye.append("changed most")
    for card in sorted(restored, key=lambda card: card.gain)[:count]:
        card.eye.append("gained least")


def place(card: Card, page: Path) -> None:
    """Links from the page to the files on disk, and their names as a shell takes them."""
    for end, key in (("before", "input"), ("after", "output")):
        name = card.record.get(key)
        if not name or name == "-" or not os.path.isfile(name):
            continue
        card.links[end] = _link(name, page)
        card.shell[end] = shell_quoted(os.path.abspath(name))


def shell_quoted(name: str) -> str:
    """A file name as one word for a POSIX shell; control characters and undecodable bytes in $'...'."""
    if name.isprintable():
        return shlex.quote(name)
    parts = re.split(r"([^ -~]|['\\])", name)
    return "$'" + "".join(_escaped(part) for part in parts) + "'"


def _escaped(part: str) -> str:
    if part in {"'", "\\"}:
        return "\\" + part
    if part.isascii() and (part == "" or part.isprintable()):
        return part
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(part))


def _link(name: str, page: Path) -> str:
    """Relative to the page where it can be, so that both may move together."""
    try:
        relative = os.path.relpath(name, page.parent)
    except ValueError:  # another drive
        return Path(name).absolute().as_uri()
    return quote(os.fsencode(relative.replace(os.sep, "/")))
