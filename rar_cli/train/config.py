"""The one file that describes a training run (TOML), as frozen dataclasses."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from rar_cli.errors import UsageError
from rar_cli.networks.folder import check_types, read_small_file
from rar_cli.networks.model import RarParams, part_params
from rar_cli.train.losses import RESTORATION_LOSSES
from rar_cli.types import DEGRADATIONS, Degradation

StageKind = Literal["assessor", "restorer", "end_to_end"]
OptimizerName = Literal["adamw", "muon"]
Learner = Literal["all", "assessor", "restorer"]

SHARES = (
    "partial", "at_zero", "focused", "unrolled", "planned", "retoned", "grey", "resaved", "camera", "lifelike", "drawn",
    "dim",
)  # fmt: skip
"""Settings of a stage that are shares of its pictures."""


@dataclass(frozen=True)
class Crops:
    """What a batch is made of: `pictures` crops of `context_px`, which the assessor sees, and in each `windows`
    windows of `window_px`, which the restorer works on: more than one where making pictures takes longer than
    restoring them."""

    pictures: int
    context_px: int
    window_px: int
    windows: int = 1

    def __post_init__(self) -> None:
        if self.window_px > self.context_px:
            raise UsageError(f"crops: window_px {self.window_px} exceeds context_px {self.context_px}")
        if self.windows < 1:
            raise UsageError(f"crops: windows must be at least 1, got {self.windows}")


@dataclass(frozen=True)
class Stage:
    """One stage of the recipe.

    loss: how far the restored latent is from the target: charbonnier to begin with, then log_mse.
    crops: taken in turn, one kind per step, so that the assessor learns what pictures of several sizes
    look like. teacher_forcing: share of pictures conditioned on their true severities, at
    the start and at the end of the stage. unrolled: share of pictures whose starting point is what
    the model itself made of them. planned: share of those whose first round followed a plan of the policy, one
    degradation or all but one, and whose memory begins after it. partial: share with partial targets (steering).
    at_zero: share of pictures at t = 0; the others are uniform on the path. focused: share of pictures whose recipe
    is one of `focus` ("haze", or a stack, "haze+rain"), alone or with one other, instead of a random one. keeps: the
    other pictures are held to what the weights that the run began with make of them, not to the truth, so that they
    lose less (learning without forgetting, arXiv 1606.09282). retoned: share of the clean photographs that are of
    another exposure, gamma, contrast or colour than they were, so that none is known by heart. grey: share of pictures
    without colours, their noise alike in all channels, as scans of old prints have it; a quarter of them tinted.
    resaved: share of pictures, clean or degraded, that were written once more as a fine JPEG or WebP; neither
    severities nor target know of it. detail: weight of `log_detail` beside `loss`, for what is fine in the error.
    camera: share of pictures that a camera shoots: low light is exposure that it lacks, noise its sensor's, and the
    target is what it makes of the scene without them. lifelike: share of pictures whose haze, rain, snow, blur and
    motion blur are made as light makes them, with depth and lamps. drawn: share of pictures that are no photographs
    (text, screens, charts, stars, black), most of them clean. dim: share of photographs that are dim, dusky, pale or
    misty by nature, and clean.
    """

    name: str
    kind: StageKind
    steps: int
    loss: Literal["charbonnier", "log_mse"] = "charbonnier"
    crops: tuple[Crops, ...] = (Crops(32, 128, 64),)
    learning_rate: float = 7e-4
    warmup: int = 200
    decay: float = 0.0
    teacher_forcing: tuple[float, float] = (0.0, 0.0)
    unrolled: float = 0.0
    planned: float = 0.0
    partial: float = 0.2
    at_zero: float = 0.7
    focused: float = 0.0
    focus: tuple[str, ...] = (Degradation.MOTION_BLUR, Degradation.BLUR)
    keeps: bool = False
    retoned: float = 0.0
    grey: float = 0.0
    resaved: float = 0.0
    detail: float = 0.0
    camera: float = 0.0
    lifelike: float = 0.0
    drawn: float = 0.0
    dim: float = 0.0

    def __post_init__(self) -> None:
        unknown = sorted({name for stack in self.focus for name in stack.split("+")} - set(DEGRADATIONS))
        if unknown or (self.focused and not self.focus):
            names = ", ".join(DEGRADATIONS)
            fault = ", ".join(unknown) or "is empty"
            raise UsageError(f"stage {self.name}: focus {fault}; use some of {names}")
        if self.loss not in RESTORATION_LOSSES:
            raise UsageError(f"stage {self.name}: loss {self.loss} is unknown; use {', '.join(RESTORATION_LOSSES)}")
        if self.keeps and (self.kind, self.loss) != ("restorer", "log_mse"):
            raise UsageError(f'stage {self.name}: keeps needs kind = "restorer" and loss = "log_mse"')
        if self.detail and self.kind != "restorer":
            raise UsageError(f'stage {self.name}: detail needs kind = "restorer"')
        for setting in SHARES:
            if not 0.0 <= getattr(self, setting) <= 1.0:
                raise UsageError(f"stage {self.name}: {setting} must lie in [0, 1], got {getattr(self, setting)}")
        if not self.crops:
            raise UsageError(f"stage {self.name}: crops is empty; leave it out for the default")
        if self.kind != "restorer" and any(crops.windows > 1 for crops in self.crops):
            raise UsageError(f'stage {self.name}: several windows of a picture need kind = "restorer"')

    def crops_at(self, step: int) -> Crops:
        """The crops of a step of the stage."""
        return self.crops[step % len(self.crops)]

    def rate_at(self, step: int) -> float:
        """Learning rate at a step of the stage: linear warm-up, plateau, linear decay over its last part."""
        rise = min(1.0, (step + 1) / max(self.warmup, 1))
        tail = self.steps * self.decay
        fall = min(1.0, (self.steps - step) / tail) if tail else 1.0
        return self.learning_rate * rise * max(fall, 0.0)

    def forcing_at(self, step: int) -> float:
        """Share of teacher forcing at a step of the stage."""
        first, last = self.teacher_forcing
        return first + (last - first) * min(step / max(self.steps, 1), 1.0)


@dataclass(frozen=True)
class TrainConfig:
    """A run: the model, the stages in order, and what is common to them. optimizer: muon takes fewer and
    longer steps, adamw can be sharded. mixed_precision: auto is bf16 where the hardware has it. landing: share of
    `--hours` at whose end the learning rate falls to zero, whatever step the run has come to. cuda_graphs: on one
    GPU, steps are captured and replayed, in less time. kernels: rar's own on CPUs that suit them.
    accumulate: batches whose gradients make one step of the optimizer. learns: everything, or the assessor or restorer
    alone; the assessor also learns from what the restorer makes of its condition, in a stage of the restorer."""

    name: str
    stages: tuple[Stage, ...]
    model: RarParams = RarParams()
    seed: int = 0
    optimizer: OptimizerName = "adamw"
    weight_decay: float = 0.01
    clip_norm: float = 0.5
    average_decay: float = 0.999
    gradient_checkpointing: bool = False
    checkpoint_minutes: float = 4.0
    validate_minutes: float = 25.0
    mixed_precision: Literal["auto", "no", "bf16", "fp16"] = "no"
    workers: int = 1
    landing: float = 0.0
    cuda_graphs: bool = False
    kernels: bool = True
    accumulate: int = 1
    learns: Learner = "all"

    def __post_init__(self) -> None:
        if self.optimizer not in get_args(OptimizerName):
            raise UsageError(f"optimizer {self.optimizer} is unknown; use {' or '.join(get_args(OptimizerName))}")
        if self.learns not in get_args(Learner):
            raise UsageError(f"learns {self.learns} is unknown; use {', '.join(get_args(Learner))}")
        if not self.model.codec.linear and any(stage.detail for stage in self.stages):
            raise UsageError("detail knows the codec of rar's own alone, not an autoencoder; leave it out")
        possible = {"all": get_args(StageKind), "assessor": ("assessor", "restorer"), "restorer": ("restorer",)}
        for stage in self.stages:
            if stage.kind not in possible[self.learns]:
                fault = f"learns {self.learns}: stage {stage.name} trains more than that"
                raise UsageError(f'{fault}; use kind = "restorer"')

    @property
    def total_steps(self) -> int:
        """Steps of all stages."""
        return sum(stage.steps for stage in self.stages)

    def samples_before(self, step: int) -> int:
        """Pictures that the steps before a global step have seen."""
        places = (self.stage_at(i) for i in range(step))
        return sum(stage.crops_at(at).pictures for stage, at in places)

    def stage_at(self, step: int) -> tuple[Stage, int]:
        """The stage that a global step belongs to, and the step within it."""
        for stage in self.stages:
            if step < stage.steps:
                return stage, step
            step -= stage.steps
        return self.stages[-1], self.stages[-1].steps


def shipped_config(name: str) -> Path:
    """The config of that name that comes with rar, else `name` as a path."""
    shipped = Path(__file__).parent / f"{name}.toml"
    return shipped if "/" not in name and shipped.is_file() else Path(name)


def load_config(path: Path) -> TrainConfig:
    """Read a TOML config. Raises UsageError with the valid names on an unknown key."""
    try:
        table = tomllib.loads(read_small_file(path).decode())
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: cannot read the training config ({error})") from error
    try:
        params = _model(table.pop("model", {}))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{path}: [model]: {error}") from error
    listed = table.pop("stages", [])
    if not isinstance(listed, list) or not all(isinstance(stage, dict) for stage in listed):
        raise UsageError(f"{path}: stages are tables; write [[stages]] above each")
    stages = tuple(_stage(stage, path) for stage in listed)
    if not stages:
        raise UsageError(f"{path}: a training config needs at least one [[stages]]")
    return _build(TrainConfig, {**table, "stages": stages, "model": params}, path)


def _model(table: dict[str, dict[str, Any]]) -> RarParams:
    """The parts; a restorer that names no number of condition tokens takes as many as the assessor makes."""
    parts = {name: part_params(name, part) for name, part in table.items() if name != "restorer"}
    made = parts["assessor"] if "assessor" in parts else RarParams().assessor
    restorer = {"condition_tokens": made.condition_tokens, **table.get("restorer", {})}
    return RarParams(**parts, restorer=part_params("restorer", restorer))


def _stage(table: dict[str, Any], path: Path) -> Stage:
    if isinstance(table.get("crops"), list):
        table = {**table, "crops": [_build(Crops, crops, path) for crops in table["crops"]]}
    stage: Stage = _build(Stage, table, path)
    return stage


def _build(kind: Any, table: dict[str, Any], path: Path) -> Any:
    if not isinstance(table, dict):
        raise UsageError(f"{path}: {kind.__name__} is a table of settings, got {table!r:.40}")
    names = [f.name for f in fields(kind)]
    unknown = sorted(set(table) - set(names))
    if unknown:
        raise UsageError(f"{path}: unknown {', '.join(unknown)}; {kind.__name__} knows {', '.join(names)}")
    try:
        check_types(kind, table)
        return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in table.items()})
    except (TypeError, ValueError) as error:
        raise UsageError(f"{path}: {error}") from error
