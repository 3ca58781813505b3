"""Records -> the words people read: bands, what was removed, what happened, the closing line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rar_cli.types import Round

Record = Mapping[str, Any]

WORDS = ((0.12, ""), (0.35, "slight"), (0.65, "moderate"), (1.01, "heavy"))
"""Severity up to ... is called ...; below the first it goes unmentioned."""

NOTICED = WORDS[0][0]

BANDS = ((40.0, "poor"), (60.0, "fair"), (80.0, "good"), (100.01, "very good"))
"""Score below ... is called ..."""

GOOD = ("good", "very good")
"""Bands in which a picture may be called good."""

FELL = 0.08
"""By how much a severity falls in a round that removed it, where the record names no plan."""

MOST_NAMES = 3


LITTLE_DB = 0.5
"""An expected gain below it is too little; one above it that was not taken is too uncertain."""


@dataclass(frozen=True)
class Choice:
    """What a command was to remove: names of --only, or all but those of --keep; accept: the score that is enough."""

    only: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    accept: float | None = None


EVERYTHING = Choice()


@dataclass(frozen=True)
class Step:
    """One round as people read it.

    removed: plain names, the strongest first. kept: False where the round was put back.
    expected_db, found_db: gain, where the record has it.
    """

    number: int
    removed: tuple[str, ...]
    kept: bool
    expected_db: float | None = None
    found_db: float | None = None

    @property
    def text(self) -> str:
        """ "Step 1: noise and haze"."""
        return f"Step {self.number}: {listed(self.removed)}{'' if self.kept else ' (put back)'}"


def describe(severities: Mapping[str, float]) -> str:
    """Plain words for severities in [0, 1]: "heavy rain, slight noise", or "no degradation found"."""
    found = sorted(severities.items(), key=lambda pair: -pair[1])
    words = [f"{word_for(value)} {plain(name)}" for name, value in found if word_for(value)]
    return ", ".join(words) or "no degradation found"


def word_for(severity: float) -> str:
    """Severity in [0, 1] -> slight, moderate or heavy; "" where it is not worth a word."""
    return next(word for limit, word in WORDS if severity < limit)


def band(score: float) -> str:
    """Score in [0, 100] -> poor, fair, good or very good."""
    return next(word for limit, word in BANDS if score < limit)


def banded(score: float) -> str:
    """ "fair (52)"."""
    return f"{band(score)} ({score:.0f})"


def plain(name: str) -> str:
    """ "low_light" -> "low light"."""
    return name.replace("_", " ")


def listed(names: Sequence[str], word: str = "and") -> str:
    """ "rain, haze and noise"; "details" where nothing has a name."""
    if not names:
        return "details"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {word} {names[-1]}"


def steps(record: Record) -> tuple[Step, ...]:
    """What each round of a picture removed, in the order in which it went."""
    rounds = record["rounds"]
    return tuple(
        Step(
            after["round"],
            tuple(plain(name) for name in _removed(before, after)),
            after["round"] <= record["best_round"],
            before.get("expected_gain_db"),
            after.get("found_gain_db"),
        )
        for before, after in zip(rounds, rounds[1:], strict=False)
    )


def steps_line(record: Record, arrow: str = "->") -> str:
    """ "Step 1: noise -> Step 2: haze"; "" where no round was made."""
    return f" {arrow} ".join(step.text for step in steps(record))


def outcome(record: Record, choice: Choice = EVERYTHING) -> str:
    """What happened to a picture and why, in one line without numbers that need explaining."""
    if record["status"] == "failed":
        return f"failed: {str(record['error']).removeprefix(str(record['input']) + ': ')}"
    if record["status"] == "skipped":
        return "done before"
    if record["best_round"] == 0:
        return _untouched(record, choice)
    removed = " -> ".join(listed(step.removed) for step in steps(record) if step.kept)
    fell = round(record["score_after"]) < round(record["score_before"])
    done = f"restored: {removed}{gained(record)}{', though the score fell' if fell else ''}"
    if record["stop"] == "revert":
        return f"{done}; then {listed(steps(record)[-1].removed)} put back: {record['rounds'][-1]['reason']}"
    return f"{done}{' (all rounds used)' if record['stop'] == 'exhausted' else ''}"


def gained(record: Record) -> str:
    """ ", about 3.1 dB" by the heads of gain, over the rounds that are kept; "" where they say nothing."""
    gains = [step.found_db for step in steps(record) if step.kept]
    known = [gain for gain in gains if gain is not None]
    return decibels(sum(known)) if known and len(known) == len(gains) else ""


def decibels(gain: float | None) -> str:
    """ ", about 3.1 dB"; a loss is called one, and what rounds to nothing no gain; "" for None."""
    if gain is None:
        return ""
    if abs(gain) < 0.05:
        return ", without gain"
    return f", about {gain:.1f} dB" if gain > 0 else f", may have lost about {-gain:.1f} dB"


def follows(about: Record, choice: Choice = EVERYTHING) -> str:
    """What `rar restore` would do with a picture that was only assessed, and why. about: an assessment's record."""
    if about["verdict"] == "accept":
        return left_alone(about, about["expected_gain_db"], choice)
    names = _planned(about["degradations"], (about["plan"] or {}).get("remove", ()))
    return f"worth restoring: {listed([plain(n) for n in names])}{decibels(about['expected_gain_db'])}"


