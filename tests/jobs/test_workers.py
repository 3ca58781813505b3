"""Several workers for one run: what they write is what one worker writes, and a dead one loses nothing."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from rar_cli.cli import app
from rar_cli.errors import UsageError
from rar_cli.jobs.logs.book import OwnBook, Standing, Stop
from rar_cli.jobs.logs.log import Known
from rar_cli.jobs.naming.plan import Naming, Shard, plan
from rar_cli.jobs.naming.walk import Selection
from rar_cli.jobs.stream.distant import DistantBook, Line, serving
from rar_cli.jobs.stream.reading import groups_of
from rar_cli.jobs.stream.sinks import FolderSink, There
from rar_cli.jobs.stream.workers import parts_of
from rar_cli.report.record import PictureRecord

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


def fates(folder):
    """input -> status, whatever the order in which the workers finished."""
    return sorted((r["input"], r["status"]) for r in records(folder))


def run(*arguments):
    return CliRunner().invoke(app, ["restore", *map(str, arguments), "--accept", "100", "--quiet"])


def test_two_devices_write_what_one_writes(many, weights_dir, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    for out, device in ((one, "cpu"), (two, "cpu,cpu")):
        result = run(many, out, "--weights", weights_dir, "--device", device)
        assert result.exit_code == 1, result.output  # the broken one
    assert outputs(one) == outputs(two)
    assert fates(one) == fates(two)
    again = run(many, two, "--weights", weights_dir, "--device", "cpu,cpu")
    assert again.exit_code == 1
    assert len(records(two)) == len(records(one)) + 1  # only the broken one was tried again


def jobs_of(folder, out):
    return plan([str(folder)], str(out), Naming(), Selection())


@pytest.mark.parametrize(("workers", "parts"), [(2, 9), (8, 33), (1, 6)])
def test_a_small_plan_is_cut_so_that_every_worker_has_something_to_do(many, tmp_path, workers, parts):
    jobs = jobs_of(many, tmp_path / "o")
    pieces = parts_of(jobs, workers)
    assert len(pieces) == parts
    groups = [[j.name for j in g] for piece in pieces for g in piece.groups(16, Shard())]
    assert sorted(groups) == sorted([j.name for j in g] for g in groups_of(jobs, 16))
    assert sum(any(True for _ in piece.groups(16, Shard())) for piece in pieces) >= min(workers, 8)


class Kept(list):
    """Observes, and counts as a log."""

    def write(self, record):
        self.append(record)


@pytest.fixture
def led():
    log, seen, stop = Kept(), [], Stop()
    book = OwnBook(Known(), log, seen.append)
    with serving(book, stop, "127.0.0.1") as leader:
        yield leader, log, seen, stop


def written(name="a.png"):
    return PictureRecord(name, f"out/{name}", status="restored", input_sha256="i").written(3, "d" * 64, ())


def test_a_worker_asks_its_leader_for_leave_and_hands_in_each_record(led):
    leader, log, seen, stop = led
    book = DistantBook(leader.line, Stop())
    there = There("d" * 64, 3)
    assert book.standing("out/a.png", there, "i", "None") is Standing.FOREIGN
    book.announce(written())
    assert log == [written()]
    assert seen == []
    assert book.standing("out/a.png", there, "i", "None") is Standing.DONE
    assert book.replaces("out/a.png", there)
    book.finish(written())
    assert seen == [written()]
    again = DistantBook(leader.line, Stop())  # after a worker's death its part is done again
    again.announce(written())
    again.finish(written().skipped())
    assert (len(log), len(seen)) == (1, 1)
    stop.signal = 15
    again.finish(written("b.png"))
    assert again.stop.signal == 15


def test_an_orphaned_worker_writes_nothing(led, tmp_path):
    leader, *_ = led
    script = (
        "import sys, time\nfrom rar_cli.jobs.logs.book import OwnBook, Stop\n"
        "from rar_cli.jobs.stream.distant import serving\n"
        "from rar_cli.jobs.logs.log import Known\n"
        "with serving(OwnBook(Known(), None, print), Stop(), '127.0.0.1') as leader:\n"
        "    print(leader.line.port, leader.line.key.hex(), flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        port, key = process.stdout.readline().split()
        book = DistantBook(Line("127.0.0.1", int(port), bytes.fromhex(key)), Stop())
        sink = FolderSink(tmp_path / "out", book.replaces)
        sink.put("a.png", b"one", None, lambda: book.announce(written()))
        process.kill()
        process.wait()
        with pytest.raises(UsageError, match="has ended"):
            sink.put("b.png", b"two", None, lambda: book.announce(written("b.png")))
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["a.png"]


def test_without_leave_no_round_picture_is_written(many, weights_dir, tmp_path, monkeypatch):
    def refuse(self, record):
        raise UsageError("the run that this worker belongs to has ended")

    monkeypatch.setattr(OwnBook, "announce", refuse)
    options = ("--weights", weights_dir, "--save-rounds")
    assert "has ended" in run(many, tmp_path / "out", *options).stderr
    assert [p.name for p in (tmp_path / "out" / "rounds").iterdir()] == [".rar-rounds"]


def test_a_leader_whose_log_is_full_says_so_where_the_run_is_led(led, monkeypatch):
    leader, log, *_ = led

    def full(record):
        raise UsageError("l.jsonl: the log cannot be written (No space left on device)")

    monkeypatch.setattr(log, "write", full)
    book = DistantBook(leader.line, Stop())
    with pytest.raises(UsageError, match="No space left"):
        book.announce(written())
    with pytest.raises(UsageError, match="No space left"):
        leader.raise_fault()


def test_strangers_are_not_heard(led):
    leader, _, seen, _ = led
    with pytest.raises((multiprocessing.AuthenticationError, OSError, EOFError)):
        DistantBook(Line(leader.line.host, leader.line.port, b"guessed"), Stop())
    DistantBook(leader.line, Stop()).finish(written())
    assert len(seen) == 1


@pytest.mark.parametrize("more", [["--watch"], ["--report", "r.html"], ["--profile", "t.json"]])
def test_what_several_workers_cannot_do_is_said(many, weights_dir, tmp_path, more):
    result = run(many, tmp_path / "out", "--weights", weights_dir, "--device", "cpu,cpu", *more)
    assert result.exit_code == 2
    assert "several workers" in result.stderr


def test_an_unknown_engine_and_a_missing_device_are_said(many, weights_dir, tmp_path):
    unknown = run(many, tmp_path / "a", "--weights", weights_dir, "--engine", "spark")
    assert unknown.exit_code == 2
    assert all(word in unknown.stderr for word in ("spark", "local", "ray"))
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
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as each worker has: sums of other threads round otherwise
    run(many, alone, "--weights", weights_dir, "--device", "cpu")
    torch.set_num_threads(threads)
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
            if written:  # records arrive one by one, not part by part
                assert {p.name for p in written} <= {Path(r["output"]).name for r in records(out)}
            workers = [pid for pid in processes(b"ray::MapWorker") if pid not in before]
            if len(written) >= 3 and workers:
                os.kill(workers[0], signal.SIGKILL)
                killed = True
            time.sleep(0.01)
        printed, errors = process.communicate(timeout=180)
    assert process.returncode == 1, errors.decode()
    assert killed
    assert printed == b""  # Ray says on stdout that a worker died
    assert all(line.startswith(b"rar: ") for line in errors.splitlines()), errors.decode()
    assert outputs(out) == outputs(alone)
    found = records(out)
    assert fates(out) == fates(alone)
    assert len({r["output"] for r in found}) == len(found) == 151
    assert not list(out.glob(".rar-*.part"))
