"""Rar: codec, assessor and restorer as one model, each small or at paper scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rar_cli.loop.policy import GainPolicy, Policy, Prices, SimplePolicy
from rar_cli.loop.transport import Solver, euler, transport
from rar_cli.networks.adapters import AssessorParams
from rar_cli.networks.assessor import Assessor
from rar_cli.networks.codec import Codec, CodecParams
from rar_cli.networks.contracts import AssessorLike, CodecLike, RestorerLike
from rar_cli.networks.folder import load_part, params_of, read_about, read_json, usable, write_about, write_part
from rar_cli.networks.gain import Forecast
from rar_cli.networks.hub import HubModel
from rar_cli.networks.large.assessor import LanguageAssessor, LanguageParams
from rar_cli.networks.large.codec import AutoencoderCodec, AutoencoderParams
from rar_cli.networks.large.restorer import TransformerParams, TransformerRestorer
from rar_cli.networks.restorer import Restorer, RestorerParams
from rar_cli.types import DEGRADATIONS, Assessment, Plan

PARTS = ("codec", "assessor", "restorer")

SMALL: dict[str, Any] = {"codec": CodecParams, "assessor": AssessorParams, "restorer": RestorerParams}
LARGE: dict[str, Any] = {"autoencoder": AutoencoderParams, "language": LanguageParams, "transformer": TransformerParams}
"""`kind` in a part's config -> its params; a config without one is that of the small part."""

MODULES: dict[Any, Any] = {
    CodecParams: Codec,
    AssessorParams: Assessor,
    RestorerParams: Restorer,
    AutoencoderParams: AutoencoderCodec,
    LanguageParams: LanguageAssessor,
    TransformerParams: TransformerRestorer,
}


@dataclass(frozen=True)
class RarParams:
    """The parameters of the three parts, each small or at paper scale."""

    codec: CodecParams | AutoencoderParams = CodecParams()
    assessor: AssessorParams | LanguageParams = AssessorParams()
    restorer: RestorerParams | TransformerParams = RestorerParams()

    def __post_init__(self) -> None:
        channels = (self.codec.channels, self.assessor.channels, self.restorer.channels)
        if len(set(channels)) != 1:
            raise ValueError(f"codec, assessor and restorer disagree on latent channels: {channels}")
        if self.assessor.needed_factor not in (None, self.codec.factor):
            raise ValueError(f"the assessor's cell_px is not the codec's factor {self.codec.factor}")
        blur_read, blur_made = self.restorer.blur_tokens, self.assessor.made_of_blur
        if blur_read > blur_made:
            raise ValueError(f"the restorer asks for {blur_read} tokens of blur, the assessor makes {blur_made}")
        made = (self.assessor.condition_tokens, self.assessor.condition_width)
        taken = (self.restorer.condition_tokens, self.restorer.condition_width)
        if made != taken:
            raise ValueError(f"the assessor makes a condition of {made}, the restorer takes {taken}")


class Rar(nn.Module, HubModel):
    """The whole model. prices: what a plan must gain, fitted with these weights.

    pretrained: take the public components' weights from where their params say; else random ones.
    folder: a weights folder that holds the components.
    """

    def __init__(
        self, params: RarParams, prices: Prices | None = None, pretrained: bool = False, folder: Path | None = None
    ) -> None:
        super().__init__()
        self.params = params
        self.prices = prices or Prices()
        self.codec: CodecLike = self._part("codec", pretrained, folder)
        self.assessor: AssessorLike = self._part("assessor", pretrained, folder)
        self.restorer: RestorerLike = self._part("restorer", pretrained, folder)

    def _part(self, name: str, pretrained: bool, folder: Path | None) -> Any:
        params = getattr(self.params, name)
        module = MODULES[type(params)]
        if isinstance(params, tuple(LARGE.values())):
            return module(params, pretrained, None if folder is None else folder / name)
        return module(params)

    @property
    def policy(self) -> Policy:
        """By the heads of gain, or the simple one for weights without."""
        heads = self.assessor.gain
        return SimplePolicy() if heads is None else GainPolicy(Forecast(heads), self.prices)

    def assess(self, latent: Tensor) -> Assessment:
        """latent (b, c, h, w) -> assessment of b pictures."""
        return self.assessor.assess(latent)

    def condition(self, assessment: Assessment, plans: Sequence[Plan]) -> Tensor:
        """Condition (b, n, d) for each picture's plan."""
        rows = [[float(d in plan.remove) for d in DEGRADATIONS] for plan in plans]
        return self.assessor.condition(assessment, torch.tensor(rows, device=assessment.severities.device))

    def transport(
        self, latent: Tensor, assessment: Assessment, plans: Sequence[Plan], origin: Tensor | None = None
    ) -> Tensor:
        """One round as the loop takes it: condition and move."""
        return self.move(latent, self.condition(assessment, plans), origin)

    def move(
        self,
        latent: Tensor,
        condition: Tensor,
        origin: Tensor | None = None,
        times: Sequence[float] = (0.0, 1.0),
        solver: Solver = euler,
    ) -> Tensor:
        """One round's transport of latent (b, c, h, w) under condition (b, n, d) along `times`, by `solver`.

        origin: the latent that memory begins with, None where it is `latent`. Only a restorer with memory reads it.
        """
        begin = latent if origin is None else origin

        def field(z: Tensor, t: float) -> Tensor:
            memory = (begin,) if self.params.restorer.memory and z is not begin else ()
            return self.restorer(z, z.new_full((z.shape[0],), t), condition, *memory)

        return transport(field, latent, times, solver)

    def save(self, folder: Path, dtype: torch.dtype = torch.float32) -> None:
        """Write the folder form; `dtype` float16 halves the small parts (the codec stays float32)."""
        for name in PARTS:
            kind = torch.float32 if name == "codec" else dtype  # the codec is small, and exact
            write_part(getattr(self, name), folder / name, kind)
        write_about(folder, {"prices": asdict(self.prices)})

    @classmethod
    def load(cls, folder: Path) -> Rar:
        """Read a folder written by `save`, strictly, in eval mode; small parts as float32. Raises WeightsError."""
        with usable(folder):
            about = read_about(folder)
            configs = {name: read_json(folder / name / "config.json") for name in PARTS}
            params = RarParams(**{name: part_params(name, config) for name, config in configs.items()})
            model = cls(params, params_of(Prices, about["prices"]), folder=folder)
            for name in PARTS:
                load_part(getattr(model, name), folder / name)
        return model.eval().requires_grad_(False)


def part_params(name: str, config: dict[str, Any]) -> Any:
    """A part's config -> its params: small, or at paper scale where `kind` says so. Raises ValueError."""
    if not isinstance(config, dict):
        raise ValueError(f"{name}: settings are needed, got {config!r:.40}")
    kind = config.get("kind")
    if kind is not None and kind not in LARGE:
        raise ValueError(f"{name}: kind {kind} is unknown; use {', '.join(LARGE)}")
    return params_of(SMALL[name] if kind is None else LARGE[kind], config)
