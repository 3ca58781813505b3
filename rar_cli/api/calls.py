"""`restore` and `assess`: any kind of picture in, a result out."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, overload

from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from rar_cli.api.results import Assessed, Restored
from rar_cli.api.sources import Given, Source, given, given_many, is_many, path_text
from rar_cli.engine import restore as main_path
from rar_cli.engine.engine import Engine, load
from rar_cli.errors import UsageError
from rar_cli.jobs.assess import assessed
from rar_cli.pictures.images import image_to_picture, picture_to_image
from rar_cli.report.record import PictureRecord, Subject
from rar_cli.report.words import Choice
from rar_cli.types import Bounds, Degradation

Names = str | Sequence[str]
"""Degradations: "rain,haze" or ["rain", "haze"]."""

One = str | os.PathLike[str] | bytes | Image.Image


@overload
def restore(  # type: ignore[overload-overlap] # a str is an iterable of str as well: it is a path
    source: One, *, only: Names | None = ..., keep: Names = ..., strength: float = ..., max_rounds: int = ...,
    accept: float | None = ..., engine: Engine | str | None = ..., keep_rounds: bool | None = ...,
) -> Restored: ...  # fmt: skip
@overload
def restore(
    source: NDArray[Any] | Tensor, *, only: Names | None = ..., keep: Names = ..., strength: float = ...,
    max_rounds: int = ..., accept: float | None = ..., engine: Engine | str | None = ...,
    keep_rounds: bool | None = ...,
) -> Any: ...  # fmt: skip
@overload
def restore(
    source: Iterable[Source], *, only: Names | None = ..., keep: Names = ..., strength: float = ...,
    max_rounds: int = ..., accept: float | None = ..., engine: Engine | str | None = ...,
    keep_rounds: bool | None = ...,
) -> list[Restored]: ...  # fmt: skip


def restore(
    source: Source | Iterable[Source],
    *,
    only: Names | None = None,
    keep: Names = (),
    strength: float = 100,
    max_rounds: int = 4,
    accept: float | None = None,
    engine: Engine | str | None = None,
    keep_rounds: bool | None = None,
) -> Any:
    """Restore a picture, or each of several: a `Restored`, or a list of them for a batch (four axes) or an iterable.

    source: see `Source`. only, keep: remove only these degradations, or all but these; `only` names at least one.
    strength: 0 to 100, how far each picture goes from the input (0) to the restored one (100). max_rounds: most
    rounds. accept: score from which a picture is good enough. engine: from `load`, or the name or folder of weights;
    None: the shipped ones, loaded once. keep_rounds: hold the picture of every round, by default for a single picture.
    Raises UsageError, ImageError, WeightsError.
    """
    chosen, kept = () if only is None else _names(only, "only"), _names(keep, "keep")
    if only is not None and not chosen:
        raise UsageError(
            f"only: names no degradation; leave it out to remove all, or choose from {', '.join(Degradation)}"
        )
    bounds = with_strength(main_path.bounds_of(max_rounds, accept, chosen, kept), strength)
    computing, weights = _engine(engine)
    choice = Choice(chosen, kept, accept)
    if not is_many(source):
        wanted = keep_rounds is None or keep_rounds
        return _restored(given(source), computing, weights, bounds, choice, wanted)  # type: ignore[arg-type]
    many = given_many(source)  # type: ignore[arg-type]
    return [_restored(each, computing, weights, bounds, choice, bool(keep_rounds)) for each in many]


@overload
def assess(  # type: ignore[overload-overlap] # as above
    source: One, *, engine: Engine | str | None = ..., accept: float | None = ...
) -> Assessed: ...
@overload
def assess(source: NDArray[Any] | Tensor, *, engine: Engine | str | None = ..., accept: float | None = ...) -> Any: ...
@overload
def assess(
    source: Iterable[Source], *, engine: Engine | str | None = ..., accept: float | None = ...
) -> list[Assessed]: ...


def assess(
    source: Source | Iterable[Source], *, engine: Engine | str | None = None, accept: float | None = None
) -> Any:
    """Say what is wrong with a picture, or with each of several: an `Assessed`, or a list of them.

    Arguments and errors are those of `restore`.
    """
    computing, _ = _engine(engine)
    policy = computing.policy.within(main_path.bounds_of(accept_score=accept))

    def one(each: Given) -> Assessed:
        record = assessed(each.name, each.picture, computing, policy, explained=False)
        return Assessed(each, record, Choice(accept=accept))

    return [one(each) for each in given_many(source)] if is_many(source) else one(given(source))  # type: ignore[arg-type]


def with_strength(bounds: Bounds, strength: float) -> Bounds:
    """Bounds that go `strength` percent of the way; the one place where a caller's strength enters."""
    if isinstance(strength, bool) or not isinstance(strength, int | float) or not 0 <= strength <= 100:
        raise UsageError(f"strength: must lie in 0 to 100, got {strength!r}")
    return replace(bounds, strength=strength / 100, max_rounds=bounds.max_rounds if strength else 0)


def _restored(
    each: Given, engine: Engine, weights: tuple[str | None, str | None], bounds: Bounds, choice: Choice, keep: bool
) -> Restored:
    started = time.perf_counter()
    image = picture_to_image(each.picture)
    (outcome,) = main_path.restore(engine, image, engine.policy.within(bounds), keep_rounds=keep)
    subject = Subject(each.name, size=each.picture.size, weights=weights[0], weights_sha256=weights[1])
    record = PictureRecord.of(subject, outcome.restoration, time.perf_counter() - started)
    return Restored(
        each,
        each.picture if outcome.image is None else image_to_picture(outcome.image, each.picture),
        record if outcome.image is None else replace(record, warnings=each.picture.warnings),
        outcome.restoration.trace,
        tuple(image_to_picture(one, each.picture) for one in outcome.images),
        choice,
    )


def _names(names: Names, option: str) -> tuple[Degradation, ...]:
    if not isinstance(names, Iterable):
        raise UsageError(f"{option}: names of degradations are needed, got {names!r:.40}")
    split = names.split(",") if isinstance(names, str) else names
    found = [str(name).strip() for name in split if str(name).strip()]
    unknown = [name for name in found if name not in set(Degradation)]
    if unknown:
        raise UsageError(f"{option}: {', '.join(unknown)} unknown; choose from {', '.join(Degradation)}")
    return tuple(Degradation(name) for name in found)


def _engine(engine: Engine | str | None) -> tuple[Engine, tuple[str | None, str | None]]:
    """The engine, and name and hash of its weights where they are known."""
    if isinstance(engine, Engine):
        return engine, (None, None)
    if engine is not None and not isinstance(engine, str | os.PathLike):
        raise UsageError(f"engine: from rar.load(), or a name of weights, got {type(engine).__name__}")
    return _loaded(path_text(engine or "rar-s"))


@lru_cache(maxsize=2)
def _loaded(name: str) -> tuple[Engine, tuple[str, str]]:
    from rar_cli.weights.find import find

    weights = find(name)
    return load(name), (weights.name, weights.sha256)
