"""Weights on the hub: `Rar.from_pretrained`, `save_pretrained`, `push_to_hub`, by the mixin of huggingface_hub."""

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
    def from_pretrained(  # type: ignore[override] # of the mixin's options those that mean something here
        cls, pretrained_model_name_or_path: str | Path, *, revision: str | None = None, local_files_only: bool = False
    ) -> Self:
        """A folder, shipped weights, or owner/name of the hub, fetched on the first use. Raises WeightsError.

        Not the mixin's own, which asks the hub for a config first, and fails where there is no network.
        """
        model_id = str(pretrained_model_name_or_path)
        if revision is not None:
            raise WeightsError(f"{model_id}: a revision cannot be chosen; download it and give the folder")
        if is_hub_id(model_id) and not Path(model_id).is_dir() and cached(model_id) is None:
            if local_files_only:
                raise WeightsError(f"{model_id}: not here; `rar download-weights {model_id}` fetches it")
            from rar_cli.weights.download import download

            return cls.load(download(model_id)[0].folder)
        return cls.load(find(model_id).folder)
