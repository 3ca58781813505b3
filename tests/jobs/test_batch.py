import errno
import json
import os
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from rar_cli.engine.engine import Engine
from rar_cli.errors import UsageError
from rar_cli.jobs.logs.book import OwnBook, Stop
from rar_cli.jobs.logs.log import Known, RoundLog, read_log
from rar_cli.jobs.naming.plan import Naming, plan
from rar_cli.jobs.naming.walk import Selection
from rar_cli.jobs.stream import batch, reading
from rar_cli.jobs.stream.batch import Options, Run, out_of_memory
from rar_cli.jobs.stream.finishing import Finish
from rar_cli.jobs.stream.reading import group_by_size, groups_of
from rar_cli.jobs.stream.sinks import FolderSink
from rar_cli.loop.policy import FixedPolicy
from rar_cli.types import TILE_PX, Plan
from rar_cli.weights.find import find
from tests.fakes import CPU

POLICY = FixedPolicy()


@pytest.fixture
def many(tmp_path, photo):
    source = tmp_path / "in"
    source.mkdir()
    for i in range(20):
        Image.fromarray(np.roll(photo, i, 0)[: 48 - 8 * (i % 3)]).save(source / f"p{i:02d}.png")
    return source


def go(many, tmp_path, weights_dir, busy, options=None, out="out", stop=None, observe=None):
    jobs = plan([str(many)], str(tmp_path / out), Naming(), Selection())
    seen, path, options = [], tmp_path / out / "rounds.jsonl", options or Options(POLICY)
    with RoundLog(path) as log:
        book = OwnBook(Known.read([path]), log, observe or (lambda record: seen.append(record.as_dict())))
        rounds = FolderSink(tmp_path / out / "rounds", lambda *_: True) if options.save_rounds else None
        finish = Finish(FolderSink(tmp_path / out, book.replaces), book, rounds=rounds)
        run = Run(Engine(busy, CPU), find(str(weights_dir)), options, finish, stop or Stop())
        run.do(groups_of(jobs, options.batch_size))
        book.summary.interrupted = run.stop.signal
    return book.summary, seen


def logged(path):
    return list(read_log(path))


def size_of(path):
    with Image.open(path) as image:
        return image.size


def test_groups_hold_one_size_each_in_the_order_of_their_first_picture(many, tmp_path):
    jobs = plan([str(many)], str(tmp_path / "o"), Naming(), Selection())
    groups = group_by_size(jobs, 4)
    assert all(len(g) <= 4 for g in groups)
    for group in groups:
        assert len({size_of(j.source) for j in group}) == 1
    assert sorted(j.name for g in groups for j in g) == [j.name for j in jobs]
    (many / "p00.png").write_bytes(b"broken")
    assert [j.name for j in group_by_size(jobs, 4)[0]] == [jobs[0].name]


def test_large_pictures_go_alone(many, tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "GROUP_PIXELS", 100)
    jobs = plan([str(many)], str(tmp_path / "o"), Naming(), Selection())
    assert all(len(g) == 1 for g in group_by_size(jobs, 16))


def test_records_come_one_per_picture_and_the_log_has_the_same(many, tmp_path, weights_dir, busy):
    summary, seen = go(many, tmp_path, weights_dir, busy)
    assert summary.restored == 20
    assert [r["input"] for r in seen] == [r["input"] for r in logged(tmp_path / "out" / "rounds.jsonl")]
    assert {r["output"] for r in seen} == {str(p) for p in (tmp_path / "out").glob("*.png")}


