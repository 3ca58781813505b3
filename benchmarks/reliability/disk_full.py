"""A disk that is full at a random place: one line, exit code 2, nothing lost; with more room the run goes on.

    sudo python benchmarks/reliability/disk_full.py --places 10
    sudo python benchmarks/reliability/disk_full.py --places 2 --pictures 24

Mounts a small tmpfs for OUTPUT, which takes root (a container's root that may mount does). The log, the outputs and
the temporary files share it. Prints one line of JSON; exits with 1 on any fault.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from pictures import make, start, torn, unfinished

PAGE = 4096


def main() -> int:
    """Fill, check, make room, resume, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--places", type=int, default=10)
    parser.add_argument("--pictures", type=int, default=96)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("mounting a small file system takes root")
    random.seed(options.seed)
    faults: list[str] = []
    filled = []
    with tempfile.TemporaryDirectory() as work:
        source, whole, disk = (Path(work) / name for name in ("in", "whole", "disk"))
        make(source, options.pictures)
        disk.mkdir()
        assert start(source, whole).wait() == 0
        pages = sum(-(-path.stat().st_size // PAGE) for path in whole.iterdir())
        for _ in range(options.places):
            room = random.randint(4, pages - 4)
            filled.append(room)
            faults += at(source, whole, disk, room, pages)
    print(json.dumps({"pages_of_room": filled, "pages_needed": pages, "pictures": options.pictures, "faults": faults}))
    return 1 if faults else 0


def at(source: Path, whole: Path, disk: Path, room: int, pages: int) -> list[str]:
    """The faults of one run on a disk of so many pages, and of the one that goes on with room enough."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={room * PAGE}", "tmpfs", str(disk)], check=True)
    try:
        out = disk / "out"
        process = start(source, out)
        _, errors = process.communicate()
        faults = [] if process.returncode == 2 else [f"{room} pages: exit code {process.returncode}"]
        if errors.count("\n") != 1 or "No space left" not in errors:
            faults.append(f"{room} pages: said {errors!r}")
        faults += [f"{room} pages: {fault}" for fault in torn(whole, out)]
        subprocess.run(["mount", "-o", f"remount,size={4 * pages * PAGE}", str(disk)], check=True)
        process = start(source, out)
        _, errors = process.communicate()
        faults += [] if process.returncode == 0 else [f"{room} pages: resumed with {errors!r}"]
        return faults + [f"{room} pages: {fault}" for fault in (*torn(whole, out), *unfinished(whole, out))]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


if __name__ == "__main__":
    sys.exit(main())
