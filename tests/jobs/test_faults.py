"""One bad thing fails alone: it is named, the rest is done, and nothing hangs or prints a traceback."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from rar_cli.cli import app
from rar_cli.engine.restore import Outcome
from rar_cli.errors import ImageError, UsageError
from rar_cli.jobs.naming.plan import Naming, plan
from rar_cli.jobs.naming.walk import Selection, find
from rar_cli.jobs.stream import batch, reading
from rar_cli.types import DEGRADATIONS, Restoration, Round, Verdict
from rar_cli.weights.manifest import write_manifest

ALWAYS = ("--accept", "100", "--max-rounds", "1")


def records(out):
    return [json.loads(line) for line in (out / "rounds.jsonl").read_text().splitlines()]


@pytest.fixture
def zoo(folder):
    """A folder with everything that is no file under a picture's name."""
    os.mkfifo(folder / "fifo.png")
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(folder / "socket.png"))
    (folder / "device.png").symlink_to("/dev/zero")
    (folder / "nothing.png").symlink_to(folder / "missing.png")
    (folder / "loop.png").symlink_to(folder / "loop.png")
    os.mkfifo(folder / "no picture")
    yield folder
    server.close()


ODD = {
    "device.png": "a device", "fifo.png": "a FIFO", "socket.png": "a socket", "nothing.png": "No such file",
    "loop.png": "Too many levels",
}  # fmt: skip


def test_what_is_no_file_is_named_and_the_rest_is_done(rar, zoo, tmp_path):
    result = rar("restore", zoo, tmp_path / "out", *ALWAYS, "--quiet", code=1)
    failed = {Path(r["input"]).name: r for r in records(tmp_path / "out") if r["status"] == "failed"}
    assert set(failed) == set(ODD)
    for name, kind in ODD.items():
        assert kind in failed[name]["error"]
        assert failed[name]["error"] in result.stderr
        assert failed[name]["output"] is None
    assert {r["status"] for r in records(tmp_path / "out")} == {"failed", "restored"}
    assert "5 of 8 pictures failed" in result.stderr
    assessed = [json.loads(line) for line in rar("assess", zoo, "--json", code=1).stdout.splitlines()]
    assert {Path(r["input"]).name for r in assessed if r["error"]} == set(ODD)


@pytest.mark.parametrize("name", ["fifo.png", "socket.png", "device.png"])
def test_what_is_no_file_is_refused_by_its_name_too(rar, zoo, tmp_path, name):
    assert "is no file" in rar("restore", zoo / name, tmp_path / "o.png", code=2).stderr
    assert "is no file" in rar("restore", zoo / name, tmp_path / "o", code=2).stderr
    assert "is no file" in rar("assess", zoo / name, code=2).stderr
    both = rar("restore", zoo / name, zoo / "a.png", tmp_path / "both", code=1)
    assert "1 failed" in both.stdout


def test_exclude_wins_over_reading(zoo, tmp_path):
    selection = Selection(True, tuple(ODD))
    jobs = plan([str(zoo)], str(tmp_path / "o"), Naming(), selection)
    assert [Path(job.name).name for job in jobs] == ["a.png", "b.jpg", "c.webp"]


@contextmanager
def nobody():
    """Without the rights of root, where the tests have them."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder():
    """A folder that anybody may enter; those of pytest are the user's own."""
    with tempfile.TemporaryDirectory() as text:
        os.chmod(text, 0o755)
        yield Path(text)
        for path in Path(text).rglob("*"):
            if path.is_dir():
                path.chmod(0o755)


@pytest.mark.parametrize("mode", [0o000, 0o444], ids=["unreadable", "without execute permission"])
def test_a_folder_that_lets_nobody_in_is_named_and_the_rest_is_found(open_folder, mode):
    for name in ("a.png", "lost+found/b.png", "lost+found/deep/c.png", "sub/d.png"):
        path = open_folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(path)
    (open_folder / "lost+found").chmod(mode)
    with nobody():
        found = list(find([str(open_folder)], Selection(recursive=True)))
        excluded = list(find([str(open_folder)], Selection(True, ("lost+found",))))
        with pytest.raises(UsageError, match="cannot be read"):
            list(find([str(open_folder / "lost+found")], Selection(recursive=True)))
    names = [f.relative.as_posix() for f in found]
    assert names == ["a.png", "lost+found", "sub/d.png"]
    assert found[1].fault == f"{open_folder / 'lost+found'}: cannot be read (Permission denied)"
    assert [f.relative.as_posix() for f in excluded] == ["a.png", "sub/d.png"]


