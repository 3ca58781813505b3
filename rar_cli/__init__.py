"""rar: restore, assess, repeat. Four functions: `restore`, `assess`, `load`, `rounds`.

import rar_cli as rar
result = rar.restore("photo.jpg")      # or bytes, a PIL picture, an array, a tensor, or many of them
result.save("better.jpg")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rar_cli.version import __version__

if TYPE_CHECKING:
    from rar_cli.api import Assessed, Restored, assess, restore
    from rar_cli.engine.engine import load
    from rar_cli.loop.rounds import rounds
    from rar_cli.networks.model import Rar

__all__ = ["Assessed", "Rar", "Restored", "__version__", "assess", "load", "restore", "rounds"]


def __dir__() -> list[str]:
    """What completion in a shell or notebook offers."""
    return sorted(__all__)


def __getattr__(name: str) -> object:
    """Import torch only once something needs it."""
    if name in {"Assessed", "Restored", "assess", "restore"}:
        from rar_cli import api

        return getattr(api, name)
    if name == "load":
        from rar_cli.engine.engine import load

        return load
    if name == "Rar":
        from rar_cli.networks.model import Rar

        return Rar
    if name == "rounds":
        from rar_cli.loop.rounds import rounds

        return rounds
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
