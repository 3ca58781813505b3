import copy
import json
import math
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from PIL import Image
from safetensors.torch import load_file

from rar_cli.errors import UsageError
from rar_cli.networks.codec import Codec, CodecParams
from rar_cli.networks.model import Rar
from rar_cli.synthesis.pixels import quantise
from rar_cli.train import reader, start
from rar_cli.train import run as run_module
from rar_cli.train.config import Crops, Stage, TrainConfig, load_config, shipped_config
from rar_cli.train.data import StepBatches, crop, load_photos, retoned
from rar_cli.train.losses import RESTORATION_LOSSES, log_detail, log_mse, mse_to_psnr, psnr_to_score, ranking_loss
from rar_cli.train.muon import Muon, matrices_of
from rar_cli.train.run import TrainRequest, _Clock, train
from rar_cli.train.sizes import sizes
from rar_cli.train.stages import losses
from rar_cli.train.validation import KEPT_QUALITIES, as_kept, whole
from rar_cli.types import DEGRADATIONS
from tests.conftest import ROOT, in_two_processes

TOY = """
name = "toy"
workers = 0
checkpoint_minutes = {checkpoint}
[model.codec]
width = 8
[model.assessor]
stem = [8, 8, 8]
grid = 2
width = 16
layers = 1
heads = 2
condition_width = 8
free_tokens = 2
[model.restorer]
widths = [8, 8, 8]
blocks = [1, 1, 1]
condition_width = 8
modulation_width = 16
detail_blocks = 1
detail_width = 8
memory = true
[[stages]]
name = "assess"
kind = "assessor"
steps = {steps}
crops = [{{ pictures = 4, context_px = 32, window_px = 16 }}]
[[stages]]
name = "restore"
kind = "restorer"
steps = {steps}
crops = [{{ pictures = 4, context_px = 32, window_px = 16 }}]
teacher_forcing = [0.5, 0.0]
unrolled = 0.5
[[stages]]
name = "together"
kind = "end_to_end"
steps = {steps}
crops = [{{ pictures = 4, context_px = 32, window_px = 16 }}]
decay = 0.5
"""


def config_file(tmp_path, steps=6, checkpoint=0.0):
    path = tmp_path / "toy.toml"
    path.write_text(TOY.format(steps=steps, checkpoint=checkpoint))
    return path


def test_every_stage_of_the_shipped_config_is_known_and_its_parts_fit():
    config = load_config(ROOT / "rar_cli" / "train" / "rar-s.toml")
    assert {stage.kind for stage in config.stages} >= {"assessor", "restorer"}
    assert config.total_steps == sum(s.steps for s in config.stages)


def test_unknown_keys_in_a_config_are_refused_with_the_known_ones(tmp_path):
    path = config_file(tmp_path)
    path.write_text("stages_typo = 3\n" + path.read_text())
    with pytest.raises(UsageError, match="stages_typo.*TrainConfig knows name"):
        load_config(path)
    path.write_text('[[stages]]\nname="x"\nkind="assessor"\nsteps=1\ncrops=[{pictures=1,window_px=64,context_px=32}]\n')
    with pytest.raises(UsageError, match="window_px 64 exceeds context_px 32"):
        load_config(path)


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


def test_the_learning_rate_rises_holds_and_falls():
    stage = Stage("x", "restorer", steps=100, learning_rate=1.0, warmup=10, decay=0.2)
    assert stage.rate_at(0) == pytest.approx(0.1)
    assert stage.rate_at(50) == 1.0
    assert stage.rate_at(90) == pytest.approx(0.5)
    assert stage.rate_at(100) == 0.0


