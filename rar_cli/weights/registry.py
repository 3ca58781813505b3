"""What `rar download-weights` knows: names, sources, licences, and the sums that are known beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Entry:
    """One set of weights.

    repository, revision, subfolder: on the hub; no repository where it travels with rar-cli. A
    revision that is a branch is resolved to its commit at download and recorded in the manifest.
    sha256: file -> sum, where it is known beforehand; the others are checked against the hub's own.
    megabytes: roughly. patterns: the files that are wanted; never a pickle.
    """

    name: str
    about: str
    licence: str
    origin: str
    megabytes: int
    repository: str = ""
    revision: str = "main"
    subfolder: str = ""
    sha256: Mapping[str, str] = field(default_factory=dict)
    patterns: tuple[str, ...] = ("*.safetensors", "*.json")


SD35 = "b940f670f0eda2d07fbb75229e779da1ad11eb80"
"""Revision of Stable Diffusion 3.5 Medium that its parts are taken from."""

ENTRIES: tuple[Entry, ...] = (
    Entry(
        name="rar-s",
        about="the shipped model: codec, assessor and restorer",
        licence="the terms of the photographs it was trained on (research); see its model card",
        origin="travels with rar-cli",
        megabytes=25,
    ),
    Entry(
        name="sd3.5-medium-vae",
        about="codec of rar-l: 16 channels, factor 8",
        licence="Stability AI Community License",
        origin="Stability AI, Stable Diffusion 3.5 Medium",
        megabytes=168,
        repository="stabilityai/stable-diffusion-3.5-medium",
        revision=SD35,
        subfolder="vae",
        sha256={
            "diffusion_pytorch_model.safetensors": "8f53304a79335b55e13ec50f63e5157fee4deb2f30d5fae0654e2b2653c109dc"
        },
    ),
    Entry(
        name="sd3.5-medium-transformer",
        about="restorer of rar-l before its training: MMDiT-X",
        licence="Stability AI Community License",
        origin="Stability AI, Stable Diffusion 3.5 Medium",
        megabytes=4940,
        repository="stabilityai/stable-diffusion-3.5-medium",
        revision=SD35,
        subfolder="transformer",
    ),
    Entry(
        name="vicuna-7b",
        about="IQA core of rar-l before its training",
        licence="Llama 2 Community License",
        origin="LMSYS, Vicuna 7B v1.5",
        megabytes=13500,
        repository="lmsys/vicuna-7b-v1.5",
        revision="e47d451158f817a9cea20bb0f73b854c9832a85d",
    ),
)

GROUPS: Mapping[str, tuple[str, ...]] = {"rar-l": ("sd3.5-medium-vae", "sd3.5-medium-transformer", "vicuna-7b")}
"""Names that stand for several: what a training at paper scale begins from."""


def entries(name: str) -> tuple[Entry, ...] | None:
    """The entries behind a name, None where the registry does not know it."""
    names = GROUPS.get(name, (name,))
    found = tuple(entry for entry in ENTRIES if entry.name in names)
    return found or None
