"""Libraries say nothing on stderr: what is wrong with a file is said once, by rar."""

import struct
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest

from tests.conftest import ROOT
from tests.pictures.makers import tiff_of

READ = """
import sys
from pathlib import Path
from rar_cli.errors import ImageError
try:
    from rar_cli.pictures.decoding import read_picture
except ImportError:
    from rar_cli.images import read_picture
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        read_picture(path.read_bytes(), path.name)
    except ImageError as error:
        print(error)
"""


def with_pixels(png, change):
    """A PNG whose stream of pixels is another one."""
    from rar_cli.pictures.tags.blocks import PNG_BEGINNING, _chunk, _chunks

    chunks = _chunks(png)
    stream = b"".join(chunk[8:-4] for name, chunk in chunks if name == b"IDAT")
    head = b"".join(chunk for name, chunk in chunks if name not in {b"IDAT", b"IEND"})
    return PNG_BEGINNING + head + _chunk(b"IDAT", change(stream)) + _chunk(b"IEND", b"")


@pytest.fixture
def loud(tmp_path, photo):
    """Files that libpng, libtiff, OpenCV and Pillow complain of."""
    rng = np.random.default_rng(0)
    deep = photo.astype(np.uint16) * 257
    png = cv2.imencode(".png", deep)[1].tobytes()
    broken = b"iCCP" + b"icc\0\0" + zlib.compress(bytes(200))
    chunk = struct.pack(">I", len(broken) - 4) + broken + struct.pack(">I", zlib.crc32(broken))
    (tmp_path / "profile.png").write_bytes(png[:33] + chunk + png[33:])
    (tmp_path / "checksum.png").write_bytes(with_pixels(png, lambda stream: stream[:-4] + b"sums"))
    (tmp_path / "longer.png").write_bytes(with_pixels(png, lambda s: zlib.compress(zlib.decompress(s) + bytes(999))))
    (tmp_path / "planes.tif").write_bytes(tiff_of(np.moveaxis(deep, -1, 0), photometric="rgb", planarconfig="separate"))
    (tmp_path / "half.tif").write_bytes(tiff_of(photo.astype(np.float16) / 255, photometric="rgb"))
    for compression in (None, "zlib", "jpeg", "lzw"):
        import io

        from PIL import Image

        buffer = io.BytesIO()
        options = {"compression": {"zlib": "tiff_adobe_deflate", "lzw": "tiff_lzw"}.get(compression, compression)}
        Image.fromarray(photo).save(buffer, "TIFF", **(options if compression else {}))
        for number in range(12):
            data = bytearray(buffer.getvalue())
            for at in rng.integers(8, len(data), 12):
                data[at] ^= 0x5A
            for at in rng.integers(max(len(data) - 160, 8), len(data), 3):
                data[at] = 255
            (tmp_path / f"{compression}{number}.tif").write_bytes(data[: len(data) - 40 * (number % 3)])
    return tmp_path


def test_nothing_but_rar_speaks(loud):
    done = subprocess.run(
        [sys.executable, "-c", READ, str(loud)],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "damaged" in done.stdout


def test_a_callers_own_warnings_and_log_level_stay(photo):
    import warnings

    from rar_cli.pictures.quiet import hush, silent_opencv

    before = cv2.utils.logging.getLogLevel()
    hush()
    with silent_opencv():
        assert cv2.utils.logging.getLogLevel() == cv2.utils.logging.LOG_LEVEL_SILENT
    assert cv2.utils.logging.getLogLevel() == before
    with pytest.warns(UserWarning, match="mine"):
        warnings.warn("mine", stacklevel=1)
