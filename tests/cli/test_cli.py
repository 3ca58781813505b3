import io
import json
import os
import re
import select
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from rar_cli.cli import app
from rar_cli.types import DEGRADATIONS
from rar_cli.version import __version__
from tests.conftest import ROOT

RECORD_KEYS = {
    "input", "output", "status", "stop", "best_round", "score_before", "score_after", "rounds", "width",
    "height", "seconds", "weights", "weights_sha256", "version", "error",
}  # fmt: skip


@pytest.fixture
def rar(weights_dir):
    """Run a command with the tiny weights."""
    runner = CliRunner()

    def run(*args, code=0, **options):
        extra = () if args[0] not in {"restore", "assess"} else ("--weights", str(weights_dir))
        result = runner.invoke(app, [str(a) for a in (*args, *extra)], **options)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result

    return run


def records(out):
    return [json.loads(line) for line in (out / "rounds.jsonl").read_text().splitlines()]


ALWAYS = ("--accept", "100")


def test_a_folder_is_restored_and_every_log_line_fits_the_contract(rar, folder, tmp_path):
    out = tmp_path / "out"
    result = rar("restore", folder, out, "--max-rounds", 2, *ALWAYS)
    assert sorted(p.name for p in out.iterdir() if not p.name.startswith(".")) == [
        "a.png", "b.jpg", "c.webp", "rounds.jsonl",
    ]  # fmt: skip
    lines = records(out)
    assert [r["input"] for r in lines] == [str(folder / n) for n in ("a.png", "b.jpg", "c.webp")]
    for record in lines:
        assert set(record) >= RECORD_KEYS
        assert record["status"] in {"restored", "accepted"}
        assert record["stop"] in {"accept", "exhausted", "revert"}
        assert record["version"] == __version__
        assert re.fullmatch("[0-9a-f]{64}", record["weights_sha256"])
        assert [r["round"] for r in record["rounds"]] == list(range(len(record["rounds"])))
        assert set(record["rounds"][0]["degradations"]) == set(DEGRADATIONS)
        assert all(r["reason"] for r in record["rounds"])
        with Image.open(record["output"]) as image:
            assert image.size == (record["width"], record["height"])
    assert re.search(r"\d (restored|left alone).* rounds?;", result.stdout)
    assert "MP/s" in result.stdout


