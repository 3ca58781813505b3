"""Inputs and outputs on other file systems, here in fsspec's memory."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from rar_cli.cli import app
from rar_cli.errors import UsageError
from rar_cli.pictures.remote import below, is_remote, place


@pytest.fixture
def bucket(tmp_path):
    import fsspec

    store = fsspec.filesystem("memory")
    store.store.clear()
    rng = np.random.default_rng(0)
    for name in ("a.png", "deep/b.png"):
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(buffer, "PNG")
        store.pipe(f"/bucket/in/{name}", buffer.getvalue())
    store.pipe("/bucket/in/notes.txt", b"no picture")
    yield store
    store.store.clear()


def run(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)])


def test_a_tree_of_an_object_store_is_restored_into_another_and_resumed(bucket, weights_dir, tmp_path):
    log = tmp_path / "log.jsonl"
    command = ("restore", "memory://bucket/in", "memory://bucket/out", "--recursive", "--weights", weights_dir)
    command += ("--log", log, "--accept", "100", "--quiet")
    assert run(*command).exit_code == 0
    assert sorted(bucket.find("/bucket/out")) == ["/bucket/out/a.png", "/bucket/out/deep/b.png"]
    with Image.open(io.BytesIO(bucket.cat("/bucket/out/a.png"))) as image:
        assert image.size == (48, 40)
    lines = log.read_text().splitlines()
    assert {json.loads(line)["status"] for line in lines} <= {"restored", "accepted"}
    assert len(lines) == 2
    assert run(*command).exit_code == 0
    assert log.read_text().splitlines() == lines  # nothing was done again


def test_single_files_come_and_go(bucket, weights_dir, tmp_path):
    out = tmp_path / "b.png"
    assert run("restore", "memory://bucket/in/a.png", out, "--weights", weights_dir, "--quiet").exit_code == 0
    with Image.open(out) as image:
        assert image.size == (48, 40)
    assert run("assess", "memory://bucket/in", "--recursive", "--weights", weights_dir).exit_code == 0


def test_what_cannot_be_is_said(bucket, weights_dir):
    without_log = run("restore", "memory://bucket/in", "memory://bucket/out", "--weights", weights_dir)
    assert without_log.exit_code == 2
    assert "--log" in without_log.stderr
    assert "no such file" in run("restore", "memory://bucket/nothing", "out").stderr
    with pytest.raises(UsageError, match="nosuchscheme"):
        place("nosuchscheme://x")


def test_local_paths_are_left_alone(tmp_path):
    assert place(str(tmp_path)) == tmp_path
    assert not is_remote(tmp_path)
    assert below(tmp_path / "a" / "b", tmp_path).as_posix() == "a/b"
