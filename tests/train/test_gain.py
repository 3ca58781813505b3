"""Heads of gain: shapes, what they learn from a harvest, what a harvest holds, and the truth behind both."""

import copy
import json
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import spearmanr

from rar_cli.engine.engine import Engine
from rar_cli.engine.restore import restore
from rar_cli.errors import UsageError
from rar_cli.loop.policy import GainPolicy, Prices, SimplePolicy
from rar_cli.networks.gain import QUANTILES, Forecast, GainHeads
from rar_cli.networks.model import Rar
from rar_cli.train.gain.figures import chosen_prices, figures, inputs_of, rank_correlation, said_by
from rar_cli.train.gain.harvest import harvest, origin_of
from rar_cli.train.gain.heads import Harvest, fit_heads, held_out, read_harvest
from rar_cli.train.gain.pictures import Tried
from rar_cli.train.gain.pictures import pictures as pictures_of
from rar_cli.train.gain.refit import GainRequest, refit
from rar_cli.train.gain.truth import psnr_db, quality_db, quality_to_score
from rar_cli.types import DEGRADATIONS, PLACE, Degradation, Look, Plan
from tests.fakes import CPU, with_heads

D = Degradation


def made(count=240):
    """A harvest with one lesson: removing noise gains 6 dB where the first feature is high, and loses 6 elsewhere."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(3 * count, 8)).astype(np.float32)
    features[:count, 0] = np.where(np.arange(count) % 2, 1.0, -1.0)
    features[count:, 1] = 0.0
    lesson = np.where(features[:count, 0] > 0, 6.0, -6.0)
    features[count : 2 * count, 1] = lesson
    before = np.tile(np.arange(count), 2)
    remove = np.ones((2 * count, 9), np.float32)
    remove[count:, PLACE[D.NOISE]] = 0.0
    columns = {
        "features": features, "severities": np.full((3 * count, 9), 0.5, np.float32), "score": np.zeros(3 * count),
        "psnr_db": np.zeros(3 * count), "quality_db": rng.uniform(12, 40, 3 * count).astype(np.float32),
        "picture": np.tile(np.arange(count), 3), "depth": np.repeat([0, 1, 1], count), "before": before,
        "after": before + count + np.repeat([0, count], count), "remove": remove,
        "strength": np.ones(2 * count, np.float32),
        "gain_db": np.concatenate([lesson, np.zeros(count)]).astype(np.float32),
        "move_depth": np.ones(2 * count, np.int64),
    }  # fmt: skip
    kinds = tuple("clean" if i % 5 == 0 else "rar:noise" for i in range(count))
    return Harvest(
        {k: torch.from_numpy(np.asarray(v)) for k, v in columns.items()}, kinds, tuple(f"{i}" for i in range(count))
    )


def test_heads_say_a_mean_and_quantiles_for_every_plan():
    heads = GainHeads(8, 6, members=2).eval()
    state = heads.state(torch.rand(3, 8))
    assert state.shape == (3, 12)
    said = heads.expected(state, torch.rand(3, 9), torch.ones(3, 9), torch.ones(3))
    assert said.shape == heads.found(state, state).shape == (3, 1 + len(QUANTILES))
    assert heads.score(state).shape == (3,)


@pytest.mark.slow
def test_heads_learn_which_plan_gains_where_and_what_a_pair_shows():
    found = made()
    tested = held_out(found)
    assert 0.1 < tested.float().mean() < 0.3
    heads = GainHeads(8, 16)
    fit_heads(heads, found, ~tested, epochs=40)
    said = said_by(heads, found)
    inputs = inputs_of(found, tested)
    told = figures(found, said, tested, chosen_prices(found, said, inputs, 1.0))
    assert told["policies"]["expected gain"]["gain_db"] == pytest.approx(3.0, abs=0.8)
    assert told["policies"]["remove everything once"]["gain_db"] == pytest.approx(0.0, abs=2.0)
    assert told["policies"]["expected gain"]["harmed"] == 0.0
    assert told["put_back_of_lost"] > 0.9
    assert told["regret_left"] < 0.2


def test_heads_that_learn_onward_begin_with_what_they_know():
    heads, harvest = GainHeads(8, 6), made()
    everything = torch.ones(harvest.states, dtype=torch.bool)
    known = heads.members[0].plan[0].weight
    with torch.no_grad():
        heads.mean.fill_(0.25)
        known.fill_(3.0)
    fit_heads(heads, harvest, everything, epochs=1, onward=True)
    assert (heads.mean == 0.25).all()  # else what was learned of features would be about others
    assert 2.9 < float(known.min()) < 3.0
    fit_heads(heads, harvest, everything, epochs=1)
    assert float(known.max()) < 1.0


def test_held_out_photographs_are_held_out_whole():
    found = made()
    twice = Harvest(found.columns, found.kinds, tuple(f"{i // 2}" for i in range(len(found.kinds))))
    tested = held_out(twice)
    pictures = {int(p) // 2 for p in twice["picture"][tested]}
    assert not pictures & {int(p) // 2 for p in twice["picture"][~tested]}


def test_a_forecast_speaks_of_looks_and_plans():
    heads = GainHeads(8, 6).eval()
    forecast = Forecast(heads)
    seen = Look(50.0, 9 * (0.5,), tuple(heads.state(torch.rand(1, 8))[0].tolist()))
    gains = forecast.expected(seen, [Plan(), Plan(frozenset({D.HAZE})), Plan(strength=0.5)])
    assert len({gain.mean_db for gain in gains}) == 3
    assert forecast.found(seen, seen).mean_db == forecast.found(seen, seen).mean_db


def test_weights_with_heads_decide_by_gain_and_others_simply(busy):
    assert isinstance(busy.policy, SimplePolicy)
    model = with_heads(busy)
    model.prices = Prices(round_db=-100.0)
    assert isinstance(model.policy, GainPolicy)
    (outcome,) = restore(Engine(model, CPU), torch.rand(1, 3, 24, 32))
    first = outcome.restoration.trace[0]
    assert first.plan is not None
    assert first.expected_db is not None
    assert outcome.restoration.trace[1].found_db is not None


def test_heads_and_prices_are_saved_and_loaded(busy, tmp_path):
    model = with_heads(busy)
    model.prices = Prices(0.3, 0.7, 1.0)
    model.save(tmp_path)
    loaded = Rar.load(tmp_path)
    assert loaded.prices == model.prices
    latent = torch.rand(1, 48, 8, 8)
    torch.testing.assert_close(loaded.assess(latent).state, model.assess(latent).state)


def pictures(first):
    for number in range(first, 64, 2):
        rng = np.random.default_rng(number)
        clean = rng.random((2, 24, 32, 3)).astype(np.float32)
        yield [Tried(np.clip(c + 0.1, 0, 1), c, "clean", f"{number + i}") for i, c in enumerate(clean)]


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr("rar_cli.train.gain.harvest.SHARD", 4)


def test_a_harvest_goes_on_where_it_was_interrupted(busy, tmp_path, small_shards):
    engine = Engine(busy, CPU)

    def until(out, number):
        said = []
        harvest(engine, pictures, out, lambda: len(said) >= number, said.append)
        return read_harvest([out])

    whole = until(tmp_path / "whole", 2)
    until(tmp_path / "parts", 1)
    parts = until(tmp_path / "parts", 1)
    assert whole.kinds == parts.kinds
    for name in ("features", "remove", "gain_db", "before", "after"):
        assert torch.equal(whole[name], parts[name]), name


def test_a_harvest_of_other_weights_or_photographs_is_not_gone_on_with(busy, tmp_path, small_shards, photos):
    said = []
    begun = (Engine(busy, CPU), pictures, tmp_path, lambda: bool(said), said.append)
    harvest(*begun, origin_of(busy, photos))
    harvest(*begun, origin_of(busy, photos))
    other, learned = copy.deepcopy(busy), with_heads(busy)
    next(other.restorer.parameters()).data.add_(0.1)
    assert origin_of(learned, photos) == origin_of(busy, photos)
    for origin in (origin_of(other, photos), origin_of(busy, photos[1:])):
        with pytest.raises(UsageError, match="other weights or photographs"):
            harvest(*begun, origin)


def test_moves_lead_between_states_of_one_picture_and_tell_their_gain(busy, tmp_path, small_shards):
    said = []
    harvest(Engine(busy, CPU), pictures, tmp_path, lambda: bool(said), said.append)
    found = read_harvest([tmp_path])
    known = found["after"] >= 0
    before, after = found["before"][known], found["after"][known]
    assert torch.equal(found["picture"][before], found["picture"][after])
    torch.testing.assert_close(found["psnr_db"][after] - found["psnr_db"][before], found["gain_db"][known])
    assert set(found["strength"][known].tolist()) == {1.0}
    assert (found["remove"].sum(1) == len(DEGRADATIONS)).any()
    assert (found["strength"] < 1).any()
    assert found["features"].shape[1] == busy.params.assessor.gain_features
    assert set(found["move_depth"].tolist()) >= {1, 2}


def test_quality_does_not_ask_how_bright_or_how_tinted_a_scene_was():
    clean = torch.rand(1, 3, 32, 32)
    dim = clean * torch.tensor([0.5, 0.4, 0.3])[:, None, None] + 0.1
    noisy = (clean + 0.1 * torch.randn_like(clean)).clamp(0, 1)
    assert quality_db(dim, clean).item() > 45
    assert psnr_db(dim, clean).item() < 15
    assert quality_db(noisy, clean).item() < 25
    assert quality_db((0.3 * noisy), clean).item() == pytest.approx(quality_db(noisy, clean).item(), abs=0.1)
    assert quality_to_score(torch.tensor([12.0, 26.0, 60.0])).tolist() == [0.0, 50.0, 100.0]


@pytest.fixture
def photos():
    rng = np.random.default_rng(1)
    return [rng.integers(0, 256, (400, 420, 3), dtype=np.uint8) for _ in range(3)]


def test_a_number_always_makes_the_same_picture_whatever_the_first_one_is(photos):
    first = [tried for batch in islice(pictures_of(photos, 0), 3) for tried in batch]
    later = next(pictures_of(photos, len(next(pictures_of(photos, 0)))))
    again = first[len(next(pictures_of(photos, 0))) :][: len(later)]
    assert [tried.kind for tried in later] == [tried.kind for tried in again]
    assert all(np.array_equal(a.degraded, b.degraded) for a, b in zip(later, again, strict=True))


@pytest.mark.slow
def test_pictures_to_try_are_of_every_kind_and_keep_their_reference(photos):
    made = [tried for batch in islice(pictures_of(photos, 0), 24) for tried in batch]
    assert {tried.kind.partition(":")[0].partition(",")[0] for tried in made} >= {
        "clean",
        "fine",
        "drawn",
        "camera",
        "grain",
        "rar",
    }
    for tried in made:
        assert tried.degraded.shape == tried.reference.shape
        assert tried.degraded.dtype == tried.reference.dtype == np.float32
        assert 0.0 <= tried.degraded.min() <= tried.degraded.max() <= 1.0
        assert (tried.kind != "clean") or np.array_equal(tried.degraded, tried.reference)
    assert {tried.source for tried in made} == {"0", "1", "2"}


@pytest.mark.slow
def test_photographs_are_never_enlarged_to_the_side_of_a_batch():
    small, large = np.zeros((130, 140, 3), np.uint8), np.full((400, 420, 3), 255, np.uint8)
    batches = list(islice(pictures_of([small, large], 0), 12))
    sides = [batch[0].degraded.shape[0] for batch in batches]
    assert 130 < max(sides) <= 400
    for side, batch in zip(sides, batches, strict=True):
        assert side <= 130 or {tried.source for tried in batch} == {"1"}


@pytest.mark.slow
def test_one_command_refits_the_heads_of_weights_that_are_there(busy, weights_dir, photos, tmp_path, monkeypatch):
    monkeypatch.setattr("rar_cli.train.gain.harvest.SHARD", 8)
    monkeypatch.setattr("rar_cli.train.gain.pictures.SIDES", (32,))
    monkeypatch.setattr("rar_cli.train.gain.pictures.BATCH_PIXELS", 4 * 32**2)
    monkeypatch.setattr("rar_cli.train.gain.refit.load_photos", lambda folders, least, say, each: photos)
    told = []
    request = GainRequest([tmp_path], weights_dir, tmp_path / "out", [], 1.0, lambda: len(told) > 4)
    shown = []
    folder = refit(replace(request, on_each=lambda *each: shown.append(each)), told.append)
    assert {what for *_, what in shown} == {"trying plans, in seconds", "learning what plans gain, in epochs"}
    loaded = Rar.load(folder)
    assert isinstance(loaded.policy, GainPolicy)
    (restored,) = restore(Engine(loaded, CPU), torch.rand(1, 3, 32, 32))
    assert restored.restoration.trace[0].expected_db is not None
    told.clear()
    again = Rar.load(refit(replace(request, weights=folder, out=tmp_path / "again"), told.append))
    assert torch.equal(again.assessor.gain.mean, loaded.assessor.gain.mean)  # they learn onward
    before, after = (Engine(model, CPU) for model in (Rar.load(weights_dir), Rar.load(folder)))
    latent = before.encode(torch.rand(1, 3, 32, 32))
    torch.testing.assert_close(after.assess(latent).severities, before.assess(latent).severities, atol=5e-3, rtol=0)
    ledger = [json.loads(line) for line in (tmp_path / "out" / "training.jsonl").read_text().splitlines()]
    assert {"expected gain", "remove everything once"} <= set(ledger[-1]["figures"]["policies"])


def test_a_signal_while_photographs_are_read_ends_it_and_what_is_done_is_counted(
    busy, weights_dir, photos, tmp_path, monkeypatch
):
    for number, photo in enumerate(photos):
        Image.fromarray(photo).save(tmp_path / f"{number}.png")
    seen = []
    request = GainRequest(
        [tmp_path], weights_dir, tmp_path / "out", [], 1.0, lambda: len(seen) > 1, lambda *each: seen.append(each)
    )
    with pytest.raises(KeyboardInterrupt):
        refit(request, print)
    assert seen == [(1, 3, "reading photographs"), (2, 3, "reading photographs")]


def test_ranks_correlate_as_scipy_has_it():
    rng = np.random.default_rng(0)
    a = rng.integers(0, 20, 300).astype(float)
    b = a + rng.normal(0, 6, 300).round()
    assert rank_correlation(a, b) == pytest.approx(spearmanr(a, b).statistic)
