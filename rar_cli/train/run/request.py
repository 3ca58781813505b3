"""What a run is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rar_cli.train.data import OnEach

Say = Callable[[str], None]


@dataclass(frozen=True)
class TrainRequest:
    """data, valid: folders of photographs. out: where checkpoints, ledger and weights go.

    warm_start: a weights folder to begin from. hours: stop after so many, at a checkpoint; 0: after one step.
    interrupted: asked after every step; once true, the run leaves a whole state behind and returns, without measuring
    what it learned. on_step: gets how many are done, how many there are and what is done: reading photographs, what is
    fitted, then the steps of each stage. It gets steps on the main process alone.
    """

    data: Sequence[Path]
    out: Path
    valid: Sequence[Path] = ()
    warm_start: Path | None = None
    resume: bool = False
    hours: float | None = None
    interrupted: Callable[[], bool] = lambda: False
    on_step: OnEach | None = None
