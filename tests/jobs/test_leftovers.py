"""What folders hold and rar leaves out is counted by ending."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from rar_cli.cli import app
from rar_cli.jobs.naming.leftovers import Leftovers

HELD = ("a.cr2", "b.CR2", "c.cr2", "d.cr2", "a.gif", "b.gif", "c.GIF", "e.jp2", "f.jp2")


@pytest.fixture
def folder(tmp_path):
    here = tmp_path / "in"
    here.mkdir()
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(here / "photo.png")
    for name in (*HELD, ".hidden.xmp", "rounds.jsonl", "Thumbs.png.part"):
        (here / name).write_bytes(b"x")
    return here


def test_the_count_stands_on_stderr_and_not_on_stdout(folder, tmp_path, weights_dir):
    told = "10 left out: 4 cr2, 3 gif, 2 jp2, 1 part"
    common = ("--weights", str(weights_dir))
    for command in (["restore", str(folder), str(tmp_path / "out"), "--dry-run"], ["assess", str(folder), *common]):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
        assert told in done.stderr
        assert "left out" not in done.stdout
        assert "left out" not in CliRunner().invoke(app, [*command, "--quiet"]).stderr


def test_a_sidecar_beside_a_named_photograph_counts(folder, tmp_path):
    for name in ("photo.xmp", "photo.png.xmp", "other.xmp"):
        (folder / name).write_bytes(b"x")
    command = ["restore", str(folder / "photo.png"), str(tmp_path / "out.png"), "--dry-run"]
    assert "2 left out: 2 xmp" in CliRunner().invoke(app, command).stderr


def test_excluded_files_do_not_count(folder, tmp_path):
    command = ["restore", str(folder), str(tmp_path / "out"), "--dry-run", "--exclude", "*.gif", "--exclude", "*.part"]
    assert "7 left out: 4 cr2, 2 jp2, 1 GIF" not in (told := CliRunner().invoke(app, command).stderr)
    assert "left out: 4 cr2, 2 jp2" in told


def test_a_folder_without_pictures_says_what_it_holds(tmp_path):
    (tmp_path / "a.nef").write_bytes(b"x")
    done = CliRunner().invoke(app, ["restore", str(tmp_path), str(tmp_path / "out"), "--dry-run"])
    assert done.exit_code == 2
    assert "no pictures found" in done.stderr
    assert "1 left out: 1 nef" in done.stderr


def test_each_file_counts_once_and_endings_are_harmless():
    leftovers = Leftovers()
    for name in ("a.gif", "a.gif", "b.\x1b[31m", "README", "photo.png"):
        leftovers.add(Path("in") / name)
    assert str(leftovers) == "3 left out: 2 others, 1 gif"
    assert str(Leftovers()) == ""
