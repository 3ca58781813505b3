"""Whole runs: killed, resumed, signalled, spread over processes."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from functools import partial

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

from rar_cli.cli import app
from rar_cli.errors import UsageError
from rar_cli.networks.model import Rar
from rar_cli.train import reader, start
from rar_cli.train.config import load_config
from rar_cli.train.data import load_photos
from rar_cli.train.run import TrainRequest, train
from rar_cli.train.run import parts as parts_module
from rar_cli.train.run.clock import Clock
from tests.conftest import in_two_processes
from tests.toy import config_file, events

pytestmark = pytest.mark.slow


def test_the_rate_lands_at_the_end_of_the_hours_whatever_the_step(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("rar_cli.train.run.clock.time.monotonic", lambda: now[0])
    clock, endless = Clock(1.0, 50.0), Clock(None, 50.0)
    falls = []
    for passed in (0, 1800, 2700, 3600, 4000):
        now[0] = 100.0 + passed
        falls.append(clock.fall(0.5))
        assert clock.fall(0.0) == endless.fall(0.5) == 1.0
    assert falls == [1.0, 1.0, 0.5, 0.0, 0.0]


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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
    steps = [e["step"] for e in events(broken) if e["event"] == "begin"]
    subprocess.run([*command, str(broken)], check=True, capture_output=True)
    last = [e["step"] for e in events(broken) if e["event"] == "begin"][-1]
    assert last >= 15
    assert steps[0] == 0
    for part in ("codec", "assessor", "restorer"):
        whole = load_file(tmp_path / "whole" / "weights" / part / "model.safetensors")
        resumed = load_file(broken / "weights" / part / "model.safetensors")
        for name, tensor in whole.items():
            assert torch.equal(tensor, resumed[name]), name


@pytest.mark.slow
def test_a_run_whose_batches_fail_ends_and_leaves_no_worker_behind(photos_dir, tmp_path):
    config = config_file(tmp_path, steps=10)
    config.write_text(config.read_text().replace("workers = 0", "workers = 1"))
    fault = """
    from rar_cli.train.data import StepBatches
    def fail(self, step): raise OSError("disk")
    StepBatches.__getitem__ = fail
    """
    command = [
        sys.executable,
        "-c",
        textwrap.dedent(fault) + textwrap.dedent(RUN),
        photos_dir,
        config,
        tmp_path / "run",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "OSError: disk" in done.stderr


@pytest.mark.slow
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
    ended = events(out)[-1]
    assert ended["event"] == "end"
    assert json.loads((out / "checkpoint" / "progress.json").read_text())["step"] == ended["step"] >= 100
    Rar.load(out / "weights")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("what", ["reading photographs", "measuring blur", "learning to read blur"])
def test_a_signal_before_the_first_step_ends_the_run_there(photos_dir, tmp_path, monkeypatch, capsys, what, number):
    blurred = config_file(tmp_path, steps=2)
    told = blurred.read_text().replace("free_tokens = 2", "free_tokens = 2\nblur_reach = 6\nblur_width = 8")
    blurred.write_text(told.replace("[model.restorer]", "[model.restorer]\nblur_tokens = 1"))
    monkeypatch.setattr(start, "fit_reader", partial(reader.fit_reader, pictures=12))

    def shown(self, done, total, doing):
        if doing == what:
            assert done == 1, "it went on"
            os.kill(os.getpid(), number)

    monkeypatch.setattr("rar_cli.cli.steps.StepBar.__call__", shown)
    command = ["train", "--data", photos_dir, "--config", blurred, "--out", tmp_path / "run"]
    result = CliRunner().invoke(app, [str(part) for part in command])
    assert result.exit_code == 128 + number, result.output
    assert "ended at once; nothing more is saved" in result.stderr
    assert not (tmp_path / "run" / "checkpoint").exists()


@pytest.mark.slow
def test_a_second_signal_between_two_steps_says_no_more_than_is_true(photos_dir, tmp_path, monkeypatch):
    def shown(self, done, total, doing):
        if doing.startswith("stage"):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("rar_cli.cli.steps.StepBar.__call__", shown)
    command = ["train", "--data", photos_dir, "--config", config_file(tmp_path, steps=2), "--out", tmp_path / "run"]
    result = CliRunner().invoke(app, [str(part) for part in command])
    assert result.exit_code == 128 + signal.SIGINT, result.output
    assert "first step" not in result.stderr
    assert "ended at once; nothing more is saved" in result.stderr


def test_a_signal_while_held_out_photographs_are_read_ends_the_run_there(photos_dir, tmp_path):
    seen = []
    request = TrainRequest(
        [tmp_path / "none"], tmp_path / "run", valid=[photos_dir],
        interrupted=lambda: len(seen) > 1, on_step=lambda *each: seen.append(each),
    )  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        train(load_config(config_file(tmp_path)), request, print)
    assert seen == [(1, 4, "reading photographs"), (2, 4, "reading photographs")]


def test_the_hours_hold_while_photographs_are_read(photos_dir, tmp_path):
    request = TrainRequest([photos_dir], tmp_path / "run", hours=1e-9)
    with pytest.raises(UsageError, match="ended before the first step, while reading photographs: 1 of 4; allow"):
        train(load_config(config_file(tmp_path)), request, print)


def test_photographs_too_small_for_a_stage_are_said_before_anything_is_fitted(photos_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(start, "_fit", lambda *given: pytest.fail("fitted"))
    path = config_file(tmp_path)
    path.write_text(path.read_text().replace("context_px = 32", "context_px = 512", 1))
    with pytest.raises(UsageError, match="no photograph holds crops of 512 px"):
        train(load_config(path), TrainRequest([photos_dir], tmp_path / "run"), print)


def test_held_out_photographs_are_looked_at_first(photos_dir, tmp_path):
    request = TrainRequest([photos_dir], tmp_path / "run", valid=[photos_dir])
    with pytest.raises(UsageError, match="no photographs of at least 256 px"):
        train(load_config(config_file(tmp_path)), request, lambda text: pytest.fail(text))


@pytest.mark.slow
@pytest.mark.parametrize("average", [0.999, 0.0])
def test_two_processes_train_one_model(photos_dir, tmp_path, average):
    """What `accelerate launch` does, on the CPU; without an average by the calls that shards need."""
    config, out = config_file(tmp_path, steps=1), tmp_path / "run"
    kept = 'kind = "restorer"\nloss = "log_mse"\nfocused = 0.5\nkeeps = true'
    config.write_text(f"average_decay = {average}\n" + config.read_text().replace('kind = "restorer"', kept))
    in_two_processes("rar_cli", "train", "--data", str(photos_dir), "--config", str(config), "--out", str(out))
    assert [e["step"] for e in events(out) if e["event"] == "end"] == [3]
    Rar.load(out / "weights")
    Rar.load(out / "begun")


@pytest.mark.slow
def test_gradients_of_several_batches_make_one_step_and_a_run_ends_between_steps(photos_dir, tmp_path):
    plain = replace(load_config(config_file(tmp_path, steps=4, checkpoint=99.0)), average_decay=0.0)
    config = replace(plain, accumulate=3)
    whole = train(config, TrainRequest([photos_dir], tmp_path / "whole"), lambda text: None)
    train(config, TrainRequest([photos_dir], tmp_path / "run", hours=0.0), lambda text: None)
    assert [e["step"] for e in events(tmp_path / "run") if e["event"] == "end"] == [3]
    state = torch.load(tmp_path / "run" / "checkpoint" / "optimizer.bin", weights_only=False)
    assert {int(s["step"]) for s in state["state"].values()} == {1}
    folder = train(config, TrainRequest([photos_dir], tmp_path / "run", resume=True), lambda text: None)
    for part in ("assessor", "restorer"):
        one, other = (load_file(w / part / "model.safetensors") for w in (folder, whole))
        assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_a_run_from_weights_resumes_with_their_model_whatever_the_config_says(photos_dir, tmp_path):
    config = load_config(config_file(tmp_path, steps=2))
    wider = replace(config.model, codec=replace(config.model.codec, width=16))
    Rar(wider).save(tmp_path / "begin")
    request = TrainRequest([photos_dir], tmp_path / "run")
    train(config, replace(request, warm_start=tmp_path / "begin", hours=0.0), lambda text: None)
    folder = train(config, replace(request, resume=True), lambda text: None)
    assert Rar.load(folder).params == wider
    begins = [e for e in events(tmp_path / "run") if e["event"] == "begin"]
    assert [e["step"] for e in begins] == [0, 1]
    assert [e["config"]["model"]["codec"]["width"] for e in begins] == [16, 16]
    Rar(config.model).save(tmp_path / "other")
    with pytest.raises(UsageError, match="checkpoint: is of another model; .*--warm-start"):
        train(config, replace(request, warm_start=tmp_path / "other", resume=True), lambda text: None)


@pytest.mark.slow
def test_a_run_without_an_average_resumes_too(photos_dir, tmp_path):
    config = replace(load_config(config_file(tmp_path, steps=2)), average_decay=0.0)
    request = TrainRequest([photos_dir], tmp_path / "run")
    train(config, replace(request, hours=0.0), lambda text: None)
    folder = train(config, replace(request, resume=True), lambda text: None)
    assert [e["step"] for e in events(tmp_path / "run") if e["event"] == "begin"] == [0, 1]
    whole = train(config, TrainRequest([photos_dir], tmp_path / "whole"), lambda text: None)
    for part in ("assessor", "restorer"):
        one, other = (load_file(w / part / "model.safetensors") for w in (folder, whole))
        assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(("native", "wanted"), [(torch.bfloat16, "bf16"), (torch.float32, "no")])
def test_automatic_precision_is_what_the_hardware_has(tmp_path, monkeypatch, native, wanted):
    monkeypatch.setattr(parts_module, "pick_dtype", lambda name, device: native)
    config = load_config(config_file(tmp_path))
    assert parts_module.precision(replace(config, mixed_precision="auto")) == wanted
    assert parts_module.precision(replace(config, mixed_precision="fp16")) == "fp16"
