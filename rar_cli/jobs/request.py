"""Requests: the parsed options of a command, and the model that they choose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rar_cli.jobs.naming.plan import Shard
from rar_cli.report.words import Choice
from rar_cli.types import TILE_PX, Bounds, Degradation

if TYPE_CHECKING:
    from rar_cli.engine.engine import Engine
    from rar_cli.weights.manifest import Weights


@dataclass(frozen=True)
class Request:
    """The options of a command, parsed."""

    weights: str = "rar-s"
    device: str = "auto"
    dtype: str = "auto"
    tile_px: int = TILE_PX
    steps: int = 1
    solver: str = "euler"
    self_ensemble: bool = False
    max_rounds: int = 4
    accept: float | None = None
    only: tuple[Degradation, ...] = ()
    keep: tuple[Degradation, ...] = ()
    strength: float = 100.0
    quality: int | None = None
    provenance: bool = True
    save_rounds: bool = False
    batch_size: int = 16
    overwrite: bool = False
    log: Path | None = None
    report: Path | None = None
    shard: Shard = Shard()
    engine: str = "local"
    workers: int | None = None
    profile: Path | None = None

    @property
    def bounds(self) -> Bounds:
        """What the user allows. Raises UsageError for options that exclude each other."""
        from rar_cli.engine.restore import bounds_of

        return bounds_of(self.max_rounds, self.accept, self.only, self.keep, self.strength / 100.0)

    @property
    def choice(self) -> Choice:
        """The user's choice, for the words that people read."""
        return Choice(self.only, self.keep, self.accept)


def weights_of(request: Request) -> Weights:
    """Verified weights; those of the hub (owner/name) are fetched on their first use. Raises WeightsError."""
    from rar_cli.weights.find import cached, find, is_hub_id

    name = request.weights
    if is_hub_id(name) and cached(name) is None and not Path(name).is_dir():
        from rar_cli.weights.download import download

        return download(name)[0]
    return find(name)


def engine_of(request: Request, weights: Weights) -> Engine:
    """The model of verified weights on its device. Raises UsageError, WeightsError."""
    from rar_cli.engine.engine import Engine
    from rar_cli.engine.options import EngineOptions
    from rar_cli.networks.model import Rar

    options = EngineOptions(
        request.device, request.dtype, request.tile_px, request.steps, request.self_ensemble, request.solver
    )
    return Engine(Rar.load(weights.folder), options)
