"""Odd files through the whole command: depth, metadata and warnings arrive in outputs and records."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from rar_cli.cli import app
from rar_cli.pictures.decoding import read_picture
from tests.pictures.makers import IPTC, file_of, iptc_segment, jpeg_with, tiff_of


@pytest.fixture
def odd(tmp_path, photo):
    """A folder of odd files, and one that must fail alone."""
    here = tmp_path / "in"
    here.mkdir()
    floats = photo.astype(np.float32) / 255
    (here / "float.tif").write_bytes(tiff_of(floats, photometric="rgb", tile=(16, 16), compression="zlib"))
    (here / "words.jpg").write_bytes(jpeg_with(photo, iptc_segment()))
    (here / "raw.tif").write_bytes(tiff_of(photo, photometric="rgb", extratags=[(50706, 1, 4, (1, 4, 0, 0), True)]))
    floats[3, 3] = np.nan
    (here / "nan.tif").write_bytes(tiff_of(floats, photometric="rgb"))
    (here / "a.gif").write_bytes(file_of(Image.fromarray(photo), "GIF"))
    return here


def test_depth_and_iptc_arrive_and_bad_files_fail_alone(odd, tmp_path, weights_dir):
    out = tmp_path / "out"
    command = ["restore", str(odd), str(out), "--weights", str(weights_dir), "--max-rounds", "1", "--accept", "100"]
    done = CliRunner().invoke(app, [*command, "--report", str(tmp_path / "page.html")])
    assert done.exit_code == 1, done.output
    lines = (out / "rounds.jsonl").read_text().splitlines()
    records = {json.loads(line)["input"].rsplit("/", 1)[1]: json.loads(line) for line in lines}
    assert "raw camera file" in records["raw.tif"]["error"]
    assert "NaN" in records["nan.tif"]["error"]
    assert records["float.tif"]["error"] is records["words.jpg"]["error"] is None
    assert "1 left out: 1 gif" in done.stderr
    assert read_picture((out / "float.tif").read_bytes(), "x").pixels.dtype == np.float32
    assert read_picture((out / "words.jpg").read_bytes(), "x").metadata.iptc == IPTC


def test_a_gif_that_is_named_becomes_a_png(odd, tmp_path, weights_dir):
    out = tmp_path / "out"
    command = ["restore", str(odd / "a.gif"), str(out), "--weights", str(weights_dir), "--max-rounds", "1", "--quiet"]
    assert CliRunner().invoke(app, command).exit_code == 0
    with Image.open(out / "a.png") as image:
        assert image.format == "PNG"
