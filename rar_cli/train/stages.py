"""The stages of the recipe as functions (model, batch) -> losses (docs/training.md#the-recipe)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from rar_cli.loop.transport import on_path, velocity_to_target
from rar_cli.networks.codec import mse_of
from rar_cli.networks.contracts import is_linear
from rar_cli.networks.model import PARTS, Rar
from rar_cli.train.config import Learner, Stage
from rar_cli.train.data import Batch
from rar_cli.train.losses import (
    RESTORATION_LOSSES,
    log_detail,
    log_mse,
    mse_to_psnr,
    psnr_to_score,
    ranking_loss,
    score_loss,
    severity_loss,
)
from rar_cli.types import Conditioned


@dataclass(frozen=True)
class Losses:
    """The total to minimise and its named parts for the ledger."""

    total: Tensor
    parts: dict[str, Tensor]


def let_learn(model: Rar, what: Learner = "all") -> None:
    """Let all that some stage trains learn, from the beginning: a stage gives gradients to what it uses alone,
    and shards want to know at once what will ever have one. what: everything, or one part alone."""
    for name in PARTS:
        getattr(model, name).let_learn(what in ("all", name))


def losses(model: Rar, batch: Batch, stage: Stage, begun: Rar | None = None) -> Losses:
    """The losses of one step of `stage`; begun: the model as the run began with it, for a stage that keeps."""
    if stage.kind == "assessor":
        return assessor_losses(model, batch)
    if stage.kind == "restorer":
        return restorer_losses(model, batch, stage, begun)
    return end_to_end_losses(model, batch, stage)


def assessor_losses(model: Rar, batch: Batch) -> Losses:
    """Stage 1: severities and score on latents between degraded and clean."""
    with torch.no_grad():
        clean = model.codec.encode(batch.clean)
        latent = on_path(model.codec.encode(batch.degraded), clean, batch.t)
    assessment = model.assessor(latent)
    severity = severity_loss(assessment.severities, batch.severities * (1 - batch.t[:, None]))
    score = score_loss(assessment.score, _true_score(model, latent, clean))
    return Losses(severity + 0.3 * score, {"severity": severity, "score": score})


def restorer_losses(model: Rar, batch: Batch, stage: Stage, begun: Rar | None = None) -> Losses:
    """Stage 2: the condition from the whole crop, the velocity on a window of it, all in latent space."""
    with torch.no_grad():
        clean, target, start = (model.codec.encode(x) for x in (batch.clean, batch.target, batch.degraded))
    first, chosen = start, batch.unrolled
    before = model.assessor(first[chosen], remove_mask=batch.first_mask[chosen]) if len(chosen) else None
    start, left = _own_work(model, batch, start, target, before)
    assessment = model.assessor(start, remove_mask=batch.remove_mask, severities=_forced(batch, left))
    severity = severity_loss(assessment.severities, _remaining(batch, left), ~batch.planned)
    score = score_loss(assessment.score, _true_score(model, start, clean))
    rank = _rank(model, chosen, assessment.score, before, (start, first, clean))
    cut = _Window(model, batch)
    z_0, z_1 = cut(start), cut(target)
    t = cut.each(batch.t)
    z_t = on_path(z_0, z_1, t)
    origin = torch.where(batch.planned[:, None, None, None], start, first)
    told = (cut(origin),) if model.params.restorer.memory else ()
    v = model.restorer(z_t, t, cut.each(assessment.condition), *told)
    end = velocity_to_target(v, z_t, t)
    if begun is None or not len(batch.kept):
        restoration = RESTORATION_LOSSES[stage.loss](end, z_1, model.codec.scale)
    else:
        path = _OnPath(z_t, z_1, told)
        z_1, beside = _kept(begun, batch, start, _forced(batch, left), cut, path)
        restoration = log_mse(end, z_1, model.codec.scale, beside)
    total = restoration + severity + 0.3 * score + 0.1 * rank
    parts = {"restoration": restoration, "severity": severity, "score": score, "rank": rank}
    if stage.detail:
        assert is_linear(model.codec)  # the config sees to it
        parts["detail"] = log_detail(end, z_1, model.codec)
        total = total + stage.detail * parts["detail"]
    return Losses(total, parts)


class _OnPath(NamedTuple):
    """Windows (b n, c, h, w) on their path: latents at time t, ends, and origins where the restorer has memory."""

    latent: Tensor
    end: Tensor
    origins: tuple[Tensor, ...]


@torch.no_grad()
def _kept(
    begun: Rar, batch: Batch, start: Tensor, forced: Tensor, cut: _Window, path: _OnPath
) -> tuple[Tensor, Tensor]:
    """(target of each window (b n, c, h, w), error that the target still has (b n,)).

    The target of kept pictures is what `begun` makes of them. With its error beside it, the loss is that of the truth
    but for one term: how much the change has to do with the error. On few pictures that term is mostly chance, and
    following it undoes what many pictures have averaged.
    """
    kept, at = batch.kept, cut.windows_of(batch.kept)
    condition = begun.assessor(start[kept], remove_mask=batch.remove_mask[kept], severities=forced[kept]).condition
    t = cut.each(batch.t[kept])
    v = begun.restorer(path.latent[at], t, cut.each(condition), *(each[at] for each in path.origins))
    end = velocity_to_target(v, path.latent[at], t).to(path.end.dtype)
    error = mse_of(end, path.end[at], begun.codec.scale)
    return path.end.index_copy(0, at, end), batch.t.new_zeros(len(path.end)).index_copy(0, at, error)


def end_to_end_losses(model: Rar, batch: Batch, stage: Stage) -> Losses:
    """Stage 3: codec, assessor and two unrolled rounds against the decoded picture (Sec. 1.5).

    The second round sees what the first one really made; gradients run through both and through
    the condition of each. The codec is held to reproduce clean pictures by a loss of its own.
    """
    clean, target, start = (model.codec.encode(x) for x in (batch.clean, batch.target, batch.degraded))
    cut = _Window(model, batch)
    pixels = _Window(model, batch, factor=model.params.codec.factor)(batch.target)
    truth = cut(target.detach())
    parts: dict[str, Tensor] = {}
    total = start.new_zeros(())
    begun = latent = cut(start)
    whole = start
    left = torch.ones_like(batch.t)
    scores = []
    for number, weight in ((1, 1.0), (2, 0.5)):
        assessment = model.assessor(whole, remove_mask=batch.remove_mask)
        reference = clean.detach() if number == 1 else cut(clean.detach())
        parts[f"severity_{number}"] = severity_loss(assessment.severities, _remaining(batch, left))
        parts[f"score_{number}"] = score_loss(assessment.score, _true_score(model, whole, reference))
        scores.append(assessment.score)
        restored = model.move(latent, assessment.condition, None if number == 1 else begun)
        image = model.codec.decode(restored)
        parts[f"image_{number}"] = ((image - pixels).square() + 1e-6).sqrt().mean()
        parts[f"latent_{number}"] = RESTORATION_LOSSES[stage.loss](restored, truth, model.codec.scale)
        total = total + weight * (8.0 * parts[f"image_{number}"] + 0.5 * parts[f"latent_{number}"])
        total = total + 0.1 * parts[f"severity_{number}"] + 0.03 * parts[f"score_{number}"]
        left = _left(model, restored, latent, truth) if number == 1 else left
        latent = whole = restored
    parts["codec"] = (model.codec.decode(clean) - batch.clean).square().mean().add(1e-8).sqrt()
    return Losses(total + 4.0 * parts["codec"], parts)


def _true_score(model: Rar, latent: Tensor, clean: Tensor) -> Tensor:
    return psnr_to_score(mse_to_psnr(model.codec.mse(latent.detach(), clean)))


def _left(model: Rar, restored: Tensor, start: Tensor, target: Tensor) -> Tensor:
    """Share (b,) in [0, 1] of the error that a round has left; 1 - t on the straight path."""
    before = model.codec.mse(start, target)
    after = model.codec.mse(restored, target)
    return (after / before.clamp_min(1e-8)).sqrt().clamp(0.0, 1.0).detach()


@torch.no_grad()
def _own_work(
    model: Rar, batch: Batch, start: Tensor, target: Tensor, before: Conditioned | None
) -> tuple[Tensor, Tensor]:
    """Replace the unrolled pictures by what the model makes of them in one round; before: their assessment.

    What that round has left of each degradation is not known after a plan that removed another part than the target.
    """
    left, chosen = torch.ones_like(batch.t), batch.unrolled
    if before is None:
        return start, left
    restored = _partly_written(model, model.move(start[chosen], before.condition))
    left[chosen] = _left(model, restored, start[chosen], target[chosen])
    return start.index_copy(0, chosen, restored.to(start.dtype)), left


def _partly_written(model: Rar, latent: Tensor) -> Tensor:
    """Every other picture as a file of 8 bits gives it back: a restored file is to score what its round scored."""
    pixels = model.codec.decode(latent[::2]).clamp(0.0, 1.0).mul(255.0).round().div(255.0)
    written = latent.clone()
    written[::2] = model.codec.encode(pixels).to(latent.dtype)
    return written


def _remaining(batch: Batch, left: Tensor) -> Tensor:
    """True severities (b, degradations) after a round: what was to be removed shrinks, what is kept stays."""
    return batch.severities * torch.where(batch.remove_mask > 0, left[:, None], 1.0)


def _rank(
    model: Rar, chosen: Tensor, score: Tensor, before: Conditioned | None, latents: tuple[Tensor, Tensor, Tensor]
) -> Tensor:
    """Ranking loss between the input and the model's own work on it, for the chosen pictures (their places).

    before: what is said of the input. latents: own work, input and truth of all pictures.
    """
    if before is None:
        return score.new_zeros(())
    own, first, clean = (latent[chosen] for latent in latents)
    truth = _true_score(model, own, clean) - _true_score(model, first, clean)
    return ranking_loss(score.index_select(0, chosen) - before.score, truth)


def _forced(batch: Batch, left: Tensor) -> Tensor:
    """True severities where forced, elsewhere NaN: the assessed ones."""
    return torch.where(batch.forced[:, None], _remaining(batch, left), float("nan"))


class _Window:
    """Cuts each picture's windows out of a context-sized tensor, on the device, without waiting for the host."""

    def __init__(self, model: Rar, batch: Batch, factor: int = 1) -> None:
        cell = model.params.codec.factor
        side = batch.window_px // cell
        free = batch.clean.shape[-1] // cell - side + 1
        self.count = batch.window.shape[1]
        corners = (batch.window.flatten(0, 1) * free).long() * factor
        within = torch.arange(side * factor, device=corners.device)
        self.picture = self.each(torch.arange(len(batch.window), device=corners.device))[:, None, None]
        self.rows = (corners[:, :1] + within)[:, :, None]
        self.columns = (corners[:, 1:] + within)[:, None, :]

    def each(self, x: Tensor) -> Tensor:
        """What there is one of for each picture (b, ...), once for each of its windows (b n, ...)."""
        return x if self.count == 1 else x.repeat_interleave(self.count, 0)

    def windows_of(self, pictures: Tensor) -> Tensor:
        """The places of those pictures' windows, picture by picture."""
        return (pictures[:, None] * self.count + torch.arange(self.count, device=pictures.device)).flatten()

    def __call__(self, x: Tensor) -> Tensor:
        """x (b, c, height, width) -> its windows (b n, c, h, w), picture by picture."""
        return x.permute(0, 2, 3, 1)[self.picture, self.rows, self.columns].permute(0, 3, 1, 2)
