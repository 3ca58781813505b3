"""A picture whose latent is NaN or infinite fails alone, before a byte of it is written."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from rar_cli.cli import app
from rar_cli.engine.engine import Engine


@pytest.fixture
def shades(tmp_path):
    """Three pictures of one size, which go through the networks as one batch; the middle one is bright."""
    folder = tmp_path / "in"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, most in (("a", 60), ("b", 255), ("c", 60)):
        Image.fromarray(rng.integers(most // 2, most, (24, 24, 3)).astype(np.uint8)).save(folder / f"{name}.png")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", ["encode", "move", "decode"])
def test_it_fails_alone_before_a_byte_is_written(weights_dir, shades, tmp_path, monkeypatch, where, value):
    spoil(monkeypatch, where, value)
    out = tmp_path / "out"
    line = ["restore", str(shades), str(out), "--weights", str(weights_dir), "--json", "--accept", "100"]
    result = CliRunner().invoke(app, [*line, "--dtype", "float32"])
    assert result.exit_code == 1, result.output
    records = {json.loads(line)["input"][-5]: json.loads(line) for line in result.stdout.splitlines()}
    assert [records[name]["status"] == "failed" for name in "abc"] == [False, True, False]
    assert "not finite" in records["b"]["error"]
    assert sorted(path.name for path in out.glob("*.png")) == ["a.png", "c.png"]
    assert not list(out.rglob("*.part"))


def spoil(monkeypatch, where, value):
    """Bright pictures come out of that part of the engine as NaN or infinity."""
    if where == "decode":
        codec = "rar_cli.networks.codec.Codec.decode"
        from rar_cli.networks.codec import Codec

        decode = Codec.decode
        monkeypatch.setattr(codec, lambda self, z, *rest: spoiled(decode(self, z, *rest), decode(self, z), value))
        return
    part = getattr(Engine, where)

    def spoiling(self, given, *rest):
        bright = given if where == "encode" else self.model.codec.decode(given).float()
        return spoiled(part(self, given, *rest), bright, value)

    monkeypatch.setattr(Engine, where, spoiling)


def spoiled(made, seen, value):
    """`made`, with one value changed in the pictures that are bright as they are `seen`."""
    made = made.clone()
    limit = 100 if not seen.is_floating_point() else 100 / 255
    for picture in range(len(seen)):
        if seen[picture].float().mean() > limit:
            made[picture, 0, 0, 1] = value
    return made
