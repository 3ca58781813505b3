"""Rar: codec, assessor and restorer as one model; loading and saving in the folder form of the hub.

A weights folder holds `rar.json` (version, stop policy), and per part a folder with `config.json`
and `model.safetensors`. Nothing is ever unpickled; loading is strict.
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

from rar_cli.assessor import Assessor, AssessorParams
from rar_cli.codec import Codec, CodecParams
from rar_cli.errors import WeightsError
from rar_cli.restorer import Restorer, RestorerParams
from rar_cli.transport import transport
from rar_cli.types import StopPolicy

FORMAT = 1
"""Version of the weights folder."""

PARTS = ("codec", "assessor", "restorer")


@dataclass(frozen=True)
class RarParams:
    """The parameters of the three parts."""

    codec: CodecParams = CodecParams()
    assessor: AssessorParams = AssessorParams()
    restorer: RestorerParams = RestorerParams()

    def __post_init__(self) -> None:
        channels = (self.codec.channels, self.assessor.channels, self.restorer.channels)
        if len(set(channels)) != 1:
            raise ValueError(f"codec, assessor and restorer disagree on latent channels: {channels}")
        made = (self.assessor.condition_tokens, self.assessor.condition_width)
        taken = (self.restorer.condition_tokens, self.restorer.condition_width)
        if made != taken:
            raise ValueError(f"the assessor makes a condition of {made}, the restorer takes {taken}")


class Rar(nn.Module):
    """The whole model. `policy` holds the thresholds of the verdict fitted with these weights."""

    def __init__(self, params: RarParams, policy: StopPolicy | None = None) -> None:
        super().__init__()
        self.params = params
        self.policy = policy or StopPolicy()
        self.codec = Codec(params.codec)
        self.assessor = Assessor(params.assessor)
        self.restorer = Restorer(params.restorer)

    def move(self, latent: Tensor, condition: Tensor, times: Sequence[float] = (0.0, 1.0)) -> Tensor:
        """One round's transport of latent (b, c, h, w) under condition (b, n, d) along `times`."""

        def field(z: Tensor, t: float) -> Tensor:
            return self.restorer(z, z.new_full((z.shape[0],), t), condition)

        return transport(field, latent, times)

    def save(self, folder: Path, dtype: torch.dtype = torch.float32) -> None:
        """Write the folder form; `dtype` float16 halves it (the codec stays float32)."""
        for name in PARTS:
            part = folder / name
            part.mkdir(parents=True, exist_ok=True)
            module = getattr(self, name)
            kind = torch.float32 if name == "codec" else dtype  # the codec is small, and exact
            tensors = {k: v.detach().cpu().to(kind).contiguous() for k, v in module.state_dict().items()}
            save_file(tensors, part / "model.safetensors", metadata={"format": "pt"})
            (part / "config.json").write_text(json.dumps(asdict(module.params), indent=2) + "\n")
        about = {"format": FORMAT, "policy": asdict(self.policy)}
        (folder / "rar.json").write_text(json.dumps(about, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Rar:
        """Read a folder written by `save`, strictly, as float32 in eval mode. Raises WeightsError."""
        try:
            about = json.loads((folder / "rar.json").read_text())
            configs = {name: json.loads((folder / name / "config.json").read_text()) for name in PARTS}
            if about.get("format") != FORMAT:
                raise WeightsError(f"{folder}: format {about.get('format')} is not {FORMAT}: update rar-cli")
            params = RarParams(
                _params(CodecParams, configs["codec"]),
                _params(AssessorParams, configs["assessor"]),
                _params(RestorerParams, configs["restorer"]),
            )
            model = cls(params, StopPolicy(**about["policy"]))
            for name in PARTS:
                tensors = load_file(folder / name / "model.safetensors")
                getattr(model, name).load_state_dict({k: v.float() for k, v in tensors.items()}, assign=True)
        except WeightsError:
            raise
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:300]
            raise WeightsError(f"{folder}: not usable weights ({reason}); try `rar download-weights`") from error
        return model.eval().requires_grad_(False)


P = TypeVar("P")


def _params(kind: type[P], config: dict[str, Any]) -> P:
    """config.json -> params dataclass; lists become tuples, unknown keys are refused."""
    unknown = set(config) - {f.name for f in fields(kind)}  # type: ignore[arg-type]
    if unknown:
        raise ValueError(f"{kind.__name__} knows no {', '.join(sorted(unknown))}")
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in config.items()})
