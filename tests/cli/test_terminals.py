"""Names of files, folders, servers and manifests are shown on a terminal, never sent to it as commands."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from rar_cli.cli import app
from rar_cli.jobs import progress as progress_module
from rar_cli.report.text import printable

CODES = "\x1b[31m\x1b]0;title\x07\x9b\r\n\u202e\u2028\x85"
EVIL = f"{CODES}rar: forged[bold]:skull:.png"
FOLDER = "\\["
"""With a slash and EVIL behind it, markup that closes nothing: `\\[/x]`."""


def safe(text):
    """The text, after a look: no command, no line but those that rar began."""
    assert "Traceback" not in text
    for line in text.splitlines():
        assert line.isprintable(), ascii(line)
        assert not line.startswith("rar: forged"), line
    return text


@pytest.fixture
def evil(tmp_path, monkeypatch):
    """Folders `good` and `bad`, each with one picture of an evil name; the second is none."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAR_WEIGHTS", str(tmp_path / "cache"))
    for name in ("good", "bad"):
        (tmp_path / name / FOLDER).mkdir(parents=True)
    Image.fromarray(np.full((24, 24, 3), 90, np.uint8)).save(tmp_path / "good" / FOLDER / f"x]{EVIL}")
    (tmp_path / "bad" / FOLDER / f"x]{EVIL}").write_bytes(b"junk")
    return tmp_path


def run(weights_dir, *line):
    result = CliRunner().invoke(app, [*line, "--weights", str(weights_dir)])
    assert isinstance(result.exception, SystemExit | None), result.exception
    safe(result.stderr)
    return safe(result.stdout), result.stderr


SHOWN = "\\[/x]" + CODES.encode("unicode_escape").decode() + "rar: forged[bold]:skull:.png"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["good", "bad"])
def test_restore_shows_every_name_as_it_is(weights_dir, evil, kind):
    place = f"{kind}/{FOLDER}"
    assert "forged[bold]:skull:.png" in run(weights_dir, "restore", place, "a")[0]  # a table shows what has room
    assert SHOWN in run(weights_dir, "restore", place, "b", "--dry-run")[0]
    for options in (["--quiet"], ["--json"], ["--log-progress"], ["--dry-run", "--json"]):
        out, error = run(weights_dir, "restore", place, f"c{len(options)}{options[0]}", *options)
        assert [json.loads(line) for line in out.splitlines()] if "--json" in options else True
        assert (SHOWN in error) == (kind == "bad" and "--dry-run" not in options and "--log-progress" not in options)


def test_assess_shows_every_name_as_it_is(weights_dir, evil):
    good, bad = f"good/{FOLDER}", f"bad/{FOLDER}"
    assert SHOWN in run(weights_dir, "assess", good)[0]
    assert SHOWN in run(weights_dir, "assess", good, "--explain")[0]
    assert json.loads(run(weights_dir, "assess", good, "--json")[0])["input"].endswith(EVIL)
    for options in ([], ["--quiet"], ["--json"]):
        assert SHOWN in run(weights_dir, "assess", bad, *options)[1]


@pytest.mark.slow
def test_bench_shows_every_name_as_it_is(weights_dir, evil):
    assert "forged" in run(weights_dir, "bench", f"bad/{FOLDER}")[1]
    pairs = evil / f"{CODES}rar: forged" / "degraded"
    pairs.parent.mkdir()
    (evil / "good" / FOLDER).rename(pairs)
    out, _ = run(weights_dir, "bench", "--degraded", str(pairs), "--reference", str(pairs))
    assert "forged" in out
    run(weights_dir, "bench", f"{CODES}nonsense")
    run(weights_dir, "bench", str(pairs), "--peer", f"{CODES}=nothing-of-that-name{CODES} {{in}} {{out}}")


def test_download_weights_shows_every_name_as_it_is(weights_dir, evil):
    for line in (
        ["mine", "--from", str(weights_dir), "--to", f"to{CODES}rar: forged"], [f"{CODES}rar: forged"],
        ["mine", "--from", f"{CODES}rar: forged"], ["mine", "--from", f"http://127.0.0.1:9/{CODES}rar: forged"],
    ):  # fmt: skip
        result = CliRunner().invoke(app, ["download-weights", *line])
        assert isinstance(result.exception, SystemExit | None)
        assert "forged" in safe(result.stdout) + safe(result.stderr)


def test_train_shows_every_name_as_it_is(evil):
    for line in (["--config", EVIL], ["--data", EVIL], ["--data", "good", "--warm-start", EVIL]):
        result = CliRunner().invoke(app, ["train", *line])
        assert result.exit_code == 2
        assert "forged" in safe(result.stderr)


def test_a_wrong_command_line_is_shown_as_it_is():
    for line in ([f"{CODES}x"], [f"--{CODES}x"], ["restore", f"--{CODES}x"], ["download-weights", "a", f"{CODES}x"]):
        result = CliRunner().invoke(app, line)
        assert result.exit_code == 2
        assert "title" in safe(result.stderr)
    assert safe(CliRunner().invoke(app, ["assess", "x", "--accept", f"{CODES}x"]).stderr)


def test_warnings_of_watch_are_one_line(capsys):
    from rar_cli.cli.printing import warn

    warn(EVIL)
    assert capsys.readouterr().err.count("\n") == 1


def test_bars_of_downloads_show_names_of_servers_as_they_are(monkeypatch):
    """A terminal that keeps what it is sent: of escape sequences only those of the bar itself."""
    screen = io.StringIO()
    screen.isatty = lambda: True
    monkeypatch.setattr(progress_module.sys, "stderr", screen)
    monkeypatch.setattr("rich.console.Console", lambda **_: Console(file=screen, force_terminal=True, width=200))
    with progress_module.transfer(quiet=False) as told:
        told(f"[/x]{EVIL}", 1, 2)
    sent = screen.getvalue()
    assert "\x1b]0;" not in sent
    assert "\u202e" not in sent
    assert "[/x]\\x1b[31m" in sent


@pytest.mark.parametrize("text", ["", "plain", "späte Größe", "日本", "a[b]c", "\\", "a\\[b"])
def test_plain_text_stays_as_it_is(text):
    assert printable(text) == text


def test_every_character_that_is_no_text_is_spelled_out():
    for number in (*range(0x20), *range(0x7F, 0xA1), 0xAD, 0x200E, 0x202A, 0x202E, 0x2066, 0x2028, 0xFEFF, 0xDCFF):
        shown = printable(f"a{chr(number)}b")
        assert shown.isprintable()
        assert shown.isascii()
        assert len(shown) > 3
