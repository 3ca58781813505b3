"""Damaged files through `read_picture` and `encode_picture`: each is read, or refused with one line; nothing else.

    python benchmarks/reliability/mutated_files.py --count 5000 [--from FOLDER] [--seed 0]

Originals are small files of every format with all metadata, or the files of a folder. Exits with 1 where anything but
`ImageError` came out, a message was not one line that begins with the name, a library wrote to stderr, or a file took
longer than a minute.
"""

import argparse
import io
import os
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image, ImageCms

from rar_cli.errors import ImageError
from rar_cli.pictures.decoding import read_picture
from rar_cli.pictures.encoding import encode_picture
from rar_cli.pictures.formats import TABLE, WRITABLE, openers
from rar_cli.pictures.images import Picture
from rar_cli.pictures.tags.metadata import Metadata

SLOW_S = 60.0
Data = bytes
Mutation = Callable[[bytes, np.random.Generator], bytes]


def originals() -> dict[str, bytes]:
    """Name -> healthy file."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 7, 3), dtype=np.uint8))
    photo = np.asarray(coarse.resize((56, 48), Image.Resampling.BICUBIC))
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker", 6
    exif.get_ifd(0x8769)[0x9003] = "2024:01:02 03:04:05"
    rest = {"iptc": b"\x1c\x02\x78\0\5hills", "comments": (b"hand",), "text": (("Author", "Ann"),), "dpi": (72.0, 72.0)}
    metadata = Metadata(exif=exif.tobytes(), icc=icc, xmp=b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>", **rest)
    files = {}
    for row in TABLE:
        if row.name in openers() and row.name in WRITABLE:
            files[f"{row.name}{row.suffixes[0]}"] = encode_picture(
                Picture(photo, row.name, metadata=metadata), row.name
            )[0]
        elif row.name in openers():
            files[f"{row.name}{row.suffixes[0]}"] = _saved(Image.fromarray(photo), row.name)
    deep = photo.astype(np.uint16) * 257
    for pixels, alpha, kind in ((deep, None, "PNG"), (deep, deep[..., 0], "PNG"), (deep, None, "TIFF")):
        files[f"deep{len(files)}.{kind.lower()}"] = encode_picture(
            Picture(pixels, kind, alpha, metadata=metadata), kind
        )[0]
    floats = deep.astype(np.float32) / 65535
    files["float.tif"] = encode_picture(Picture(floats, "TIFF", metadata=metadata), "TIFF")[0]
    for name, options in (("tiles", {"tile": (16, 16)}), ("planes", {"planarconfig": "separate"})):
        buffer = io.BytesIO()
        pixels = np.moveaxis(floats, -1, 0) if name == "planes" else floats
        tifffile.imwrite(buffer, pixels, photometric="rgb", **options)
        files[f"{name}.tif"] = buffer.getvalue()
    image = Image.fromarray(photo)
    files["palette.png"] = _saved(image.convert("P"), "PNG")
    files["ink.jpg"] = _saved(image.convert("CMYK"), "JPEG")
    files["lzw.tif"] = _saved(image, "TIFF", compression="tiff_lzw")
    files["jpeg.tif"] = _saved(image, "TIFF", compression="jpeg")
    files["progressive.jpg"] = _saved(image, "JPEG", progressive=True)
    files["two.jpg"] = _saved(image, "MPO", save_all=True, append_images=[image.rotate(180)])
    return files


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def flips(data: Data, rng: np.random.Generator) -> Data:
    """Single bits, anywhere."""
    damaged = bytearray(data)
    for at in rng.integers(0, len(data), int(rng.integers(1, 20))):
        damaged[at] ^= 1 << int(rng.integers(8))
    return bytes(damaged)


def header(data: Data, rng: np.random.Generator) -> Data:
    """Bytes at the beginning or the end, where formats keep their sizes."""
    damaged = bytearray(data)
    part = min(300, len(data))
    base = 0 if rng.random() < 0.7 else len(data) - part
    for at in rng.integers(0, part, int(rng.integers(1, 6))):
        damaged[base + int(at)] = int(rng.choice((0, 1, 127, 128, 255, int(rng.integers(256)))))
    return bytes(damaged)


def cut(data: Data, rng: np.random.Generator) -> Data:
    """The end is missing."""
    return data[: int(rng.integers(0, len(data)))]


def swap(data: Data, rng: np.random.Generator) -> Data:
    """Two pieces change places."""
    a, b, c, d = sorted(int(at) for at in rng.integers(0, len(data) + 1, 4))
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def repeat(data: Data, rng: np.random.Generator) -> Data:
    """A piece comes twice, or is gone."""
    a, b = sorted(int(at) for at in rng.integers(0, len(data) + 1, 2))
    return data[:b] + data[a:] if rng.random() < 0.5 else data[:a] + data[b:]


def blank(data: Data, rng: np.random.Generator) -> Data:
    """A piece of zeros or of ones."""
    a, b = sorted(int(at) for at in rng.integers(0, len(data) + 1, 2))
    b = min(b, a + 400)
    return data[:a] + (b"\0" if rng.random() < 0.5 else b"\xff") * (b - a) + data[b:]


def number(data: Data, rng: np.random.Generator) -> Data:
    """Four bytes become a number that is too large, or negative."""
    at = int(rng.integers(0, max(len(data) - 4, 1)))
    value = int(rng.choice((2**31 - 1, 2**32 - 1, 2**31, 65535, 10**6)))
    return data[:at] + value.to_bytes(4, "big" if rng.random() < 0.5 else "little") + data[at + 4 :]


MUTATIONS: tuple[Mutation, ...] = (flips, header, cut, swap, repeat, blank, number)


@contextmanager
def heard() -> Iterator[list[str]]:
    """What is written to the file descriptor of stderr meanwhile."""
    lines: list[str] = []
    keep = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield lines
        finally:
            os.dup2(keep, 2)
            os.close(keep)
            file.seek(0)
            lines += file.read().decode(errors="replace").splitlines()


def outcome(data: bytes, name: str) -> str:
    """What became of one file: "read", "refused", or a fault."""
    try:
        picture = read_picture(data, name)
        kind = picture.format if picture.format in WRITABLE else "PNG"
        read_picture(encode_picture(picture, kind)[0], "again")
        return "read"
    except ImageError as error:
        message = str(error)
        return "refused" if message.startswith((name, "cannot be written")) and "\n" not in message else repr(message)
    except BaseException as error:
        traceback.print_exc(file=sys.stdout)
        return repr(error)[:200]


def main() -> int:
    """Mutate, read, count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--from", dest="folder", type=Path)
    given = parser.parse_args()
    found = originals()
    if given.folder is not None:
        found = {path.name: path.read_bytes() for path in sorted(given.folder.rglob("*")) if path.is_file()}
    files = [each for each in found.items() if each[1]]
    counts: Counter[str] = Counter()
    faults, slowest = [], 0.0
    began = time.perf_counter()
    for index in range(given.count):
        rng = np.random.default_rng((given.seed, index))  # so that one file can be made again alone
        name, data = files[index % len(files)]
        for _ in range(int(rng.integers(1, 3))):
            data = MUTATIONS[int(rng.integers(len(MUTATIONS)))](data, rng) or b"\0"
        first = time.perf_counter()
        with heard() as said:
            result = outcome(data, name)
        seconds = time.perf_counter() - first
        slowest = max(slowest, seconds)
        counts[result if result in {"read", "refused"} else "fault"] += 1
        if result not in {"read", "refused"} or said or seconds > SLOW_S:
            faults.append(f"{index} {name}: {result} {said[:1]} {seconds:.1f} s")
    for fault in faults:
        print(fault)
    print(
        f"{given.count} mutated files of {len(files)}: {counts['read']} read, {counts['refused']} refused, "
        f"{len(faults)} faults; slowest {slowest:.1f} s, {time.perf_counter() - began:.0f} s in all"
    )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
