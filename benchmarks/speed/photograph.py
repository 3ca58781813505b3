"""Seconds and memory of one round over a photograph of 12 megapixels, beside what else could be done with it.

    python benchmarks/speed/photograph.py --before ../rar-before

Beside it: another checkout of rar, OpenCV's non-local means, and a network of FFDNet's size (random weights, for its
time is that of trained ones). Every row is a process of its own. The rows take turns, so that a busy machine slows all
of them alike. Prints a table; ratios are medians of the turns.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[2]

SCENE = """
import re, sys, time
import cv2, numpy as np
height, width, threads = map(int, sys.argv[1:4])
rng = np.random.default_rng(0)
coarse = rng.integers(40, 216, (12, 18, 3)).astype(np.float32)
smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
array = (smooth + rng.normal(0, 20, smooth.shape).astype(np.float32)).clip(0, 255).astype(np.uint8)
del smooth
def report(work):
    begun, busy = time.perf_counter(), time.process_time()
    work()
    seconds, processor = time.perf_counter() - begun, time.process_time() - busy
    # not getrusage: its peak is inherited from the process that started this one
    print(seconds, processor, int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024)
"""

RAR = """
import torch
torch.set_num_threads(threads)
from rar_cli.engine.engine import load
from rar_cli.engine.options import EngineOptions
from rar_cli.engine.restore import restore
from rar_cli.loop.policy import FixedPolicy
from rar_cli.types import Plan
engine = load(options=EngineOptions("cpu", sys.argv[4]))
image = torch.from_numpy(array).permute(2, 0, 1)[None]
restore(engine, image[..., :128, :128], FixedPolicy((Plan(),)))
report(lambda: restore(engine, image, FixedPolicy((Plan(),))))
"""

NON_LOCAL_MEANS = """
cv2.setNumThreads(threads)
report(lambda: cv2.fastNlMeansDenoisingColored(array, None, 10, 10, 7, 21))
"""

SPECIALIST = """
import torch
from torch import nn
torch.set_num_threads(threads)
inner = [part for _ in range(10) for part in (nn.Conv2d(96, 96, 3, padding=1), nn.ReLU(inplace=True))]
network = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, 96, 3, padding=1), nn.ReLU(inplace=True), *inner,
                        nn.Conv2d(96, 12, 3, padding=1), nn.PixelShuffle(2)).to(memory_format=torch.channels_last)
@torch.inference_mode()
def work():
    for top in range(0, height, 512):
        for left in range(0, width, 512):
            tile = torch.from_numpy(array[top : top + 512, left : left + 512]).permute(2, 0, 1)[None].float() / 255
            with torch.autocast("cpu", torch.bfloat16, enabled=sys.argv[4] == "bfloat16"):
                network(tile.contiguous(memory_format=torch.channels_last))
report(work)
"""


def measured(program: str, checkout: Path, options: argparse.Namespace, dtype: str) -> dict[str, float]:
    """Seconds, seconds of processors, and peak memory in MiB of one program."""
    environment = {**os.environ, "PYTHONPATH": str(checkout.resolve()), "OMP_NUM_THREADS": str(options.threads)}
    height, width = options.size
    command = [sys.executable, "-c", SCENE + program, str(height), str(width), str(options.threads), dtype]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=checkout)
    if done.returncode:
        sys.exit(f"{checkout}: {done.stderr.strip().splitlines()[-1]}")
    return dict(zip(("seconds", "processor", "mib"), map(float, done.stdout.split()), strict=True))


def programs(before: Path | None, dtypes: list[str]) -> dict[tuple[str, str], tuple[str, Path]]:
    """Name and precision of each row -> what it runs, in which checkout."""
    rows = {}
    for dtype in dtypes:
        rows["rar", dtype] = (RAR, ROOT)
        if before is not None:
            rows["rar before", dtype] = (RAR, before)
        rows["FFDNet's size", dtype] = (SPECIALIST, ROOT)
    rows["non-local means", "uint8"] = (NON_LOCAL_MEANS, ROOT)
    return rows


def main() -> None:
    """Measure in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path, help="another checkout of rar, its weights included")
    parser.add_argument("--size", type=int, nargs=2, default=(3000, 4000), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--dtype", nargs="+", default=["bfloat16", "float32"])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print lines of JSON instead of a table")
    options = parser.parse_args()
    rows = programs(options.before, options.dtype)
    turns = [{row: measured(*what, options, row[1]) for row, what in rows.items()} for _ in range(options.turns)]
    if not options.json:
        print("| what | precision | s | processor s | of rar's | MiB |\n|---|---|---|---|---|---|")
    for row in rows:
        found = {key: median(turn[row][key] for turn in turns) for key in turns[0][row]}
        ours = ("rar", row[1] if row[1] in options.dtype else options.dtype[0])
        ratio = median(turn[row]["processor"] / turn[ours]["processor"] for turn in turns)
        if options.json:
            print(json.dumps({"what": row[0], "precision": row[1], **found, "of_rar": ratio}))
        else:
            columns = (f"{found['seconds']:.1f}", f"{found['processor']:.1f}", f"{ratio:.2f}", f"{found['mib']:.0f}")
            print(f"| {row[0]} | {row[1]} | {' | '.join(columns)} |")


if __name__ == "__main__":
    main()
