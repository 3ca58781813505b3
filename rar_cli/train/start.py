"""The model that a run starts from: given weights, or a new model with codec and blur reader fitted (stage 0)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from accelerate import Accelerator

from rar_cli.errors import UsageError
from rar_cli.networks.codec import patches_of
from rar_cli.networks.contracts import is_linear
from rar_cli.networks.model import Rar, RarParams
from rar_cli.train.config import TrainConfig
from rar_cli.train.data import OnEach, Photo, unseen
from rar_cli.train.reader import fit_reader
from rar_cli.train.stages import let_learn


def starting_model(
    config: TrainConfig,
    warm_start: Path | None,
    photos: Sequence[Photo],
    known: RarParams | None = None,
    on_each: OnEach = unseen,
) -> Rar:
    """The weights in folder `warm_start`, else a fresh model; ready to train: what the config names learns.

    known: the parameters of a run that is resumed, whose checkpoint brings what would be fitted here. on_each: gets
    what is fitted, one by one.
    """
    if warm_start is None:
        model = Rar(known or config.model, pretrained=True)
        if known is None:
            _fit(model, config, photos, on_each)
    else:
        model = Rar.load(warm_start).requires_grad_(True)
    model.assessor.add_lora()
    if config.gradient_checkpointing:
        for part in (model.codec, model.assessor, model.restorer):
            prepare: Callable[[], None] | None = getattr(part, "checkpoint_gradients", None)
            if prepare is None:
                raise UsageError("gradient_checkpointing: only for a model whose parts are all at paper scale")
            prepare()
    let_learn(model, config.learns)
    return model.train()


def as_begun(model: Rar, config: TrainConfig, accelerator: Accelerator, folder: Path, resume: bool) -> Rar | None:
    """The model as the run began with it, in `folder` for a run that is resumed; None where no stage keeps to it."""
    if not any(stage.keeps for stage in config.stages):
        return None
    if accelerator.is_main_process and not (resume and (folder / "rar.json").exists()):
        model.save(folder)  # rar.json comes last
    accelerator.wait_for_everyone()
    return Rar.load(folder).to(accelerator.device)


def _fit(model: Rar, config: TrainConfig, photos: Sequence[Photo], on_each: OnEach) -> None:
    """Fit a linear codec, and with it the assessor's blur reader where it has one."""
    codec, blur = model.codec, model.assessor.blur
    if not is_linear(codec):
        return
    generator = torch.Generator().manual_seed(config.seed)
    images = (torch.from_numpy(p).permute(2, 0, 1).float() / 255.0 for p in photos)
    codec.fit(patches_of(images, config.model.codec.factor, max(20, 40_000 // len(photos)), generator))
    if blur is not None:
        fit_reader(blur, codec, photos, config.seed, on_each)
