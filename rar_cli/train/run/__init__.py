"""One run: its parts, its steps, its ledger, and its checkpoint."""

from rar_cli.train.run.request import TrainRequest
from rar_cli.train.run.training import train

__all__ = ["TrainRequest", "train"]
