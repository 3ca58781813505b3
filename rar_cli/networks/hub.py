"""Weights of the hub: `Rar.from_pretrained`, `save_pretrained`, `push_to_hub`, over huggingface_hub's mixin."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from huggingface_hub import ModelHubMixin

from rar_cli.errors import WeightsError
from rar_cli.weights.find import cached, find, is_hub_id
from rar_cli.weights.manifest import write_manifest

LICENCE = "see the model card"


class HubModel(ModelHubMixin, library_name="rar-cli", tags=["image-restoration"]):
    """A model that is kept as a folder of weights with its manifest; every file is verified before it is used."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a folder."""
        raise NotImplementedError

    def save(self, folder: Path) -> None:
        """Write a folder."""
        raise NotImplementedError

    def save_pretrained(self, save_directory: str | Path, **options: Any) -> str | None:
        """Write the folder form and its manifest; options are those of huggingface_hub."""
        self._hub_mixin_config = None  # each part has a config of its own
        return super().save_pretrained(save_directory, **options)

    def _save_pretrained(self, save_directory: Path) -> None:
        self.save(save_directory)
        write_manifest(save_directory, save_directory.name, LICENCE, "saved by save_pretrained")

    @classmethod
    def _from_pretrained(cls, *, model_id: str, **options: Any) -> Self:
        """A folder, shipped weights, or owner/name of the hub, fetched on the first use. Raises WeightsError."""
        if options.get("revision") is not None:
            raise WeightsError(f"{model_id}: a revision cannot be chosen; download it and give the folder")
        if is_hub_id(model_id) and not Path(model_id).is_dir() and cached(model_id) is None:
            if options.get("local_files_only"):
                raise WeightsError(f"{model_id}: not here; `rar download-weights {model_id}` fetches it")
            from rar_cli.weights.download import download

            return cls.load(download(model_id)[0].folder)
        return cls.load(find(model_id).folder)
