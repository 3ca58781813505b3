"""Weights in the form of the hub: saved, loaded, pushed."""

import pytest
import torch

import rar_cli as rar
from rar_cli.errors import WeightsError


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_what_is_saved_is_loaded_verified(busy, tmp_path):
    busy.save_pretrained(tmp_path / "mine")
    assert (tmp_path / "mine" / "manifest.json").exists()
    again = rar.Rar.from_pretrained(tmp_path / "mine")
    assert same(busy, again)
    assert not again.training
    part = tmp_path / "mine" / "codec" / "model.safetensors"
    part.write_bytes(part.read_bytes()[:-1] + b"x")
    with pytest.raises(WeightsError, match="sha256 differs"):
        rar.Rar.from_pretrained(tmp_path / "mine")


def test_the_hub_gets_the_whole_folder(busy, monkeypatch):
    pushed = []

    class Api:
        def __init__(self, *given, **options): ...

        def create_repo(self, repo_id, **options):
            return type("Repo", (), {"repo_id": repo_id})

        def upload_folder(self, *, folder_path, **options):
            pushed.extend(str(p.relative_to(folder_path)) for p in folder_path.rglob("*") if p.is_file())

    monkeypatch.setattr("huggingface_hub.hub_mixin.HfApi", Api)
    busy.push_to_hub("me/mine")
    wanted = {"manifest.json", "rar.json", "codec/model.safetensors", "assessor/config.json"}
    assert wanted <= {name.replace("\\", "/") for name in pushed}


def test_a_name_of_the_hub_is_fetched_once_and_verified(weights_dir, monkeypatch, tmp_path):
    from rar_cli.weights.find import find

    monkeypatch.setenv("RAR_WEIGHTS", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.hub_mixin.hf_hub_download", lambda **options: None)
    monkeypatch.setattr("rar_cli.weights.download.download", lambda name: [find(str(weights_dir))])
    assert isinstance(rar.Rar.from_pretrained("me/mine"), rar.Rar)
    with pytest.raises(WeightsError, match="rar download-weights me/mine"):
        rar.Rar.from_pretrained("me/mine", local_files_only=True)
    with pytest.raises(WeightsError, match="revision"):
        rar.Rar.from_pretrained("me/mine", revision="v1")
