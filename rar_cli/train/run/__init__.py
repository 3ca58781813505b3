"""One run: what it is made of, its steps, its record, and the state that it leaves behind."""

from rar_cli.train.run.request import TrainRequest
from rar_cli.train.run.training import train

__all__ = ["TrainRequest", "train"]
