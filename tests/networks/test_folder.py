"""Weights folders that are damaged in ways a manifest does not see: each is one line, never a traceback."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from rar_cli.errors import WeightsError
from rar_cli.networks.model import PARTS, Rar

CONFIGS = {
    "a list": "[]",
    "null": "null",
    "a number": "1",
    "no JSON": "{",
    "no text": "\udcff",
    "deep": 100_000 * '{"a":',
    "deep lists": 200_000 * "[",
    "huge": '{"a": 1}' + (1 << 24) * " ",
}


@pytest.mark.parametrize("file", ["rar.json", "codec/config.json"])
def test_configs_of_the_wrong_json_type_are_refused(weights_dir, file):
    for text in CONFIGS.values():
        (weights_dir / file).write_bytes(text.encode("utf-8", "surrogateescape"))
        refused(weights_dir)


VALUES = {
    "rar.json": [
        {"prices": None}, {"prices": []}, {"prices": {"risk": "4"}}, {"prices": {"unknown": 1}},
        {"prices": {"risk": float("nan")}},
        {"format": {"x": 1}}, {"format": 1e400},
    ],
    "codec/config.json": [{"factor": 0}, {"channels": -48}, {"width": "8"}, {"factor": 1e400}, {"kind": []}],
    "assessor/config.json": [{"stem": 8}, {"stem": ["8", 8, 8]}, {"stem": "888"}, {"heads": 0}, {"layers": 1.5}],
    "restorer/config.json": [{"widths": []}, {"memory": 1}, {"channels": 1 << 40}, {"blocks": {"a": 1}}],
}  # fmt: skip


@pytest.mark.parametrize("file", VALUES)
def test_settings_of_the_wrong_type_or_range_are_refused(weights_dir, file):
    path = weights_dir / file
    whole = json.loads(path.read_text())
    for change in VALUES[file]:
        path.write_text(json.dumps({**whole, **change}))
        refused(weights_dir)


TENSORS = {
    "empty": b"",
    "short": b"\x08",
    "a header without end": b"\xff\xff\xff\xff\xff\xff\xff\x7f{}",
    "no JSON": b"\x08\0\0\0\0\0\0\0notjson!",
    "a list": b"\x02\0\0\0\0\0\0\0[]",
    "an unknown type": b'\x3a\0\0\0\0\0\0\0{"a":{"dtype":"F7","shape":[1],"data_offsets":[0,4]}}      \0\0\0\0',
    "out of bounds": b'\x40\0\0\0\0\0\0\0{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}}         \0\0\0\0',
}


def test_broken_safetensors_are_refused(weights_dir):
    for data in TENSORS.values():
        (weights_dir / "codec" / "model.safetensors").write_bytes(data)
        refused(weights_dir)


def test_every_cut_of_a_tensor_file_is_refused(weights_dir):
    path = weights_dir / "restorer" / "model.safetensors"
    data = path.read_bytes()
    for length in (1, 7, 8, 9, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        refused(weights_dir)


@pytest.mark.parametrize(("part", "value"), list(zip(PARTS, ("nan", "inf", "-inf"), strict=True)))
def test_weights_that_are_not_finite_are_refused_by_name(weights_dir, part, value):
    path = weights_dir / part / "model.safetensors"
    tensors = load_file(path)
    name = sorted(tensors)[-1]
    tensors[name].view(-1)[-1] = float(value)
    save_file(tensors, path)
    assert f"{part}: {name} holds NaN or infinity" in refused(weights_dir)


def test_half_precision_weights_load_as_float32(busy, tmp_path):
    busy.save(tmp_path, torch.float16)
    model = Rar.load(tmp_path)
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def refused(folder):
    with pytest.raises(WeightsError) as caught:
        Rar.load(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_weights_whose_files_change_after_loading_stay_as_they_were(weights_dir):
    model = Rar.load(weights_dir)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for path in weights_dir.rglob("*.safetensors"):
        size = path.stat().st_size
        with path.open("r+b") as file:  # in place, as `cp` does it
            file.seek(size // 4)
            file.write(bytes(size - size // 4))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
