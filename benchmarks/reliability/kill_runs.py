"""Runs of `rar restore` ended by signals at random moments, then resumed: nothing lost, nothing torn.

    python benchmarks/reliability/kill_runs.py --runs 30 --signals 60
    python benchmarks/reliability/kill_runs.py --runs 4 --signals 8 --pictures 48 --ways local shards

Ways: local, watch, shards (three beside each other) and ray (two workers). A run is one folder, started again until
two of SIGKILL, SIGTERM and SIGINT have hit it. After each start, every output must have the bytes of an unbroken run
and stand in the log by its SHA-256; after the last one the folder is finished and compared whole. Prints one line of
JSON; exits with 1 on any difference.
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from pictures import make, start, torn, unfinished

SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
SHARDS = 3
HITS, STARTS = 2, 4
"""Signals that end the attack on one run, and starts that do at the latest."""

WAYS = {
    "local": [[]],
    "watch": [["--watch"]],
    "shards": [["--shard", f"{i}/{SHARDS}"] for i in range(1, SHARDS + 1)],
    "ray": [["--engine", "ray", "--workers", "2"]],
}


def main() -> int:
    """Signal, check, resume, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=30, help="at least so many folders, over all ways")
    parser.add_argument("--signals", type=int, default=60, help="at least so many, over all runs")
    parser.add_argument("--pictures", type=int, default=240)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    random.seed(options.seed)
    faults: list[str] = []
    sent = dict.fromkeys(options.ways, 0)
    with tempfile.TemporaryDirectory() as work:
        source, whole = Path(work) / "in", Path(work) / "whole"
        make(source, options.pictures)
        began = time.perf_counter()
        assert start(source, whole).wait() == 0
        seconds = time.perf_counter() - began
        runs = 0
        while runs < options.runs or sum(sent.values()) < options.signals:
            way = options.ways[runs % len(options.ways)]
            out = Path(work) / f"{way}{runs}"
            runs += 1
            found, hits = attacked(source, whole, out, WAYS[way], seconds)
            sent[way] += hits
            finish(source, out, way)
            faults += [f"{way}: {fault}" for fault in (*found, *torn(whole, out), *unfinished(whole, out))]
    print(json.dumps({"runs": runs, "signals": sent, "pictures": options.pictures, "faults": faults}))
    return 1 if faults else 0


def attacked(
    source: Path, whole: Path, out: Path, commands: Sequence[Sequence[str]], seconds: float
) -> tuple[list[str], int]:
    """Signal one run again and again; (what was wrong after each start, how many signals hit)."""
    faults: list[str] = []
    hits = starts = 0
    while hits < HITS and starts < STARTS:
        hits += signalled(source, out, commands, seconds)
        starts += 1
        faults += torn(whole, out)
    return faults, hits


def signalled(source: Path, out: Path, commands: Sequence[Sequence[str]], seconds: float) -> int:
    """Start the processes of a way, and send each a signal at a random moment; how many were hit."""
    processes = [start(source, out, options) for options in commands]
    hit = 0
    for process in processes:
        try:
            process.communicate(timeout=random.uniform(0.3, 1.0) * seconds / len(processes))
        except subprocess.TimeoutExpired:
            process.send_signal(random.choice(SIGNALS))
            hit += 1
    for process in processes:
        _, errors = process.communicate(timeout=60 + 10 * seconds)
        assert "Traceback" not in errors, errors
    return hit


def finish(source: Path, out: Path, way: str) -> None:
    """Let a folder be finished; a watching run ends only when told."""
    for options in WAYS["local" if way == "watch" else way]:
        process = start(source, out, options)
        _, errors = process.communicate()
        assert process.returncode == 0, errors


if __name__ == "__main__":
    sys.exit(main())
