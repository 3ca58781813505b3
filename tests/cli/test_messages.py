"""No traceback reaches a user: command lines, their exit code, and the one line that is said."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from rar_cli.cli import app, settings
from rar_cli.networks import folder as weights_folder
from rar_cli.networks.model import Rar
from rar_cli.train.run import checkpoint
from rar_cli.weights.manifest import write_manifest
from tests.conftest import ROOT
from tests.fakes import tiny_params
from tests.servers import raw_server

LONG = 300 * "a"

BROKEN_TENSORS = b"\x08\0\0\0\0\0\0\0notjson!"

CONFIGS = {
    "model": "model = 3\n",
    "part": '[model]\ncodec = 3\n[[stages]]\nname = "x"\nkind = "restorer"\nsteps = 1\n',
    "stages": "stages = 3\n",
    "stage": 'name = "x"\nstages = [3]\n',
    "crops": 'name = "x"\n[[stages]]\nname = "x"\nkind = "restorer"\nsteps = 1\ncrops = [3]\n',
    "steps": 'name = "x"\n[[stages]]\nname = "x"\nkind = "restorer"\nsteps = "many"\n',
    "name": 'name = 3\n[[stages]]\nname = "x"\nkind = "restorer"\nsteps = 1\n',
    "infinite": 'name = "x"\nclip_norm = inf\n[[stages]]\nname = "x"\nkind = "restorer"\nsteps = 1\n',
    "deep": "a = " + 100_000 * "[",
    "bytes": b"\xff\xfe",
}


@pytest.fixture(autouse=True)
def a_cache_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("RAR_WEIGHTS", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder of things that are not what they seem; the current one while a command runs."""
    root = tmp_path_factory.mktemp("place")
    Rar(tiny_params()).save(root / "w")
    write_manifest(root / "w", "tiny", "free", "random numbers")
    changes = {
        "broken": ("codec/model.safetensors", BROKEN_TENSORS),
        "list": ("codec/config.json", b"[]"),
        "null": ("rar.json", b"null"),
        "deep": ("restorer/config.json", 200_000 * b"["),
    }
    for name, (file, data) in changes.items():
        shutil.copytree(root / "w", root / name)
        (root / name / file).write_bytes(data)
        write_manifest(root / name, "tiny", "free", "random numbers")
    infinite = json.loads((root / "w" / "manifest.json").read_text())
    infinite["files"]["rar.json"]["bytes"] = float("inf")
    shutil.copytree(root / "w", root / "infinite")
    (root / "infinite" / "manifest.json").write_text(json.dumps(infinite))
    (root / "in").mkdir()
    Image.fromarray(np.full((24, 24, 3), 90, np.uint8)).save(root / "in" / "a.png")
    (root / "loop").symlink_to(root / "loop")
    (root / "file").write_text("x")
    (root / "empty").mkdir()
    (root / "deep.jsonl").write_text(200_000 * "[" + "\n")
    for name, text in CONFIGS.items():
        (root / f"{name}.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    return root


RESTORE = ["restore", "in", "out"]
TABLE = [
    (["restore", "\\[/x]", "out"], 2, "\\[/x]: no pictures found"),
    (["restore", "[/bold]nothing.png", "out"], 2, "[/bold]nothing.png: no pictures found"),
    (["restore", "loop", "out"], 2, "loop: cannot be read"),
    (["restore", LONG, "out"], 2, "File name too long"),
    (["restore", "in", LONG], 2, "File name too long"),
    (["restore", "in", "file"], 2, "is a file; several pictures need a folder"),
    (["restore", "in", "file/x"], 2, "cannot be written"),
    (["restore", "http://[", "out"], 2, "cannot be reached"),
    ([*RESTORE, "--weights", "broken"], 2, "broken: not usable weights"),
    ([*RESTORE, "--weights", "list"], 2, "config.json is no JSON object"),
    ([*RESTORE, "--weights", "null"], 2, "rar.json is no JSON object"),
    ([*RESTORE, "--weights", "deep"], 2, "config.json is nested too deep"),
    ([*RESTORE, "--weights", "infinite"], 2, "no readable manifest.json"),
    ([*RESTORE, "--weights", ""], 2, "rar: weights: no such weights here"),
    ([*RESTORE, "--weights", LONG], 2, "no such weights here"),
    ([*RESTORE, "--weights", "~nobody-of-that-name"], 2, "no such home folder"),
    ([*RESTORE, "--weights", "in"], 2, "no readable manifest.json"),
    ([*RESTORE, "--device", "meta"], 2, "device meta: not available here"),
    ([*RESTORE, "--device", ""], 2, "not available here"),
    ([*RESTORE, "--shard", "1/" + 5000 * "9"], 2, "write I/N"),
    ([*RESTORE, "--only", "fog"], 2, "--only fog: unknown"),
    ([*RESTORE, "--weights", "w", "--log", "in"], 2, "in: "),
    ([*RESTORE, "--weights", "w", "--log", "/dev/full"], 2, "/dev/full: "),
    ([*RESTORE, "--weights", "w", "--log", "deep.jsonl"], 2, "deep.jsonl: "),
    ([*RESTORE, "--weights", "w", "--log", "loop/x"], 2, "loop/x: "),
    ([*RESTORE, "--weights", "w", "--suffix", "/x"], 2, "--suffix /x: is a part of a name"),
    (["restore", "in", "loop", "--weights", "w"], 2, "loop/rounds.jsonl: "),
    (["restore", "in", "loop/x", "--weights", "w"], 2, "loop/x/rounds.jsonl: "),
    ([*RESTORE, "--weights", "w", "--report", "file/x.html"], 2, "file/x.html: "),
    (["assess", "in/a.png", "--weights", "w", "--heatmap", "loop/x.png"], 2, "loop/x.png: "),
    (["assess", "loop"], 2, "loop: cannot be read"),
    (["assess", "in", "--weights", "broken"], 2, "broken: not usable weights"),
    (["bench", "loop"], 2, "loop: neither a folder nor a suite"),
    (["bench", LONG], 2, "File name too long"),
    (["bench", "--peer", "[/x]"], 2, "--peer [/x]: write"),
    (["train", "--config", "in"], 2, "cannot read the training config"),
    (["train", "--config", LONG], 2, "File name too long"),
    *((["train", "--data", "in", "--config", f"{name}.toml"], 2, f"{name}.toml: ") for name in CONFIGS),
    (["train", "--data", "empty", "--quiet"], 2, "no photographs"),
    (["train", "--data", "in", "--warm-start", "list", "--quiet"], 2, "no photographs"),
    (["download-weights", ""], 2, "'': no name for weights"),
    (["download-weights", "."], 2, "'.': no name for weights"),
    (["download-weights", "owner/.."], 2, "no name for weights"),
    (["download-weights", "mine", "--from", ""], 2, "--from: give an https URL or a folder"),
    (["download-weights", "mine", "--from", "http://["], 2, "no URL"),
    (["download-weights", "mine", "--from", "ftp://x/y"], 2, "use an https URL or a folder"),
    (["download-weights", "mine", "--from", "loop"], 2, "cannot be read"),
    (["download-weights", "mine", "--from", "infinite", "--to", "to"], 2, "no readable manifest.json"),
    (["download-weights", "mine", "--from", "w", "--to", "file"], 2, "file/mine: cannot be written"),
    (["download-weights", "mine", "--from", "w", "--to", LONG], 2, "cannot be written"),
    (["download-weights", "mine", "--verify", "--to", LONG], 2, "not here"),
    (["download-weights", "mine", "--from", "http://a b"], 2, "cannot be read"),
]


@pytest.mark.parametrize(("line", "code", "message"), TABLE, ids=[" ".join(row[0])[:60] for row in TABLE])
def test_every_fault_is_one_line_and_an_exit_code(place, monkeypatch, line, code, message):
    monkeypatch.chdir(place)
    check(CliRunner().invoke(app, line), code, message)


def test_logs_that_are_endless_or_deep_are_bounded(place, tmp_path, monkeypatch):
    """A log with a line of 200,000 brackets and one of 3 million letters, and a device that never ends."""
    monkeypatch.chdir(place)
    line = ["restore", "in", str(tmp_path / "out"), "--weights", "w", "--json"]
    assert CliRunner().invoke(app, line).exit_code == 0
    with (tmp_path / "out" / "rounds.jsonl").open("a") as log:
        log.write(200_000 * "[" + "\n" + 3_000_000 * "a" + "\n")
    for options, status in (([], "skipped"), (["--overwrite", "--log", "/dev/zero"], "restored")):
        result = CliRunner().invoke(app, [*line, *options])
        assert json.loads(result.stdout)["status"] == status, result.output


def check(result, code, message):
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == code
    assert message in result.stderr
    assert "this is a bug" not in result.stderr
    assert result.stderr.startswith("rar: ")
    assert result.stderr.count("\n") == 1


ANSWERS = {
    "not HTTP": (b"SSH-2.0-x\r\n",),
    "a cut chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nabc",),
    "deep": (b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n", 200_000 * b"["),
    "infinite": (b'HTTP/1.1 200 OK\r\n\r\n{"name": "x", "files": {"rar.json": {"bytes": Infinity, "sha256": "0"}}}',),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_that_are_none_are_one_line(place, monkeypatch, name):
    monkeypatch.chdir(place)
    with raw_server(*ANSWERS[name]) as url:
        result = CliRunner().invoke(app, ["download-weights", "mine", "--from", url, "--to", "to"])
    check(result, 2, "cannot be read" if name in {"not HTTP", "a cut chunk"} else "no readable manifest.json")


@pytest.mark.parametrize("text", ["[]", "{", '{"step": "x"}', '{"step": 1e400, "seconds": 0}', 100_000 * "["])
def test_a_damaged_state_of_a_training_is_said(tmp_path, text):
    from rar_cli.errors import UsageError

    (tmp_path / "progress.json").write_text(text)
    with pytest.raises(UsageError, match="cannot be resumed"):
        checkpoint.model_of(tmp_path)


def failing(monkeypatch, error):
    """The result of a command in which something raises what nobody foresaw."""

    def fail(*_):
        raise error

    monkeypatch.setattr("rar_cli.weights.download.inventory", fail)
    return CliRunner().invoke(app, ["download-weights", "--list"])


def test_what_nobody_foresaw_is_one_line_that_asks_for_a_report(monkeypatch):
    result = failing(monkeypatch, KeyError("\x1b[31mevil\n"))
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("rar: this is a bug (KeyError: ")
    assert "weights.py:" in result.stderr
    assert "report it" in result.stderr
    assert "RAR_DEBUG=1" in result.stderr
    assert "\x1b" not in result.stderr


def test_a_traceback_is_shown_to_who_wants_it(monkeypatch):
    monkeypatch.setenv("RAR_DEBUG", "1")
    assert isinstance(failing(monkeypatch, KeyError("x")).exception, KeyError)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), "out of memory; try a smaller --tile"),
        (OSError(28, "No space left on device", "x.png"), "x.png: No space left on device"),
        (RecursionError("deep"), "this is a bug (RecursionError: deep"),
    ],
)
def test_what_the_machine_lacks_is_said_as_such(monkeypatch, error, message):
    result = failing(monkeypatch, error)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_full_standard_output_or_error_is_exit_2_without_a_traceback():
    command = ["env", "-u", "PYTHONUNBUFFERED", sys.executable, "-m", "rar_cli", "download-weights", "--list", "--json"]
    with open("/dev/full", "w") as full:
        result = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120)
        assert result.returncode == 2
        assert result.stderr == "rar: standard output: No space left on device\n"
        wrong = [*command[:-2], "nonsense"]
        result = subprocess.run(wrong, cwd=ROOT, stdout=subprocess.PIPE, stderr=full, text=True, timeout=120)
        assert result.returncode == 2
        assert result.stdout == ""