def test_the_rate_lands_at_the_end_of_the_hours_whatever_the_step(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("rar_cli.train.run.time.monotonic", lambda: now[0])
    clock, endless = _Clock(50.0, hours=1.0), _Clock(50.0, hours=None)
    falls = []
    for passed in (0, 1800, 2700, 3600, 4000):
        now[0] = 100.0 + passed
        falls.append(clock.fall(0.5))
        assert clock.fall(0.0) == endless.fall(0.5) == 1.0
    assert falls == [1.0, 1.0, 0.5, 0.0, 0.0]


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


@pytest.mark.parametrize("name", ["rar-s", "rar-l"])
def test_what_a_shipped_config_needs_is_counted_without_making_it(name):
    config = load_config(shipped_config(name))
    assert sum(part.parameters for part in sizes(config, 64).parts) > 1e7


def test_a_folder_without_large_enough_photos_is_refused(photos_dir):
    with pytest.raises(UsageError, match="at least 500 px"):
        load_photos([photos_dir], 500)


def test_psnr_in_the_latent_is_psnr_of_the_picture(tiny):
    clean = torch.rand(2, 3, 32, 32)
    degraded = clean + 0.1 * torch.randn_like(clean)
    mse = tiny.codec.mse(tiny.codec.encode(degraded), tiny.codec.encode(clean))
    # `scale` has a floor, so the latent is not quite orthonormal in almost empty channels
    torch.testing.assert_close(mse, (degraded - clean).square().mean(dim=(1, 2, 3)), rtol=0.02, atol=0)
    assert psnr_to_score(mse_to_psnr(torch.tensor([1.0, 1e-10]))).tolist() == [0.0, 100.0]


def test_losses_fall_towards_the_truth():
    scale = torch.ones(3)
    z = torch.randn(2, 3, 4, 4)
    for loss in RESTORATION_LOSSES.values():
        assert loss(z, z, scale) < loss(z + 0.1, z, scale) < loss(z + 1, z, scale)
    # a decibel counts the same for large errors and small ones
    steps = [log_mse(z + far, z, scale) - log_mse(z + far / 2, z, scale) for far in (1.0, 0.1)]
    torch.testing.assert_close(steps[0], steps[1], rtol=0.01, atol=0)
    better = torch.tensor([5.0])
    assert ranking_loss(better, torch.tensor([3.0])) < ranking_loss(-better, torch.tensor([3.0]))
    assert ranking_loss(better, torch.tensor([-3.0])) > ranking_loss(-better, torch.tensor([-3.0]))


def test_wrong_light_does_not_hide_a_weave_from_the_loss_of_detail():
    torch.manual_seed(0)
    codec = Codec(CodecParams())
    codec.fit(torch.rand(400, 3, 4, 4))
    clean = torch.rand(1, 3, 64, 64)
    weave = 0.02 * torch.tensor([1.0] * 4 + [-1.0] * 4).repeat(8)  # eight pixels wide, as cells two by two make it
    light = torch.tensor([0.3, -0.1, 0.2])[:, None, None]
    z = codec.analysis(clean)

    def far(image):
        return float(log_detail(codec.analysis(image), z, codec).detach())

    assert far(clean + light) == pytest.approx(far(clean), abs=1e-3)
    assert far(clean + light + weave) == pytest.approx(far(clean + weave), abs=1e-3)
    assert far(clean + weave) == pytest.approx(0.1 * math.log(0.02**2), abs=0.03)


def test_every_stage_lowers_its_own_loss_on_one_batch(photos_dir, tmp_path):
    config = load_config(config_file(tmp_path, steps=1))
    photos = load_photos([photos_dir], 32)
    for step, stage in enumerate(config.stages):
        torch.manual_seed(0)
        model = Rar(config.model)
        model.codec.fit(torch.rand(4000, 3, 4, 4))
        batch = StepBatches(photos, config)[step].to(torch.device("cpu"))
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        values = []
        for _ in range(25):
            total = losses(model, batch, stage).total
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
            values.append(float(total.detach()))
        assert values[-1] < values[0], (stage.name, values[0], values[-1])


def test_a_run_makes_weights_a_ledger_and_a_warm_start_goes_on_from_them(photos_dir, tmp_path):
    config = load_config(config_file(tmp_path, steps=2))
    out = tmp_path / "run"
    said = []
    weights = train(config, TrainRequest([photos_dir], out), said.append)
    model = Rar.load(weights)
    events = [json.loads(line) for line in (out / "training.jsonl").read_text().splitlines()]
    assert [e["event"] for e in events] == ["begin", "step", "end"]
    assert events[-1]["finished"] is True
    assert said
    again = train(config, TrainRequest([photos_dir], tmp_path / "run2", warm_start=weights, hours=0.0), said.append)
    assert Rar.load(again).params == model.params


RUN = """
import sys, torch
from pathlib import Path
from rar_cli.train.config import load_config
from rar_cli.train.run import TrainRequest, train
torch.set_num_threads(1)
data, config, out = sys.argv[1:4]
train(load_config(Path(config)), TrainRequest([Path(data)], Path(out), resume=True), print)
"""


def test_a_run_fits_its_blur_reader_first_and_then_leaves_it_alone(photos_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "STEPS", 5)
    monkeypatch.setattr(start, "fit_reader", partial(reader.fit_reader, pictures=12))
    path = config_file(tmp_path, steps=2)
    told = path.read_text().replace("free_tokens = 2", "free_tokens = 2\nblur_reach = 6\nblur_width = 8")
    told = told.replace("[model.restorer]", "[model.restorer]\nblur_tokens = 1")
    path.write_text(told.replace('kind = "restorer"', 'kind = "restorer"\nfocused = 0.5'))
    config = load_config(path)
    photos = load_photos([photos_dir], 32)
    begun = start.starting_model(config, None, photos)
    assert begun.assessor.blur.reader.usual[1].min() > 0
    assert begun.assessor.blur.to_condition.bias.abs().max() > 0
    weights = train(config, TrainRequest(data=[photos_dir], out=tmp_path / "out"), print)
    made, fitted = Rar.load(weights).assessor.blur, begun.assessor.blur
    for name, value in fitted.reader.state_dict().items():
        torch.testing.assert_close(made.reader.state_dict()[name], value, rtol=2e-3, atol=1e-4, msg=name)
    assert made.to_core.weight.abs().max() > 0
    again = start.starting_model(config, weights, photos)
    assert torch.equal(again.assessor.blur.reader.usual, made.reader.usual)


def test_a_stage_focuses_on_degradations_that_there_are(tmp_path):
    with pytest.raises(UsageError, match="focus fog; use some of noise"):
        Stage("x", "restorer", 1, focus=("fog",))
    with pytest.raises(UsageError, match="focus fog; use some of noise"):
        Stage("x", "restorer", 1, focus=("haze+fog",))
    with pytest.raises(UsageError, match="focus is empty"):
        Stage("x", "restorer", 1, focused=0.5, focus=())


def test_a_run_killed_and_resumed_ends_with_the_weights_of_an_unbroken_one(photos_dir, tmp_path):
    config = config_file(tmp_path, steps=12)
    command = [sys.executable, "-c", textwrap.dedent(RUN), str(photos_dir), str(config)]
    subprocess.run([*command, str(tmp_path / "whole")], check=True, capture_output=True)
    broken = tmp_path / "broken"
    progress = broken / "checkpoint" / "progress.json"
    for least in (3, 15):
        process = subprocess.Popen([*command, str(broken)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            try:
                if json.loads(progress.read_text())["step"] >= least:
                    break
            except (OSError, ValueError):
                pass
            time.sleep(0.01)
        process.kill()  # SIGKILL; nothing where it has just finished
        process.wait()
    steps = [e["step"] for e in _events(broken) if e["event"] == "begin"]
    subprocess.run([*command, str(broken)], check=True, capture_output=True)
    last = [e["step"] for e in _events(broken) if e["event"] == "begin"][-1]
    assert last >= 15
    assert steps[0] == 0
    for part in ("codec", "assessor", "restorer"):
        whole = load_file(tmp_path / "whole" / "weights" / part / "model.safetensors")
        resumed = load_file(broken / "weights" / part / "model.safetensors")
        for name, tensor in whole.items():
            assert torch.equal(tensor, resumed[name]), name


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_whole_state_behind_with_its_own_exit_code(photos_dir, tmp_path, number):
    config, out = config_file(tmp_path, steps=10_000, checkpoint=999.0), tmp_path / "run"
    config.write_text(config.read_text().replace("workers = 0", "workers = 1"))
    (tmp_path / "valid").mkdir()
    Image.open(photos_dir / "0.png").resize((256, 256)).save(tmp_path / "valid" / "0.png")
    options = ["--data", photos_dir, "--valid", tmp_path / "valid", "--config", config, "--out", out]
    command = [sys.executable, "-m", "rar_cli", "train", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    while b"step 100 " not in process.stderr.readline():
        assert process.poll() is None
    os.killpg(process.pid, number)  # what a terminal's Ctrl-C and a scheduler do
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number, errors
    assert b"Traceback" not in errors
    assert b"validation" not in errors, "no time is taken for figures"
    ended = _events(out)[-1]
    assert ended["event"] == "end"
    assert json.loads((out / "checkpoint" / "progress.json").read_text())["step"] == ended["step"] >= 100
    Rar.load(out / "weights")


@pytest.mark.parametrize("average", [0.999, 0.0])
def test_two_processes_train_one_model(photos_dir, tmp_path, average):
    """What `accelerate launch` does, on the CPU; without an average by the calls that shards need."""
    config, out = config_file(tmp_path, steps=1), tmp_path / "run"
    kept = 'kind = "restorer"\nloss = "log_mse"\nfocused = 0.5\nkeeps = true'
    config.write_text(f"average_decay = {average}\n" + config.read_text().replace('kind = "restorer"', kept))
    in_two_processes("rar_cli", "train", "--data", str(photos_dir), "--config", str(config), "--out", str(out))
    assert [e["step"] for e in _events(out) if e["event"] == "end"] == [3]
    Rar.load(out / "weights")
    Rar.load(out / "begun")


def test_gradients_of_several_batches_make_one_step_and_a_run_ends_between_steps(photos_dir, tmp_path):
    plain = replace(load_config(config_file(tmp_path, steps=4, checkpoint=99.0)), average_decay=0.0)
    config = replace(plain, accumulate=3)
    whole = train(config, TrainRequest([photos_dir], tmp_path / "whole"), lambda text: None)
    train(config, TrainRequest([photos_dir], tmp_path / "run", hours=0.0), lambda text: None)
    assert [e["step"] for e in _events(tmp_path / "run") if e["event"] == "end"] == [3]
    state = torch.load(tmp_path / "run" / "checkpoint" / "optimizer.bin", weights_only=False)
    assert {int(s["step"]) for s in state["state"].values()} == {1}
    folder = train(config, TrainRequest([photos_dir], tmp_path / "run", resume=True), lambda text: None)
    for part in ("assessor", "restorer"):
        one, other = (load_file(w / part / "model.safetensors") for w in (folder, whole))
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_from_weights_resumes_with_their_model_whatever_the_config_says(photos_dir, tmp_path):
    config = load_config(config_file(tmp_path, steps=2))
    wider = replace(config.model, codec=replace(config.model.codec, width=16))
    Rar(wider).save(tmp_path / "begin")
    request = TrainRequest([photos_dir], tmp_path / "run")
    train(config, replace(request, warm_start=tmp_path / "begin", hours=0.0), lambda text: None)
    folder = train(config, replace(request, resume=True), lambda text: None)
    assert Rar.load(folder).params == wider
    begins = [e for e in _events(tmp_path / "run") if e["event"] == "begin"]
    assert [e["step"] for e in begins] == [0, 1]
    assert [e["config"]["model"]["codec"]["width"] for e in begins] == [16, 16]
    Rar(config.model).save(tmp_path / "other")
    with pytest.raises(UsageError, match="checkpoint: is of another model; .*--warm-start"):
        train(config, replace(request, warm_start=tmp_path / "other", resume=True), lambda text: None)


def test_a_run_without_an_average_resumes_too(photos_dir, tmp_path):
    config = replace(load_config(config_file(tmp_path, steps=2)), average_decay=0.0)
    request = TrainRequest([photos_dir], tmp_path / "run")
    train(config, replace(request, hours=0.0), lambda text: None)
    folder = train(config, replace(request, resume=True), lambda text: None)
    assert [e["step"] for e in _events(tmp_path / "run") if e["event"] == "begin"] == [0, 1]
    whole = train(config, TrainRequest([photos_dir], tmp_path / "whole"), lambda text: None)
    for part in ("assessor", "restorer"):
        one, other = (load_file(w / part / "model.safetensors") for w in (folder, whole))
        assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_muon_steps_along_orthogonal_matrices_and_as_adamw_elsewhere(dtype):
    model = torch.nn.Sequential(torch.nn.Conv2d(16, 64, 3), torch.nn.Flatten(), torch.nn.Linear(64, 40))
    twin = copy.deepcopy(model)
    settings = {"lr": 0.01, "betas": (0.9, 0.99), "weight_decay": 0.0}
    muon = Muon(model.parameters(), matrices_of(model), dtype, **settings)
    adamw = torch.optim.AdamW(twin.parameters(), **settings)
    before = [p.detach().clone() for p in model.parameters()]
    for one, optimizer in ((model, muon), (twin, adamw)):
        one(torch.ones(2, 16, 3, 3)).square().sum().backward()
        for parameter in one.parameters():  # of full rank, as sums over two pictures are not
            parameter.grad += torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
        optimizer.step()
    for old, new, other in zip(before, model.parameters(), twin.parameters(), strict=True):
        if old.ndim == 1:
            assert torch.equal(new, other)
            continue
        step = (old - new).detach().flatten(1) / (0.01 * 0.2 * max(old.shape[0], old[0].numel()) ** 0.5)
        singular = torch.linalg.svdvals(step)
        assert 0.6 < singular.min() < singular.max() < 1.3
        assert 0.5 < (old - new).abs().mean() / (0.2 * 0.01) < 1.2
    adamw.load_state_dict(muon.state_dict())


def test_muon_trains_resumes_and_is_refused_by_shards(photos_dir, tmp_path, monkeypatch):
    config = replace(load_config(config_file(tmp_path, steps=2)), optimizer="muon")
    request = TrainRequest([photos_dir], tmp_path / "run")
    train(config, replace(request, hours=0.0), lambda text: None)
    folder = train(config, replace(request, resume=True), lambda text: None)
    whole = train(config, TrainRequest([photos_dir], tmp_path / "whole"), lambda text: None)
    plain = train(replace(config, optimizer="adamw"), TrainRequest([photos_dir], tmp_path / "adamw"), lambda text: None)
    loaded = [load_file(w / "restorer" / "model.safetensors") for w in (folder, whole, plain)]
    assert all(torch.equal(loaded[0][name], loaded[1][name]) for name in loaded[0])
    assert any(not torch.equal(loaded[0][name], loaded[2][name]) for name in loaded[0])
    monkeypatch.setattr(Accelerator, "distributed_type", DistributedType.FSDP)
    with pytest.raises(UsageError, match="muon"):
        train(config, TrainRequest([photos_dir], tmp_path / "shards"), lambda text: None)
    with pytest.raises(UsageError, match="adamw or muon"):
        replace(config, optimizer="sgd")


def _events(folder):
    return [json.loads(line) for line in (folder / "training.jsonl").read_text().splitlines()]


def test_stage_at_walks_through_the_stages():
    a, b = Stage("a", "assessor", steps=3), Stage("b", "restorer", steps=2)
    config = TrainConfig("x", (a, b))
    assert [config.stage_at(i)[0].name for i in range(6)] == ["a", "a", "a", "b", "b", "b"]
    assert config.stage_at(4)[1] == 1


@pytest.mark.parametrize(("native", "wanted"), [(torch.bfloat16, "bf16"), (torch.float32, "no")])
def test_automatic_precision_is_what_the_hardware_has(tmp_path, monkeypatch, native, wanted):
    monkeypatch.setattr(run_module, "pick_dtype", lambda name, device: native)
    config = load_config(config_file(tmp_path))
    assert run_module._precision(replace(config, mixed_precision="auto")) == wanted
    assert run_module._precision(replace(config, mixed_precision="fp16")) == "fp16"
