"""The main path of one batch: canvas -> encode -> rounds -> settle -> decode -> put back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rar_cli.engine.canvas import Canvas, canvas_of
from rar_cli.engine.engine import Engine
from rar_cli.engine.grain import Grain, grain_stays
from rar_cli.engine.inputs import check_image
from rar_cli.engine.tone import Tone
from rar_cli.errors import UsageError
from rar_cli.loop.policy import Policy
from rar_cli.loop.rounds import Pass, Restoring, looks_of, rounds, settle
from rar_cli.types import ALL, Assessment, Bounds, Degradation, Restoration

OnPass = Callable[[Pass], None]


@dataclass(frozen=True)
class Outcome:
    """One restored picture. image: (1, 3, h, w) on the CPU, None where the input is kept.

    images: every round's picture where they are kept, round 1 first.
    """

    restoration: Restoration
    image: Tensor | None
    images: tuple[Tensor, ...] = ()


def restore(
    engine: Engine,
    image: Tensor,
    policy: Policy | None = None,
    keep_rounds: bool = False,
    on_pass: OnPass | None = None,
    whole: bool = False,
) -> tuple[Outcome, ...]:
    """Restore a batch, image (b, 3, h, w). Each picture is encoded once and decoded once. A border of one colour stays.

    image: float in [0, 1], or uint8 or uint16 at full range; outcomes come in the same type.
    policy: what to remove and when to stop, by default that of the weights. keep_rounds: decode every round too.
    on_pass: called with each round as soon as it is judged. whole: nothing is a border, and the networks see the
    picture from its corner, wherever its blocks of compression begin.
    """
    check_image(image)
    policy = policy or engine.policy
    size, dtype = (image.shape[-2], image.shape[-1]), image.dtype
    everything = Canvas(0, size[0], 0, size[1])
    canvases = [everything if whole else canvas_of(each) for each in image]
    if any(canvas != everything for canvas in canvases):
        return _on_canvases(canvases, engine, image, policy, keep_rounds, on_pass)
    with torch.inference_mode():
        # Only the loop holds the latent, and nothing holds the image: large pictures leave no room for more.
        passes: Iterable[Pass] = rounds(restoring(engine, policy), engine.encode(image), policy)
        del image
        if on_pass is not None:
            passes = _reported(passes, on_pass)
        images: dict[int, list[Tensor]] = {}
        if keep_rounds:
            passes = list(passes)
            for step in passes[1:]:
                for place, picture in enumerate(step.pictures):
                    one = step.latent[place : place + 1]
                    images.setdefault(picture, []).append(engine.decode(one, size, dtype))
        strength, outcomes = policy.bounds.strength, []
        if strength < 1.0:
            passes = _weakened(engine, passes, strength)
        for i, kept in enumerate(settle(iter(passes))):
            decoded = None if kept.best_round == 0 else engine.decode(kept.latent, size, dtype)
            slim = replace(kept, latent=kept.latent[..., :0, :0])  # do not hold on to the memory
            outcomes.append(Outcome(slim, decoded, tuple(images.get(i, ()))))
        return tuple(outcomes)


def assess(engine: Engine, image: Tensor) -> Assessment:
    """Assess a picture, image (1, 3, h, w) as `restore` takes it, without restoring it; a border does not count."""
    check_image(image, most=1)
    with torch.inference_mode():
        return engine.assess(engine.encode(canvas_of(image[0]).of(image)))


def restoring(engine: Engine, policy: Policy) -> Restoring:
    """What the loop runs on: the engine, with the tone of large pictures and with grain that stays."""
    model: Restoring = engine
    if engine.model.codec.linear:
        model = Tone(engine)
    return Grain(model) if grain_stays(policy.bounds.wanted) else model


def bounds_of(
    max_rounds: int = 4,
    accept_score: float | None = None,
    only: Sequence[Degradation] = (),
    keep: Sequence[Degradation] = (),
    strength: float = 1.0,
) -> Bounds:
    """What a user allows: `only` is removed and nothing else, or all but `keep`. Raises UsageError if both are given,
    and for impossible bounds."""
    if only and keep:
        raise UsageError("only and keep exclude each other: give one of them")
    wanted = frozenset(only) if only else ALL - frozenset(keep)
    try:
        return Bounds(max_rounds if strength else 0, accept_score, wanted, bool(only), strength)
    except (TypeError, ValueError) as error:
        raise UsageError(str(error)) from error


def _weakened(engine: Engine, passes: Iterable[Pass], strength: float) -> Iterator[Pass]:
    """Each round at a fraction of the way from the input, assessed there. The loop itself goes all of the way."""
    begun: Tensor | None = None
    for step in passes:
        begun = step.latent if begun is None else begun
        if step.index == 0:
            yield step
            continue
        latent = torch.lerp(begun[list(step.pictures)], step.latent, strength)
        looks = looks_of(engine.assess(latent))
        rounds_there = tuple(
            replace(this, score=look.score, severities=look.named, found_db=None)
            for this, look in zip(step.rounds, looks, strict=True)
        )
        yield replace(step, latent=latent, rounds=rounds_there)


def _on_canvases(
    canvases: Sequence[Canvas],
    engine: Engine,
    image: Tensor,
    policy: Policy,
    keep_rounds: bool,
    on_pass: OnPass | None,
) -> tuple[Outcome, ...]:
    """`restore` where the canvas is smaller than the picture. Equal canvases form one batch."""
    outcomes: dict[int, Outcome] = {}
    for canvas in dict.fromkeys(canvases):
        members = [place for place, each in enumerate(canvases) if each == canvas]
        report = None if on_pass is None else _renumbered(on_pass, members)
        # Only `restore` holds the canvases, so that it can free them once they are encoded.
        restored = restore(
            engine,
            torch.cat([canvas.of(image[place : place + 1]) for place in members]),
            policy, keep_rounds, report, whole=True,
        )  # fmt: skip
        for place, outcome in zip(members, restored, strict=True):
            picture = image[place : place + 1]
            outcomes[place] = replace(
                outcome,
                image=None if outcome.image is None else canvas.put_back(outcome.image, picture),
                images=tuple(canvas.put_back(each, picture) for each in outcome.images),
            )
    return tuple(outcomes[place] for place in range(len(canvases)))


def _renumbered(on_pass: OnPass, members: Sequence[int]) -> OnPass:
    """Report rounds of some pictures of a batch with their places in the whole batch."""
    return lambda step: on_pass(replace(step, pictures=tuple(members[place] for place in step.pictures)))


def _reported(passes: Iterable[Pass], on_pass: OnPass) -> Iterator[Pass]:
    for step in passes:
        on_pass(step)
        yield step
