"""What the reliability scripts share: pictures to restore, one run, and what must hold of its output folder."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image


def make(folder: Path, count: int) -> None:
    """Small noisy pictures of a few sizes, so that groups form."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for i in range(count):
        side = (64, 96, 128)[i % 3]
        coarse = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC), np.float32)
        noisy = np.clip(smooth + rng.normal(0, 25, smooth.shape), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{i:05d}.png")


def start(source: Path, out: Path, options: Sequence[str] = ()) -> subprocess.Popen[str]:
    """One run; stderr is kept."""
    command = [sys.executable, "-m", "rar_cli", "restore", str(source), str(out), "--quiet", *options]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def rows(out: Path) -> list[dict[str, object]]:
    """The whole lines of all logs of a folder."""
    found = []
    for path in sorted(out.glob("rounds*.jsonl")):
        lines = path.read_bytes().split(b"\n")[:-1]  # a kill may leave a half one behind
        found += [json.loads(line) for line in lines]
    return found


def torn(whole: Path, out: Path) -> list[str]:
    """Outputs that differ from those of an unbroken run, or that no log knows by their bytes."""
    known = {row["output_sha256"] for row in rows(out)}
    faults = []
    for path in sorted(out.glob("*.png")):
        data = path.read_bytes()
        if data != (whole / path.name).read_bytes():
            faults.append(f"differs: {path.name}")
        if hashlib.sha256(data).hexdigest() not in known:
            faults.append(f"unknown to the log: {path.name}")
    return faults


def unfinished(whole: Path, out: Path) -> list[str]:
    """What is missing, left over or not final once a run has ended by itself."""
    names = {path.name for path in whole.glob("*.png")}
    faults = [f"missing: {name}" for name in sorted(names - {path.name for path in out.glob("*.png")})]
    faults += [f"left over: {path.name}" for path in out.rglob(".rar-*.part")]
    last = {str(row["output"]): row for row in rows(out)}
    if {Path(output).name for output in last} != names:
        faults.append("the log lacks pictures")
    return faults + [f"not final in the log: {output}" for output, row in last.items() if row["status"] == "failed"]
