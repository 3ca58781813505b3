"""A public component: its architecture as its publisher writes it, and where its weights come from."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rar_cli.errors import WeightsError
from rar_cli.weights.find import cached

SHARED = {"low_cpu_mem_usage": False, "output_loading_info": True, "use_safetensors": True}
"""How every public component is loaded: never from a pickle, with a report of what did not fit."""

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Component:
    """config: as in the component's public config.json. pretrained: hub id, folder, or name in rar's
    registry, with its subfolder and revision; "" for random weights. dtype: that the weights are kept in."""

    config: Mapping[str, Any] = field(default_factory=dict)
    pretrained: str = ""
    subfolder: str = ""
    revision: str = ""
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype {self.dtype} is unknown; use {', '.join(DTYPES)}")

    @property
    def torch_dtype(self) -> torch.dtype:
        """`dtype` as torch names it."""
        return DTYPES[self.dtype]

    def source(self, folder: Path | None) -> tuple[str, dict[str, Any]]:
        """(where to load from, keyword arguments): a part's own folder, rar's cache, a folder, or the hub."""
        if folder is not None:
            return str(folder), {}
        here = cached(self.pretrained)
        where = {"subfolder": self.subfolder} if self.subfolder else {}
        if here is not None:
            return str(here), where
        return self.pretrained, {**where, **({"revision": self.revision} if self.revision else {})}


def checked(loaded: tuple[nn.Module, Mapping[str, Collection[str]]], source: str) -> nn.Module:
    """The component, if every tensor is there and fits. Raises WeightsError."""
    module, info = loaded
    wrong = [*info.get("missing_keys", ()), *info.get("mismatched_keys", ())]
    if wrong:
        names = ", ".join(sorted(str(name) for name in wrong)[:3])
        raise WeightsError(f"{source}: {len(wrong)} tensors are missing or do not fit ({names}); fetch it again")
    return module


def hint(name: str, error: ImportError) -> WeightsError:
    """What to do where the package of a component is not there."""
    return WeightsError(f"these weights need the package {name} ({error}); install rar-cli[large]")
