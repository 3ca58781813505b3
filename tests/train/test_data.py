"""Photographs, crops of them, and the batches that a step sees."""

import numpy as np
import pytest
import torch
from PIL import Image, features

from rar_cli.errors import UsageError
from rar_cli.pictures.formats import FORMATS
from rar_cli.synthesis.pixels import quantise
from rar_cli.train.config import Crops, Stage, TrainConfig, load_config
from rar_cli.train.data import StepBatches, crop, load_photos, retoned
from rar_cli.train.validation import KEPT_QUALITIES, as_kept, whole
from rar_cli.types import DEGRADATIONS
from tests.toy import config_file


def test_a_folder_without_large_enough_photos_is_refused(photos_dir):
    with pytest.raises(UsageError, match="at least 500 px"):
        load_photos([photos_dir], 500)


def test_photographs_too_small_for_the_largest_crops_still_serve_the_small_ones():
    dark, bright = np.zeros((20, 40, 3), np.uint8), np.full((50, 40, 3), 255, np.uint8)
    stage = Stage("a", "assessor", steps=16, crops=(Crops(8, 16, 8), Crops(8, 32, 16)))
    batches = StepBatches([dark, bright], TrainConfig("toy", (stage,)))
    small, large = (torch.cat([batches[step].clean.float().mean((1, 2, 3)) for step in range(i, 8, 2)]) for i in (0, 1))
    assert set(small.round().tolist()) == {0.0, 255.0}
    assert set(large.round().tolist()) == {255.0}
    with pytest.raises(UsageError, match="32 px"):
        StepBatches([dark], TrainConfig("toy", (stage,)))


def test_crops_of_several_sizes_are_taken_in_turn_and_every_picture_is_counted():
    sizes = (Crops(4, 16, 8), Crops(2, 32, 16))
    stages = (Stage("a", "assessor", steps=3, crops=sizes), Stage("b", "restorer", steps=5, crops=sizes))
    config = TrainConfig("toy", stages)
    batches = [StepBatches([np.zeros((40, 40, 3), np.uint8)], config)[step] for step in range(8)]
    assert [b.clean.shape[0] for b in batches] == [4, 2, 4, 4, 2, 4, 2, 4]
    assert [b.clean.shape[-1] for b in batches] == [16, 32, 16, 16, 32, 16, 32, 16]
    assert [b.window_px for b in batches] == [8, 16, 8, 8, 16, 8, 16, 8]
    assert config.samples_before(8) == sum(len(b.t) for b in batches)


def test_images_travel_in_eight_bits_and_arrive_as_they_were(photos_dir, tmp_path):
    batch = StepBatches(load_photos([photos_dir], 32), load_config(config_file(tmp_path)))[3]
    assert {batch.clean.dtype, batch.degraded.dtype, batch.target.dtype} == {torch.uint8}
    arrived = batch.to(torch.device("cpu"))
    for sent, images in zip((batch.clean, batch.degraded), (arrived.clean, arrived.degraded), strict=True):
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(images, sent.float() / 255)


def test_batches_depend_on_the_step_alone(photos_dir, tmp_path):
    config = load_config(config_file(tmp_path))
    data = StepBatches(load_photos([photos_dir], 32), config)
    first, again, other = data[7], data[7], data[8]
    assert torch.equal(first.degraded, again.degraded)
    assert not torch.equal(first.degraded, other.degraded)
    assert first.clean.shape == (4, 3, 32, 32)
    assert first.severities.shape == (4, len(DEGRADATIONS))


def test_partial_targets_keep_what_is_to_stay(photos_dir, tmp_path):
    config = load_config(config_file(tmp_path, steps=100))
    data = StepBatches(load_photos([photos_dir], 32), config)
    seen = 0
    for step in range(100, 140):
        batch = data[step]
        for i in range(4):
            removed = batch.severities[i] * batch.remove_mask[i]
            if not removed.any() and batch.severities[i].any():
                assert torch.equal(batch.target[i], batch.degraded[i])  # nothing to remove: leave it alone
                seen += 1
            if batch.remove_mask[i].all():
                assert torch.equal(batch.target[i], batch.clean[i])
    assert seen


def test_a_crop_is_within_range_and_of_its_size(photos_dir):
    (photo, *_) = load_photos([photos_dir], 32)
    for seed in range(20):
        part = crop(photo, 48, np.random.default_rng(seed))
        assert part.shape == (48, 48, 3)
        assert np.array_equal(part, quantise(part))


def test_a_retoned_photograph_is_clean_and_shows_the_same(photos_dir):
    (photo, *_) = load_photos([photos_dir], 32)
    part = crop(photo, 48, np.random.default_rng(1))
    seen = []
    for seed in range(40):
        other = retoned(part, np.random.default_rng(seed))
        assert other.dtype == np.float32
        assert other.min() >= 0
        assert other.max() <= 1
        assert np.corrcoef(part.mean(2).ravel(), other.mean(2).ravel())[0, 1] > 0.8
        seen.append(float(other.mean() - part.mean()))
    assert min(seen) < -0.05
    assert max(seen) > 0.02


