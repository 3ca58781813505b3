"""Several workers for one run: what they write is what one worker writes, and a dead one loses nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from rar_cli.cli import app

pytestmark = pytest.mark.slow


@pytest.fixture
def many(tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(150):
        side = (32, 40)[i % 2]
        Image.fromarray(rng.integers(0, 256, (side, 48, 3), dtype=np.uint8)).save(folder / f"{i:03d}.png")
    (folder / "broken.png").write_bytes(b"not a picture")
    return folder


def outputs(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.suffix == ".png"}


def records(folder):
    return [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]


def run(*arguments):
    return CliRunner().invoke(app, ["restore", *map(str, arguments), "--accept", "100", "--quiet"])


def test_two_devices_write_what_one_writes_in_the_same_order(many, weights_dir, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    for out, device in ((one, "cpu"), (two, "cpu,cpu")):
        result = run(many, out, "--weights", weights_dir, "--device", device)
        assert result.exit_code == 1, result.output  # the broken one
    assert outputs(one) == outputs(two)
    assert [r["input"] for r in records(one)] == [r["input"] for r in records(two)]
    assert [r["status"] for r in records(one)] == [r["status"] for r in records(two)]
    again = run(many, two, "--weights", weights_dir, "--device", "cpu,cpu")
    assert again.exit_code == 1
    assert len(records(two)) == len(records(one)) + 1  # only the broken one was tried again


@pytest.mark.parametrize("more", [["--watch"], ["--report", "r.html"], ["--profile", "t.json"]])
def test_what_several_workers_cannot_do_is_said(many, weights_dir, tmp_path, more):
    result = run(many, tmp_path / "out", "--weights", weights_dir, "--device", "cpu,cpu", *more)
    assert result.exit_code == 2
    assert "several workers" in result.stderr


def test_an_unknown_engine_and_a_missing_device_are_said(many, weights_dir, tmp_path):
    assert "use local, ray" in run(many, tmp_path / "a", "--weights", weights_dir, "--engine", "spark").stderr
    assert "not available" in run(many, tmp_path / "b", "--weights", weights_dir, "--device", "cpu,cuda:7").stderr


def test_a_trace_shows_the_networks_at_work(many, weights_dir, tmp_path):
    result = run(many, tmp_path / "out", "--weights", weights_dir, "--device", "cpu", "--profile", tmp_path / "t.json")
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 1, result.output
    names = {event.get("name", "") for event in json.loads((tmp_path / "t.json").read_text())["traceEvents"]}
    assert any("conv" in name for name in names)


def processes(marker):
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if marker in (entry / "cmdline").read_bytes():
                    yield int(entry.name)
            except OSError:
                continue


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds Ray's workers in /proc")
def test_ray_replaces_a_worker_that_was_killed_and_nothing_is_lost_or_done_twice(many, weights_dir, tmp_path):
    pytest.importorskip("ray")
    alone = tmp_path / "alone"
    run(many, alone, "--weights", weights_dir, "--device", "cpu")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "rar_cli", "restore", str(many), str(out), "--weights", str(weights_dir)]
    command += ["--device", "cpu", "--accept", "100", "--engine", "ray", "--workers", "2", "--quiet"]
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    before = set(processes(b"ray::"))
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 120
        killed = False
        while process.poll() is None and time.monotonic() < deadline and not killed:
            written = list(out.glob("*.png")) if out.is_dir() else []
            workers = [pid for pid in processes(b"ray::MapWorker") if pid not in before]
            if len(written) >= 3 and workers:
                os.kill(workers[0], signal.SIGKILL)
                killed = True
            time.sleep(0.01)
        _, errors = process.communicate(timeout=180)
    assert process.returncode == 1, errors.decode()
    assert killed
    assert outputs(out) == outputs(alone)
    found = records(out)
    assert [r["input"] for r in found] == [r["input"] for r in records(alone)]
    assert len({r["output"] for r in found}) == len(found) == 151
    assert not list(out.glob(".rar-*.part"))
