"""The command line for people: settings, completion, help, what a run says."""

import os
import re
import subprocess
import sys

import pytest
import typer.main
from PIL import Image
from typer.testing import CliRunner

from rar_cli.cli import app
from rar_cli.cli.options import complete_names
from rar_cli.cli.settings import settings_for
from rar_cli.errors import UsageError
from rar_cli.types import DEGRADATIONS

GROUP = typer.main.get_command(app)


@pytest.fixture
def rar(weights_dir):
    def run(*args, code=0, **options):
        result = CliRunner().invoke(app, [str(a) for a in (*args, "--weights", weights_dir)], **options)
        assert result.exit_code == code, result.output
        return result

    return run


def test_names_complete_one_after_another():
    assert set(complete_names("")) == set(DEGRADATIONS)
    assert list(complete_names("rain,ha")) == ["rain,haze"]
    assert "rain,rain" not in complete_names("rain,")


@pytest.mark.slow
@pytest.mark.parametrize(("words", "wanted"), [("--only mo", "motion_blur"), ("--format ti", "tiff")])
def test_the_shell_completes_names_and_choices(words, wanted):
    line = f"rar restore a b {words}"
    environment = {
        **os.environ, "_RAR_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1),
    }  # fmt: skip
    command = [sys.executable, "-m", "rar_cli"]
    assert wanted in subprocess.run(command, env=environment, capture_output=True, text=True).stdout.split()


@pytest.mark.parametrize("command", GROUP.commands)
def test_each_help_ends_in_examples_that_parse(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    shown = CliRunner().invoke(app, [command, "--help"]).stdout
    lines = shown[shown.index("Examples:") :].splitlines()[1:]
    found = [line.strip().split("|")[-1].split(">")[0].split() for line in lines if "rar " in line]
    assert found
    for words in found:
        assert words[:2] == ["rar", command]
        GROUP.commands[command].make_context(command, words[2:])


def test_help_lists_the_nine_names(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    shown = re.sub(r"[\s│]+", " ", CliRunner().invoke(app, ["restore", "--help"]).stdout)
    assert ", ".join(DEGRADATIONS) in shown


def test_settings_come_from_the_nearest_file_and_the_environment_wins(tmp_path):
    (tmp_path / "rar.toml").write_text('max-rounds = 2\ntile = 512\n[restore]\nkeep = ["noise", "rain"]\n')
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    found = settings_for(GROUP, below, {"RAR_TILE": "640", "RAR_RESTORE_TILE": "768", "RAR_WEIGHTS": "a store"})
    assert found.values["restore"] == {"max_rounds": 2, "tile": "768", "keep": "noise,rain"}
    assert found.values["assess"] == {"tile": "640"}
    assert found.of("assess") == ["RAR_TILE = 640"]
    (tmp_path / "a" / "pyproject.toml").write_text("[tool.other]\n")
    assert settings_for(GROUP, below, {}).values["restore"]["max_rounds"] == 2
    (tmp_path / "a" / "pyproject.toml").write_text("[tool.rar]\nmax-rounds = 3\n")
    assert settings_for(GROUP, below, {}).values["restore"] == {"max_rounds": 3}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kep = 1", "kep is no option; choose from accept"),
        ("[restor]\nkeep = 1", "is no command; choose from restore"),
        ("[assess]\nkeep = 'noise'", "keep is no option"),
        ("=", "cannot be read as TOML"),
    ],
)
def test_settings_that_mean_nothing_are_refused(tmp_path, text, message):
    (tmp_path / "rar.toml").write_text(text)
    with pytest.raises(UsageError, match=re.escape(message)):
        settings_for(GROUP, tmp_path, {})


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("max-rounds = 'many'", "max-rounds = 'many' is of the wrong type"),
        ("format = 'jp'", "format = jp: 'jp' is not one of"),
    ],
)
def test_a_setting_that_cannot_be_is_named_with_its_file(rar, folder, tmp_path, monkeypatch, text, fault):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "400")
    (tmp_path / "rar.toml").write_text(text)
    error = rar("restore", folder, "out", code=2).stderr
    assert f"rar: {tmp_path / 'rar.toml'}: {fault}" in error
    assert "Value error" not in error
    (tmp_path / "rar.toml").unlink()
    option, value = text.replace("'", "").split(" = ")
    error = rar("restore", folder, "out", f"--{option}", value, code=2).stderr
    assert "Invalid value for" in error
    assert "rar.toml" not in error
    assert "Value error" not in error