@pytest.mark.slow
def test_closed_streams_are_no_fault_and_nothing_lands_in_what_is_opened_next(folder, tmp_path, weights_dir):
    rar, out = f"{sys.executable} -m rar_cli", tmp_path / "out"
    names = f"{folder} {out} --weights {weights_dir}"
    cases = {
        f"{rar} restore {names} <&- >&- 2>&-": (0, ""),
        f"{rar} restore {folder}/a.png - --weights {weights_dir} >&-": (
            2,
            "rar: standard output is closed; name a file",
        ),
        f"{rar} restore - {out}/x.png --weights {weights_dir} --quiet <&-": (1, "rar: -: the file is empty"),
        f"{rar} nonsense 2>&-": (2, ""),
        f"{rar} --help >&-": (0, ""),
    }
    for command, (code, said) in cases.items():
        done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=120)
        assert (done.returncode, done.stdout) == (code, ""), done.stderr
        assert done.stderr.startswith(said)
        assert done.stderr.count("\n") <= 2
    assert all(json.loads(line) for line in (out / "rounds.jsonl").read_text().splitlines())
    assert len(list(out.glob("*.*g"))) == 2


@pytest.mark.slow
def test_letters_that_a_terminal_lacks_are_escaped(folder, tmp_path, weights_dir):
    (folder / "a.png").rename(folder / ("\u0436" * 60 + ".png"))
    command = [sys.executable, "-m", "rar_cli", "restore", folder, tmp_path / "out", "--weights", weights_dir]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u0436" in done.stdout


