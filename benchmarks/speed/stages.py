"""Where the time and memory of a restoration go, and what they compare with, in one run.

    python benchmarks/speed/stages.py
    python benchmarks/speed/stages.py --only stages --threads 1

Prints one JSON line per measurement. Times are medians; ratios come from the same run.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from rar_cli.bench.cost import REPEATS, median_seconds, stage_seconds
from rar_cli.engine.engine import Engine, load
from rar_cli.engine.options import EngineOptions
from rar_cli.engine.restore import restore
from rar_cli.loop.policy import FixedPolicy
from rar_cli.types import TILE_PX, Plan

SIZES = {"small": (256, 256), "middle": (1152, 1728), "large": (4000, 6000)}


def picture(size: tuple[int, int]) -> torch.Tensor:
    """A noisy scene, image (1, 3, h, w) uint8."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(40, 216, (12, 18, 3)).astype(np.float32)
    smooth = cv2.resize(coarse, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)
    noisy = smooth + rng.normal(0, 20, smooth.shape).astype(np.float32)
    return torch.from_numpy(noisy.clip(0, 255).astype(np.uint8)).permute(2, 0, 1).unsqueeze(0)


def policy(rounds: int) -> FixedPolicy:
    """Exactly so many rounds."""
    return FixedPolicy((Plan(),) * rounds)


def stages(engine: Engine) -> None:
    """Seconds per stage for small, middle and large pictures."""
    for name, size in SIZES.items():
        image = picture(size).float() / 255.0
        with torch.inference_mode():
            found = stage_seconds(engine, image, 1 if name == "large" else REPEATS)
        total = sum(found.values())
        seconds = {stage: round(value, 4) for stage, value in found.items()}
        share = {stage: round(value / total, 3) for stage, value in found.items()}
        about = {"threads": torch.get_num_threads(), "dtype": str(engine.dtype), "pixels": size[0] * size[1]}
        say("stages", size=name, **about, seconds=seconds, share=share)


def utilisation(engine: Engine) -> None:
    """FLOP/s of transport beside the convolution peak of this machine in the same type."""
    x = torch.randn(8, 64, 128, 128).to(engine.device, engine.dtype).to(memory_format=torch.channels_last)
    layer = torch.nn.Conv2d(64, 64, 3, padding=1).to(engine.device, engine.dtype).to(memory_format=torch.channels_last)
    flops = 2 * 8 * 64 * 64 * 9 * 128 * 128
    with torch.inference_mode():
        peak = flops / median_seconds(lambda: layer(x))
        latent = engine.encode(picture((768, 768)))
        condition = engine.condition(engine.assess(latent), [Plan()])
        with torch.enable_grad(), FlopCounterMode(display=False) as counter:  # of direct convolutions
            engine.move(latent, condition)
        seconds = median_seconds(lambda: engine.move(latent, condition))
    reached = counter.get_total_flops() / seconds
    say("utilisation", dtype=str(engine.dtype), peak_gflops=round(peak / 1e9), transport_gflops=round(reached / 1e9),
        share_of_peak=round(reached / peak, 3))  # fmt: skip


def rounds(engine: Engine) -> None:
    """A further round beside the first, which also encodes and decodes."""
    image = picture((768, 1152))
    seconds = {n: median_seconds(lambda n=n: restore(engine, image, policy(n))) for n in (1, 2, 3)}
    further = (seconds[3] - seconds[1]) / 2
    say("rounds", first=round(seconds[1], 3), further=round(further, 3), share=round(further / seconds[1], 3))


def against_nlm(engine: Engine) -> None:
    """Megapixels per second of one whole round beside OpenCV's coloured non-local means."""
    image = picture((768, 1152))
    array = image[0].permute(1, 2, 0).contiguous().numpy()
    megapixels = array.shape[0] * array.shape[1] / 1e6
    ours = megapixels / median_seconds(lambda: restore(engine, image, policy(1)), 3)
    theirs = megapixels / median_seconds(lambda: cv2.fastNlMeansDenoisingColored(array, None, 10, 10, 7, 21), 3)
    say("against_nlm", rar_mp_per_s=round(ours, 3), nlm_mp_per_s=round(theirs, 3), ratio=round(ours / theirs, 2))


MEMORY = """
import re, sys
from rar_cli.bench.cost import median_seconds
from rar_cli.engine.engine import load
from rar_cli.engine.options import EngineOptions
from rar_cli.engine.restore import restore
from benchmarks_speed import picture, policy
side, tile, device, dtype = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
engine = load(options=EngineOptions(device, dtype, tile))
# not getrusage: its peak is inherited from the process that started this one
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
restore(engine, picture((64, 64)), policy(2))
before = peak()
image = picture((side, side))
restore(engine, image, policy(2))
print(before, peak(), median_seconds(lambda: restore(engine, image, policy(1)), 3))
"""


def memory(engine: Engine) -> None:
    """What pictures of 1 and 4 MP add to the peak memory, in their size as float32."""
    for side in (1000, 2000):
        _measured_alone("memory", engine, side, engine.tile_px)


def tiles(engine: Engine) -> None:
    """Seconds and memory of a picture of 4 MP in tiles of several sizes."""
    for tile_px in (256, 384, 512, TILE_PX, 1024):
        _measured_alone("tiles", engine, 2000, tile_px)


def _measured_alone(what: str, engine: Engine, side: int, tile_px: int) -> None:
    """In a process of its own, whose peak memory is nobody else's."""
    dtype = str(engine.dtype).removeprefix("torch.")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "benchmarks_speed.py").write_text(Path(__file__).read_text())
        command = [sys.executable, "-c", MEMORY, str(side), str(tile_px), engine.device.type, dtype]
        environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    before, after, seconds = (float(word) for word in done.stdout.split())
    float_size = side * side * 3 * 4
    say(what, dtype=dtype, megapixels=side * side / 1e6, tile_px=tile_px, seconds=round(seconds, 2),
        before_mib=round(before / 2**20), peak_mib=round(after / 2**20),
        times_float32=round((after - before) / float_size, 2))  # fmt: skip


def cold_start(engine: Engine) -> None:
    """`rar assess` of one picture in a new process beside `import torch` and the model's own compute."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photo.jpg"
        image = picture((480, 640))
        Image.fromarray(image[0].permute(1, 2, 0).contiguous().numpy()).save(path)
        with torch.inference_mode():
            compute = median_seconds(lambda: engine.assess(engine.encode(image)))

        def process(*command: str) -> float:
            return median_seconds(lambda: subprocess.run([sys.executable, *command], check=True, capture_output=True))

        plain = process("-c", "import torch")
        whole = process("-m", "rar_cli", "assess", str(path))
    say("cold_start", import_torch=round(plain, 2), compute=round(compute, 3), rar_assess=round(whole, 2),
        ratio=round(whole / (plain + compute), 2))  # fmt: skip


MEASUREMENTS = {f.__name__: f for f in (stages, utilisation, rounds, against_nlm, memory, tiles, cold_start)}


def say(what: str, **figures: object) -> None:
    """One line of JSON."""
    print(json.dumps({"what": what, **figures}), flush=True)


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=MEASUREMENTS, action="append")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    engine = load(options=EngineOptions(options.device, options.dtype))
    for name in options.only or MEASUREMENTS:
        MEASUREMENTS[name](engine)
    say("peak", mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)


if __name__ == "__main__":
    main()
