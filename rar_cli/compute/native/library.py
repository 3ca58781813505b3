"""The kernels beside this file, compiled once for a machine and kept in the user's cache."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import platformdirs
import torch
from torch import Tensor

INSTRUCTIONS = ("avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512bf16", "fma")
FLAGS = ("-O3", "-std=c++17", *(f"-m{name}" for name in INSTRUCTIONS), "-fopenmp", "-fPIC", "-shared", "-w")
COMPILERS = ("c++", "g++", "clang++")
MOST_SECONDS = 300
"""Of compiling, which takes a few."""


@cache
def library() -> ctypes.CDLL | str:
    """The kernels, or in words why there are none."""
    if not _has("avx512_bf16"):
        return "the processor has no AVX512-BF16"
    compiler = next((path for name in _wanted() if (path := shutil.which(name))), None)
    if compiler is None:
        return "no C++ compiler; install g++ or set CXX"
    try:
        return ctypes.CDLL(str(_compiled(compiler)))
    except subprocess.CalledProcessError as error:
        return f"{compiler} failed ({' '.join(str(error.stderr).split())[:160]})"
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"they cannot be built ({error})"


def call(name: str, *values: Tensor | int | None) -> None:
    """Run a kernel on contiguous tensors (None: null) and numbers."""
    found = library()
    assert not isinstance(found, str), found
    getattr(found, name)(*map(_argument, values))


def _argument(value: Tensor | int | None) -> ctypes.c_int64 | ctypes.c_void_p:
    if isinstance(value, int):
        return ctypes.c_int64(value)
    return ctypes.c_void_p(0 if value is None else value.data_ptr())


def direct() -> bool:
    """Whether oneDNN's direct convolutions are taken: with AMX their products take a fraction of the transforms."""
    return _has("amx_tile")


def _has(instructions: str) -> bool:
    probe = getattr(torch.cpu, f"_is_{instructions}_supported", None)
    return bool(probe and probe())


def _wanted() -> tuple[str, ...]:
    return (os.environ["CXX"],) if os.environ.get("CXX") else COMPILERS


def _compiled(compiler: str) -> Path:
    """The shared library of these sources by that compiler, made where it is not there yet."""
    sources = sorted(path for path in Path(__file__).parent.iterdir() if path.suffix in {".cpp", ".h"})
    version = subprocess.run([compiler, "--version"], capture_output=True, timeout=MOST_SECONDS, check=True).stdout
    digest = hashlib.sha256(b"\0".join([version, " ".join(FLAGS).encode(), *(path.read_bytes() for path in sources)]))
    target = platformdirs.user_cache_path("rar") / "native" / f"{digest.hexdigest()[:24]}.so"
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    units = [str(path) for path in sources if path.suffix == ".cpp"]
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        fresh = Path(folder) / "fresh.so"
        command = [compiler, *FLAGS, *units, "-o", str(fresh)]
        subprocess.run(command, capture_output=True, text=True, timeout=MOST_SECONDS, check=True)
        os.replace(fresh, target)  # two processes may build at once
    return target
