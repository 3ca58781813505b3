"""Whole training steps with rar's own kernels and without, in strict alternation; a checkout before takes part too.

    python benchmarks/speed/training_step.py photographs/
    python benchmarks/speed/training_step.py photographs/ --before ../before --threads 1 --repeats 12

Prints one JSON line for each way: windows per second, from the median step and from the shortest, by the clock and by
the seconds that the processor worked, which other work beside it changes least. Then the ratio of each to the last way.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import fields, replace
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
READY = 4
"""Batches that are made before and used in turn."""


class Way:
    """One way to train in a process of its own, which makes a step whenever it is asked."""

    def __init__(self, name: str, checkout: Path, options: argparse.Namespace, kernels: bool) -> None:
        self.name, self.seconds, self.worked, self.losses = name, list[float](), list[float](), list[dict[str, float]]()
        command = [sys.executable, __file__, str(options.photographs), "--serve", "--threads", str(options.threads)]
        command += ["--pictures", str(options.pictures), "--window", str(options.window)]
        command += ["--context", str(options.context), *([] if kernels else ["--plain"])]
        settings = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": str(options.threads)}
        self.process = subprocess.Popen(
            command, env=settings, cwd=checkout, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def step(self) -> dict[str, Any]:
        """Have it make one step."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print("step", file=self.process.stdin, flush=True)
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found

    def measure(self) -> None:
        """One step that counts."""
        found = self.step()
        self.seconds.append(found["seconds"])
        self.worked.append(found["worked"])
        self.losses.append(found["losses"])

    def figures(self, windows: int) -> dict[str, Any]:
        """What is printed of it."""
        return {
            "way": self.name,
            "windows_per_s": round(windows / median(self.seconds), 2),
            "windows_per_s_best": round(windows / min(self.seconds), 2),
            "windows_per_worked_s": round(windows / median(self.worked), 2),
            "windows_per_worked_s_best": round(windows / min(self.worked), 2),
            "step_s": [round(x, 3) for x in (min(self.seconds), median(self.seconds), max(self.seconds))],
            "worked_s": [round(x, 3) for x in (min(self.worked), median(self.worked), max(self.worked))],
        }

    def beside(self, other: "Way") -> dict[str, Any]:
        """Ratios of its steps to those of another way beside them, and how far their losses are apart."""
        ratios = [a / b for a, b in zip(self.worked, other.worked, strict=True)]
        pairs = [(a[name], b[name]) for a, b in zip(self.losses, other.losses, strict=True) for name in a]
        return {
            "way": self.name,
            "beside": other.name,
            "worked": [round(x, 3) for x in (min(ratios), median(ratios), max(ratios))],
            "worked_best": round(min(self.worked) / min(other.worked), 3),
            "seconds": round(median(a / b for a, b in zip(self.seconds, other.seconds, strict=True)), 3),
            "losses_apart": round(max(abs(a - b) for a, b in pairs), 5),
        }


def serve(options: argparse.Namespace) -> None:
    """Make a step for every line that comes in, and print what it took."""
    import torch

    from rar_cli.train.config import Crops, load_config, shipped_config
    from rar_cli.train.run import TrainRequest
    from rar_cli.train.run.parts import parts_of
    from rar_cli.train.run.steps import Steps

    torch.set_num_threads(options.threads)
    config = load_config(shipped_config("rar-s"))
    stage = next(stage for stage in config.stages if stage.name == "weather")
    stage = replace(stage, crops=(Crops(options.pictures, options.context, options.window),))
    config = replace(config, stages=(stage,))
    if any(field.name == "kernels" for field in fields(config)):
        changed: dict[str, Any] = {"kernels": not options.plain}
        config = replace(config, **changed)
    with tempfile.TemporaryDirectory() as out:
        request = TrainRequest([options.photographs], Path(out), warm_start=ROOT / "weights" / "rar-s")
        parts = parts_of(config, request, lambda text: print(text, file=sys.stderr))
    batches, steps = [parts.batches[number] for number in range(READY)], Steps(parts)
    for number, _ in enumerate(sys.stdin):
        clock, processor = time.perf_counter(), time.process_time()
        found = steps(batches[number % READY], stage.name, 1e-6)
        took = {"seconds": time.perf_counter() - clock, "worked": time.process_time() - processor}
        print(json.dumps({**took, "losses": {k: float(v.detach()) for k, v in found.items()}}), flush=True)


def main() -> None:
    """Measure, or serve one that measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path, help="a folder, small, for each way reads all of it")
    parser.add_argument("--before", type=Path, help="another checkout, which takes part as it is")
    parser.add_argument("--repeats", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pictures", type=int, default=16)
    parser.add_argument("--context", type=int, default=192)
    parser.add_argument("--window", type=int, default=128)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--plain", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.photographs = options.photographs.resolve()
    if options.serve:
        serve(options)
        return
    ways = [Way("kernels", ROOT, options, True), Way("plain", ROOT, options, False)]
    if options.before:
        ways.append(Way("before", options.before.resolve(), options, False))
    for way in ways:
        way.step()  # compiles, fills caches
    for _ in range(options.repeats):
        for way in ways:
            way.measure()
    for way in ways:
        print(json.dumps(way.figures(options.pictures)))
    for way in ways[:-1]:
        print(json.dumps(way.beside(ways[-1])))


if __name__ == "__main__":
    main()
