"""What rar did not make, rar does not touch: every name of a run, checked before its first byte."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from rar_cli.cli import app
from rar_cli.errors import UsageError
from rar_cli.jobs.naming import names
from rar_cli.jobs.naming.names import Claim


@pytest.fixture
def rar(weights_dir):
    def run(*arguments, code=0):
        extra = ["--weights", str(weights_dir)] if arguments[0] in {"restore", "assess"} else []
        result = CliRunner().invoke(app, [*map(str, arguments), *extra])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert result.exit_code == code, result.output
        return result

    return run


def everything(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def records(out):
    return [json.loads(line) for line in (out / "rounds.jsonl").read_text().splitlines()]


ALWAYS = ("--accept", "100", "--max-rounds", "1")


# --- outputs ------------------------------------------------------------------------------------


def test_a_file_that_rar_did_not_make_is_left_alone_and_said(rar, folder, tmp_path):
    mine = tmp_path / "mine.png"
    mine.write_bytes(b"my own work")
    result = rar("restore", folder / "a.png", mine, *ALWAYS, "--quiet", code=1)
    assert f"{mine}: exists and no round log knows these bytes; use --overwrite or another OUTPUT" in result.stderr
    assert mine.read_bytes() == b"my own work"
    rar("restore", folder / "a.png", mine, *ALWAYS, "--overwrite")
    assert mine.read_bytes() != b"my own work"


def test_foreign_and_edited_files_in_a_folder_stay_and_the_rest_is_done(rar, folder, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.png").write_bytes(b"foreign")
    rar("restore", folder, out, *ALWAYS, code=1)
    assert (out / "a.png").read_bytes() == b"foreign"
    assert [r["status"] for r in records(out)] == ["failed", "restored", "restored"]
    edited = bytearray((out / "b.jpg").read_bytes())
    edited[-3] ^= 1  # same size
    (out / "b.jpg").write_bytes(edited)
    result = rar("restore", folder, out, *ALWAYS, code=1)
    assert (out / "b.jpg").read_bytes() == edited
    assert "2 failed" in result.stdout
    assert "1 skipped" in result.stdout
    (out / "a.png").unlink()
    (out / "b.jpg").unlink()
    assert "1 skipped" in rar("restore", folder, out, *ALWAYS).stdout


def test_what_rar_made_is_replaced_when_an_option_changes(rar, folder, tmp_path):
    out = tmp_path / "out"
    rar("restore", folder, out, *ALWAYS)
    before = everything(out)
    rar("restore", folder, out, *ALWAYS, "--steps", 3)
    after = everything(out)
    changed = {p.name for p in before if before[p] != after[p]}
    assert changed >= {"a.png", "b.jpg", "c.webp"}


def test_an_output_that_appears_while_the_run_is_at_work_is_left_alone(rar, folder, tmp_path, monkeypatch):
    from rar_cli.jobs.stream import batch

    out, real = tmp_path / "out", batch.restore

    def restore(*arguments):
        (out / "a.png").write_bytes(b"just saved")
        return real(*arguments)

    monkeypatch.setattr(batch, "restore", restore)
    rar("restore", folder, out, *ALWAYS, "--batch-size", 1, code=1)
    assert (out / "a.png").read_bytes() == b"just saved"


@pytest.mark.parametrize("links", [True, False], ids=["hard-links", "no-hard-links"])
def test_an_output_that_appears_after_the_last_look_is_left_alone(rar, folder, tmp_path, monkeypatch, links):
    from rar_cli.jobs.logs.book import OwnBook

    out, real = tmp_path / "out", OwnBook.announce

    def announce(self, record):
        real(self, record)
        if record.output.endswith("a.png"):
            (out / "a.png").write_bytes(b"just saved")

    def no_link(*_, **__):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(OwnBook, "announce", announce)
    if not links:
        monkeypatch.setattr(os, "link", no_link)
    result = rar("restore", folder, out, *ALWAYS, code=1)
    assert (out / "a.png").read_bytes() == b"just saved"
    assert "appeared while it was to be written" in " ".join(result.output.split())
    assert not list(out.glob(".rar-*.part"))
    monkeypatch.undo()
    rar("restore", folder, out, *ALWAYS, code=1)
    assert (out / "a.png").read_bytes() == b"just saved"


@pytest.mark.parametrize("option", ["--log", "--profile", "--report"])
def test_a_log_never_lands_on_a_lock_or_an_unfinished_file(rar, folder, tmp_path, option):
    result = rar("restore", folder, tmp_path / "out", option, tmp_path / "out" / ".rar-1-of-1.lock", code=2)
    assert "choose another name" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", [".rar-1-of-1.lock", "rounds.jsonl"])
def test_a_link_in_place_of_a_lock_or_a_log_leads_to_no_file_that_is_cut(rar, folder, tmp_path, name):
    notes, out = tmp_path / "notes.txt", tmp_path / "out"
    notes.write_text("mine")
    out.mkdir()
    (out / name).symlink_to(notes)
    rar("restore", folder, out, *ALWAYS, code=2)
    assert notes.read_text() == "mine"


def test_a_link_to_nothing_and_a_folder_are_no_place_for_an_output(rar, folder, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.png").symlink_to(tmp_path / "nowhere.png")
    (out / "b.jpg").mkdir()
    rar("restore", folder, out, *ALWAYS, code=1)
    assert (out / "a.png").is_symlink()
    assert not (tmp_path / "nowhere.png").exists()
    assert (out / "b.jpg").is_dir()


def test_a_name_that_leads_to_another_output_by_a_link_fails_alone(rar, folder, tmp_path):
    out, shared = tmp_path / "out", tmp_path / "shared"
    Image.new("RGB", (8, 8)).save(folder / "d.png")
    for name in ("sub/e.png", "other/e.png"):
        (folder / name).parent.mkdir()
        Image.new("RGB", (8, 8)).save(folder / name)
    out.mkdir()
    shared.mkdir()
    (out / "a.png").symlink_to("d.png")
    (out / "sub").symlink_to(shared)
    (out / "other").symlink_to(shared)
    result = rar("restore", folder, out, *ALWAYS, "--recursive", "--quiet", code=1)
    for name in ("a.png", "sub/e.png", "other/e.png"):
        assert f"{out / name}: leads by a link to the output of another input" in result.stderr
    found = {Path(r["input"]).relative_to(folder).as_posix(): r["status"] for r in records(out)}
    assert {name for name, status in found.items() if status == "failed"} == {"a.png", "sub/e.png", "other/e.png"}
    assert {p.name for p in everything(out)} >= {"b.jpg", "c.webp", "d.png"}
    assert (out / "a.png").is_symlink()
    assert everything(shared) == {}


def test_an_output_that_is_a_link_to_an_input_fails_alone(rar, folder, tmp_path):
    out, before = tmp_path / "out", everything(folder)
    out.mkdir()
    (out / "a.png").symlink_to(folder / "a.png")
    (out / "b.jpg").symlink_to(folder / "c.webp")
    result = rar("restore", folder, out, *ALWAYS, "--quiet", "--overwrite", code=1)
    for name in ("a.png", "b.jpg"):
        assert f"{out / name}: is an input too" in result.stderr
    assert everything(folder) == before
    assert [r["status"] for r in records(out)] == ["failed", "failed", "restored"]


# --- logs, reports, profiles, heat maps -----------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "name", "content"),
    [
        ("--log", "notes.txt", b"my notes"),
        ("--log", "data.jsonl", b'{"name": "not a record"}\n{"half'),
        ("--report", "page.html", b"<!doctype html><title>my page</title>"),
        ("--profile", "data.json", b'{"mine": true}'),
        ("--profile", "notes.txt", b"my notes"),
    ],
)
def test_no_file_of_another_kind_is_touched(rar, folder, tmp_path, option, name, content):
    (tmp_path / name).write_bytes(content)
    result = rar("restore", folder, tmp_path / "out", option, tmp_path / name, code=2)
    assert "exists and is not" in result.stderr
    assert (tmp_path / name).read_bytes() == content
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", ["--log", "--report", "--profile"])
def test_no_file_beside_the_outputs_bears_the_name_of_a_picture(rar, folder, tmp_path, option):
    before = everything(folder)
    for path in (folder / "a.png", tmp_path / "out" / "a.png", tmp_path / "new.png"):
        assert option in rar("restore", folder, tmp_path / "out", option, path, code=2).stderr
    assert everything(folder) == before
    assert not (tmp_path / "out").exists()


def test_no_name_is_written_twice_and_none_is_an_input(rar, folder, tmp_path):
    same = tmp_path / "one.jsonl"
    twice = ("--log", same, "--profile", tmp_path / "sub" / ".." / "one.jsonl")
    assert "is the file of --log of this run" in rar("restore", folder, tmp_path / "o", *twice, code=2).stderr
    odd = tmp_path / "odd.dat"  # named files are taken whatever their ending
    odd.write_bytes((folder / "a.png").read_bytes())
    result = rar("restore", odd, folder / "a.png", tmp_path / "o", "--log", odd, code=2)
    assert "is an input of this run" in result.stderr
    assert odd.read_bytes() == (folder / "a.png").read_bytes()


def test_a_default_log_that_is_no_log_is_left_alone(rar, folder, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "rounds.jsonl").write_text("the rounds of our tournament")
    assert "is not a round log" in rar("restore", folder, out, code=2).stderr
    assert everything(out) == {Path("rounds.jsonl"): b"the rounds of our tournament"}


@pytest.mark.slow
def test_their_own_kind_is_taken_again(rar, folder, tmp_path):
    options = ("--log", tmp_path / "l.jsonl", "--report", tmp_path / "r.html", "--profile", tmp_path / "p.json")
    for _ in range(2):
        rar("restore", folder, tmp_path / "out", *ALWAYS, *options, "--overwrite")
    assert len((tmp_path / "l.jsonl").read_text().splitlines()) == 6
    assert '<meta name="generator" content="rar">' in (tmp_path / "r.html").read_text()


def test_a_place_that_cannot_be_written_is_said_before_any_work(rar, folder, tmp_path):
    (tmp_path / "file").write_text("x")
    for option, name in (("--report", "r.html"), ("--profile", "p.json"), ("--log", "l.jsonl")):
        result = rar("restore", folder, tmp_path / "out", option, tmp_path / "file" / name, code=2)
        assert "Not a directory" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_a_heat_map_replaces_a_heat_map_and_no_photograph(rar, folder, tmp_path, suffix):
    drawn = tmp_path / f"heat{suffix}"
    for _ in range(2):
        rar("assess", folder / "a.png", "--heatmap", drawn)
    photo = tmp_path / f"photo{suffix}"
    with Image.open(folder / "a.png") as image:
        image.save(photo)
    before = photo.read_bytes()
    assert "is not a heat map" in rar("assess", folder / "a.png", "--heatmap", photo, code=2).stderr
    assert "is an input" in rar("assess", folder / "a.png", "--heatmap", folder / "a.png", code=2).stderr
    assert photo.read_bytes() == before


def test_bench_and_train_touch_nothing_of_anybody_elses(rar, photos_dir, tmp_path):
    (tmp_path / "notes.json").write_text("{}")
    assert "is not a result of rar bench" in rar("bench", photos_dir, "--out", tmp_path / "notes.json", code=2).stderr
    plots = tmp_path / "plots"
    plots.mkdir()
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(plots / "bars.png")
    assert "is not a plot of rar bench" in rar("bench", photos_dir, "--plots", plots, code=2).stderr
    assert (tmp_path / "notes.json").read_text() == "{}"
    result = rar("train", "--data", photos_dir, "--out", plots, code=2)
    assert "is not empty; go on with --resume" in result.stderr
    assert [p.name for p in plots.iterdir()] == ["bars.png"]


@pytest.mark.parametrize(("option", "mark"), [("--resume", "checkpoint"), ("--gain", "harvest")])
def test_a_training_goes_on_in_a_folder_of_its_own_alone(rar, photos_dir, tmp_path, option, mark):
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes").write_text("mine")
    said = f"--out {out}: is not empty; it holds no {mark} to go on with"
    command = ("train", "--data", photos_dir, "--out", out, "--hours", 0, "--quiet")
    assert said in CliRunner().invoke(app, [*map(str, command), option]).stderr
    assert [p.name for p in out.iterdir()] == ["notes"]
    (out / mark).mkdir()
    assert said not in CliRunner().invoke(app, [*map(str, command), option]).stderr


def test_claims_know_one_file_by_any_of_its_names(tmp_path):
    real = tmp_path / "real.jsonl"
    real.write_bytes(b"")
    (tmp_path / "link.jsonl").symlink_to(real)
    (tmp_path / "hard.jsonl").hardlink_to(real)
    for other in ("link.jsonl", "hard.jsonl", "../" + tmp_path.name + "/real.jsonl"):
        with pytest.raises(UsageError, match="is an input"):
            names.check([Claim(tmp_path / other, "--log", names.LOG)], inputs=[real])


# --- round pictures -----------------------------------------------------------------------------


def test_round_pictures_go_to_a_folder_of_their_own_and_are_no_inputs(rar, folder, tmp_path):
    out = tmp_path / "out"
    Image.open(folder / "a.png").save(folder / "a.jpg")  # the same stem twice
    rar("restore", folder, out, *ALWAYS, "--save-rounds")
    made = {p.name for p in (out / "rounds").glob("*.png")}
    assert made >= {"a.png.round1.png", "a.png.rounds.png", "a.jpg.round1.png", "a.jpg.rounds.png"}
    assert {p.name for p in out.glob("*.*")} == {
        "a.png", "a.jpg", "b.jpg", "c.webp", "rounds.jsonl", ".rar-1-of-1.lock",
    }  # fmt: skip
    rar("restore", out, tmp_path / "again", *ALWAYS, "--recursive")
    assert not (tmp_path / "again" / "rounds").exists()
    rar("restore", folder / "a.png", tmp_path / "single" / "x.png", *ALWAYS, "--save-rounds")
    assert (tmp_path / "single" / "rounds" / "x.png.round1.png").exists()


def test_a_folder_of_somebody_elses_is_no_place_for_round_pictures(rar, folder, tmp_path):
    out = tmp_path / "out"
    (out / "rounds").mkdir(parents=True)
    Image.open(folder / "a.png").save(out / "rounds" / "a.png.round1.png")
    before = everything(out)
    assert "was not made by rar" in rar("restore", folder, out, *ALWAYS, "--save-rounds", code=2).stderr
    assert everything(out) == before
    (folder / "rounds").mkdir()
    Image.open(folder / "a.png").save(folder / "rounds" / "r.png")
    result = rar("restore", folder, tmp_path / "o", *ALWAYS, "--save-rounds", "--recursive", code=2)
    assert "where round pictures go" in result.stderr


# --- what is kept of the file ---------------------------------------------------------------------


@pytest.mark.parametrize("accept", ["0", "100"])
def test_mode_and_time_of_the_file_are_kept(rar, folder, tmp_path, accept):
    (folder / "a.png").chmod(0o640)
    (folder / "b.jpg").chmod(0o4444)
    for path in folder.iterdir():
        os.utime(path, ns=(10**18 + 5, 10**18 + 7))
    rar("restore", folder, tmp_path / "out", "--accept", accept)
    for name, mode in (("a.png", 0o640), ("b.jpg", 0o444)):
        about = (tmp_path / "out" / name).stat()
        assert about.st_mode & 0o7777 == mode
        assert about.st_mtime_ns == 10**18 + 7


def test_the_log_holds_the_digest_of_each_output(rar, folder, tmp_path):
    rar("restore", folder, tmp_path / "out", *ALWAYS)
    assert len(records(tmp_path / "out")) == 3
    for record in records(tmp_path / "out"):
        with open(record["output"], "rb") as file:
            assert hashlib.sha256(file.read()).hexdigest() == record["output_sha256"]


@pytest.mark.parametrize("words", [("restore", "", "out"), ("restore", "in", ""), ("restore", "", ""), ("assess", "")])
def test_an_empty_name_is_not_the_working_folder(rar, folder, tmp_path, monkeypatch, words):
    monkeypatch.chdir(folder)
    before = everything(folder)
    result = rar(*(folder if word == "in" else word for word in words), code=2)
    assert "is empty; name a file or a folder" in result.stderr
    assert everything(folder) == before


def test_a_photograph_that_was_copied_as_it_is_stays_a_photograph(rar, folder):
    for name in ("b.jpg", "c.webp"):
        (folder / name).unlink(missing_ok=True)
    (folder / "a.png").rename(folder / "x_r.png")
    in_place = ("restore", folder, folder, "--suffix", "_r", "--exclude", "x_r_r.png", "--max-rounds", "0")
    rar(*in_place)
    photograph = (folder / "x_r.png").read_bytes()
    assert (folder / "x_r_r.png").read_bytes() == photograph
    Image.new("RGB", (64, 64), (90, 40, 10)).save(folder / "x.png")  # its output would have the photograph's name
    result = rar(*in_place, "--quiet", code=1)
    assert (folder / "x_r.png").read_bytes() == photograph
    assert "is an input too" in result.stderr


def test_json_of_another_program_is_no_round_log(rar, folder, tmp_path):
    notes = tmp_path / "data.json"
    notes.write_text('{\n "input": 1,\n "output": 2,\n "status": 3\n}')
    before = notes.read_text()
    assert "is not a round log" in rar("restore", folder, tmp_path / "o", *ALWAYS, "--log", notes, code=2).stderr
    assert notes.read_text() == before


def test_a_dry_run_refuses_what_the_run_would_refuse(rar, folder, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    out = tmp_path / "out"
    for words in (("--log", folder / "a.png"), ("--log", tmp_path / "notes.txt"), ("--only", "rain", "--keep", "rain")):
        result, planned = (rar("restore", folder, out, *words, *more, code=2) for more in ((), ("--dry-run",)))
        assert planned.stderr == result.stderr
        assert planned.stdout == ""


@pytest.mark.parametrize(
    "words",
    [
        ("download-weights", "rar-s", "--to", ""), ("bench", "--plots", ""), ("bench", ""), ("bench", "--data="),
        ("train", "--data", "", "--out", "x"), ("restore", "in", "o", "--log="),
    ],
)  # fmt: skip
def test_an_empty_option_is_not_the_working_folder(rar, tmp_path, monkeypatch, words):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    assert "is empty" in rar(*words, code=2).stderr
    assert list(here.iterdir()) == []


def test_an_empty_setting_is_not_the_working_folder(rar, tmp_path, monkeypatch):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("RAR_TO", "")
    assert "RAR_TO = is empty" in rar("download-weights", "rar-s", code=2).stderr
    assert list(here.iterdir()) == []