@pytest.mark.slow
def test_the_same_input_gives_the_same_bytes(rar, folder, tmp_path):
    for name in ("one", "two"):
        rar("restore", folder, tmp_path / name, "--max-rounds", 2, *ALWAYS)
    for name in ("a.png", "b.jpg", "c.webp"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_clean_picture_comes_back_byte_for_byte(rar, folder, tmp_path):
    rar("restore", folder, tmp_path / "out", "--accept", 0)
    for name in ("a.png", "b.jpg", "c.webp"):
        assert (tmp_path / "out" / name).read_bytes() == (folder / name).read_bytes()
    assert {r["status"] for r in records(tmp_path / "out")} == {"accepted"}


@pytest.mark.slow
def test_a_second_run_does_only_what_is_missing_or_changed(rar, folder, tmp_path):
    out = tmp_path / "out"
    rar("restore", folder, out, *ALWAYS)
    assert "3 skipped" in rar("restore", folder, out, *ALWAYS).stdout
    assert len(records(out)) == 3
    (out / "b.jpg").unlink()
    Image.new("RGB", (40, 40), "red").save(folder / "a.png")
    assert "1 skipped" in rar("restore", folder, out, *ALWAYS).stdout
    assert (out / "b.jpg").exists()
    assert "skipped" not in rar("restore", folder, out, *ALWAYS, "--max-rounds", 1).stdout
    assert "skipped" not in rar("restore", folder, out, *ALWAYS, "--max-rounds", 1, "--overwrite").stdout


@pytest.mark.slow
def test_a_bad_file_fails_alone_with_its_reason_and_the_batch_goes_on(rar, folder, tmp_path):
    (folder / "broken.png").write_bytes((folder / "a.png").read_bytes()[:100])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.tif").write_text("hello")
    result = rar("restore", folder, tmp_path / "out", *ALWAYS, code=1)
    failed = {os.path.basename(r["input"]): r["error"] for r in records(tmp_path / "out") if r["error"]}
    assert set(failed) == {"broken.png", "empty.jpg", "text.tif"}
    assert all(name in error and "\n" not in error for name, error in failed.items())
    assert "3 failed" in result.stdout
    assert "Traceback" not in result.output
    assert sum(r["error"] is None for r in records(tmp_path / "out")) == 3


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["restore", "nowhere", "out"], "nowhere: no such file or folder"),
        (["restore", "{empty}", "out"], "no pictures found"),
        (["restore", "{in}", "out", "--only", "dust"], "dust: unknown; choose from noise, blur"),
        (["restore", "{in}", "out", "--only", "rain", "--keep", "noise"], "exclude each other"),
        (["restore", "{in}", "out", "--device", "abacus"], "device abacus"),
        (["restore", "only-one"], "OUTPUT is missing: write `rar restore only-one OUTPUT`"),
        (["restore", "{in}/a.png", "out.xyz"], "out.xyz: .xyz is no ending rar writes; use "),
        (["restore", "{in}", "out", "--shard", "3/2"], "--shard 3/2"),
        (["restore", "{in}", "out", "--tile", "8"], "too small"),
        (["assess", "nowhere.png"], "nowhere.png: no such file"),
        (["train", "--data", "{empty}"], "no photographs"),
        (["train", "--data", "{in}", "--config", "nowhere.toml"], "nowhere.toml"),
        (["train", "--data", "{in}", "--gain", "--config", "rar-l"], "--config: --gain has no config"),
        (["train", "--data", "{in}", "--gain", "--resume"], "--resume: --gain goes on"),
        (["train", "--gain", "--dry-run"], "--dry-run: says what a config needs"),
    ],
)
def test_what_cannot_run_says_so_in_one_line_with_code_2(rar, folder, tmp_path, monkeypatch, args, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    filled = [a.format(**{"in": folder, "empty": tmp_path / "empty"}) for a in args]
    result = rar(*filled, code=2)
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


@pytest.mark.parametrize(
    "args",
    [
        ["restore", "a", "b", "--no-such-option"],
        ["restore", "a", "b", "--max-rounds", "-1"],
        ["restore", "a", "b", "--accept", "101"],
        ["restore", "a", "b", "--quality", "0"],
        ["restore", "a", "b", "--format", "gif"],
        ["restore", "a", "b", "--dtype", "int4"],
        ["restore", "a", "b", "--engine", "steam"],
        ["restore"],
        ["assess"],
        ["no-such-command"],
    ],
)
def test_unknown_options_and_values_out_of_range_fail_with_code_2(rar, args):
    assert "Traceback" not in rar(*args, code=2).output


def test_missing_weights_name_the_cure(folder, tmp_path):
    result = CliRunner().invoke(app, ["restore", str(folder), str(tmp_path / "o"), "--weights", "rar-xxl"])
    assert result.exit_code == 2
    assert "rar-xxl: no such weights" in result.stderr
    assert "rar-s" in result.stderr


def test_damaged_weights_are_refused(folder, tmp_path, weights_dir):
    part = weights_dir / "codec" / "model.safetensors"
    part.write_bytes(part.read_bytes()[:-1] + b"x")
    result = CliRunner().invoke(app, ["restore", str(folder), str(tmp_path / "o"), "--weights", str(weights_dir)])
    assert result.exit_code == 2
    assert "sha256 differs" in result.stderr


@pytest.mark.slow
def test_json_prints_only_json_one_line_per_picture(rar, folder, tmp_path):
    (folder / "bad.png").write_bytes(b"x")
    result = rar("restore", folder, tmp_path / "out", "--json", code=1)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [os.path.basename(r["input"]) for r in lines] == ["a.png", "b.jpg", "bad.png", "c.webp"]
    result = rar("assess", folder, "--json", code=1)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(lines) == 4
    good = [r for r in lines if r["error"] is None]
    for record in good:
        assert {"input", "score", "degradations", "verdict", "description", "width", "height", "seconds"} <= set(record)
        assert 0 <= record["score"] <= 100
        assert set(record["degradations"]) == set(DEGRADATIONS)
        assert record["verdict"] in {"accept", "restore"}
    assert len(good) == 3


def test_fail_under_gives_code_1_below_and_0_above(rar, folder):
    rar("assess", folder / "a.png", "--fail-under", 100, code=1)
    rar("assess", folder / "a.png", "--fail-under", 0)


@pytest.mark.slow
def test_quiet_prints_nothing_but_errors(rar, folder, tmp_path):
    assert rar("restore", folder, tmp_path / "out", "--quiet").output == ""
    (folder / "bad.png").write_bytes(b"x")
    assert "bad.png" in rar("restore", folder, tmp_path / "out", "--quiet", code=1).stderr


def test_dry_run_lists_and_writes_nothing(rar, folder, tmp_path):
    result = rar("restore", folder, tmp_path / "out", "--dry-run")
    assert result.stdout.splitlines()[0] == f"{folder / 'a.png'} -> {tmp_path / 'out' / 'a.png'}"
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_stdin_to_stdout(rar, folder):
    data = (folder / "a.png").read_bytes()
    result = rar("restore", "-", "-", "--format", "jpg", *ALWAYS, "--quiet", input=data)
    with Image.open(io.BytesIO(result.stdout_bytes)) as image:
        assert image.format == "JPEG"
    assert json.loads(rar("assess", "-", "--json", input=data).stdout)["input"] == "-"


def test_one_file_to_one_file(rar, folder, tmp_path):
    rar("restore", folder / "a.png", tmp_path / "x" / "b.webp", *ALWAYS)
    with Image.open(tmp_path / "x" / "b.webp") as image:
        assert image.format == "WEBP"
    assert [p.name for p in (tmp_path / "x").iterdir()] == ["b.webp"]


@pytest.mark.slow
def test_a_single_picture_shows_its_rounds_as_they_happen(rar, folder, tmp_path):
    result = rar("restore", folder / "a.png", tmp_path / "o.png", "--max-rounds", 2, *ALWAYS)
    assert re.search(r"^round 0  score +\d+\.\d [a-z ]+  .*; repeat: ", result.stdout, re.M)
    assert "round 1" in result.stdout
    streamed = rar("restore", folder / "a.png", "-", "--max-rounds", 1, *ALWAYS)
    assert "round 0" in streamed.stderr
    assert streamed.stdout_bytes.startswith(b"\x89PNG")


@pytest.mark.slow
def test_options_change_the_output_as_they_say(rar, folder, tmp_path):
    def out(*options):
        target = tmp_path / f"o{len(list(tmp_path.iterdir()))}"
        rar("restore", folder / "a.png", target, *ALWAYS, "--max-rounds", 1, *options)
        return target

    base = (out() / "a.png").read_bytes()
    assert (out("--steps", 3) / "a.png").read_bytes() != base
    assert (out("--self-ensemble") / "a.png").read_bytes() != base
    assert (out("--only", "rain") / "a.png").read_bytes() != base
    assert (out("--keep", "noise") / "a.png").read_bytes() != base
    assert (out("--suffix", "_r") / "a_r.png").read_bytes() == base
    assert (out("--format", "jpg") / "a.jpg").read_bytes()[:2] == b"\xff\xd8"
    small, big = (out("--format", "jpg", "--quality", q) / "a.jpg" for q in (30, 98))
    assert small.stat().st_size < big.stat().st_size
    rounds = out("--save-rounds")
    assert (rounds / "rounds" / "a.png.round1.png").exists()
    plain, marked = out("--no-provenance") / "a.png", out() / "a.png"
    with Image.open(marked) as image:
        assert f"rar {__version__}" in image.getexif()[0x0131]
        assert image.text["Software"] == image.getexif()[0x0131]
    with Image.open(plain) as image:
        assert 0x0131 not in image.getexif()
    log = tmp_path / "else" / "log.jsonl"
    out("--log", log)
    assert len(log.read_text().splitlines()) == 1


@pytest.mark.slow
def test_shards_share_a_folder_and_make_the_whole(rar, folder, tmp_path, photo):
    for i in range(6):
        Image.fromarray(photo).save(folder / f"n{i}.png")
    for part in ("1/2", "2/2"):
        rar("restore", folder, tmp_path / "out", "--shard", part)
    names = {p.name for p in (tmp_path / "out").glob("*.*") if p.suffix in {".png", ".jpg", ".webp"}}
    assert names == {p.name for p in folder.iterdir()}
    assert "9 skipped" in rar("restore", folder, tmp_path / "out").stdout


@pytest.mark.slow
def test_a_second_run_into_a_busy_folder_says_so(rar, folder, tmp_path):
    from filelock import FileLock

    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out" / ".rar-1-of-1.lock"):
        assert "another rar is at work" in rar("restore", folder, tmp_path / "out", code=2).stderr
    rar("restore", folder, tmp_path / "out")


@pytest.mark.slow
def test_a_half_written_log_line_and_leftovers_of_a_kill_are_cleared(rar, folder, tmp_path):
    out = tmp_path / "out"
    rar("restore", folder, out)
    with (out / "rounds.jsonl").open("a") as file:
        file.write('{"input": "half')
    (out / ".rar-0123456789abcdef.part").write_bytes(b"x")
    (out / "c.webp").unlink()
    rar("restore", folder, out)
    assert len(records(out)) == 4
    assert not list(out.glob("*.part"))


def test_an_unwritable_folder_ends_cleanly(rar, folder, tmp_path):
    (tmp_path / "file").write_text("x")
    assert "file" in rar("restore", folder, tmp_path / "file" / "below", code=2).stderr


@pytest.mark.slow
def test_file_names_with_odd_characters_survive(rar, tmp_path, photo):
    source = tmp_path / "in"
    source.mkdir()
    names = ["grün [bold]x[!].png", "a\nb.png", "-dash.png", "'\"<b>.png"]
    for name in names:
        Image.fromarray(photo).save(source / name)
    raw = os.fsencode(source) + b"/\xff\xfe.png"
    with open(raw, "wb") as file:
        file.write((source / "-dash.png").read_bytes())
    result = rar("restore", source, tmp_path / "out")
    assert {os.fsencode(p.name) for p in (tmp_path / "out").glob("*.png")} == {
        *(n.encode() for n in names), b"\xff\xfe.png",
    }  # fmt: skip
    assert "[bold]" in result.stdout
    assert len(records(tmp_path / "out")) == 5


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_finishes_the_picture_in_hand_and_the_rest_is_resumed(
    folder, tmp_path, photo, weights_dir, number, code
):
    big = np.tile(photo, (6, 6, 1))
    for i in range(150):
        Image.fromarray(big).save(folder / f"n{i:03d}.png")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "rar_cli", "restore", folder, out, "--weights", weights_dir, "--accept", "100"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not (out / "rounds.jsonl").exists() or not (out / "rounds.jsonl").read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert b"Traceback" not in errors
    done = records(out)
    assert 0 < len(done) < 153
    assert all((out / os.path.basename(r["output"])).exists() for r in done)


@pytest.mark.slow
def test_a_wait_for_standard_input_says_that_the_second_signal_ends_it_and_so_it_does(tmp_path, weights_dir):
    command = [sys.executable, "-m", "rar_cli", "restore", "-", tmp_path / "o.png", "--weights", weights_dir]
    terminal, stderr = os.openpty()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=stderr) as process:
        process.stdin.write(bytes(2**20))  # more than a pipe holds: it returns once the command reads
        process.stdin.flush()
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        shown = b""
        while b"Ctrl-C again" not in shown:
            assert select.select([terminal], [], [], 30)[0], shown
            shown += os.read(terminal, 1000)
        process.send_signal(signal.SIGINT)
        process.wait(60)
    errors = os.read(terminal, 10_000) if select.select([terminal], [], [], 0)[0] else b""
    os.close(terminal)
    os.close(stderr)
    assert process.returncode == 130, errors
    assert b"Fatal" not in errors
    assert not (tmp_path / "o.png").exists()


