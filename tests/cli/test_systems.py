"""Windows and macOS, as far as they can be proved here."""

import errno
import json
import os
import subprocess
import sys

import pytest
from PIL import Image
from typer.testing import CliRunner

from rar_cli.cli import app
from rar_cli.errors import UsageError
from rar_cli.jobs.naming.plan import Naming, plan
from rar_cli.jobs.naming.portable import folds_case, name_fault
from rar_cli.jobs.naming.walk import Selection
from rar_cli.pictures.files import Stamp, write_bytes
from tests.conftest import ROOT

HIDDEN = """
import os, sys
for name in ("resource", "fcntl", "pwd", "grp", "termios"):
    sys.modules[name] = None
del os.fork
from rar_cli.cli import app
app(sys.argv[1:], prog_name="rar")
"""


def without_unix(*args):
    command = [sys.executable, "-W", "ignore", "-c", HIDDEN, *map(str, args)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["restore", "assess", "bench"])
def test_help_answers_where_unix_modules_are_missing(command):
    done = without_unix(command, "--help")
    assert done.returncode == 0, done.stderr
    assert "Examples:" in done.stdout


@pytest.mark.slow
def test_pictures_are_assessed_and_restored_where_unix_modules_are_missing(folder, tmp_path, weights_dir):
    done = without_unix("assess", folder, "--json", "--weights", weights_dir)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 3
    done = without_unix("restore", folder, tmp_path / "out", "--weights", weights_dir)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "a.png").exists()
    assert not list((tmp_path / "out").glob(".rar-*.part"))


def test_the_peak_of_memory_is_left_out_where_nothing_tells_it(monkeypatch):
    import torch

    from rar_cli.bench.cost import peak_mib

    assert peak_mib(torch.device("cpu")) > 1
    monkeypatch.setitem(sys.modules, "resource", None)
    assert peak_mib(torch.device("cpu")) is None


def test_outputs_follow_the_umask_without_changing_it(tmp_path, monkeypatch):
    def never(mask):
        raise AssertionError("a changed umask shows in all threads")

    before = os.umask(0o027)
    monkeypatch.setattr(os, "umask", never)
    try:
        write_bytes(b"x", tmp_path / "x")
    finally:
        monkeypatch.undo()
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("relative", "word"),
    [
        ("nul.png", "reserved"), ("a/CON", "reserved"), ("com7.jpg", "reserved"), ("a:b.png", "cannot be"),
        ("a /b.png", "cannot be"), ("x" * 300 + ".png", "longer"), ("null.png", None), ("a/b.png", None),
    ],
)  # fmt: skip
def test_names_that_windows_cannot_have_are_named(relative, word):
    fault = name_fault(relative, relative, windows=True)
    assert (fault is None) if word is None else (word in fault)
    assert name_fault(relative, relative, windows=False) is None


def two_folders(tmp_path, *names):
    """What `plan` takes for two inputs of one picture each."""
    for name in names:
        (tmp_path / name).parent.mkdir()
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    return [str(tmp_path / "one"), str(tmp_path / "two")], str(tmp_path / "out"), Naming(), Selection()


def test_outputs_that_differ_in_case_alone_clash_where_case_is_folded(tmp_path, monkeypatch):
    given = two_folders(tmp_path, "one/a.png", "two/A.png")
    assert len(plan(*given)) == 2
    assert not folds_case(tmp_path / "out" / "a.png")
    monkeypatch.setattr("rar_cli.jobs.naming.plan.folds_case", lambda path: True)
    with pytest.raises(UsageError, match="would both become"):
        plan(*given)


def test_outputs_that_differ_in_the_composition_of_letters_clash_where_case_is_folded(tmp_path, monkeypatch):
    given = two_folders(tmp_path, "one/\u00e9.png", "two/e\u0301.png")
    assert len(plan(*given)) == 2
    monkeypatch.setattr("rar_cli.jobs.naming.plan.folds_case", lambda path: True)
    with pytest.raises(UsageError, match="would both become"):
        plan(*given)


def test_workers_can_be_spawned():
    """What is handed to a worker of another process can be pickled: no lambda, no open file."""
    import pickle
    from functools import partial
    from pathlib import Path

    from rar_cli.jobs.naming.target import Target
    from rar_cli.jobs.request import Request
    from rar_cli.jobs.restore import make_run

    make = partial(make_run, Request(), Target.of(["a"], str(Path("out")), None))
    assert pickle.loads(pickle.dumps(make)).args[0] == Request()


@pytest.mark.parametrize("missing", ["chmod", "utime", "flock", "link"])
@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOSYS, errno.ENOTSUP])
def test_file_systems_without_permissions_times_or_locks_get_their_outputs(tmp_path, monkeypatch, missing, code):
    fcntl = pytest.importorskip("fcntl")

    def refuse(*args, **options):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl if missing == "flock" else os, missing, refuse)
    stamp = Stamp(0o640, 10**18)
    write_bytes(b"x", tmp_path / "x", stamp, lambda: False)
    assert (tmp_path / "x").read_bytes() == b"x"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert len(stamp.lost) == (missing in {"chmod", "utime"})


def test_what_a_file_system_does_not_take_is_said_once(folder, tmp_path, monkeypatch, weights_dir):
    def refuse(path, mode):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "chmod", refuse)
    words = ["restore", str(folder), str(tmp_path / "out"), "--max-rounds", "0", "--weights", str(weights_dir)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    said = "could not keep all: permissions not kept: the file system of the output takes none (3 pictures)"
    assert said in result.stderr
    log = [json.loads(line) for line in (tmp_path / "out" / "rounds.jsonl").read_text().splitlines()]
    assert all("permissions" in record["warnings"][-1] for record in log)
