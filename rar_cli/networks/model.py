"""Rar: codec, assessor and restorer as one model; loading and saving in the folder form of the hub.

A weights folder holds `rar.json` (version, prices), and per part a folder with `config.json`
and `model.safetensors`; at paper scale also the part's public component, in its publisher's form.
Nothing is ever unpickled; loading is strict.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rar_cli.errors import WeightsError
from rar_cli.loop.policy import GainPolicy, Policy, Prices, SimplePolicy
from rar_cli.loop.transport import transport
from rar_cli.networks.adapters import AssessorParams
from rar_cli.networks.assessor import Assessor
from rar_cli.networks.codec import Codec, CodecParams
from rar_cli.networks.gain import Forecast
from rar_cli.networks.large.assessor import LanguageAssessor, LanguageParams
from rar_cli.networks.large.codec import AutoencoderCodec, AutoencoderParams
from rar_cli.networks.large.restorer import TransformerParams, TransformerRestorer
from rar_cli.networks.restorer import Restorer, RestorerParams
from rar_cli.types import DEGRADATIONS, Assessment, Plan

FORMAT = 3
"""Version of the weights folder; since 3, prices stand where thresholds did."""

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
        told = 0
        if isinstance(self.assessor, AssessorParams) and self.assessor.blur_reach:
            told = self.assessor.blur_tokens
            if self.assessor.cell_px != self.codec.factor:
                raise ValueError(f"the assessor's cell_px is not the codec's factor {self.codec.factor}")
        asked = self.restorer.blur_tokens if isinstance(self.restorer, RestorerParams) else 0
        if asked > told:
            raise ValueError(f"the restorer asks for {asked} tokens of blur, the assessor makes {told}")
        made = (self.assessor.condition_tokens, self.assessor.condition_width)
        taken = (self.restorer.condition_tokens, self.restorer.condition_width)
        if made != taken:
            raise ValueError(f"the assessor makes a condition of {made}, the restorer takes {taken}")


class Rar(nn.Module):
    """The whole model. prices: what a plan has to gain, fitted with these weights.

    pretrained: take the public components' weights from where their params say; else random ones.
    folder: a weights folder that holds the components.
    """

    def __init__(
        self, params: RarParams, prices: Prices | None = None, pretrained: bool = False, folder: Path | None = None
    ) -> None:
        super().__init__()
        self.params = params
        self.prices = prices or Prices()
        self.codec: Codec | AutoencoderCodec = self._part("codec", pretrained, folder)
        self.assessor: Assessor | LanguageAssessor = self._part("assessor", pretrained, folder)
        self.restorer: Restorer | TransformerRestorer = self._part("restorer", pretrained, folder)

    def _part(self, name: str, pretrained: bool, folder: Path | None) -> Any:
        params = getattr(self.params, name)
        module = MODULES[type(params)]
        if isinstance(params, tuple(LARGE.values())):
            return module(params, pretrained, None if folder is None else folder / name)
        return module(params)

    @property
    def policy(self) -> Policy:
        """By the heads of gain, or the simple one for weights without."""
        heads = getattr(self.assessor, "gain", None)
        return SimplePolicy() if heads is None else GainPolicy(Forecast(heads), self.prices)

    def assess(self, latent: Tensor) -> Assessment:
        """latent (b, c, h, w) -> assessment of b pictures."""
        return self.assessor.assess(latent)

    def condition(self, assessment: Assessment, plans: Sequence[Plan]) -> Tensor:
        """Condition (b, n, d) for what each picture's plan removes."""
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
    ) -> Tensor:
        """One round's transport of latent (b, c, h, w) under condition (b, n, d) along `times`.

        origin: the latent before the first round, where that is another one; only a restorer with memory asks for it.
        """
        begin = latent if origin is None else origin

        def field(z: Tensor, t: float) -> Tensor:
            told = (begin,) if self.params.restorer.memory and z is not begin else ()
            return self.restorer(z, z.new_full((z.shape[0],), t), condition, *told)

        return transport(field, latent, times)

    def save(self, folder: Path, dtype: torch.dtype = torch.float32) -> None:
        """Write the folder form; `dtype` float16 halves the small parts (the codec stays float32)."""
        for name in PARTS:
            part = folder / name
            part.mkdir(parents=True, exist_ok=True)
            module = getattr(self, name)
            kind = torch.float32 if name == "codec" else dtype  # the codec is small, and exact
            tensors = {k: v.detach().cpu().to(kind).contiguous() for k, v in _own(module).items()}
            save_file(tensors, part / "model.safetensors", metadata={"format": "pt"})
            (part / "config.json").write_text(json.dumps(asdict(module.params), indent=2) + "\n")
            if hasattr(module, "save_component"):
                module.save_component(part)
        about = {"format": FORMAT, "prices": asdict(self.prices)}
        (folder / "rar.json").write_text(json.dumps(about, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Rar:
        """Read a folder written by `save`, strictly, in eval mode; small parts as float32. Raises WeightsError."""
        try:
            about = json.loads((folder / "rar.json").read_text())
            configs = {name: json.loads((folder / name / "config.json").read_text()) for name in PARTS}
            if about.get("format") != FORMAT:
                found = about.get("format")
                raise WeightsError(f"{folder}: format {found} is not {FORMAT}; update rar-cli and fetch them again")
            params = RarParams(**{name: part_params(name, config) for name, config in configs.items()})
            model = cls(params, Prices(**about["prices"]), folder=folder)
            for name in PARTS:
                _load_own(getattr(model, name), load_file(folder / name / "model.safetensors"))
        except WeightsError:
            raise
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:300]
            raise WeightsError(f"{folder}: not usable weights ({reason}); try `rar download-weights`") from error
        return model.eval().requires_grad_(False)


COMPONENTS = ("autoencoder.", "core.", "transformer.")
"""Where the parts at paper scale hold their public components, which are saved in their own form."""


def _own(module: nn.Module) -> dict[str, Tensor]:
    """The tensors of a part that are not its public component's."""
    tensors = module.state_dict()
    return {k: v for k, v in tensors.items() if not (hasattr(module, "save_component") and k.startswith(COMPONENTS))}


def _load_own(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Strictly: every tensor of the file has its place, and every place its tensor."""
    expected = set(_own(module))
    if set(tensors) != expected:
        missing, odd = sorted(expected - set(tensors)), sorted(set(tensors) - expected)
        faults = [f"Missing key {name}" for name in missing[:2]] + [f"Unexpected key {name}" for name in odd[:2]]
        raise ValueError(f"config and tensors do not match: {', '.join(faults)}")
    module.load_state_dict({k: v.float() for k, v in tensors.items()}, strict=False, assign=True)


P = TypeVar("P")


def part_params(name: str, config: dict[str, Any]) -> Any:
    """A part's config -> its params: small, or at paper scale where `kind` says so. Raises ValueError."""
    kind = config.get("kind")
    if kind is not None and kind not in LARGE:
        raise ValueError(f"{name}: kind {kind} is unknown; use {', '.join(LARGE)}")
    return _params(SMALL[name] if kind is None else LARGE[kind], config)


def _params(kind: type[P], config: dict[str, Any]) -> P:
    """config.json -> params dataclass; lists become tuples, unknown keys are refused."""
    names = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    unknown = set(config) - set(names)
    if unknown:
        raise ValueError(f"unknown {', '.join(sorted(unknown))}; {kind.__name__} knows {', '.join(names)}")
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in config.items()})
