"""Restore in three lines of Python: `restore` and `assess` take any kind of picture.

import rar_cli as rar
result = rar.restore("photo.jpg")
result.save("better.jpg")
"""

from rar_cli.api.calls import assess, restore
from rar_cli.api.results import Assessed, Restored
from rar_cli.api.sources import Source

__all__ = ["Assessed", "Restored", "Source", "assess", "restore"]
