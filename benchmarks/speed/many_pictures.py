"""Memory and throughput over many small pictures.

    python benchmarks/speed/many_pictures.py
    python benchmarks/speed/many_pictures.py --side 480 --count 300

Peak memory of `rar restore` over 500 and over 10,000 pictures of 64x64. Throughput beside that of the bare model on
ready-made batches, in the same run.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

CHILD = """
import resource, sys
from typer.testing import CliRunner
from rar_cli.cli import app
result = CliRunner().invoke(app, ["restore", sys.argv[1], sys.argv[2], "--quiet"])
assert result.exit_code == 0, result.output
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def make(folder: Path, count: int, side: int) -> None:
    """Noisy gradients, all different."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    ramp = np.linspace(0, 255, side)[None, :, None] * np.ones((side, 1, 3))
    for i in range(count):
        pixels = np.clip(np.roll(ramp, i, 1) + rng.normal(0, 25, ramp.shape), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:05d}.png", compress_level=1)


def tool(source: Path, out: Path) -> tuple[float, float]:
    """(peak MiB, seconds) of the whole command in a process of its own."""
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", CHILD, str(source), str(out)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return float(done.stdout.split()[-1]), time.perf_counter() - began


def model(source: Path, count: int) -> float:
    """Seconds that the model alone takes on the same pictures, read and stacked beforehand."""
    import torch

    from rar_cli.engine.engine import load
    from rar_cli.engine.restore import restore
    from rar_cli.jobs.stream.reading import GROUP_PIXELS

    engine = load()
    pixels = [np.asarray(Image.open(p)) for p in sorted(source.iterdir())[:count]]
    images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)
    size = min(16, max(GROUP_PIXELS // (images.shape[-1] * images.shape[-2]), 1))
    restore(engine, images[:size])
    began = time.perf_counter()
    for batch in images.split(size):
        restore(engine, batch)
    return time.perf_counter() - began


def main() -> None:
    """Measure and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--side", type=int, default=64, help="pixels")
    options = parser.parse_args()
    count, side, part = options.count, options.side, max(options.count // 20, 1)
    with tempfile.TemporaryDirectory() as work:
        few, many = Path(work) / "few", Path(work) / "many"
        make(few, part, side)
        make(many, count, side)
        few_mib, few_s = tool(few, Path(work) / "out1")
        many_mib, many_s = tool(many, Path(work) / "out2")
        bare_s = model(many, min(count, 2000)) / min(count, 2000)
        tool_s = (many_s - few_s) / (count - part)  # without the start-up
        print(
            json.dumps(
                {
                    "pictures": count,
                    "part": part,
                    "side_px": side,
                    "peak_mib_part": round(few_mib),
                    "peak_mib": round(many_mib),
                    "memory_ratio": round(many_mib / few_mib, 3),
                    "model_ms_per_picture": round(bare_s * 1e3, 2),
                    "tool_ms_per_picture": round(tool_s * 1e3, 2),
                    "throughput_ratio": round(bare_s / tool_s, 3),
                    "threads": os.cpu_count(),
                }
            )
        )


if __name__ == "__main__":
    main()