@pytest.mark.parametrize(
    ("given", "spins"),
    [({}, "5000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, None)],
    ids=["not set", "a count of the user's", "a policy of the user's"],
)
def test_waiting_threads_soon_sleep_unless_the_user_says_otherwise(rar, folder, tmp_path, monkeypatch, given, spins):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    rar("restore", folder, tmp_path / "out", "--dry-run")
    assert os.environ.get("GOMP_SPINCOUNT") == spins


def test_help_and_version_answer_without_torch():
    script = (
        "import sys\nfrom typer.testing import CliRunner\nfrom rar_cli.cli import app\n"
        "nowhere = (['restore', 'nowhere', 'out'], ['assess', 'nowhere'])\n"
        "for args in (['--help'], ['--version'], ['restore', '--help'], *nowhere):\n"
        "    CliRunner().invoke(app, args)\n"
        "assert not {'torch', 'transformers', 'diffusers'} & set(sys.modules), 'heavy import'\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.slow
def test_assess_waits_for_no_package_that_only_paper_scale_needs():
    """Each of them takes longer to import than all else that the command does."""
    script = (
        "import sys\nfrom typer.testing import CliRunner\nfrom rar_cli.cli import app\n"
        f"result = CliRunner().invoke(app, ['assess', {str(ROOT / 'samples/degraded/chelsea.png')!r}])\n"
        "assert result.exit_code == 0, result.output\n"
        "assert not {'transformers', 'diffusers', 'scipy', 'torch._dynamo'} & set(sys.modules), 'heavy import'\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_shell_completes_commands():
    environment = {**os.environ, "_RAR_COMPLETE": "complete_bash", "COMP_WORDS": "rar re", "COMP_CWORD": "1"}
    result = subprocess.run([sys.executable, "-m", "rar_cli"], env=environment, capture_output=True, text=True)
    assert "restore" in result.stdout.split()


def test_version_and_module_entry_point():
    result = subprocess.run([sys.executable, "-m", "rar_cli", "--version"], capture_output=True, text=True)
    assert result.stdout == f"rar {__version__}\n"
    assert CliRunner().invoke(app, ["-V"]).stdout == result.stdout
    assert result.returncode == 0


@pytest.mark.slow
def test_stdout_closed_early_is_no_traceback(folder, weights_dir):
    command = f"{sys.executable} -m rar_cli assess {folder} --json --weights {weights_dir} | head -n 1"
    result = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert json.loads(result.stdout)["input"].endswith("a.png")
    assert "Traceback" not in result.stderr
