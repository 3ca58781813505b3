"""A thousand damaged files through `restore` and `assess`: each fails alone, with a reason."""

import io
import json
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms
from typer.testing import CliRunner

from rar_cli.cli import app

COUNT = 1000


def originals(photo):
    """suffix -> bytes of small healthy files with metadata."""
    image = Image.fromarray(photo)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    files = []
    for kind, suffix in (("PNG", ".png"), ("JPEG", ".jpg"), ("WEBP", ".webp"), ("TIFF", ".tif"), ("BMP", ".bmp")):
        buffer = io.BytesIO()
        extra = {} if kind in {"BMP", "TIFF"} else {"exif": exif, "icc_profile": icc}
        image.save(buffer, kind, **extra)
        files.append((suffix, buffer.getvalue()))
    deep = photo.astype(np.uint16) * 257
    files.append((".png", cv2.imencode(".png", deep)[1].tobytes()))
    files.append((".tiff", cv2.imencode(".tiff", deep)[1].tobytes()))
    return files


def truncate(data, rng):
    return data[: int(rng.integers(0, len(data)))]


def flip(data, rng):
    damaged = bytearray(data)
    for _ in range(int(rng.integers(1, 20))):
        damaged[int(rng.integers(len(damaged)))] ^= 1 << int(rng.integers(8))
    return bytes(damaged)


def flip_header(data, rng):
    damaged = bytearray(data)
    for _ in range(int(rng.integers(1, 6))):
        damaged[int(rng.integers(min(200, len(damaged))))] = int(rng.integers(256))
    return bytes(damaged)


def blank(data, rng):
    start = int(rng.integers(len(data)))
    return data[:start] + bytes(int(rng.integers(1, 300))) + data[start + 200 :]


def repeat(data, rng):
    start = int(rng.integers(len(data)))
    return data[:start] + data[start // 2 :]


def bomb(data, rng):
    """A PNG whose header promises far more pixels than its data holds."""
    width, height = (int(v) for v in rng.integers(1, 2**31 - 1, 2))
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk + data[33:]


def nothing(data, rng):
    return b""


DAMAGES = (truncate, flip, flip_header, blank, repeat, bomb, nothing)


@pytest.fixture
def wreckage(tmp_path, photo):
    folder = tmp_path / "in"
    folder.mkdir()
    rng = np.random.default_rng(0)
    files = originals(photo[:24, :28])
    suffixes = [suffix for suffix, _ in files]
    for i in range(COUNT):
        suffix, data = files[i % len(files)]
        if rng.random() < 0.1:
            suffix = suffixes[int(rng.integers(len(suffixes)))]  # a wrong ending
        damage = DAMAGES[int(rng.integers(len(DAMAGES)))]
        (folder / f"{i:04d}{suffix}").write_bytes(damage(data, rng))
    for i, (suffix, data) in enumerate(files):
        (folder / f"good{i}{suffix}").write_bytes(data)
    return folder


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # decoders warn about what they then survive or refuse
def test_a_thousand_damaged_files_fail_alone_with_a_reason_and_the_good_ones_are_finished(
    wreckage, tmp_path, weights_dir
):
    out = tmp_path / "out"
    common = ["--weights", str(weights_dir), "--json"]
    runner = CliRunner()
    result = runner.invoke(app, ["restore", str(wreckage), str(out), "--max-rounds", "1", *common])
    assert result.exit_code == 1, result.exception
    assert "Traceback" not in result.output
    records = [json.loads(line) for line in (out / "rounds.jsonl").read_text().splitlines()]
    assert len(records) == len(list(wreckage.iterdir()))
    assert records == [json.loads(line) for line in result.stdout.splitlines()]
    for record in records:
        if record["status"] == "failed":
            assert record["error"].startswith(record["input"]), record["error"]
            assert "\n" not in record["error"]
        else:
            with Image.open(record["output"]) as image:
                image.load()
    finished = {r["input"].rsplit("/", 1)[1] for r in records if r["status"] != "failed"}
    assert {p.name for p in wreckage.glob("good*")} <= finished
    assert sum(r["status"] == "failed" for r in records) > COUNT // 3

    result = runner.invoke(app, ["assess", str(wreckage), *common])
    assert result.exit_code == 1, result.exception
    assessed = [json.loads(line) for line in result.stdout.splitlines()]
    failed = {r["input"] for r in records if r["status"] == "failed" and "written" not in r["error"]}
    assert {r["input"] for r in assessed if r["error"]} == failed
