"""Runs of `rar restore` killed with SIGKILL at random moments, then resumed: is anything lost or torn?

    python benchmarks/reliability/kill_runs.py --runs 50

Compares every output byte for byte with an unbroken run, and the log line by line. Exits with 1 on any difference.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

PICTURES = 240


def make(folder: Path) -> None:
    """Small noisy pictures of a few sizes, so that groups form."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for i in range(PICTURES):
        side = (64, 96, 128)[i % 3]
        coarse = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC), np.float32)
        noisy = np.clip(smooth + rng.normal(0, 25, smooth.shape), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{i:03d}.png")


def start(source: Path, out: Path) -> subprocess.Popen[bytes]:
    """One run."""
    command = [sys.executable, "-m", "rar_cli", "restore", str(source), str(out), "--quiet"]
    return subprocess.Popen(command)


def main() -> int:
    """Kill, resume, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=50)
    runs = parser.parse_args().runs
    random.seed(0)
    with tempfile.TemporaryDirectory() as work:
        source, whole = Path(work) / "in", Path(work) / "whole"
        make(source)
        began = time.perf_counter()
        assert start(source, whole).wait() == 0
        seconds = time.perf_counter() - began
        faults, killed, round_trips = [], 0, 0
        while killed < runs:
            out = Path(work) / f"out{round_trips}"
            round_trips += 1
            finished = False
            while not finished and killed < runs:
                process = start(source, out)
                try:
                    finished = process.wait(random.uniform(0.3, 1.0) * seconds) == 0
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                    killed += 1
                    torn = [p.name for p in out.glob("*.png") if p.read_bytes() != (whole / p.name).read_bytes()]
                    faults += [f"run {killed}: torn or different: {name}" for name in torn]
            assert start(source, out).wait() == 0
            faults += compare(whole, out)
        print(json.dumps({"killed": killed, "folders": round_trips, "pictures": PICTURES, "faults": faults}))
    return 1 if faults else 0


def compare(whole: Path, out: Path) -> list[str]:
    """What differs between an unbroken and a resumed run."""
    names = {p.name for p in whole.glob("*.png")}
    faults = [f"missing: {n}" for n in names - {p.name for p in out.glob("*.png")}]
    faults += [f"left over: {p.name}" for p in out.glob("*.part")]
    faults += [f"differs: {n}" for n in names if (out / n).exists() and not same(whole / n, out / n)]
    rows = [json.loads(line) for line in (out / "rounds.jsonl").read_text().splitlines()]
    if {Path(r["output"]).name for r in rows} != names:
        faults.append("the log lacks pictures")
    last = {r["output"]: r for r in rows}
    faults += [f"not final in the log: {o}" for o, r in last.items() if r["status"] == "failed"]
    return faults


def same(a: Path, b: Path) -> bool:
    """Byte for byte."""
    return a.read_bytes() == b.read_bytes()


if __name__ == "__main__":
    sys.exit(main())
