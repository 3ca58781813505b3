"""Figures of the heads of gain: how well they decide on moves that they have not learned from.

Each policy picks one of the plans that were tried on an input, or none. The result of that plan is looked up in the
harvest, not computed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rar_cli.loop.policy import Prices, SimplePolicy
from rar_cli.networks.gain import GainHeads
from rar_cli.train.gain.heads import LARGEST_DB, Harvest
from rar_cli.train.gain.truth import quality_to_score
from rar_cli.types import DEGRADATIONS

HARM_DB = 0.1
LOST_DB = 0.5
"""A round that lost more than this should be put back."""
HARM_PRICE_DB, LOSS_WEIGHT = 5.0, 1.5
"""For the choice of prices. If all pictures were harmed, the mean would count this many dB less; one in a hundred costs
0.05 dB. A lost dB weighs this many gained ones."""
RISKS, ROUND_PRICES_DB = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0), (0.05, 0.1, 0.2, 0.3, 0.5)

Pick = Callable[[NDArray[np.int64]], int | None]
"""Numbers of the moves tried on one input -> the chosen one, or None."""


@dataclass(frozen=True)
class Said:
    """Outputs of the heads for a harvest. mean, low, found: (moves,) in dB, of the plan and of the pair of states.

    score: (states,) in [0, 100].
    """

    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    found: NDArray[np.float64]
    score: NDArray[np.float64]

    @property
    def verdict(self) -> NDArray[np.float64]:
        """Gain of each round in dB, as in `GainPolicy.found`."""
        return (self.found + self.mean) / 2


@torch.inference_mode()
def said_by(heads: GainHeads, harvest: Harvest) -> Said:
    """Every move and every state through the heads."""
    state = torch.cat([heads.state(part) for part in torch.split(harvest["features"], 4096)])
    before, after = harvest["before"], harvest["after"].clamp(min=0)
    expected = heads.expected(state[before], harvest["severities"][before], harvest["remove"], harvest["strength"])
    found = heads.found(state[before], state[after])
    columns = (expected[:, 0], expected[:, 1], found[:, 0], heads.score(state))
    return Said(*(column.double().numpy() for column in columns))


def inputs_of(harvest: Harvest, tested: Tensor) -> list[NDArray[np.int64]]:
    """The moves tried on each tested input, by number."""
    before = harvest["before"].numpy()
    first = (tested[harvest["before"]] & (harvest["move_depth"] == 1)).numpy()
    groups: dict[int, list[int]] = {}
    for move in first.nonzero()[0].tolist():
        groups.setdefault(int(before[move]), []).append(move)
    return [np.asarray(moves) for moves in groups.values()]


def policies(harvest: Harvest, said: Said, prices: Prices) -> dict[str, Pick]:
    """The policy of the heads beside simple ones and the best that could be picked."""
    gain, worth = harvest["gain_db"].numpy(), prices.worth(said.mean, said.low)
    whole = ((harvest["remove"].sum(1) == len(DEGRADATIONS)) & (harvest["strength"] == 1.0)).numpy()
    worst = harvest["severities"].amax(1).numpy()[harvest["before"].numpy()]

    judged = (harvest["after"] >= 0).numpy() & (said.verdict < 0)
    clear = SimplePolicy().clear

    def everything(moves: NDArray[np.int64]) -> int:
        return int(moves[whole[moves]][0])

    def best(by: NDArray[np.float64]) -> Pick:
        return lambda moves: int(moves[by[moves].argmax()]) if by[moves].max() > 0 else None

    return {
        "remove everything once": everything,
        "accept or remove everything": lambda moves: everything(moves) if worst[moves[0]] > clear else None,
        "expected gain": best(worth),
        "expected gain, verified": lambda moves: None if (move := best(worth)(moves)) is None or judged[move] else move,
        "best of the plans tried": best(gain),
    }


def outcome(harvest: Harvest, inputs: Sequence[NDArray[np.int64]], pick: Pick) -> dict[str, float]:
    """Mean gain with its standard error, shares harmed and untouched, the worst, transports."""
    gain = harvest["gain_db"].double().numpy()
    gains = np.asarray([0.0 if (move := pick(moves)) is None else gain[move] for moves in inputs])
    untouched = np.asarray([pick(moves) is None for moves in inputs])
    return {
        "pictures": len(gains), "gain_db": gains.mean(), "standard_error_db": gains.std() / max(len(gains), 1) ** 0.5,
        "harmed": (gains < -HARM_DB).mean(), "harmed_1_db": (gains < -1.0).mean(), "harmed_3_db": (gains < -3.0).mean(),
        "lost_db": np.maximum(-gains, 0.0).mean(), "worst_db": gains.min(), "untouched": untouched.mean(),
    }  # fmt: skip


def chosen_prices(harvest: Harvest, said: Said, inputs: Sequence[NDArray[np.int64]], named_db: float) -> Prices:
    """The prices of a small grid whose mean gain, less what harm costs, is largest."""
    trials = [Prices(price, risk, named_db) for price, risk in product(ROUND_PRICES_DB, RISKS)]

    def value(prices: Prices) -> float:
        found = outcome(harvest, inputs, policies(harvest, said, prices)["expected gain, verified"])
        return found["gain_db"] - HARM_PRICE_DB * found["harmed"] - (LOSS_WEIGHT - 1.0) * found["lost_db"]

    return max(trials, key=value)


def figures(harvest: Harvest, said: Said, tested: Tensor, prices: Prices) -> dict[str, object]:
    """Everything that is known of heads on tested states, as JSON has it."""
    inputs = inputs_of(harvest, tested)
    kinds = np.asarray([family(kind) for kind in harvest.kinds])
    first = harvest["picture"].numpy()[harvest["before"].numpy()]
    picks = policies(harvest, said, prices)
    table = {name: outcome(harvest, inputs, pick) for name, pick in picks.items()}
    by_kind = {
        str(kind): {
            name: outcome(harvest, of_kind, pick)["gain_db"]
            for name, pick in picks.items()
            if (of_kind := [moves for moves in inputs if kinds[first[moves[0]]] == kind])
        }
        for kind in sorted(set(kinds))
    }
    return {
        "policies": table, "gain_db_by_kind": by_kind, "regret_left": regret(table),
        **forecasts(harvest, said, tested), **scores(harvest, said, tested),
    }  # fmt: skip


def regret(table: Mapping[str, Mapping[str, float]]) -> float:
    """The share of the distance from "remove everything once" to the best plan that is left."""
    simple, ours, best = (
        table[name]["gain_db"]
        for name in ("remove everything once", "expected gain, verified", "best of the plans tried")
    )
    return (best - ours) / max(best - simple, 1e-9)


def forecasts(harvest: Harvest, said: Said, tested: Tensor) -> dict[str, object]:
    """Correlation and calibration of expected gains; shares of rounds that are put back rightly and wrongly."""
    chosen = tested[harvest["before"]].numpy()
    gain = harvest["gain_db"].double().numpy().clip(-LARGEST_DB, LARGEST_DB)
    mean, true = said.mean[chosen], gain[chosen]
    edges = np.quantile(mean, np.linspace(0, 1, 11))
    deciles = [(mean >= a) & (mean <= b) for a, b in zip(edges, edges[1:], strict=False)]
    judged = chosen & (harvest["after"] >= 0).numpy()
    verdict = said.verdict[judged] < 0
    lost, gained = gain[judged] < -LOST_DB, gain[judged] > HARM_DB
    return {
        "correlation": float(np.corrcoef(mean, true)[0, 1]),
        "calibration_db": [[float(mean[d].mean()), float(true[d].mean())] for d in deciles],
        "put_back_of_lost": _share(verdict[lost]),
        "put_back_of_gained": _share(verdict[gained]),
    }


def _share(of: NDArray[np.bool_]) -> float:
    """NaN where there is none, as in a harvest of a few pictures."""
    return float(of.mean()) if len(of) else float("nan")


def scores(harvest: Harvest, said: Said, tested: Tensor) -> dict[str, object]:
    """Rank correlation and mean error of the score, over inputs and restored pictures; scores of clean pictures."""
    chosen = tested.numpy()
    truth = quality_to_score(harvest["quality_db"].double()).numpy()
    clean = chosen & (harvest["depth"] == 0).numpy()
    clean &= np.asarray([kind == "clean" for kind in harvest.kinds])[harvest["picture"].numpy()]
    return {
        "srcc": rank_correlation(said.score[chosen], harvest["quality_db"].double().numpy()[chosen]),
        "score_error": float(np.abs(said.score[chosen] - truth[chosen]).mean()),
        "clean_scores": [float(v) for v in np.quantile(said.score[clean], (0.1, 0.5))] if clean.any() else None,
    }


def rank_correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Spearman's, without SciPy: of ranks, where equal values share the mean of theirs."""

    def ranks(x: NDArray[np.float64]) -> NDArray[np.float64]:
        _, places, counts = np.unique(x, return_inverse=True, return_counts=True)
        return (np.cumsum(counts) - (counts - 1) / 2.0)[places]

    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def family(kind: str) -> str:
    """The kind of a picture in a few words: "rar:haze+rain" -> "stack"."""
    name, _, rest = kind.partition(":")
    if name != "rar":
        return name
    return "stack" if "+" in rest else "single"
