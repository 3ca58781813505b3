"""Manifests, seals and names: only what stands in a manifest is opened, and only in its own folder."""

import hashlib
import json
import subprocess
import sys

import pytest

from rar_cli.errors import WeightsError
from rar_cli.weights import find as finding
from rar_cli.weights.download import download, verify_here
from rar_cli.weights.find import find, is_plain, shipped
from rar_cli.weights.manifest import MANIFEST, check_name, file_sha256, read_manifest, verify, write_manifest
from rar_cli.weights.seal import SEALS
from tests.conftest import ROOT

SUM = hashlib.sha256(b"x").hexdigest()
ROW = {"bytes": 1, "sha256": SUM}


def manifest_of(files, name="mine"):
    return json.dumps({"name": name, "files": files}).encode()


def test_the_seals_are_those_of_the_shipped_manifests():
    found = {path.parent.name: file_sha256(path) for path in shipped("weights").glob(f"*/{MANIFEST}")}
    assert found == dict(SEALS), "weights/ has changed: run `python scripts/seal_weights.py`"


@pytest.mark.parametrize("name", SEALS)
def test_every_file_of_the_shipped_weights_is_as_sealed(name):
    try:
        verify(shipped("weights") / name, SEALS[name])
    except WeightsError as error:
        raise AssertionError(f"{error}: run `python scripts/seal_weights.py`") from error


def test_one_command_seals_changed_weights(weights_dir, tmp_path):
    script = tmp_path / "copy" / "scripts" / "seal_weights.py"
    script.parent.mkdir(parents=True)
    script.write_text((ROOT / "scripts" / "seal_weights.py").read_text())
    for part in ("__init__.py", "errors.py", "version.py"):
        (tmp_path / "copy" / "rar_cli").mkdir(exist_ok=True)
        (tmp_path / "copy" / "rar_cli" / part).write_text((ROOT / "rar_cli" / part).read_text())
    (tmp_path / "copy" / "rar_cli" / "weights").mkdir()
    for path in (ROOT / "rar_cli" / "weights").glob("*.py"):
        (tmp_path / "copy" / "rar_cli" / "weights" / path.name).write_text(path.read_text())
    (tmp_path / "copy" / "weights").mkdir()
    weights_dir.rename(tmp_path / "copy" / "weights" / "tiny")
    changed = tmp_path / "copy" / "weights" / "tiny" / "rar.json"
    changed.write_text(changed.read_text() + "\n")
    for _ in range(2):  # a second time changes nothing
        subprocess.run([sys.executable, str(script)], check=True, capture_output=True)
        digest = file_sha256(changed.with_name(MANIFEST))
        assert f'"tiny": "{digest}"' in (tmp_path / "copy" / "rar_cli" / "weights" / "seal.py").read_text()
        assert "rar-s" not in (tmp_path / "copy" / "rar_cli" / "weights" / "seal.py").read_text()
        assert verify(changed.parent, digest).name == "tiny"


def test_other_weights_in_the_place_of_the_shipped_ones_are_refused(weights_dir, tmp_path, monkeypatch):
    """Whole in themselves, with a manifest that fits: only the sum in the code tells."""
    weights_dir.rename(tmp_path / "rar-s")
    monkeypatch.setattr(finding, "shipped", lambda what: tmp_path)
    with pytest.raises(WeightsError, match="not the weights that belong to this rar"):
        find("rar-s")


def test_a_copy_of_the_shipped_weights_is_held_to_the_seal_too(weights_dir, tmp_path, monkeypatch):
    weights_dir.rename(tmp_path / "rar-s")
    with pytest.raises(WeightsError, match="not the weights that belong to this rar"):
        verify_here("rar-s", tmp_path)


@pytest.mark.parametrize(
    "stray", ["extra.json", "codec/diffusion_pytorch_model.safetensors.index.json", "assessor/more.SAFETENSORS"]
)
def test_a_file_that_might_be_opened_must_stand_in_the_manifest(weights_dir, stray):
    (weights_dir / stray).write_text("{}")
    with pytest.raises(WeightsError, match="does not stand in the manifest"):
        find(str(weights_dir))