def test_a_share_of_the_photographs_is_retoned_and_their_truth_with_them(photos_dir):
    photos = load_photos([photos_dir], 32)

    def batch(share):
        stage = Stage("tone", "restorer", steps=1, crops=(Crops(12, 32, 32),), partial=0.0, retoned=share)
        return StepBatches(photos, TrainConfig("tiny", (stage,)))[0]

    assert torch.equal(batch(1.0).clean, batch(1.0).target)
    assert not torch.equal(batch(1.0).clean, batch(0.0).clean)
    unharmed = batch(1.0).severities.sum(1) == 0
    assert torch.equal(batch(1.0).degraded[unharmed], batch(1.0).clean[unharmed])


def test_a_share_of_the_pictures_has_no_colours_before_and_after(photos_dir):
    photos = load_photos([photos_dir], 32)

    def batch(share):
        stage = Stage("old", "restorer", steps=1, crops=(Crops(24, 32, 32),), partial=0.3, grey=share)
        return StepBatches(photos, TrainConfig("tiny", (stage,)))[0]

    def coloured(images):
        return (images.float().amax(1) - images.float().amin(1)).flatten(1).amax(1) > 0

    old = batch(1.0)
    clean, target, degraded = (coloured(images) for images in (old.clean, old.target, old.degraded))
    assert 0 < clean.sum() < 12  # the tinted ones
    assert torch.equal(clean, target)
    assert torch.equal(clean, degraded)
    assert coloured(batch(0.0).clean).all()


def test_a_fine_file_is_no_damage_and_changes_nothing_else(photos_dir):
    photos = load_photos([photos_dir], 32)

    def batch(share):
        stage = Stage("files", "restorer", steps=1, crops=(Crops(24, 32, 32),), partial=0.3, resaved=share)
        return StepBatches(photos, TrainConfig("tiny", (stage,)))[0].unpacked()

    resaved, plain = batch(1.0), batch(0.0)
    first = {name: value[:1] for name, value in plain.tensors().items()}
    for name in ("clean", "target", "severities", "remove_mask"):
        assert torch.equal(resaved.tensors()[name][:1], first[name])  # later pictures draw other numbers
    assert not torch.equal(resaved.degraded[:1], first["degraded"])
    unharmed = resaved.severities.sum(1) == 0
    assert torch.equal(resaved.target[unharmed], resaved.clean[unharmed])
    error = (resaved.degraded - resaved.clean)[unharmed].square().flatten(1).mean(1)
    assert len(error)
    assert (error > 0).all()
    assert (error < 10**-3.0).all()


def test_the_verdict_is_fitted_to_clean_pictures_and_to_fine_jpegs_of_them(photos_dir):
    photos = load_photos([photos_dir], 32)
    kept = list(as_kept(photos, 64))
    each = 1 + len(KEPT_QUALITIES)
    assert len(kept) == each * len(photos)
    for place, photo in enumerate(photos):
        (picture, itself), *files = kept[place * each : (place + 1) * each]
        assert picture is itself
        assert torch.equal(picture, whole(photo, 64))
        assert all(before is picture for _, before in files)
        errors = {float((file - picture).square().mean()) for file, _ in files}
        assert len(errors) == len(files)
        assert all(0 < error < 10**-3.5 for error in errors)


@pytest.mark.parametrize("ending", sorted(FORMATS))
def test_every_ending_that_rar_reads_is_trained_on(photos_dir, tmp_path, ending):
    if not features.check("avif") and ending == ".avif":
        pytest.skip("this Pillow writes no AVIF")
    if FORMATS[ending] == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    folder = tmp_path / "one"
    folder.mkdir()
    Image.open(photos_dir / "0.png").save(folder / f"a{ending}", FORMATS[ending])
    said = []
    (photo,) = load_photos([folder], 32, said.append)
    assert photo.shape == (60, 80, 3)
    assert photo.dtype == np.uint8
    assert said == ["photographs: 1"]


def test_what_a_folder_holds_beside_photographs_is_said_and_left_out(photos_dir):
    Image.new("RGB", (20, 90)).save(photos_dir / "narrow.png")
    (photos_dir / "broken.jpg").write_bytes(b"no picture")
    for name in ("list.txt", "notes.txt", "README"):
        (photos_dir / name).write_text("words")
    said = []
    assert len(load_photos([photos_dir], 32, said.append)) == 4
    assert said[0] == "photographs: 4"
    assert said[1] == "left out, below 32 px: narrow.png"
    assert said[2].startswith("left out, cannot be read: ")
    assert "broken.jpg" in said[2]
    assert said[3] == "left out, no pictures: 2 .txt, 1 no ending"
