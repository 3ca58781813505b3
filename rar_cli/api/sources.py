"""Paths, bytes, PIL pictures, numpy arrays or tensors, one or many -> pictures."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from rar_cli.errors import ImageError, RarError, UsageError
from rar_cli.jobs.stream.batch import out_of_memory
from rar_cli.pictures.decoding import from_pillow, read_picture
from rar_cli.pictures.images import Picture
from rar_cli.pictures.remote import place
from rar_cli.pictures.tags.metadata import Metadata

Source = str | os.PathLike[str] | bytes | Image.Image | NDArray[Any] | Tensor
"""One picture: a file's path or bytes, a PIL picture, an array (h, w) or (h, w, 1 to 4), or a tensor (1 or 3, h, w).
Arrays and tensors are uint8 or uint16 at full range, or float in [0, 1]."""


@dataclass(frozen=True)
class Given:
    """One picture as it was given. data: the bytes of its file, where there is one. kind: file, pil, array or tensor.

    channels: of an array or tensor; 0 for an array (h, w). dtype: of an array or tensor of floats; they are restored in
    float32, and come back as they were.
    """

    name: str
    picture: Picture
    kind: str = "file"
    data: bytes | None = None
    channels: int = 3
    dtype: np.dtype[Any] | torch.dtype | None = None


def is_many(source: Any) -> bool:
    """Whether a source is several pictures: a batch of four axes, or anything that holds sources one by one."""
    if isinstance(source, np.ndarray | Tensor):
        return source.ndim == 4
    return not isinstance(source, str | os.PathLike | bytes | bytearray | memoryview | Image.Image)


def given_many(sources: Iterable[Source]) -> Iterator[Given]:
    """Each of several pictures, named by its place where it has no name."""
    if not isinstance(sources, Iterable):
        raise UsageError(
            f"{type(sources).__name__} is no picture: give a path, bytes, a PIL picture, an array or a tensor"
        )
    for number, source in enumerate(sources):
        yield given(source, f"picture {number}")


def given(source: Source, name: str = "picture") -> Given:
    """One picture. Raises ImageError where it cannot be read or held, UsageError for what is no picture."""
    try:
        return _given(source, name)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise ImageError(f"{name}: does not fit into memory") from error


def _given(source: Source, name: str) -> Given:
    if isinstance(source, str | os.PathLike):
        return _from_path(place(path_text(source)))
    if isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
        return Given(name, read_picture(data, name), data=data)
    if isinstance(source, Image.Image):
        named = str(getattr(source, "filename", "") or name)
        try:
            return Given(named, _from_pil(source), "pil")
        except RarError as error:
            raise ImageError(f"{named}: {error}") from error
        except MemoryError:
            raise
        except Exception as error:  # closed, or its file is damaged: Pillow raises many kinds
            raise ImageError(f"{named}: cannot be read ({' '.join(str(error).split())[:200]}); open it anew") from error
    if isinstance(source, Tensor):
        return _from_tensor(source, name)
    if isinstance(source, np.ndarray):
        channels = source.shape[2] if source.ndim == 3 else 0
        dtype = source.dtype if source.dtype.kind == "f" else None
        return Given(name, _from_array(np.asarray(source), name), "array", channels=channels, dtype=dtype)
    raise UsageError(f"{type(source).__name__} is no picture: give a path, bytes, a PIL picture, an array or a tensor")


def path_text(path: str | os.PathLike[str]) -> str:
    """A path as text, of bytes too. Raises UsageError for a path of another type."""
    try:
        return os.fsdecode(path)
    except TypeError as error:
        raise UsageError(f"{type(path).__name__} is no path ({error})") from error


def no_zero_in(path: str | os.PathLike[str]) -> None:
    """Raise ImageError for a path that no system can have."""
    if "\0" in str(path):
        raise ImageError(f"{path}: is no name of a file, for it holds a zero")


def _from_path(path: Path) -> Given:
    from rar_cli.jobs.stream.reading import read_file

    no_zero_in(path)
    if path.is_dir():
        raise ImageError(f"{path}: is a folder; give its pictures one by one, or use `rar restore` on it")
    data, _ = read_file(path, str(path))
    return Given(str(path), read_picture(data, str(path)), data=data)


def _from_pil(image: Image.Image) -> Picture:
    """Upright, with its metadata; 16-bit grey stays deep."""
    return replace(from_pillow(image), format="PNG")


def _from_tensor(tensor: Tensor, name: str) -> Given:
    if tensor.ndim != 3 or tensor.shape[0] not in {1, 3}:
        raise UsageError(f"{name}: a tensor (1 or 3, h, w) or a batch of them is needed, got {tuple(tensor.shape)}")
    if tensor.is_meta or tensor.is_quantized or tensor.layout != torch.strided:
        raise UsageError(f"{name}: a tensor with values is needed, got one that is meta, sparse or quantized")
    dtype = tensor.dtype if tensor.is_floating_point() else None
    whole = tensor.detach().to("cpu", torch.float32 if dtype else tensor.dtype)
    array = whole.permute(1, 2, 0).contiguous().numpy()
    return Given(name, _from_array(array, name), "tensor", channels=tensor.shape[0], dtype=dtype)


def _from_array(array: NDArray[Any], name: str) -> Picture:
    if array.ndim not in {2, 3} or (array.ndim == 3 and array.shape[2] not in {1, 2, 3, 4}) or 0 in array.shape:
        raise UsageError(f"{name}: an array (h, w) or (h, w, 1 to 4) is needed, got {array.shape}")
    if array.dtype.kind == "f":
        if not np.isfinite(array).all() or array.max() > 1.5 or array.min() < -0.5:
            spread = f"{array.min():g} to {array.max():g}"
            raise UsageError(f"{name}: floats in [0, 1] are needed, got {spread}; divide by 255, or undo a norm?")
        return _picture(np.clip(array, 0.0, 1.0).astype(np.float32))
    if array.dtype not in (np.uint8, np.uint16):
        raise UsageError(f"{name}: uint8, uint16 or float is needed, got {array.dtype}")
    return _picture(array.copy())


def _picture(pixels: NDArray[Any], metadata: Metadata = Metadata()) -> Picture:
    """(h, w) or (h, w, 1 to 4) -> a picture that is written as PNG or, of floats, as TIFF."""
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    channels = pixels.shape[2]
    alpha = np.ascontiguousarray(pixels[..., -1]) if channels in {2, 4} else None
    colour = pixels[..., : channels - (alpha is not None)]
    grey = colour.shape[2] == 1
    kind = "TIFF" if pixels.dtype.kind == "f" else "PNG"
    return Picture(np.ascontiguousarray(np.repeat(colour, 3, axis=2) if grey else colour), kind, alpha, grey, metadata)