def test_a_part_behind_a_link_is_seen_and_a_circle_of_links_ends(weights_dir, tmp_path):
    (weights_dir / "codec").rename(tmp_path / "elsewhere")
    (weights_dir / "codec").symlink_to(tmp_path / "elsewhere")
    (weights_dir / "codec" / "round").symlink_to(weights_dir / "restorer")
    manifest = json.loads((weights_dir / MANIFEST).read_text())
    with pytest.raises(WeightsError, match="round/config.json: does not stand"):
        find(str(weights_dir))
    (weights_dir / "codec" / "round").unlink()
    assert find(str(weights_dir)).name == "tiny"
    del manifest["files"]["codec/config.json"]
    (weights_dir / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(WeightsError, match="codec/config.json: does not stand"):
        find(str(weights_dir))
    (weights_dir / "circle").symlink_to(weights_dir)
    with pytest.raises(WeightsError):
        find(str(weights_dir))


def test_what_loading_never_opens_needs_no_place_in_the_manifest(weights_dir):
    for name in ("README.md", "training.jsonl", ".cache/x.json", "a/b/c/d/e.json"):
        (weights_dir / name).parent.mkdir(parents=True, exist_ok=True)
        (weights_dir / name).write_text("{}")
    assert find(str(weights_dir)).name == "tiny"
    write_manifest(weights_dir, "tiny", "", "")
    assert find(str(weights_dir)).name == "tiny"


NAMES = [
    "", ".", "..", "/etc/passwd", "../x.json", "a/../../x.json", "a//b.json", "./a.json", "a/", " ", "a b.json",
    "a\\b.json", "C:x.json", "a\nb.json", "\x1b[31m.json", ".hidden.json", "a/.git/config.json", "x.part", "x.lock",
    MANIFEST, "a/b/c/d/e.json", "é.json",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_names_of_files_are_plain_or_refused_in_one_printable_line(name):
    with pytest.raises(WeightsError) as caught:
        read_manifest(manifest_of({name: ROW}), "here")
    assert str(caught.value).isprintable()
    with pytest.raises(WeightsError):
        check_name(name, "here")


@pytest.mark.parametrize("row", [
    {"bytes": float("inf"), "sha256": SUM}, {"bytes": -1, "sha256": SUM}, {"bytes": 1 << 60, "sha256": SUM},
    {"bytes": "1", "sha256": SUM}, {"bytes": True, "sha256": SUM}, {"bytes": 1.0, "sha256": SUM},
    {"bytes": 1, "sha256": "0"}, {"bytes": 1, "sha256": None}, {"bytes": 1}, [], None, "row",
])  # fmt: skip
def test_sizes_and_sums_that_are_none_are_refused(row):
    with pytest.raises(WeightsError, match="no readable manifest"):
        read_manifest(manifest_of({"x.json": row}), "here")


@pytest.mark.parametrize("text", [
    b"", b"[]", b"null", b"1", b'"x"', b"{}", b"\xff\xfe", b'{"name": "x", "files": []}', b'{"files": {}}',
    b'{"name": 3, "files": {}}', b'{"name": "", "files": {}}', b'{"name": "\\u001b[31m", "files": {}}',
    200_000 * b"[", 100_000 * b'{"files":', b"9" * 10_000, b'{"name": "x", "files": {}}' + (1 << 24) * b" ",
    manifest_of({f"{i}.json": ROW for i in range(1001)}),
], ids=lambda text: repr(text[:30]))  # fmt: skip
def test_manifests_of_the_wrong_shape_or_without_end_are_refused_in_one_line(text):
    with pytest.raises(WeightsError, match="no readable manifest"):
        read_manifest(text, "here")


def test_a_pipe_in_the_place_of_a_manifest_does_not_hang(tmp_path):
    import os

    os.mkfifo(tmp_path / MANIFEST)
    with pytest.raises(WeightsError, match="no readable manifest"):
        find(str(tmp_path))
    with pytest.raises(WeightsError, match="cannot be read"):
        download("mine", str(tmp_path), to=tmp_path / "to")


@pytest.mark.parametrize("name", ["", ".", "..", "a/..", "../x", "a/b/c", "/x", "-x", "a b", "~", "a\n", ".hidden"])
def test_names_of_weights_stay_below_the_folder_they_are_put_into(weights_dir, tmp_path, name):
    assert not is_plain(name)
    with pytest.raises(WeightsError):
        download(name, str(weights_dir), to=tmp_path / "to" / "deep")
    assert not (tmp_path / "to").exists()
    with pytest.raises(WeightsError):
        verify_here(name, weights_dir.parent)


@pytest.mark.parametrize("name", ["", 300 * "a", "~nobody-of-that-name", "nothing", "owner/nothing", "\0"])
def test_names_that_lead_nowhere_are_said_in_one_line(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / MANIFEST).write_text("{}")
    with pytest.raises(WeightsError, match="no such") as caught:
        find(name)
    assert "\n" not in str(caught.value)


def test_a_hub_cannot_name_files_outside_the_folder(monkeypatch, tmp_path):
    from types import SimpleNamespace

    from rar_cli.weights import source

    siblings = [SimpleNamespace(rfilename="../evil.json", size=1, lfs=None)]
    monkeypatch.setattr(source, "_asked", lambda entry: SimpleNamespace(sha="0" * 40, siblings=siblings))
    with pytest.raises(WeightsError, match="points outside"):
        download("owner/evil", to=tmp_path)
    assert not list(tmp_path.rglob("evil.json"))


def test_a_stray_beside_a_download_is_refused_before_the_manifest_is_written(weights_dir, tmp_path):
    stray = tmp_path / "to" / "mine" / "more.safetensors"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"x")
    with pytest.raises(WeightsError, match="does not stand in the manifest"):
        download("mine", str(weights_dir), to=tmp_path / "to")
    assert not stray.with_name(MANIFEST).exists()
    assert stray.exists()  # what rar did not make, it does not touch
