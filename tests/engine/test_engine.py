from dataclasses import replace

import pytest
import torch

from rar_cli.compute.device import pick_device, pick_dtype
from rar_cli.engine import engine as module
from rar_cli.engine.engine import Engine
from rar_cli.engine.options import EngineOptions
from rar_cli.engine.restore import bounds_of, restore
from rar_cli.errors import UsageError
from rar_cli.loop.policy import FixedPolicy
from rar_cli.loop.rounds import looks_of
from rar_cli.networks.adapters import AssessorParams, ImageAdapter, StemBlock
from rar_cli.types import ALL, Bounds, Degradation, Plan, Verdict
from tests.fakes import CPU


def policy(rounds: int) -> FixedPolicy:
    return FixedPolicy((Plan(),) * rounds)


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [0, 1, 2, 5])
def test_encode_runs_once_and_decode_once_whatever_the_number_of_rounds(busy, monkeypatch, rounds):
    calls = {"encode": 0, "decode": 0}
    for name in calls:
        real = getattr(busy.codec, name)

        def counted(*args, _name=name, _real=real):
            calls[_name] += 1
            return _real(*args)

        monkeypatch.setattr(busy.codec, name, counted)
    engine = Engine(busy, CPU)
    (outcome,) = restore(engine, torch.rand(1, 3, 20, 24), policy(rounds))
    assert len(outcome.restoration.trace) == rounds + 1
    assert calls == {"encode": 1, "decode": 1 if outcome.restoration.best_round else 0}
    if rounds:
        assert outcome.restoration.best_round >= 1


def test_no_text_is_made_inside_the_loop(busy, monkeypatch):
    """No description is made between encode and decode; the core has nothing that could generate."""
    from rar_cli.report import words as report

    def refuse(*args, **kwargs):
        raise AssertionError("text inside the loop")

    monkeypatch.setattr(report, "describe", refuse)
    engine = Engine(busy, CPU)
    (outcome,) = restore(engine, torch.rand(1, 3, 20, 24), policy(2))
    assert outcome.image is not None
    assessment = engine.assess(engine.encode(torch.rand(1, 3, 20, 24)))
    assert engine.condition(assessment, [Plan()]).dtype == torch.float32


def test_a_picture_that_is_kept_is_not_decoded(busy):
    engine = Engine(busy, CPU)
    (outcome,) = restore(engine, torch.rand(1, 3, 20, 24), FixedPolicy(()))
    assert outcome.image is None
    assert outcome.restoration.stop is Verdict.EXHAUSTED


@pytest.mark.slow
def test_a_batch_gives_what_its_pictures_give_alone(busy):
    engine = Engine(busy, CPU)
    images = torch.rand(3, 3, 24, 20)
    together = restore(engine, images, policy(2))
    for i, outcome in enumerate(together):
        (alone,) = restore(engine, images[i : i + 1], policy(2))
        assert alone.restoration.best_round == outcome.restoration.best_round
        torch.testing.assert_close(alone.image, outcome.image, atol=1e-4, rtol=0)


def test_the_same_call_gives_the_same_bits(busy):
    engine = Engine(busy, CPU)
    image = torch.rand(1, 3, 30, 34)
    first, second = (restore(engine, image, policy(3))[0] for _ in range(2))
    assert torch.equal(first.image, second.image)


@pytest.mark.slow
def test_tiles_agree_with_the_whole(busy, monkeypatch):
    monkeypatch.setattr(module, "OVERLAP_PX", 64)
    whole, tiled = (
        Engine(busy, EngineOptions("cpu", "float32", 768)),
        Engine(busy, EngineOptions("cpu", "float32", 128)),
    )
    image = torch.rand(1, 3, 200, 260)
    a, b = restore(whole, image, policy(2))[0], restore(tiled, image, policy(2))[0]
    torch.testing.assert_close(a.restoration.score_before, b.restoration.score_before, atol=1e-2, rtol=0)
    difference = (a.image - b.image).abs() * 255
    assert difference.mean() < 1, difference.mean()
    assert difference.max() < 4, difference.max()


def test_save_rounds_decodes_each_round_and_the_best_is_among_them(busy):
    engine = Engine(busy, CPU)
    (outcome,) = restore(engine, torch.rand(1, 3, 20, 24), policy(3), keep_rounds=True)
    assert len(outcome.images) == 3
    assert torch.equal(outcome.images[outcome.restoration.best_round - 1], outcome.image)


def test_bfloat16_stays_near_float32(busy):
    image = torch.rand(1, 3, 32, 32)
    exact = restore(Engine(busy, CPU), image, policy(1))[0].image
    coarse = restore(Engine(busy, EngineOptions("cpu", "bfloat16")), image, policy(1))[0].image
    assert (exact - coarse).abs().mean() < 0.02


def test_what_may_be_removed_is_named_by_only_or_keep():
    rain, noise = frozenset({Degradation.RAIN}), frozenset({Degradation.NOISE})
    assert bounds_of() == Bounds()
    assert bounds_of(only=[*rain]) == Bounds(wanted=rain, named=True)
    assert bounds_of(2, 60.0, keep=[*noise]) == Bounds(2, 60.0, ALL - noise)
    with pytest.raises(UsageError, match="exclude each other"):
        bounds_of(only=[*rain], keep=[*noise])


