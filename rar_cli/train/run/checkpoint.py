"""Checkpoint: the state of a run on disk. It is written beside the old one, then swapped in, so a kill is safe."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch import nn
from torch.optim.swa_utils import AveragedModel

from rar_cli.errors import UsageError
from rar_cli.networks.folder import read_json
from rar_cli.networks.model import RarParams, part_params


@dataclass
class Checkpoint:
    """body, optimizer: as `accelerator` prepared them. average: None where nothing is averaged.

    With an average the main process writes one file. Without one every process writes its part through `accelerate`, as
    a sharded model (FSDP) needs; then all of them must call `save`.
    """

    folder: Path
    accelerator: Accelerator
    body: nn.Module
    average: AveragedModel | None
    optimizer: torch.optim.Optimizer

    def __post_init__(self) -> None:
        if self.accelerator.distributed_type is DistributedType.FSDP:
            _give_states(self.optimizer)

    def save(self, step: int, seconds: float) -> None:
        """Write the state after `step` steps and `seconds` of training."""
        main = self.accelerator.is_main_process
        fresh, old = self.folder.with_suffix(".part"), self.folder.with_suffix(".old")
        if main:
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir(parents=True)
        if self.average is None:
            self.accelerator.wait_for_everyone()
            self.accelerator.save_state(str(fresh))
            self.accelerator.wait_for_everyone()
        elif main:
            body = self.accelerator.unwrap_model(self.body)
            tensors = {
                "body": body.state_dict(), "average": self.average.state_dict(),
                "optimizer": self.optimizer.state_dict(),
            }  # fmt: skip
            torch.save(tensors, fresh / "state.pt")
        if main:
            model = asdict(self.accelerator.unwrap_model(self.body).model.params)
            (fresh / "progress.json").write_text(json.dumps({"step": step, "seconds": seconds, "model": model}))
            shutil.rmtree(old, ignore_errors=True)
            if self.folder.exists():
                self.folder.rename(old)
            fresh.rename(self.folder)

    def load(self) -> tuple[int, float]:
        """Restore in place. Returns (step, seconds), or (0, 0) where nothing was saved yet.

        Raises UsageError where the checkpoint is of another model.
        """
        folder = _whole(self.folder)
        progress = _progress(folder)
        if progress is None:
            return 0, 0.0
        if self.average is None:
            self.accelerator.load_state(str(folder))
        else:
            try:
                tensors = torch.load(folder / "state.pt", map_location="cpu", weights_only=True)
            except Exception as error:  # torch raises many kinds for a file that is damaged
                reason = " ".join(str(error).split())[:200]
                raise UsageError(f"{folder}: cannot be resumed, its state is damaged ({reason})") from error
            try:
                self.accelerator.unwrap_model(self.body).load_state_dict(tensors["body"])
            except RuntimeError as error:
                raise UsageError(
                    f"{folder}: is of another model; resume with the config or the --warm-start that it began with"
                ) from error
            self.average.load_state_dict(tensors["average"])
            self.optimizer.load_state_dict(tensors["optimizer"])
        return int(progress["step"]), float(progress["seconds"])


def model_of(folder: Path) -> RarParams | None:
    """The parameters of the model whose state is in `folder`; None where nothing was saved yet.

    A run may have begun with weights of other sizes than its config names.
    """
    progress = _progress(_whole(folder))
    if progress is None or progress.get("model") is None:
        return None
    try:
        return RarParams(**{name: part_params(name, config) for name, config in progress["model"].items()})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{folder}: cannot be resumed, its progress.json names no model ({error})") from error


def _progress(folder: Path) -> dict[str, Any] | None:
    """How far a run had come; None where nothing was saved yet. Raises UsageError where that cannot be read."""
    try:
        progress = read_json(folder / "progress.json")
        return {**progress, "step": int(progress["step"]), "seconds": float(progress["seconds"])}
    except FileNotFoundError:
        return None
    except (OSError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"{folder}: cannot be resumed, its progress.json is damaged ({error})") from error


def _whole(folder: Path) -> Path:
    """The folder of the last whole state; a kill between two renames leaves it as `.old`."""
    return folder if folder.exists() else folder.with_suffix(".old")


def _give_states(optimizer: torch.optim.Optimizer) -> None:
    """Give every parameter that may learn a state of zeros.

    The loader of shards needs one, even for parameters whose stage has not come yet.
    """
    for group in optimizer.param_groups:
        group["lr"] = 0.0
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    for state in optimizer.state.values():
        state["step"].zero_()
