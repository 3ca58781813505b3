import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from rar_cli.errors import WeightsError
from rar_cli.networks.codec import CodecParams
from rar_cli.networks.model import PARTS, Rar, RarParams
from rar_cli.networks.restorer import Restorer, RestorerParams
from rar_cli.train.config import Crops, Stage
from rar_cli.train.data import Batch
from rar_cli.train.stages import end_to_end_losses, let_learn
from rar_cli.types import DEGRADATIONS


def test_parts_that_do_not_fit_together_are_refused_with_both_numbers():
    with pytest.raises(ValueError, match=r"48.*16|16.*48"):
        RarParams(codec=CodecParams(channels=16))
    with pytest.raises(ValueError, match="condition"):
        RarParams(restorer=RestorerParams(condition_tokens=3))


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (16, 16), (37, 22), (64, 50)])
def test_a_picture_of_any_size_comes_back_in_its_size(tiny, size):
    image = torch.rand(2, 3, *size)
    latent = tiny.codec.encode(image)
    assert latent.shape == (2, 48, -(-size[0] // 4), -(-size[1] // 4))
    assessment = tiny.assessor(latent)
    assert assessment.score.shape == (2,)
    assert assessment.severities.shape == (2, len(DEGRADATIONS))
    assert assessment.condition.shape == (2, 11, 8)
    moved = tiny.move(latent, assessment.condition)
    assert moved.shape == latent.shape
    torch.testing.assert_close(tiny.codec.decode(moved, size), image, atol=1e-3, rtol=0)  # zero field at birth


def test_the_fitted_codec_is_exact_with_all_channels(tiny):
    image = torch.rand(1, 3, 32, 40)
    torch.testing.assert_close(tiny.codec.decode(tiny.codec.encode(image)), image, atol=1e-3, rtol=0)


def test_scores_and_severities_stay_in_range_on_wild_latents(busy):
    assessment = busy.assessor(50 * torch.randn(3, 48, 8, 8))
    assert ((assessment.score >= 0) & (assessment.score <= 100)).all()
    assert ((assessment.severities >= 0) & (assessment.severities <= 1)).all()


def test_the_assessor_treats_each_picture_of_a_batch_alone(busy):
    latent = torch.randn(3, 48, 8, 8)
    together, alone = busy.assessor(latent), busy.assessor(latent[1:2])
    torch.testing.assert_close(together.condition[1:2], alone.condition, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(together.score[1:2], alone.score, atol=1e-3, rtol=1e-4)


def test_forced_severities_and_the_mask_reach_the_condition_and_nan_means_found(busy):
    latent = torch.randn(1, 48, 8, 8)
    free = busy.assessor(latent)
    forced = busy.assessor(latent, severities=torch.full((1, 9), 0.9))
    masked = busy.assessor(latent, remove_mask=torch.zeros(9))
    nan = busy.assessor(latent, severities=torch.full((1, 9), float("nan")))
    assert not torch.allclose(free.condition, forced.condition)
    assert not torch.allclose(free.condition, masked.condition)
    assert torch.equal(free.condition, nan.condition)
    assert torch.equal(free.severities, forced.severities)


def test_gradients_of_two_unrolled_rounds_reach_every_part(busy):
    stage = Stage("e2e", "end_to_end", steps=1, crops=(Crops(2, 32, 16),))
    model = busy.train()
    let_learn(model)
    clean = torch.rand(2, 3, 32, 32)
    batch = Batch(
        clean=clean, degraded=(clean * 0.5).clamp(0, 1), target=clean,
        severities=torch.rand(2, 9), remove_mask=torch.ones(2, 9), first_mask=torch.ones(2, 9), t=torch.zeros(2),
        forced=torch.zeros(2, dtype=torch.bool), unrolled=torch.zeros(0, dtype=torch.long),
        kept=torch.zeros(0, dtype=torch.long),
        window=torch.rand(2, 1, 2), window_px=16,
    )  # fmt: skip
    end_to_end_losses(model, batch, stage).total.backward()
    parts = {
        "codec encoder": model.codec.encoder_branch,
        "codec decoder": model.codec.decoder_branch,
        "image adapter": model.assessor.image_adapter,
        "iqa core": model.assessor.core,
        "text adapter": model.assessor.text_adapter,
        "restorer": model.restorer,
    }
    for name, part in parts.items():
        gradients = [p.grad for p in part.parameters() if p.grad is not None]
        assert gradients, name
        assert all(g.isfinite().all() for g in gradients), name
        assert any(g.abs().max() > 0 for g in gradients), name


def test_memory_tells_later_rounds_alone_and_nothing_where_nothing_was_taken(busy):
    latent, t, condition = torch.randn(1, 48, 7, 10), torch.zeros(1), torch.randn(1, 11, 8)
    other = latent + torch.randn_like(latent)
    plain = busy.move(latent, condition)
    torch.testing.assert_close(busy.restorer(latent, t, condition, latent) + latent, plain)
    torch.testing.assert_close(busy.restorer(latent, t, condition, other) + latent, busy.move(latent, condition, other))
    assert not torch.allclose(busy.move(latent, condition, other), plain)
    forgetful = Restorer(replace(busy.params.restorer, memory=False))
    forgetful.load_state_dict({k: v for k, v in busy.restorer.state_dict().items() if "recall" not in k})
    torch.testing.assert_close(forgetful(latent, t, condition, other) + latent, plain)


def test_within_a_round_of_several_steps_memory_is_of_where_it_began(busy):
    latent, condition = torch.randn(1, 48, 8, 8), torch.randn(1, 11, 8)
    halfway = busy.move(latent, condition, times=(0.0, 0.5))
    v = busy.restorer(halfway, torch.full((1,), 0.5), condition, latent)
    torch.testing.assert_close(busy.move(latent, condition, times=(0.0, 0.5, 1.0)), halfway + 0.5 * v)


def test_a_level_of_detail_added_to_trained_weights_changes_nothing_until_it_learns(busy):
    plain = Restorer(replace(busy.params.restorer, detail_blocks=0))
    plain.load_state_dict({k: v for k, v in busy.restorer.state_dict().items() if not k.startswith("detail.")})
    grown = Restorer(busy.params.restorer)
    grown.load_state_dict(plain.state_dict(), strict=False)
    latent, t, condition = torch.randn(2, 48, 9, 7), torch.zeros(2), torch.randn(2, 11, 8)
    assert torch.equal(plain(latent, t, condition), grown(latent, t, condition))
    grown(latent, t, condition).square().mean().backward()
    assert grown.detail.leave.weight.grad.abs().max() > 0
    assert not torch.equal(busy.restorer(latent, t, condition), plain(latent, t, condition))


def test_what_is_saved_comes_back_and_does_the_same(busy, tmp_path):
    busy.save(tmp_path)
    loaded = Rar.load(tmp_path)
    latent = torch.randn(1, 48, 9, 7)
    before, after = busy.assessor(latent), loaded.assessor(latent)
    torch.testing.assert_close(before.condition, after.condition)
    torch.testing.assert_close(busy.move(latent, before.condition), loaded.move(latent, after.condition))
    assert loaded.prices == busy.prices


@pytest.mark.parametrize("part", PARTS)
def test_a_missing_tensor_is_refused(busy, tmp_path, part):
    busy.save(tmp_path)
    path = tmp_path / part / "model.safetensors"
    tensors = load_file(path)
    tensors.pop(sorted(tensors)[0])
    save_file(tensors, path)
    with pytest.raises(WeightsError, match="Missing key"):
        Rar.load(tmp_path)


def test_unknown_formats_keys_and_shapes_are_refused(busy, tmp_path):
    busy.save(tmp_path)
    about = json.loads((tmp_path / "rar.json").read_text())
    (tmp_path / "rar.json").write_text(json.dumps({**about, "format": 99}))
    with pytest.raises(WeightsError, match="format 99"):
        Rar.load(tmp_path)
    (tmp_path / "rar.json").write_text(json.dumps(about))
    config = json.loads((tmp_path / "restorer" / "config.json").read_text())
    (tmp_path / "restorer" / "config.json").write_text(json.dumps({**config, "heads": 3}))
    with pytest.raises(WeightsError, match="heads"):
        Rar.load(tmp_path)
    (tmp_path / "restorer" / "config.json").write_text(json.dumps({**config, "widths": [8, 8, 16]}))
    with pytest.raises(WeightsError, match="size mismatch"):
        Rar.load(tmp_path)


@pytest.mark.slow
def test_the_iqa_core_is_the_llama_of_transformers():
    """Same names, shapes and outputs, so that weights move freely between the two."""
    from transformers import LlamaConfig, LlamaModel

    from rar_cli.networks.llama import Llama

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=1, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        pad_token_id=None, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    theirs, ours = LlamaModel(config).eval(), Llama(32, 2, 4)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
        weights = {k: v for k, v in theirs.state_dict().items() if not k.startswith("embed_tokens.")}
        ours.load_state_dict(weights, strict=True)
        tokens = torch.randn(2, 11, 32)
        expected = theirs(inputs_embeds=tokens, use_cache=False).last_hidden_state
        torch.testing.assert_close(ours(tokens), expected, atol=1e-5, rtol=1e-4)