@pytest.mark.slow
def test_a_run_stopped_anywhere_and_resumed_ends_with_the_bytes_of_an_unbroken_one(many, tmp_path, weights_dir, busy):
    go(many, tmp_path, weights_dir, busy, Options(POLICY, batch_size=1), out="whole")
    stop, counted = Stop(), []

    def observe(record):
        counted.append(record)
        if len(counted) == 7:
            stop.signal = 15

    options = Options(POLICY, batch_size=1)
    summary, _ = go(many, tmp_path, weights_dir, busy, options, stop=stop, observe=observe)
    assert summary.interrupted == 15
    assert len(counted) < 20
    (tmp_path / "out" / "p00.png").unlink()  # as if killed between the log and the picture, or the reverse
    go(many, tmp_path, weights_dir, busy, options)
    for path in (tmp_path / "whole").glob("*.png"):
        assert path.read_bytes() == (tmp_path / "out" / path.name).read_bytes(), path.name


@pytest.mark.slow
def test_a_broken_file_does_not_make_its_neighbours_be_done_again(many, tmp_path, weights_dir, busy):
    (many / "p03.png").write_bytes((many / "p03.png").read_bytes()[:200])
    go(many, tmp_path, weights_dir, busy)
    summary, _ = go(many, tmp_path, weights_dir, busy)
    assert (summary.skipped, summary.failed, summary.restored) == (19, 1, 0)


@pytest.mark.slow
def test_resuming_writes_and_logs_only_what_was_missing(many, tmp_path, weights_dir, busy):
    go(many, tmp_path, weights_dir, busy)
    kept = (tmp_path / "out" / "p03.png").stat().st_mtime_ns
    (tmp_path / "out" / "p00.png").unlink()
    summary, _ = go(many, tmp_path, weights_dir, busy)
    assert (summary.skipped, summary.restored) == (19, 1)
    assert (tmp_path / "out" / "p03.png").stat().st_mtime_ns == kept
    assert len(logged(tmp_path / "out" / "rounds.jsonl")) == 21


