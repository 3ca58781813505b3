"""Shared fixtures: fixed seeds, no network, a tiny model saved as a weights folder."""

from __future__ import annotations

import functools
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import typer.testing
from PIL import Image
from typer.testing import CliRunner, Result

from rar_cli.networks.codec import Codec, CodecParams
from rar_cli.networks.model import Rar
from rar_cli.weights.manifest import write_manifest
from tests.fakes import tiny_params

ROOT = Path(__file__).parent.parent

# Every run of the command line would build all commands anew, which takes longer than most tests.
typer.testing._get_command = functools.cache(typer.testing._get_command)


def in_two_processes(module: str, *arguments: str, **environment: str) -> None:
    """Run a module as `accelerate launch` does, on the CPU."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", module]
    settings = {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run(
        [*command, *arguments], env={**os.environ, **settings}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(autouse=True)
def seeds():
    torch.manual_seed(0)
    np.random.seed(0)


@pytest.fixture(autouse=True)
def accelerate_anew():
    """`accelerate` keeps the precision of a process's first run and refuses another."""
    yield
    if "accelerate" in sys.modules:
        sys.modules["accelerate"].state.AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(self, address, *rest):
        if self.family != socket.AF_UNIX and "127.0.0.1" not in str(address):
            raise AssertionError(f"network use: {address}")
        return connect(self, address, *rest)

    connect = socket.socket.connect
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def codec() -> Codec:
    """One that loses nothing."""
    codec = Codec(CodecParams(factor=4, channels=48, width=8))
    codec.fit(torch.rand(400, 3, 4, 4))
    return codec


@pytest.fixture
def tiny() -> Rar:
    """The real classes at toy width with random weights, codec fitted to random patches."""
    model = Rar(tiny_params())
    model.codec.fit(torch.rand(4000, 3, 4, 4))
    return model.eval()


@pytest.fixture
def busy(tiny: Rar) -> Rar:
    """A tiny model whose zero-initialised ends are awake, so that it changes pictures."""
    for parameter in tiny.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    return tiny


@pytest.fixture
def weights_dir(busy: Rar, tmp_path: Path) -> Path:
    """A verified folder of weights."""
    folder = tmp_path / "tiny-weights"
    busy.save(folder)
    write_manifest(folder, "tiny", "Apache-2.0", "random numbers")
    return folder


@pytest.fixture
def rar(weights_dir: Path) -> Callable[..., Result]:
    """The command line in this process with those weights: arguments and the exit code that must come -> result."""
    from rar_cli.cli import app

    def run(*arguments: object, code: int = 0) -> Result:
        result = CliRunner().invoke(app, [*map(str, arguments), "--weights", str(weights_dir)])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture
def photo() -> np.ndarray:
    """A small colourful picture (48, 56, 3) uint8 with edges and gradients."""
    y, x = np.mgrid[0:48, 0:56]
    pixels = np.stack([x * 4, y * 5, (x * y) % 256], axis=-1).astype(np.uint8)
    pixels[10:20, 10:30] = (200, 30, 60)
    return pixels


@pytest.fixture
def folder(tmp_path: Path, photo: np.ndarray) -> Path:
    """Three pictures of two sizes and two formats."""
    path = tmp_path / "in"
    path.mkdir()
    Image.fromarray(photo).save(path / "a.png")
    Image.fromarray(photo[::-1].copy()).save(path / "b.jpg", quality=90)
    Image.fromarray(photo[:32, :32]).save(path / "c.webp", quality=90)
    return path


@pytest.fixture
def photos_dir(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(4):
        coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((80, 60), Image.Resampling.BICUBIC).save(folder / f"{i}.png")
    return folder
