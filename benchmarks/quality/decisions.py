"""How well the policy decides: the best of the plans tried, and the simple policies beside it.

    python benchmarks/quality/decisions.py valid/ --hours 0.25 --out decisions/

PHOTOS are photographs that the heads of gain have not learned from. Plans are tried on pictures made of them and kept
in --out; a second run goes on, and --hours 0 takes what is there. Prints one JSON document: gain, harm and regret of
each policy, by kind of picture; calibration; rounds put back; rank correlation of the score.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch

from rar_cli.engine.engine import load
from rar_cli.networks.gain import GainHeads
from rar_cli.train.data import load_photos
from rar_cli.train.gain.figures import figures, said_by
from rar_cli.train.gain.harvest import harvest, origin_of
from rar_cli.train.gain.heads import read_harvest
from rar_cli.train.gain.pictures import SIDES, pictures

SEED = 4711
"""Of the pictures: not that of any harvest that heads learn from."""


def main() -> None:
    """Try plans, then look up what each policy would have picked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--hours", type=float, default=0.25, help="of trying plans")
    parser.add_argument("--out", type=Path, required=True, help="folder of shards")
    parser.add_argument("--weights", default="rar-s")
    options = parser.parse_args()
    engine = load(options.weights)
    heads = getattr(engine.model.assessor, "gain", None)
    if not isinstance(heads, GainHeads):
        sys.exit(f"{options.weights}: these weights have no heads of gain")
    photos, until = load_photos(options.photos, min(SIDES)), time.monotonic() + 3600 * options.hours
    if options.hours > 0:

        def over() -> bool:
            return time.monotonic() > until

        origin = origin_of(engine.model, photos)
        harvest(engine, lambda first: pictures(photos, first, SEED), options.out, over, lambda line: None, origin)
    tried = read_harvest([options.out])
    everything = torch.ones(tried.states, dtype=torch.bool)
    found = figures(tried, said_by(heads, tried), everything, engine.model.prices)
    about = {"pictures": len(tried.kinds), "prices": asdict(engine.model.prices)}
    print(json.dumps({**about, **found}, default=lambda number: round(float(number), 4), indent=1))


if __name__ == "__main__":
    main()
