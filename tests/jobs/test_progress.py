"""Progress by pixels: what is done, what is left, which picture and tile is in hand."""

import io
import re
import time

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from rar_cli.cli import app
from rar_cli.compute.tiling import by_windows, tiles_shown
from rar_cli.jobs.pace import Pace
from rar_cli.jobs.progress import Progress
from rar_cli.report.record import PictureRecord


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_remaining_time_counts_pixels_not_pictures_and_settles():
    clock = Clock()
    pace = Pace(4, clock=clock)
    pace.known, pace.known_px = 4, 10_000_000
    assert pace.remaining_s is None
    clock.now = 30.0  # the model was loaded
    pace.begin()
    clock.now = 31.0
    pace.add(1_000_000, worked=True)
    assert pace.remaining_s == pytest.approx(9.0)
    clock.now = 33.0
    pace.add(2_000_000, worked=True)
    assert pace.remaining_s == pytest.approx(7.0)
    pace.add(5_000_000, worked=False)  # done before: takes no time
    assert pace.remaining_s == pytest.approx(2.0)


def test_waiting_for_files_is_no_work():
    clock = Clock()
    pace = Pace(2, clock=clock)
    pace.begin()
    clock.now = 2.0
    pace.add(2_000_000, worked=True)
    pace.rest()
    clock.now = 1000.0
    assert pace.per_second == pytest.approx(1e6)
    pace.begin()
    clock.now = 1001.0
    pace.add(1_000_000, worked=True)
    assert pace.per_second == pytest.approx(1e6)


def test_a_log_says_once_that_a_run_waits_and_again_after_work(capsys):
    progress = Progress(Pace(0), as_json=False, quiet=False, log_progress=True)
    with progress:
        progress.rest()
        progress.rest()
        progress.begin(["a.png"])
        progress.rest()
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("; ")[1] for line in lines] == ["loading the model", *["waiting for new files"] * 2]


def test_the_mean_stands_for_sizes_that_are_not_known():
    pace = Pace(10)
    assert pace.total_px == 0
    pace.known, pace.known_px = 2, 200
    assert pace.total_px == 1000
    for _ in range(4):
        pace.add(50, worked=True)
    assert pace.total_px == 500


def test_headers_tell_the_total(tmp_path):
    for i in range(3):
        Image.new("RGB", (10 * (i + 1), 10)).save(tmp_path / f"{i}.png")
    pace = Pace(3, [tmp_path / f"{i}.png" for i in range(3)])
    pace.look_ahead()
    until = time.monotonic() + 10
    while pace.known < 3 and time.monotonic() < until:
        time.sleep(0.01)
    assert pace.total_px == 600


def test_tiles_are_shown_while_a_large_picture_is_restored():
    seen = []
    with tiles_shown(lambda done, total: seen.append((done, total))):
        by_windows(lambda x: x, torch.rand(1, 1, 40, 40), 24, 8)
    assert seen == [(i, 4) for i in range(1, 5)]
    by_windows(lambda x: x, torch.rand(1, 1, 40, 40), 24, 8)
    assert len(seen) == 4


def test_a_terminal_sees_loading_the_current_picture_its_tiles_and_what_is_left(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.setenv("TERM", "xterm")
    pace = Pace(2)
    with Progress(pace, False, False, False) as progress:
        progress.bar.refresh()
        pace.known, pace.known_px = 2, 2_000_000
        progress.begin(["in/large.png"])
        progress.show_tile(3, 12)
        progress.bar.refresh()
        time.sleep(0.05)
        progress(PictureRecord("in/large.png", None, "restored", width=1000, height=1000))
        progress.bar.refresh()
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue())
    assert "loading the model" in shown
    assert "in/large.png, tile 3/12" in shown
    assert re.search(r"1/2, 1\.0 of 2\.0 MP, \d+\.\d\d MP/s, \d+ s left", shown)


def test_plain_lines_name_the_remaining_time(folder, tmp_path, weights_dir, monkeypatch):
    monkeypatch.setattr("rar_cli.jobs.progress.LINE_EVERY_S", 0.0)
    args = ["restore", folder, tmp_path / "out", "--log-progress", "--weights", weights_dir]
    lines = CliRunner().invoke(app, [str(a) for a in args]).stderr.splitlines()
    assert lines[0].startswith("rar: 0/3")
    assert lines[0].endswith("loading the model")
    assert re.search(r"rar: 3/3, 0\.0 of 0\.0 MP, .* MP/s, 0 s left; .*\.(png|jpg|webp)", lines[-1])


@pytest.mark.parametrize("hours", [None, 1.0])
def test_training_reports_every_few_seconds_from_the_first_on(capsys, monkeypatch, hours):
    from rar_cli.cli import steps

    monkeypatch.setattr(steps, "LINE_EVERY_S", 0.0)
    with steps.steps_shown(quiet=False, hours=hours) as on_step:
        for step in range(41, 44):  # resumed
            on_step(step, 100, "stage joint")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert re.match(r"rar: train, stage joint: 43/100 \[\d\d:\d\d<.*/s", lines[-1])
    assert ("of the hours left" in lines[-1]) == (hours is not None)
    with steps.steps_shown(quiet=True, hours=None) as nothing:
        assert nothing is None


def test_what_is_read_and_what_is_fitted_have_bars_of_their_own(capsys, monkeypatch):
    from rar_cli.cli import steps

    monkeypatch.setattr(steps, "LINE_EVERY_S", 0.0)
    with steps.steps_shown(quiet=False, hours=None) as on_step:
        for done, what in ((1, "photographs"), (2, "photographs"), (1, "pictures"), (2, "pictures")):
            on_step(done, 2, what)
    said = [line.partition(" [")[0] for line in capsys.readouterr().err.splitlines()]
    assert said == ["rar: train, photographs: 1/2", "rar: train, photographs: 2/2"] + [
        "rar: train, pictures: 1/2", "rar: train, pictures: 2/2",
    ]  # fmt: skip


def test_a_count_that_stands_still_keeps_its_bar(monkeypatch):
    from rar_cli.cli import steps

    monkeypatch.setattr(steps, "LINE_EVERY_S", 0.0)
    with steps.steps_shown(quiet=False, hours=None) as on_step:
        on_step(0, 60, "trying plans, in seconds")
        bar = on_step.bar
        for second in (1, 1, 2):  # two batches in one second
            on_step(second, 60, "trying plans, in seconds")
        assert on_step.bar is bar


@pytest.mark.slow
def test_training_calls_back_after_every_step(photos_dir, tmp_path):
    from rar_cli.train.config import load_config
    from rar_cli.train.run import TrainRequest, train
    from tests.toy import config_file

    seen = []
    request = TrainRequest([photos_dir], tmp_path / "run", on_step=lambda *step: seen.append(step))
    train(load_config(config_file(tmp_path, steps=1)), request, lambda text: None)
    assert seen[:4] == [(number, 4, "reading photographs") for number in range(1, 5)]
    assert seen[4:] == [(1, 3, "stage assess"), (2, 3, "stage restore"), (3, 3, "stage together")]