def test_blocks_in_the_stem_start_as_nothing_and_stay_exact_in_tiles():
    plain, grown = ImageAdapter(AssessorParams()), ImageAdapter(AssessorParams(stem_blocks=(1, 1, 2)))
    assert grown.halo > plain.halo
    assert [type(m).__name__ for m in grown.stem].count("StemBlock") == 4
    latent = torch.randn(1, 48, 90, 70)
    before = grown(latent)[0]
    for block in grown.stem:
        if isinstance(block, StemBlock):
            assert torch.equal(block(x := torch.randn(1, block.first.in_channels, 8, 8)), x)
            torch.nn.init.normal_(block.second.weight, std=0.03)
    whole, tiled = grown(latent)[0], grown(latent, tile=32)[0]
    assert not torch.allclose(whole, before, atol=1e-3)
    torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-5)


def test_impossible_devices_types_and_tiles_are_refused(busy):
    with pytest.raises(UsageError, match="device warp"):
        pick_device("warp")
    with pytest.raises(UsageError, match="dtype int8"):
        pick_dtype("int8", torch.device("cpu"))
    with pytest.raises(UsageError, match="not on the CPU"):
        pick_dtype("float16", torch.device("cpu"))
    with pytest.raises(UsageError, match="too small"):
        Engine(busy, EngineOptions("cpu", "float32", tile_px=16))


def test_integer_images_come_back_as_integers_and_agree_with_float(busy):
    engine = Engine(busy, CPU)
    pixels = torch.randint(0, 256, (1, 3, 20, 24), dtype=torch.uint8)
    whole = restore(engine, pixels, policy(1))[0].image
    exact = restore(engine, pixels.float() / 255, policy(1))[0].image
    assert whole.dtype == torch.uint8
    assert (whole.float() - exact * 255).abs().max() <= 0.51
    deep = (pixels.int() * 257).to(torch.uint16)
    deeper = restore(engine, deep, policy(1))[0].image
    assert deeper.dtype == torch.uint16
    assert (deeper.float() / 257 - exact * 255).abs().max() <= 0.51


def test_what_is_beyond_the_range_counts_as_a_file_would_have_it(busy):
    noisy = torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(3)) * 1.6 - 0.3
    engine = Engine(busy, CPU)
    assert torch.equal(engine.encode(noisy), engine.encode(noisy.clamp(0, 1)))
    assert noisy.min() < 0  # the caller's picture stays


@pytest.mark.slow
def test_large_pictures_keep_their_latents_in_half_precision_and_agree(busy, monkeypatch):
    image = torch.rand(1, 3, 200, 260)
    whole = restore(Engine(busy, CPU), image, policy(2))[0]
    monkeypatch.setattr(module, "LARGE_PX", 1000)
    monkeypatch.setattr(module, "OVERLAP_PX", 64)
    engine = Engine(busy, EngineOptions("cpu", "float32", 128))
    assert engine.encode(image).dtype == torch.float16
    large = restore(engine, image, policy(2))[0]
    difference = (whole.image - large.image).abs() * 255
    assert difference.mean() < 1, difference.mean()
    assert difference.max() < 4, difference.max()


def test_strength_is_a_fraction_of_the_way_in_the_latent_and_exact_at_both_ends(busy):
    engine, image = Engine(busy, CPU), torch.rand(2, 3, 24, 32)
    steps = []
    whole = restore(engine, image, policy(2), on_pass=steps.append, whole=True)
    (half, other) = restore(engine, image, policy(2).within(bounds_of(strength=0.5)), whole=True)
    again = restore(engine, image, policy(2).within(bounds_of(strength=1.0)), whole=True)
    assert all(torch.equal(a.image, b.image) for a, b in zip(whole, again, strict=True))
    middle = engine.decode(torch.lerp(steps[0].latent, steps[-1].latent, 0.5), (24, 32))
    torch.testing.assert_close(torch.cat([half.image, other.image]), middle)
    (seen, _) = looks_of(engine.assess(torch.lerp(steps[0].latent, steps[-1].latent, 0.5)))
    assert half.restoration.score_after == pytest.approx(seen.score)  # the record is of what is written
    untouched = restore(engine, image, policy(2).within(bounds_of(strength=0.0)))
    assert all(each.image is None and each.restoration.best_round == 0 for each in untouched)


def test_impossible_bounds_are_said_to_python_callers():
    for options in ({"max_rounds": -1}, {"max_rounds": "2"}, {"accept_score": 1e9}, {"strength": 2.0}):
        with pytest.raises(UsageError):
            bounds_of(**options)


@pytest.mark.parametrize("strength", [-0.1, 1.1])
def test_impossible_strengths_are_refused(strength):
    with pytest.raises(ValueError, match="strength: must lie"):
        Bounds(strength=strength)


def test_the_solver_can_be_chosen_and_changes_what_comes_out(busy):
    image = torch.rand(1, 3, 24, 32)
    made = {s: restore(Engine(busy, replace(CPU, solver=s)), image, policy(1))[0].image for s in ("euler", "heun")}
    assert (made["euler"] - made["heun"]).abs().max() > 1e-4
    with pytest.raises(UsageError, match="solver magic: use euler, heun"):
        Engine(busy, replace(CPU, solver="magic"))
