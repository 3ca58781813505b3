"""rar: restore, assess, repeat. Four functions: `load`, `restore`, `assess`, `rounds`.

import rar_cli as rar
engine = rar.load()                      # shipped weights, verified
outcome, = rar.restore(engine, image)    # image (1, 3, h, w) float32 in [0, 1]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rar_cli.version import __version__

if TYPE_CHECKING:
    from rar_cli.engine.engine import load
    from rar_cli.engine.restore import assess, restore
    from rar_cli.loop.rounds import rounds

__all__ = ["__version__", "assess", "load", "restore", "rounds"]


def __getattr__(name: str) -> object:
    """Import torch only once something needs it."""
    if name == "load":
        from rar_cli.engine.engine import load

        return load
    if name in {"assess", "restore"}:
        from rar_cli.engine import restore as module

        return getattr(module, name)
    if name == "rounds":
        from rar_cli.loop.rounds import rounds

        return rounds
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
