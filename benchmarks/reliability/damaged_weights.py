"""Manifests, weights folders and answers of servers with random damage: is each refused in one line?

    PYTHONPATH=. python benchmarks/reliability/damaged_weights.py --manifests 4000 --folders 400 --answers 300

Prints how many were refused, and how many loaded without harm. Exits with 1 at the first error of another kind.
"""

import argparse
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from rar_cli.errors import WeightsError
from rar_cli.networks.model import PARTS, Rar
from rar_cli.weights.manifest import read_manifest, write_manifest
from rar_cli.weights.transfer import read_small
from tests.fakes import tiny_params
from tests.servers import raw_server

HEAD = 2000
"""Bytes of a tensor file in which the damage is: its header; what follows are numbers."""

WORDS = (b"1e999", b"null", b"[", b"{", b"-1", b"true", b'""', 22 * b"9", b"NaN", b"Infinity", 5000 * b"[", b"\r\n")

ANSWERS = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\nContent-Type: application/json\r\n\r\n"
    + b'{"name": "x", "files": {}}    ',
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-4/5\r\nContent-Length: 5\r\n\r\nabcde",
)


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Some bytes changed, cut out, put in, or the end cut off."""
    made = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 5, 20])):
        at = rng.randrange(len(made))
        kind = rng.randrange(5)
        if kind == 0:
            made[at] = rng.randrange(256)
        elif kind == 1:
            del made[at : at + rng.randrange(1, 50)]
        elif kind == 2:
            made[at:at] = rng.randbytes(rng.randrange(1, 9))
        elif kind == 3:
            made[at : at + 1] = rng.choice(WORDS)
        else:
            del made[at:]
        made = made or bytearray(b"x")
    return bytes(made)


def outcome(call: Callable[[], object]) -> str:
    """Refused in one line that can be shown, or none the worse; any other error goes on."""
    try:
        call()
    except WeightsError as error:
        if "\n" in str(error):
            raise AssertionError(f"more than one line: {error!s:.200}") from error
        return "refused"
    return "none the worse"


def manifests(folder: Path, count: int, rng: random.Random) -> Iterator[str]:
    """Damaged manifests."""
    text = (folder / "manifest.json").read_bytes()
    for _ in range(count):
        yield outcome(lambda: read_manifest(damaged(text, rng), "here"))


def folders(folder: Path, count: int, rng: random.Random) -> Iterator[str]:
    """Weights folders with one damaged file each, as if their manifest knew it."""
    files = ["rar.json", *(f"{part}/{file}" for part in PARTS for file in ("config.json", "model.safetensors"))]
    for _ in range(count):
        path = folder / rng.choice(files)
        whole = path.read_bytes()
        path.write_bytes(damaged(whole[:HEAD], rng) + whole[HEAD:])
        yield outcome(lambda: Rar.load(folder))
        path.write_bytes(whole)


def answers(folder: Path, count: int, rng: random.Random) -> Iterator[str]:
    """Damaged answers of a server."""
    for _ in range(count):
        with raw_server(damaged(rng.choice(ANSWERS), rng)) as url:
            yield outcome(lambda: read_small(f"{url}/manifest.json", 1 << 20))  # noqa: B023


def main() -> int:
    """Make the damage, print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for kind, count in (("manifests", 4000), ("folders", 400), ("answers", 300)):
        parser.add_argument(f"--{kind}", type=int, default=count)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        Rar(tiny_params()).save(folder)
        write_manifest(folder, "tiny", "free", "random numbers")
        for kind in (manifests, folders, answers):
            counts = Counter(kind(folder, getattr(options, kind.__name__), random.Random(options.seed)))
            print(f"{kind.__name__}: {dict(counts)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
