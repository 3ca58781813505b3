"""Requests: the options of the commands, parsed; and the model that they ask for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rar_cli.jobs.plan import Shard
from rar_cli.types import TILE_PX, Degradation, StopPolicy

if TYPE_CHECKING:
    from rar_cli.engine.engine import Engine
    from rar_cli.weights.find import Weights


@dataclass(frozen=True)
class Request:
    """The options of a command, parsed."""

    weights: str = "rar-s"
    device: str = "auto"
    dtype: str = "auto"
    tile_px: int = TILE_PX
    steps: int = 1
    self_ensemble: bool = False
    max_rounds: int = 4
    accept: float | None = None
    only: tuple[Degradation, ...] = ()
    keep: tuple[Degradation, ...] = ()
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

    def policy(self, fitted: StopPolicy) -> StopPolicy:
        """The policy fitted with the weights, with what the user asked for."""
        accept = fitted.accept_score if self.accept is None else self.accept
        return replace(fitted, max_rounds=self.max_rounds, accept_score=accept)


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
    from rar_cli.networks.model import Rar

    model = Rar.load(weights.folder)
    return Engine(model, request.device, request.dtype, request.tile_px, request.steps, request.self_ensemble)