def test_settings_apply_and_verbose_names_them(rar, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rar.toml").write_text('suffix = "_r"\nkeep = "noise"\n')
    result = rar("restore", folder, "out", "--only", "rain", "-v")  # which puts `keep` aside
    assert (tmp_path / "out" / "a_r.png").exists()
    assert f"setting {tmp_path / 'rar.toml'}: suffix = _r" in result.stderr
    assert re.search(r"device cpu, precision \w+, convolutions by (rar|torch)", result.stderr)
    monkeypatch.setenv("RAR_SUFFIX", "_e")
    rar("restore", folder, "out", "--only", "rain")
    assert (tmp_path / "out" / "a_e.png").exists()
    (tmp_path / "rar.toml").write_text("sufix = 1")
    assert "sufix is no option" in rar("restore", folder, "out", code=2).stderr


def test_rows_come_in_the_order_of_the_inputs_and_the_summary_names_output_and_report(rar, folder, tmp_path, photo):
    for i in (1, 3, 5):  # two sizes in turn: groups of one size are done together
        Image.fromarray(photo).save(folder / f"n{i}.png")
        Image.fromarray(photo[:30, :30]).save(folder / f"n{i + 1}.png")
    result = rar("restore", folder, tmp_path / "out", "--report", tmp_path / "r.html")
    names = re.findall(r"^([abcn]\d?\.\w+) ", result.stdout, re.M)
    assert names == sorted(path.name for path in folder.iterdir())
    planned = rar("restore", folder, tmp_path / "new", "--dry-run").stdout.splitlines()
    assert [line.rpartition("/")[2] for line in planned] == names
    assert f"in {folder}/" in result.stdout
    assert f"pictures: {tmp_path / 'out'}; report: {tmp_path / 'r.html'}" in result.stdout


def test_only_what_is_absent_leaves_a_picture_alone_and_says_so(rar, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("rar_cli.report.words.NOTICED", 2.0)  # tiny weights find a little of everything
    result = rar("restore", folder, tmp_path / "out", "--only", "rain,haze", "--accept", 0)
    assert result.stdout.count("left alone: nothing of rain or haze") == 3


def test_assess_says_the_band(rar, folder):
    shown = rar("assess", folder / "a.png").stdout
    assert re.search(
        r"a\.png: (poor|fair|good|very good) \(\d+\); .*; (worth restoring: \w+|good as it is|left alone: )", shown
    )


def test_a_folder_with_a_dot_in_its_name_is_made_where_it_ends_in_a_slash(rar, folder, tmp_path):
    rar("restore", folder / "a.png", f"{tmp_path / 'out.v2x'}/")
    assert (tmp_path / "out.v2x" / "a.png").exists()


def test_what_could_not_be_kept_is_said_in_one_line(rar, folder, tmp_path, photo):
    for name in ("m.jpg", "n.jpg"):
        Image.fromarray(photo).save(folder / name, "MPO", save_all=True, append_images=[Image.fromarray(photo)])
    always = ("--accept", "100", "--max-rounds", "1")
    result = rar("restore", folder, tmp_path / "out", *always)
    (line,) = [line for line in result.stderr.splitlines() if "could not keep" in line]
    second = "second picture in the file (preview, gain map, depth or stereo): dropped"
    assert line == f"rar: could not keep all: {second} (2 pictures)"
    assert "could not keep" in rar("restore", folder, tmp_path / "json", *always, "--json").stderr
    assert rar("restore", folder, tmp_path / "quiet", *always, "--quiet").stderr == ""
    single = rar("restore", folder / "m.jpg", tmp_path / "one.jpg", *always)
    assert f"{second} (1 picture)" in single.stderr


def test_many_different_losses_are_counted_and_said_shortly(capsys):
    from collections import Counter

    from rar_cli.cli.printing import LOSSES_SHOWN, say_losses

    say_losses(Counter(f"loss {i}\x1b[31m\n" for i in range(50)), quiet=False)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.count("loss ") == LOSSES_SHOWN
    assert "and 44 more, which the log names" in line
    assert "\x1b" not in line
