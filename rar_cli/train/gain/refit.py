"""`rar train --gain`: harvest, fit the heads of gain to given weights, and write the weights with the new heads."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from rar_cli.engine.engine import Engine
from rar_cli.engine.options import EngineOptions
from rar_cli.errors import UsageError
from rar_cli.loop.policy import Prices
from rar_cli.networks.adapters import AssessorParams
from rar_cli.networks.gain import GainHeads
from rar_cli.networks.model import Rar
from rar_cli.train.data import OnEach, load_photos, unseen
from rar_cli.train.gain.figures import chosen_prices, figures, inputs_of, said_by
from rar_cli.train.gain.harvest import harvest, origin_of
from rar_cli.train.gain.heads import fit_heads, held_out, read_harvest
from rar_cli.train.gain.pictures import SIDES, pictures
from rar_cli.train.run.ledger import Ledger
from rar_cli.weights.manifest import write_manifest

WIDTH, MEMBERS = 80, 1
"""Size of the heads, so that all weights fit into 25 MB."""
VALID_SHARE = 0.2
LICENCE = "the terms of the photographs it was trained on"


@dataclass(frozen=True)
class GainRequest:
    """data: photographs that no other part was trained on, best of all. weights: a folder to refit. out: where the
    harvest and the new weights go. valid: photographs on which prices are chosen and figures taken; without them a
    fifth of the data is held out for both. hours: of harvesting, a fifth of it for valid; 0 fits what is there.
    interrupted: ends the harvest early. on_each: called with how many of how many photographs, seconds and epochs are
    done.
    """

    data: Sequence[Path]
    weights: Path
    out: Path
    valid: Sequence[Path] = ()
    hours: float = 1.0
    interrupted: Callable[[], bool] = lambda: False
    on_each: OnEach = unseen


def refit(request: GainRequest, say: Callable[[str], None]) -> Path:
    """Harvest, fit, choose prices, and return the folder of the new weights.

    Raises KeyboardInterrupt where it is interrupted before there is anything to fit.
    """
    model = Rar.load(request.weights)
    shards, valid = request.out / "harvest", request.out / "valid"
    share = VALID_SHARE if request.valid else 0.0
    if request.hours > 0:
        _gather(model, request, request.data, shards, 1.0 - share, say)
    if request.hours > 0 and request.valid:
        _gather(model, request, request.valid, valid, share, say)
    judged = [valid] if any(valid.glob("shard-*.safetensors")) else []  # an interrupted harvest may have none
    return fitted(model, [shards], judged, request.out, say, request.on_each)


def _gather(
    model: Rar, request: GainRequest, folders: Sequence[Path], out: Path, share: float, say: Callable[[str], None]
) -> None:
    """Harvest for a share of the hours."""
    on_each = request.on_each

    def reading(done: int, total: int, what: str) -> None:
        on_each(done, total, what)
        if request.interrupted() and not any((request.out / "harvest").glob("shard-*.safetensors")):
            raise KeyboardInterrupt

    photos = load_photos(folders, min(SIDES), say, reading)
    seconds, begun = share * request.hours * 3600, time.monotonic()

    def over() -> bool:
        gone = time.monotonic() - begun
        if request.interrupted() or gone > seconds:
            return True
        on_each(round(gone), round(seconds), "trying plans, in seconds")
        return False

    engine, origin = Engine(copy.deepcopy(model), EngineOptions()), origin_of(model, photos)
    done = harvest(engine, lambda first: pictures(photos, first), out, over, say, origin)
    say(f"harvest: {done} pictures in {out}")


def fitted(
    model: Rar,
    shards: Sequence[Path],
    valid: Sequence[Path],
    out: Path,
    say: Callable[[str], None],
    on_each: OnEach = unseen,
) -> Path:
    """Weights with heads learned from shards; prices are chosen and figures taken on the shards of `valid`.

    Heads that are there already learn onward, and their prices stay. Without shards of `valid`, a fifth of the
    photographs is held out for both, and what ships then learns from all of them.
    """
    gathered = read_harvest(shards)
    judged = read_harvest(valid) if valid else gathered
    tested = torch.ones(judged.states, dtype=torch.bool) if valid else held_out(gathered)
    grown, onward = with_heads(model, gathered["features"].shape[1])
    heads = grown.assessor.gain
    assert isinstance(heads, GainHeads)
    everything, begun = torch.ones(gathered.states, dtype=torch.bool), copy.deepcopy(heads.state_dict())
    fit_heads(heads, gathered, everything if valid else ~tested, onward=onward, on_each=on_each)
    said = said_by(heads, judged)
    if not onward:
        grown.prices = chosen_prices(judged, said, inputs_of(judged, tested), Prices().named_db)
    found = figures(judged, said, tested, grown.prices)
    ledger = Ledger(out / "training.jsonl")
    ledger.write("gain", pictures=len(gathered.kinds), prices=asdict(grown.prices), figures=_plain(found))
    say(f"gain: {json.dumps(_plain(found['policies']))}")
    if not valid:
        heads.load_state_dict(begun)
        fit_heads(heads, gathered, everything, onward=onward, on_each=on_each)
    folder = out / "weights"
    grown.save(folder, torch.float16)
    write_manifest(folder, "rar-s", LICENCE, "trained by rar train; see training.jsonl")
    return folder


def with_heads(model: Rar, features: int) -> tuple[Rar, bool]:
    """The same model with heads of gain, and whether these are its own; else they have learned nothing yet.

    Raises UsageError where features do not fit.
    """
    if not isinstance(model.params.assessor, AssessorParams):
        raise UsageError("--gain: heads of gain are learned by the small assessor alone so far")
    params = replace(model.params.assessor, gain_width=WIDTH, gain_members=MEMBERS)
    if features != params.gain_features:
        text = f"the harvest has {features} features, these weights have {params.gain_features}"
        raise UsageError(f"{text}; delete the folder harvest below --out and begin anew")
    onward = params == model.params.assessor
    grown = Rar(replace(model.params, assessor=params), model.prices)
    kept = {name: tensor for name, tensor in model.state_dict().items() if onward or ".gain." not in name}
    grown.load_state_dict(kept, strict=False)
    return grown.eval().requires_grad_(False), onward


def _plain(found: object) -> object:
    """NumPy's numbers as JSON has them; what is no number is null."""
    return json.loads(json.dumps(found, default=float), parse_constant=lambda _: None)