@pytest.mark.slow
def test_memory_that_runs_out_halves_batch_then_tile_and_tries_again(many, tmp_path, weights_dir, busy, monkeypatch):
    go(many, tmp_path, weights_dir, busy, out="whole")
    real, sizes = batch.restore, []

    def scarce(engine, images, *rest):
        sizes.append((len(images), engine.tile_px))
        if len(images) > 1 or engine.tile_px > TILE_PX // 2:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real(engine, images, *rest)

    monkeypatch.setattr(batch, "restore", scarce)
    summary, _ = go(many, tmp_path, weights_dir, busy)
    assert summary.restored == 20
    assert (1, TILE_PX // 2) in sizes


def test_a_lack_of_memory_is_told_from_other_faults():
    assert out_of_memory(MemoryError())
    assert out_of_memory(torch.OutOfMemoryError("x"))
    assert out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"))
    assert not out_of_memory(RuntimeError("shape mismatch"))


@pytest.mark.slow
def test_a_fault_in_one_group_fails_that_group_alone(many, tmp_path, weights_dir, busy, monkeypatch):
    real = batch.restore

    def faulty(engine, images, *rest):
        if images.shape[-2] == 40:
            raise RuntimeError("a kernel broke")
        return real(engine, images, *rest)

    monkeypatch.setattr(batch, "restore", faulty)
    summary, seen = go(many, tmp_path, weights_dir, busy)
    assert (summary.failed, summary.restored) == (7, 13)
    assert all("a kernel broke" in r["error"] for r in seen if r["status"] == "failed")


def refusing(monkeypatch, number, reason):
    """Outputs with "p1" in their names cannot take them."""

    def refused(real):
        def take(source, target):
            if "p1" in str(target):
                raise OSError(number, reason)
            real(source, target)

        return take

    for way in ("link", "rename", "replace"):
        monkeypatch.setattr(os, way, refused(getattr(os, way)))


def test_an_output_that_cannot_be_written_fails_alone_with_a_reason_and_keeps_the_log(
    many, tmp_path, weights_dir, busy, monkeypatch
):
    refusing(monkeypatch, errno.EACCES, "Permission denied")
    summary, _ = go(many, tmp_path, weights_dir, busy)
    assert (summary.failed, summary.restored) == (10, 10)
    last = {r["output"]: r for r in logged(tmp_path / "out" / "rounds.jsonl")}
    failed = [r for r in last.values() if r["status"] == "failed"]
    assert len(failed) == 10
    assert all("Permission denied" in r["error"] for r in failed)
    assert not list((tmp_path / "out").glob(".rar-*.part"))


def test_a_full_disk_ends_the_run_with_one_line_and_nothing_is_lost(many, tmp_path, weights_dir, busy, monkeypatch):
    with monkeypatch.context() as patched:
        refusing(patched, errno.ENOSPC, "No space left on device")
        with pytest.raises(UsageError, match=r"p1\d\.png: cannot be written \(No space left on device\); make room"):
            go(many, tmp_path, weights_dir, busy)
    assert not list((tmp_path / "out").glob(".rar-*.part"))
    before = {p.name: p.read_bytes() for p in (tmp_path / "out").glob("*.png")}
    assert before
    summary, _ = go(many, tmp_path, weights_dir, busy)
    assert (summary.skipped, summary.failed) == (len(before), 0)
    assert all((tmp_path / "out" / name).read_bytes() == data for name, data in before.items())


def test_reading_ahead_is_bounded_in_pictures_and_pixels(many, tmp_path, weights_dir, busy, monkeypatch):
    monkeypatch.setattr(reading, "GROUP_PIXELS", 1)
    monkeypatch.setattr(reading, "AHEAD_PIXELS", 3000)
    read, gate = [], threading.Event()
    real_read, real_restore = reading._decode, batch.restore
    monkeypatch.setattr(reading, "_decode", lambda item: read.append(item) or real_read(item))

    def slow(*args):
        gate.wait(0.05)
        held.append(len(read) - len(held))
        return real_restore(*args)

    held = []
    monkeypatch.setattr(batch, "restore", slow)
    go(many, tmp_path, weights_dir, busy)
    assert len(held) == 20
    assert max(held) <= 4


def test_no_reader_outlives_its_run():
    more = threading.Event()

    def groups():
        yield []
        more.wait(0.3)  # still at work when the run is over
        yield []

    ahead = reading.Ahead(groups())
    with ahead as reader:
        next(reader)
    assert not ahead.thread.is_alive()


@pytest.mark.slow
def test_every_log_line_is_whole_json_while_the_run_goes_on(many, tmp_path, weights_dir, busy):
    lengths = []

    def observe(record):
        lines = (tmp_path / "out" / "rounds.jsonl").read_text().splitlines()
        lengths.append(len([json.loads(line) for line in lines]))

    go(many, tmp_path, weights_dir, busy, observe=observe)
    assert lengths == list(range(1, 21))


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [0, 1])
def test_pictures_that_give_up_their_memory_end_the_same(many, tmp_path, weights_dir, busy, monkeypatch, rounds):
    options = Options(FixedPolicy((Plan(),) * rounds), batch_size=1, save_rounds=True)
    go(many, tmp_path, weights_dir, busy, options, "plain")
    monkeypatch.setattr(batch, "LARGE_PX", 0)
    summary, _ = go(many, tmp_path, weights_dir, busy, options, "large")
    assert summary.failed == 0
    plain, large = ({p.name: p.read_bytes() for p in (tmp_path / o).glob("*.png")} for o in ("plain", "large"))
    assert plain == large


@pytest.mark.slow
def test_a_large_picture_that_changes_while_it_is_restored_fails_alone(many, tmp_path, weights_dir, busy, monkeypatch):
    monkeypatch.setattr(batch, "LARGE_PX", 0)
    real = batch.restore

    def restore(*arguments):
        (many / "p00.png").write_bytes(b"changed")
        return real(*arguments)

    monkeypatch.setattr(batch, "restore", restore)
    options = Options(FixedPolicy(()), batch_size=1)
    _, seen = go(many, tmp_path, weights_dir, busy, options)
    failures = [r["error"] for r in seen if r["status"] == "failed"]
    assert len(failures) == 1
    assert "changed while it was restored" in failures[0]
