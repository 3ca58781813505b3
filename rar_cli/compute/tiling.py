"""Geometry of pictures and tiles: padding to multiples, exact tiles with halos, blended windows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

Span = tuple[int, int]

EDGE = 0.375
"""Outer fraction of an overlap that counts nothing, for it lacks its surroundings most."""


OnTile = Callable[[int, int], None]
"""(tiles done, tiles in all), of one pass over a picture in tiles."""

_on_tile: ContextVar[OnTile | None] = ContextVar("_on_tile", default=None)


@contextmanager
def tiles_shown(on_tile: OnTile) -> Iterator[None]:
    """Call `on_tile` after each tile of what runs in this context."""
    token = _on_tile.set(on_tile)
    try:
        yield
    finally:
        _on_tile.reset(token)


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """x (b, c, h, w) -> x with h and w rounded up to `multiple`; reflected where x is large enough, else replicated."""
    bottom = -x.shape[-2] % multiple
    right = -x.shape[-1] % multiple
    if not bottom and not right:
        return x
    return _padded(x, (0, right, 0, bottom))


def pad_by(x: Tensor, before: int, after: int) -> Tensor:
    """x (b, c, h, w) -> `before` cells more at the top and left, `after` at the bottom and right; padded likewise."""
    return _padded(x, (before, after, before, after))


def _padded(x: Tensor, sides: tuple[int, int, int, int]) -> Tensor:
    enough = max(sides[:2]) < x.shape[-1] and max(sides[2:]) < x.shape[-2]
    return F.pad(x, sides, mode="reflect" if enough else "replicate")


def spans(length: int, tile: int, overlap: int) -> list[Span]:
    """Cover [0, length) with windows of at most `tile` that overlap by `overlap`, all steps equal."""
    if length <= tile:
        return [(0, length)]
    step = tile - overlap
    if step < 1:
        raise ValueError(f"tile {tile} must exceed overlap {overlap}")
    starts = range(0, length - overlap, step)
    return [(start, min(start + tile, length)) for start in starts]


def even_spans(length: int, tile: int, overlap: int, multiple: int = 1) -> list[Span]:
    """As many windows as `spans` gives, of one size, with starts at multiples of `multiple`.

    `spans` can leave a narrow last window, which sees little of its surroundings.
    """
    count = len(spans(length, tile, overlap))
    if count == 1:
        return [(0, length)]
    step = -(-(length - overlap) // count)
    return spans(length, -(-step // multiple) * multiple + overlap, overlap)


def by_tiles(
    function: Callable[[Tensor], Tensor], x: Tensor, tile: int, halo: int, ratio: tuple[int, int] = (1, 1)
) -> Tensor:
    """Apply a function of small reach tile by tile, exactly: each tile sees `halo` more on every side.

    ratio: output cells per input cells along a side, (4, 1) for a decoder, (1, 4) for an encoder.
    tile and halo must be multiples of ratio[1]. Small inputs pass in one piece.
    """
    height, width = x.shape[-2:]
    if height <= tile and width <= tile:
        return function(x)
    grow, shrink = ratio
    out: Tensor | None = None
    for top, left, part in _tiles(function, x, tile, halo, ratio):
        if out is None:
            size = (-(-height * grow // shrink), -(-width * grow // shrink))
            out = part.new_empty((*part.shape[:-2], *size))
        out[..., top : top + part.shape[-2], left : left + part.shape[-1]] = part
    assert out is not None
    return out


def add_by_tiles(
    function: Callable[[Tensor], Tensor], x: Tensor, onto: Tensor, tile: int, halo: int, ratio: tuple[int, int] = (1, 1)
) -> None:
    """Add the result of `by_tiles` to `onto`, in place; rows and columns beyond `onto` are dropped."""
    for top, left, part in _tiles(function, x, tile, halo, ratio):
        place = onto[..., top : top + part.shape[-2], left : left + part.shape[-1]]
        place += part[..., : place.shape[-2], : place.shape[-1]].to(onto)


def _tiles(
    function: Callable[[Tensor], Tensor], x: Tensor, tile: int, halo: int, ratio: tuple[int, int]
) -> Iterator[tuple[int, int, Tensor]]:
    """(top, left, output without its halo) of each tile."""
    height, width = x.shape[-2:]
    grow, shrink = ratio
    for (y0, y1), (x0, x1) in _grid(spans(height, tile, 0), spans(width, tile, 0)):
        ya, xa = max(y0 - halo, 0), max(x0 - halo, 0)
        part = function(x[..., ya : min(y1 + halo, height), xa : min(x1 + halo, width)])
        top, left = y0 * grow // shrink, x0 * grow // shrink
        rows = -(-y1 * grow // shrink) - top
        columns = -(-x1 * grow // shrink) - left
        down, across = (y0 - ya) * grow // shrink, (x0 - xa) * grow // shrink
        yield top, left, part[..., down : down + rows, across : across + columns]


def by_windows(
    function: Callable[..., Tensor], x: Tensor, tile: int, overlap: int, multiple: int = 1, beside: Tensor | None = None
) -> Tensor:
    """Apply a shape-keeping function of wide reach in overlapping windows, blended by linear ramps within `EDGE`.

    beside: a second argument of the function, cut like x. multiple: windows begin at multiples of it; tile and overlap
    must be multiples too.
    """
    rows, columns = (even_spans(side, tile, overlap, multiple) for side in x.shape[-2:])
    inputs = (x,) if beside is None else (x, beside)
    if len(rows) == 1 and len(columns) == 1:
        return function(*inputs)
    out = torch.zeros_like(x)
    for (y0, y1), (x0, x1) in _grid(rows, columns):
        part = function(*(each[..., y0:y1, x0:x1] for each in inputs))
        down = _ramp(y0, y1, x.shape[-2], overlap, x.device)
        across = _ramp(x0, x1, x.shape[-1], overlap, x.device)
        out[..., y0:y1, x0:x1] += part * (down[:, None] * across[None, :]).to(part.dtype)
    return out


def _grid(rows: list[Span], columns: list[Span]) -> Iterator[tuple[Span, Span]]:
    """Every tile, row by row; each is shown as done when the next one is taken."""
    on_tile, total = _on_tile.get(), len(rows) * len(columns)
    for done, place in enumerate(product(rows, columns), 1):
        yield place
        if on_tile is not None:
            on_tile(done, total)


def _ramp(start: int, end: int, length: int, overlap: int, device: torch.device) -> Tensor:
    """Weights of one window along one side; ramps of neighbours add up to 1 where they overlap."""
    weight = torch.ones(end - start, device=device)
    rise = (torch.arange(overlap, device=device) + 0.5) / max(overlap, 1)
    rise = ((rise - EDGE) / (1.0 - 2.0 * EDGE)).clamp(0.0, 1.0)
    if start > 0:
        weight[:overlap] = rise
    if end < length:
        weight[-overlap:] = rise.flip(0)
    return weight
