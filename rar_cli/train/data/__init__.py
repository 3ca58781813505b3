"""Folders of clean photographs -> batches of degraded crops."""

from rar_cli.train.data.batches import Batch
from rar_cli.train.data.crops import crop, resaved, retoned
from rar_cli.train.data.photographs import OnEach, Photo, load_photos, unseen
from rar_cli.train.data.samples import StepBatches, leave_signals_to_the_run

__all__ = [
    "Batch", "OnEach", "Photo", "StepBatches", "crop", "leave_signals_to_the_run", "load_photos", "resaved", "retoned",
    "unseen",
]  # fmt: skip
