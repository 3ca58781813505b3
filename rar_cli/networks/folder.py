"""Reading and writing a weights folder: `rar.json`, and per part `config.json` and `model.safetensors`.

A part at paper scale also holds its public component, in its publisher's form. Nothing is ever unpickled; reading is
strict: every setting has its type, every tensor its place, and every number is finite.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rar_cli.errors import RarError, WeightsError

FORMAT = 3
"""Version of the weights folder; since 3, prices stand where thresholds did."""

COMPONENTS = ("autoencoder.", "core.", "transformer.")
"""Where the parts at paper scale hold their public components, which are saved in their own form."""

MOST_BYTES = 1 << 24
"""Of a config."""

LARGEST = 1 << 20
"""Of a whole number in a part's own config."""


@contextmanager
def usable(folder: Path) -> Iterator[None]:
    """Whatever goes wrong within is a WeightsError of one line: the libraries that build a part raise anything."""
    try:
        yield
    except RarError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise WeightsError(f"{folder}: not usable weights ({reason}); try `rar download-weights`") from error


def read_about(folder: Path) -> dict[str, Any]:
    """What `rar.json` says, of a format that is known. Raises WeightsError, ValueError, OSError."""
    about = read_json(folder / "rar.json")
    if about.get("format") != FORMAT:
        found = about.get("format")
        raise WeightsError(f"{folder}: format {found!a:.40} is not {FORMAT}; update rar-cli and fetch them again")
    return about


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file. Raises ValueError, OSError."""
    try:
        value = json.loads(read_small_file(path))
    except RecursionError as error:
        raise ValueError(f"{path.name} is nested too deep") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path.name} is no JSON object")
    return value


def read_small_file(path: Path) -> bytes:
    """A file that may be without end. Raises ValueError where it is too large, OSError."""
    with path.open("rb") as file:
        text = file.read(MOST_BYTES + 1)
    if len(text) > MOST_BYTES:
        raise ValueError(f"{path.name} has more than {MOST_BYTES >> 20} MiB")
    return text


def write_about(folder: Path, about: Mapping[str, Any]) -> None:
    """Write `rar.json`, last of all: the version, and what the weights need to be used."""
    (folder / "rar.json").write_text(json.dumps({"format": FORMAT, **about}, indent=2) + "\n")


def write_part(module: Any, folder: Path, dtype: torch.dtype) -> None:
    """Write a part with its config; its own tensors as `dtype`."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {k: v.detach().cpu().to(dtype).contiguous() for k, v in _own(module).items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(asdict(module.params), indent=2) + "\n")
    if hasattr(module, "save_component"):
        module.save_component(folder)


def load_part(module: nn.Module, folder: Path) -> None:
    """Fill a part with the tensors of its folder, as float32. Raises ValueError where one is missing or not finite.

    The tensors are copies: those of `load_file` are windows on the file, which may be changed or cut in mid-run.
    """
    tensors = load_file(folder / "model.safetensors")
    expected = set(_own(module))
    if set(tensors) != expected:
        missing, odd = sorted(expected - set(tensors)), sorted(set(tensors) - expected)
        faults = [f"Missing key {name}" for name in missing[:2]] + [f"Unexpected key {name}" for name in odd[:2]]
        raise ValueError(f"config and tensors do not match: {', '.join(faults)}")
    module.load_state_dict({k: v.to(torch.float32, copy=True) for k, v in tensors.items()}, strict=False, assign=True)
    for name, tensor in module.state_dict().items():
        if not _finite(tensor):
            raise ValueError(f"{folder.name}: {name} holds NaN or infinity")


def _finite(tensor: Tensor) -> bool:
    """Whether all is finite, without a copy of it."""
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    return all(bool(end.isfinite()) for end in tensor.aminmax())


def _own(module: nn.Module) -> dict[str, Tensor]:
    """The tensors of a part that are not its public component's."""
    tensors = module.state_dict()
    return {k: v for k, v in tensors.items() if not (hasattr(module, "save_component") and k.startswith(COMPONENTS))}


P = TypeVar("P")


def params_of(kind: type[P], config: Mapping[str, Any]) -> P:
    """config.json -> params dataclass; lists become tuples. Raises ValueError on unknown keys and on wrong types."""
    names = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    unknown = set(config) - set(names)
    if unknown:
        raise ValueError(f"unknown {', '.join(sorted(unknown))}; {kind.__name__} knows {', '.join(names)}")
    check_types(kind, config)
    large = [name for name, value in config.items() if type(value) is int and not 0 <= value <= LARGEST]
    if large:
        raise ValueError(f"{large[0]} = {config[large[0]]} is no size")
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in config.items()})


def check_types(kind: type, settings: Mapping[str, Any]) -> None:
    """Raise ValueError where a setting's value is of another type than the field of that dataclass."""
    hints = get_type_hints(kind)
    for name, value in settings.items():
        if not _fits(value, hints[name]):
            raise ValueError(f"{name} = {str(value)[:40]!a} does not fit {kind.__name__}")


def _fits(value: Any, hint: Any) -> bool:
    origin = get_origin(hint)
    if origin is tuple:
        return isinstance(value, list | tuple) and all(_fits(each, get_args(hint)[0]) for each in value)
    if origin is Literal:
        return isinstance(value, str)
    if hint is float:
        return type(value) in {int, float} and math.isfinite(value)
    return type(value) is int if hint is int else isinstance(value, origin or hint)