def test_a_named_file_in_a_folder_that_lets_nobody_in_stops_no_other(open_folder):
    for name in ("a.png", "closed/b.png"):
        (open_folder / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(open_folder / name)
    (open_folder / "closed").chmod(0)
    given = [str(open_folder / "closed/b.png"), str(open_folder / "a.png"), "x" * 300 + ".png"]
    with nobody():
        found = list(find(given, Selection()))
    assert [f.fault is None for f in found] == [False, True, False]
    assert found[0].fault == f"{given[0]}: cannot be read (Permission denied)"


def test_a_file_without_end_fails_before_it_fills_the_memory(rar, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MOST_BYTES", 10_000)
    with (folder / "sparse.png").open("wb") as file:
        file.truncate(2**40)
    rar("restore", folder, tmp_path / "out", *ALWAYS, code=1)
    failed = [r for r in records(tmp_path / "out") if r["status"] == "failed"]
    assert [Path(r["input"]).name for r in failed] == ["sparse.png"]
    assert "which no picture needs; left alone" in failed[0]["error"]
    with open("/dev/zero", "rb") as endless, pytest.raises(ImageError, match="no picture needs"):
        reading.read_stream(endless, "-")


def test_an_unreadable_folder_is_a_failed_record_of_the_run(rar, folder, tmp_path, monkeypatch):
    (folder / "lost+found").mkdir()
    real = Path.iterdir

    def iterdir(self):
        if self.name == "lost+found":
            raise PermissionError(13, "Permission denied", str(self))
        return real(self)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    result = rar("restore", folder, tmp_path / "out", *ALWAYS, "--recursive", code=1)
    assert "1 failed" in result.stdout
    assert [r["status"] for r in records(tmp_path / "out")].count("restored") == 3
    assert "lost+found: cannot be read" in rar("assess", folder, "--recursive", code=1).stderr


def test_a_folder_deleted_while_the_run_is_at_work_fails_what_was_in_it(rar, folder, tmp_path, monkeypatch):
    from rar_cli.jobs import restore

    (folder / "z").mkdir()
    shutil.copy(folder / "a.png", folder / "z" / "late.png")
    real = restore.groups_of

    def groups_of(*arguments):
        shutil.rmtree(folder / "z")
        return real(*arguments)

    monkeypatch.setattr(restore, "groups_of", groups_of)
    rar("restore", folder, tmp_path / "out", *ALWAYS, "--recursive", code=1)
    failed = [r for r in records(tmp_path / "out") if r["status"] == "failed"]
    assert [Path(r["input"]).name for r in failed] == ["late.png"]
    assert "No such file" in failed[0]["error"]


def unchanged(engine, images, policy, keep_rounds, on_pass=None):
    """As if one round had been made and had changed nothing."""
    severities = dict.fromkeys(DEGRADATIONS, 0.5)
    rounds = Round(0, 10.0, severities, Verdict.REPEAT, "fake"), Round(1, 20.0, severities, Verdict.EXHAUSTED, "fake")
    restoration = Restoration(rounds, 1, torch.zeros(0))
    return [Outcome(restoration, image[None], (image[None],) if keep_rounds else ()) for image in images]


def test_a_picture_of_one_by_65000_pixels_fails_no_other(rar, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "restore", unchanged)  # networks take minutes for it
    Image.new("RGB", (1, 65_000), "grey").save(folder / "tall.png")
    Image.new("RGB", (65_000, 1), "grey").save(folder / "wide.png")
    report = ("--report", tmp_path / "r.html", "--save-rounds")
    rar("restore", folder, tmp_path / "out", *ALWAYS, *report, "--format", "webp", code=1)
    failed = {Path(r["input"]).name: r["error"] for r in records(tmp_path / "out") if r["status"] == "failed"}
    assert set(failed) == {"tall.png", "wide.png"}  # WebP has no such size
    assert all("cannot be written as WEBP" in error for error in failed.values())
    rar("restore", folder, tmp_path / "png", *ALWAYS, *report, "--overwrite")


def test_a_fault_of_one_picture_of_a_batch_fails_it_alone(rar, tmp_path, photo, monkeypatch):
    source = tmp_path / "in"
    source.mkdir()
    for i in range(5):
        Image.fromarray(np.full_like(photo, 10 * i)).save(source / f"{i}.png")
    real = batch.restore

    def restore(engine, images, *rest):
        if (images == 30).all(dim=3).all(dim=2).any():
            raise ZeroDivisionError("a rare corner")
        return real(engine, images, *rest)

    monkeypatch.setattr(batch, "restore", restore)
    rar("restore", source, tmp_path / "out", code=1)
    failed = [r for r in records(tmp_path / "out") if r["status"] == "failed"]
    assert [Path(r["input"]).name for r in failed] == ["3.png"]
    assert "ZeroDivisionError: a rare corner" in failed[0]["error"]


@pytest.mark.parametrize("part", ["assessor", "restorer"])
def test_networks_that_give_no_number_fail_the_picture_before_a_byte_is_written(rar, folder, tmp_path, busy, part):
    weights = tmp_path / "nan"
    for parameter in getattr(busy, part).parameters():
        torch.nn.init.constant_(parameter, float("nan"))
    busy.save(weights)
    write_manifest(weights, "nan", "Apache-2.0", "nothing")
    out = tmp_path / "out"
    for command in (["restore", folder, out, *ALWAYS], *([["assess", folder]] if part == "assessor" else [])):
        result = CliRunner().invoke(app, [*map(str, command), "--weights", str(weights)])
        assert result.exit_code in {1, 2}, result.output
        assert isinstance(result.exception, SystemExit)
    assert not [p for p in out.glob("*") if p.suffix in {".png", ".jpg", ".webp"}]


# --- what ends the run --------------------------------------------------------------------------


def test_an_output_folder_that_goes_away_ends_the_run(rar, folder, tmp_path, monkeypatch):
    out, real = tmp_path / "out", batch.restore

    def restore(*arguments):
        shutil.rmtree(out, ignore_errors=True)
        return real(*arguments)

    monkeypatch.setattr(batch, "restore", restore)
    result = rar("restore", folder, out, *ALWAYS, code=2)
    assert "the folder has gone while rar was at work" in result.stderr
    assert not out.exists()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no /dev/full")
@pytest.mark.parametrize(
    ("options", "streams", "said"),
    [
        (["--json"], {"stdout"}, "No space left"),
        ([], {"stdout"}, "No space left"),
        (["--log", "/dev/full"], set(), "/dev/full: the log cannot be written (No space left on device)"),
        (["--dry-run"], {"stdout"}, "No space left"),
        (["--quiet"], {"stderr"}, ""),
    ],
    ids=["json", "table", "log", "dry run", "stderr"],
)
def test_a_full_disk_anywhere_is_one_line_and_code_2(folder, tmp_path, weights_dir, options, streams, said):
    (folder / "bad.png").write_bytes(b"x")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "rar_cli", "restore", folder, out, "--weights", weights_dir, *ALWAYS, *options]
    with open("/dev/full", "w") as full:
        to = {name: full if name in streams else subprocess.PIPE for name in ("stdout", "stderr")}
        done = subprocess.run(command, text=True, **to)
    assert done.returncode == 2, done.stderr
    if "stderr" not in streams:
        assert said in done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
    for path in out.glob("*.*g"):
        assert path.name in {Path(r["output"] or "").name for r in records(out)} or "--log" in options


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no /dev/full")
def test_a_picture_for_a_full_standard_output_is_one_line_and_code_2(folder, weights_dir):
    command = [sys.executable, "-m", "rar_cli", "restore", folder / "a.png", "-", "--weights", weights_dir, "--quiet"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, text=True, stdout=full, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (2, "rar: standard output: No space left on device\n")


def test_an_encoder_that_trips_fails_its_picture_alone(rar, folder, tmp_path, monkeypatch):
    from rar_cli.jobs.stream import finishing

    real = finishing.encode_picture

    def encode_picture(picture, kind, quality=None):
        if kind == "JPEG":
            raise KeyError("tables")
        return real(picture, kind, quality)

    monkeypatch.setattr(finishing, "encode_picture", encode_picture)
    rar("restore", folder, tmp_path / "out", *ALWAYS, code=1)
    failed = [r for r in records(tmp_path / "out") if r["status"] == "failed"]
    assert [Path(r["input"]).name for r in failed] == ["b.jpg"]
    assert "KeyError" in failed[0]["error"]


# --- names that cannot be -----------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["/x", "../x", "a/b", "\\x", "a\0b"])
def test_a_suffix_is_part_of_a_name(rar, folder, tmp_path, suffix):
    assert "--suffix" in rar("restore", folder, tmp_path / "out", "--suffix", suffix, code=2).stderr


def test_names_that_cannot_be_are_one_line(rar, folder, tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for arguments in (
        ("restore", folder, tmp_path / "loop"),
        ("restore", folder, tmp_path / "loop" / "below"),
        ("restore", folder / "a.png", tmp_path / "loop" / "a.png"),
        ("restore", tmp_path / "loop", tmp_path / "out"),
        ("restore", folder, tmp_path / ("x" * 300)),
        ("restore", "x" * 5000, tmp_path / "out"),
        ("assess", "x" * 300),
        ("assess", tmp_path / "loop"),
    ):
        result = rar(*arguments, code=2)
        assert result.stderr.count("\n") == 1, arguments
    rar("restore", folder, tmp_path / "out", "--suffix", "x" * 300, code=1)
    assert all("too long" in r["error"] for r in records(tmp_path / "out") if r["status"] == "failed")