def left_alone(look: Record, expected_db: float | None, choice: Choice) -> str:
    """Why nothing is removed. look: "score" and "degradations". expected_db: gain of the best plan, where known.

    Only a good score makes a picture "good as it is": a poor one may be wrong in a way that rar does not see.
    """
    score, degradations = look["score"], look["degradations"]
    found = [name for name, severity in degradations.items() if severity >= NOTICED]
    if choice.only and not set(found) & set(choice.only):
        return f"left alone: nothing of {listed([plain(name) for name in choice.only], 'or')}"
    if found and set(found) <= set(choice.keep):
        return f"left alone: only {listed([plain(name) for name in found])}, which is kept"
    if choice.accept is not None and score >= choice.accept:
        return f"left alone: its score reaches {choice.accept:g}"
    good, best = band(score) in GOOD, band(score) == BANDS[-1][1]
    if best or (good and not found):
        return "good as it is"
    if not found:
        return "left alone: nothing found that rar would improve"
    if expected_db is not None and expected_db <= 0:
        return "left alone: restoring would not improve it"
    uncertain = expected_db is not None and expected_db >= LITTLE_DB
    return f"left alone: {'the gain is too uncertain' if uncertain else 'would gain too little'}"


def _untouched(record: Record, choice: Choice) -> str:
    """Why a picture is written as it came."""
    if record["stop"] == "revert":
        return f"put back: {record['rounds'][-1]['reason']}"
    if record["stop"] == "exhausted":
        return "left alone: max rounds or strength is 0"
    return left_alone(record["rounds"][0], record["rounds"][0].get("expected_gain_db"), choice)


def _removed(before: Record, after: Record) -> list[str]:
    """Names that a round removed: those of its plan that were there, or without a plan those that fell."""
    severities = before["degradations"]
    planned = (before.get("plan") or {}).get("remove")
    if planned is not None:
        return _planned(severities, planned)
    strongest = _by_severity(severities)
    fall = {name: severities[name] - after["degradations"].get(name, 0.0) for name in strongest}
    noticed = [name for name in strongest if severities[name] >= NOTICED]
    fell = [name for name in sorted(noticed, key=lambda name: -fall[name]) if fall[name] >= FELL]
    return (fell or noticed[:1])[:MOST_NAMES]


def _planned(severities: Mapping[str, float], planned: Sequence[str]) -> list[str]:
    """Names of a plan that were there, the strongest first; else the likeliest one."""
    chosen = [name for name in _by_severity(severities) if name in planned]
    return ([name for name in chosen if severities[name] >= NOTICED] or chosen[:1])[:MOST_NAMES]


def _by_severity(severities: Mapping[str, float]) -> list[str]:
    return sorted(severities, key=lambda name: -float(severities[name]))


def round_line(this: Round, bars: bool) -> str:
    """One round in one line: score with its band, what was found, what follows."""
    bar = f" {'█' * round(this.score / 10):<10}" if bars else ""
    found = describe({d.value: s for d, s in this.severities.items()})
    score = f"score {this.score:5.1f} {band(this.score):<9}"
    return f"round {this.index}  {score}{bar}  {found}; {this.verdict.value}: {this.reason}"


def lasted(seconds: float) -> str:
    """ "45 s", "5 min 12 s" or "2 h 05 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return (
        f"{whole // 60} min {whole % 60:02d} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    )


SAID = {"restored": "restored", "accepted": "left alone", "skipped": "skipped (done before)", "failed": "failed"}


def summary_line(counts: Mapping[str, int], rounds: int, megapixels: float, seconds: float) -> str:
    """The closing line: counts by status, rounds, throughput."""
    parts = [f"{number} {SAID[status]}" for status, number in counts.items() if number]
    pace = f"{megapixels:.1f} MP in {lasted(seconds)} ({megapixels / max(seconds, 1e-9):.2f} MP/s)"
    return f"{', '.join(parts) or 'nothing to do'}; {rounds} round{'' if rounds == 1 else 's'}; {pace}"


def written_line(output: str | None, report: str | None) -> str:
    """Where the pictures and the report lie; "" where nothing was written."""
    parts = [f"pictures: {output}"] if output not in {None, "-"} else []
    return "; ".join([*parts, *([f"report: {report}"] if report else [])])