def test_a_working_folder_that_has_gone_is_said(monkeypatch):
    def gone():
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(Path, "cwd", gone)
    result = CliRunner().invoke(app, ["download-weights", "--list"])
    assert result.exit_code == 2
    assert result.stderr.startswith("rar: the working folder cannot be used (No such file or directory);")


@pytest.mark.parametrize(
    "text", [b"a = 1\n" * 10_000, b"a = " + b"[" * 100_000, b"\xff", b"\0" * 20_000, b"#\n" * 10_000]
)
def test_settings_and_configs_without_end_or_depth_are_one_line(tmp_path, monkeypatch, text):
    for module in (settings, weights_folder):
        monkeypatch.setattr(module, "MOST_BYTES", 10_000)
    monkeypatch.chdir(tmp_path)
    for name, command in (("x.toml", ["train", "--dry-run", "--config", "x.toml"]), ("rar.toml", ["assess", "x.png"])):
        Path(name).write_bytes(text)
        result = CliRunner().invoke(app, command)
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
        assert "bug" not in result.stderr
        assert len(result.stderr) < 500


def test_a_reader_who_leaves_is_no_fault():
    command = f"{sys.executable} -m rar_cli download-weights --list --json | true"
    result = subprocess.run(["bash", "-c", command], cwd=ROOT, env=os.environ, capture_output=True, timeout=120)
    assert result.stderr == b""
