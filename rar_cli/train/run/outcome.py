"""The weights that a run leaves behind, swapped in whole."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from rar_cli.networks.model import Rar
from rar_cli.train.config import TrainConfig
from rar_cli.train.run.parts import Parts
from rar_cli.weights.manifest import write_manifest

LICENCE = "the terms of the photographs it was trained on"


def write_weights(parts: Parts, out: Path) -> Path:
    """The averaged weights (else the last ones) in half precision with their manifest, in `out/weights`.

    Without an average every process has to call this: shards are gathered.
    """
    folder, fresh, old = (out / name for name in ("weights", "weights.part", "weights.old"))
    model = parts.averaged_model or _gathered(parts)
    if model is None or not parts.accelerator.is_main_process:
        return folder
    shutil.rmtree(fresh, ignore_errors=True)
    model.save(fresh, torch.float16)
    write_manifest(fresh, parts.config.name, LICENCE, "trained by `rar train`; see training.jsonl")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
    return folder


def _gathered(parts: Parts) -> Rar | None:
    """The model as it stands, whole, on the main process; None on the others."""
    tensors = parts.accelerator.get_state_dict(parts.body)
    return _loaded(parts.config, tensors) if parts.accelerator.is_main_process else None


def _loaded(config: TrainConfig, tensors: Mapping[str, Tensor]) -> Rar:
    """A model on the CPU from the state of the one that was trained, perhaps in shards."""
    model = Rar(config.model)
    model.assessor.add_lora()
    model.load_state_dict({name.removeprefix("model."): tensor for name, tensor in tensors.items()})
    return model
