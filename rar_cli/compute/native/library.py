"""The kernels in `sources/`, compiled once for a machine and kept in the user's cache."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import platformdirs
import torch
from torch import Tensor

AVX2, AVX512 = ("avx2", "fma"), ("avx512f", "avx512bw", "avx512vl", "avx512dq", "fma")
BFLOAT16, VNNI = ("avx512bf16",), ("avx512vnni",)
FLAGS = ("-O3", "-std=c++17", "-ffp-contract=fast", "-fopenmp", "-fPIC", "-shared", "-w")
COMPILERS = ("c++", "g++", "clang++")
MOST_SECONDS = 300
"""Of compiling, which takes a few."""


@dataclass(frozen=True)
class Kernels:
    """What they are compiled from, and for.

    instructions: gives those of the processor, by the compiler's names, or says in words what it lacks.
    """

    sources: tuple[str, ...]
    instructions: Callable[[], tuple[str, ...] | str]


def _of_training() -> tuple[str, ...] | str:
    if not _has("avx512_bf16"):
        return "the processor has no AVX512-BF16"
    return AVX512 + BFLOAT16 + VNNI if _has_vnni() else "the processor has no AVX512-VNNI"


def _of_restoring() -> tuple[str, ...] | str:
    if sys.platform == "win32":  # where GCC does not align the stack to such vectors
        return "they are not made on Windows"
    known = {"AVX2": AVX2, "AVX512": AVX512 + BFLOAT16 * _has("avx512_bf16") + VNNI * _has_vnni()}
    return known.get(torch.backends.cpu.get_cpu_capability(), "the processor has no AVX2")


TRAINING = Kernels(("block.cpp", "convolution.cpp", "gradient.cpp"), _of_training)
RESTORING = Kernels(("restoring.cpp",), _of_restoring)


@cache
def library(kernels: Kernels) -> ctypes.CDLL | str:
    """The kernels, or in words why there are none."""
    instructions = kernels.instructions()
    if isinstance(instructions, str):
        return instructions
    compiler = next((path for name in _wanted() if (path := shutil.which(name))), None)
    if compiler is None:
        return "no C++ compiler; install g++ or set CXX"
    try:
        return ctypes.CDLL(str(_compiled(compiler, kernels.sources, instructions)))
    except subprocess.CalledProcessError as error:
        return f"{compiler} failed ({' '.join(str(error.stderr).split())[:160]})"
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"they cannot be built ({error})"


def call(kernels: Kernels, name: str, *values: Tensor | int | None) -> None:
    """Run a kernel on contiguous tensors (None: null) and numbers."""
    found = library(kernels)
    assert not isinstance(found, str), found
    getattr(found, name)(*map(_argument, values))


def _argument(value: Tensor | int | None) -> ctypes.c_int64 | ctypes.c_void_p:
    if isinstance(value, int):
        return ctypes.c_int64(value)
    return ctypes.c_void_p(0 if value is None else value.data_ptr())


def direct() -> bool:
    """Whether oneDNN's direct convolutions are taken: with AMX their products take a fraction of the transforms."""
    return _has("amx_tile")


def bfloat16_gains() -> bool:
    """Whether restoring in bfloat16 is faster by the kernels."""
    return _has("avx512_bf16") and torch.backends.cpu.get_cpu_capability() == "AVX512" and not direct()


def _has(instructions: str) -> bool:
    probe = getattr(torch.cpu, f"_is_{instructions}_supported", None)
    return bool(probe and probe())


def _has_vnni() -> bool:
    return _has("vnni") or _has("avx512_vnni")  # versions of torch name it so or so


def _wanted() -> tuple[str, ...]:
    return (os.environ["CXX"],) if os.environ.get("CXX") else COMPILERS


def _compiled(compiler: str, names: tuple[str, ...], instructions: tuple[str, ...]) -> Path:
    """The shared library of those sources by that compiler, made where it is not there yet."""
    folder = Path(__file__).parent / "sources"
    units = [folder / name for name in names]
    flags = [*FLAGS, *(f"-m{name}" for name in instructions)]
    version = subprocess.run([compiler, "--version"], capture_output=True, timeout=MOST_SECONDS, check=True).stdout
    read = (path.read_bytes() for path in [*units, *sorted(folder.glob("*.h"))])
    digest = hashlib.sha256(b"\0".join([version, " ".join(flags).encode(), *read]))
    target = platformdirs.user_cache_path("rar") / "native" / f"{digest.hexdigest()[:24]}.so"
    target.parent.mkdir(parents=True, exist_ok=True)
    _require_own(target.parent)
    if target.exists():
        _require_own(target)
        return target
    with tempfile.TemporaryDirectory(dir=target.parent) as work:
        fresh = Path(work) / "fresh.so"
        command = [compiler, *flags, *map(str, units), "-o", str(fresh)]
        subprocess.run(command, capture_output=True, text=True, timeout=MOST_SECONDS, check=True)
        os.replace(fresh, target)  # two processes may build at once
    return target


def _require_own(path: Path) -> None:
    """Raises OSError where somebody else could have put code that this process would run: caches lie in /tmp too."""
    about = path.stat()
    if hasattr(os, "getuid") and (about.st_uid not in {0, os.getuid()} or about.st_mode & stat.S_IWOTH):
        raise OSError(f"{path} is not this user's own")
