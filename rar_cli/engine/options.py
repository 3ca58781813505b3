"""How an engine computes: what a user chooses beside the weights."""

from __future__ import annotations

from dataclasses import dataclass

from rar_cli.types import TILE_PX


@dataclass(frozen=True)
class EngineOptions:
    """What changes how pictures are computed, not what is decided.

    device: auto, cpu, cuda, cuda:i or mps. dtype: auto, float32, bfloat16 or float16. tile_px: side of the tiles of
    large pictures. steps: of the solver in each round; solver: how a step is made, euler or heun. self_ensemble: every
    round is the mean of two views of the picture; better, in twice the time.
    """

    device: str = "auto"
    dtype: str = "auto"
    tile_px: int = TILE_PX
    steps: int = 1
    self_ensemble: bool = False
    solver: str = "euler"
