import os
import signal
import subprocess
import sys
import time

import pytest
from PIL import Image

from rar_cli.errors import UsageError
from rar_cli.jobs.naming.plan import Job
from rar_cli.jobs.stream.watch import Watch

pytestmark = pytest.mark.slow


def job(path):
    return Job(path, path.with_suffix(".out"), str(path), path.name, "PNG")


def test_a_file_is_handed_out_once_it_has_stopped_growing_and_again_when_it_changes(tmp_path):
    path = tmp_path / "a.png"
    watch = Watch(lambda: [job(p) for p in sorted(tmp_path.glob("*.png"))], 0.0, print)
    assert watch(lambda: False) == []
    path.write_bytes(b"half")
    assert watch(lambda: False) == []
    path.write_bytes(b"half and more")
    assert watch(lambda: False) == []
    assert [j.source for j in watch(lambda: False)] == [path]
    assert watch(lambda: False) == []
    path.write_bytes(b"something else")
    assert watch(lambda: False) == []
    assert [j.source for j in watch(lambda: False)] == [path]


def test_an_empty_folder_is_no_fault_and_a_clash_is_said_once():
    said = []

    def nothing():
        raise UsageError("in: no pictures found")

    def clash():
        raise UsageError("a.jpg and a.png would both become a.png")

    assert Watch(nothing, 0.0, said.append)(lambda: False) == []
    watch = Watch(clash, 0.0, said.append)
    watch(lambda: False)
    watch(lambda: False)
    assert len(said) == 1


def test_a_watching_run_restores_what_arrives_and_ends_on_a_signal(tmp_path, photo, weights_dir):
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    command = [sys.executable, "-m", "rar_cli", "restore", source, out, "--watch", "--weights", weights_dir]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    os.set_blocking(process.stderr.fileno(), False)
    deadline, said = time.monotonic() + 60, b""
    while b"waiting for new files" not in said:  # an empty folder, no terminal: the log is not silent
        assert time.monotonic() < deadline, said
        said += process.stderr.read() or b""
        time.sleep(0.05)
    assert b"loading the model" in said
    os.set_blocking(process.stderr.fileno(), True)
    for name in ("a.png", "b.png"):
        Image.fromarray(photo).save(source / name)
        while not (out / name).exists():
            assert time.monotonic() < deadline
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 143
    assert b"Traceback" not in errors
    assert len((out / "rounds.jsonl").read_text().splitlines()) == 2
    assert b"2 restored" in output or b"accepted" in output
    assert not [n for n in os.listdir(out) if n.endswith(".part")]
