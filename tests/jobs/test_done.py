"""Done means done: what a second run takes for finished, and what it does not."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from rar_cli.errors import UsageError
from rar_cli.jobs.logs.lock import held
from rar_cli.jobs.logs.log import Known, RoundLog, read_log
from rar_cli.jobs.naming.plan import Shard
from rar_cli.jobs.stream.sinks import There
from rar_cli.pictures.files import sweep, write_bytes
from rar_cli.report.record import PictureRecord
from rar_cli.version import __version__


def records(out):
    return [json.loads(line) for line in (out / "rounds.jsonl").read_text().splitlines()]


def pictures(out):
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*.*") if p.suffix in {".png", ".jpg"}}


ALWAYS = ("--accept", "100", "--max-rounds", "1")

CHANGES = [
    ("--max-rounds", "2"), ("--accept", "99"), ("--only", "rain"), ("--keep", "noise"), ("--steps", "2"),
    ("--self-ensemble",), ("--dtype", "bfloat16"), ("--tile", "256"), ("--batch-size", "1"), ("--quality", "80"),
    ("--no-provenance",), ("--save-rounds",),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change[0])
def test_every_option_that_changes_an_output_is_compared(rar, folder, tmp_path, change):
    out = tmp_path / "out"
    rar("restore", folder, out, *ALWAYS, "--dtype", "float32")
    assert "3 skipped" in rar("restore", folder, out, *ALWAYS, "--dtype", "float32").stdout
    changed = rar("restore", folder, out, *ALWAYS, "--dtype", "float32", *change).stdout
    assert "skipped" not in changed
    assert "3 skipped" in rar("restore", folder, out, *ALWAYS, "--dtype", "float32", *change).stdout


def test_other_weights_and_another_format_under_the_same_name_are_compared(rar, folder, tmp_path, busy, weights_dir):
    one = ("restore", folder / "a.png", tmp_path / "x.png", "--log", tmp_path / "l.jsonl", *ALWAYS)
    rar(*one)
    assert "1 skipped" in rar(*one).stdout
    assert "1 restored" in rar(*one, "--format", "jpg").stdout
    assert (tmp_path / "x.png").read_bytes()[:2] == b"\xff\xd8"
    from rar_cli.weights.manifest import write_manifest

    next(busy.parameters()).data.mul_(1.01)
    busy.save(weights_dir)
    write_manifest(weights_dir, "tiny", "Apache-2.0", "random numbers")
    assert "1 restored" in rar(*one, "--format", "jpg").stdout


@pytest.mark.parametrize("damage", ["same size", "shorter"])
def test_a_damaged_output_is_seen(rar, folder, tmp_path, damage):
    out = tmp_path / "out"
    rar("restore", folder, out, *ALWAYS)
    whole = (out / "b.jpg").read_bytes()
    (out / "b.jpg").write_bytes(whole[:-20] + bytes(20) if damage == "same size" else whole[:-20])
    result = rar("restore", folder, out, *ALWAYS, "--quiet", code=1)
    assert "b.jpg: exists and no round log knows these bytes" in result.stderr
    rar("restore", folder, out, *ALWAYS, "--overwrite")
    assert (out / "b.jpg").read_bytes() == whole


def test_one_output_spelled_otherwise_is_the_same(rar, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rar("restore", "in", "out", *ALWAYS)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "out")
    for spelled in (tmp_path / "out", "./out/", "elsewhere/../out", "link"):
        assert "3 skipped" in rar("restore", "in", spelled, *ALWAYS).stdout
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert "3 skipped" in rar("restore", "../in", "../out", *ALWAYS).stdout
    shutil.move(tmp_path / "out", tmp_path / "moved")
    assert "3 skipped" in rar("restore", "../in", "../moved", *ALWAYS).stdout


def test_in_place_with_a_suffix_takes_only_what_is_new(rar, folder):
    command = ("restore", folder, folder, "--suffix", "_r", *ALWAYS)
    rar(*command)
    made = {"a_r.png", "b_r.jpg", "c_r.webp"}
    assert {p.name for p in folder.glob("*_r*")} == made
    assert "3 skipped" in rar(*command).stdout
    shutil.copy(folder / "a.png", folder / "d.png")
    result = rar(*command)
    assert "1 restored" in result.stdout
    assert "3 skipped" in result.stdout
    rar(*command, "--overwrite")
    assert {p.name for p in folder.glob("*_r*")} == made | {"d_r.png"}


def test_a_photograph_that_only_looks_like_an_output_is_not_written_over(rar, folder):
    mine = (folder / "a.png").read_bytes()
    (folder / "a_r.png").write_bytes(mine)
    for more in ((), ("--overwrite",)):
        result = rar("restore", folder, folder, "--suffix", "_r", *ALWAYS, *more, "--quiet", code=1)
        assert f"{folder / 'a_r.png'}: is an input too" in result.stderr
        assert (folder / "a_r.png").read_bytes() == mine
    assert {p.name for p in folder.glob("*_r.*")} == {"a_r.png", "a_r_r.png", "b_r.jpg", "c_r.webp"}


def test_an_edited_output_in_place_fails_alone(rar, folder):
    command = ("restore", folder, folder, "--suffix", "_r", *ALWAYS)
    rar(*command)
    (folder / "a_r.png").write_bytes((folder / "a.png").read_bytes())
    shutil.copy(folder / "b.jpg", folder / "d.jpg")
    assert "a_r.png: is an input too" in rar(*command, "--quiet", code=1).stderr
    assert (folder / "d_r.jpg").is_file()
    assert (folder / "a_r.png").read_bytes() == (folder / "a.png").read_bytes()


def test_in_place_without_a_suffix_is_refused_before_any_work(rar, folder):
    before = sorted(os.listdir(folder))
    assert "would overwrite an input" in rar("restore", folder, folder, *ALWAYS, code=2).stderr
    assert sorted(os.listdir(folder)) == before


def test_a_dry_run_tells_the_truth_about_finished_work(rar, folder, tmp_path):
    out = tmp_path / "out"
    rar("restore", folder, out, *ALWAYS)
    (out / "a.png").unlink()
    (out / "b.jpg").write_bytes(b"mine")
    before = sorted(os.listdir(out))
    lines = rar("restore", folder, out, *ALWAYS, "--dry-run").stdout.splitlines()
    assert lines == [
        f"{folder / 'a.png'} -> {out / 'a.png'}",
        f"{folder / 'b.jpg'} -> {out / 'b.jpg'} (exists, unknown to the log)",
        f"{folder / 'c.webp'} -> {out / 'c.webp'} (done)",
    ]
    lines = rar("restore", folder, out, *ALWAYS, "--steps", 2, "--dry-run", "--json").stdout.splitlines()
    assert [json.loads(line)["status"] for line in lines] == ["open", "foreign", "open"]
    lines = rar("restore", folder, out, *ALWAYS, "--overwrite", "--dry-run", "--json").stdout.splitlines()
    assert [json.loads(line)["status"] for line in lines] == ["open"] * 3
    assert sorted(os.listdir(out)) == before


# --- logs -----------------------------------------------------------------------------------------


def made(output="out/a.png", digest="d" * 64, size=10, **more):
    return {
        "output": output, "status": "restored", "output_sha256": digest, "output_bytes": size, "input_sha256": "i",
        "options_sha256": "o", **more,
    }  # fmt: skip


def test_logs_of_former_versions_count_by_path_and_size():
    known = Known()
    known.add({k: v for k, v in made().items() if k != "output_sha256"})
    assert known.finished("out/a.png", There("x", 10), "i", "o")
    assert not known.finished("out/a.png", There("x", 11), "i", "o")
    assert not known.finished("out/a.png", There("x", 10), "i", "other")
    assert not known.finished("elsewhere/a.png", There("x", 10), "i", "o")
    assert known.made("out/a.png", There("x", 10))
    assert not known.made("out/a.png", There("x", 11))


def test_a_log_knows_outputs_by_their_bytes():
    known = Known()
    known.add(made())
    known.add(made(digest="f" * 64, status="failed"))
    there = There("d" * 64, 10)
    assert known.made("anywhere", there)
    assert known.finished("anywhere", there, "i", "o")
    assert not known.finished("anywhere", there, "j", "o")
    assert not known.made("out/a.png", There("f" * 64, 10))


def test_logs_that_are_broken_deep_or_endless_are_survived(tmp_path):
    path = tmp_path / "rounds.jsonl"
    good = json.dumps(made()).encode()
    lines = (b"[" * 200_000, b'{"half', b"\xff\xfe", b"7", b"{" * 50_000, b'"' + b"x" * 3 * 2**20, good, b"null")
    path.write_bytes(b"\n".join(lines) + b"\n" + json.dumps({"output": ["x"], "output_sha256": {}}).encode())
    assert [r.get("output") for r in read_log(path)] == ["out/a.png", ["x"]]
    logs = [path, tmp_path / "missing.jsonl", tmp_path, Path("/dev/zero")]
    assert Known.read(logs).made("", There("d" * 64, 1))


def test_a_half_line_is_cut_however_long_the_log(tmp_path, monkeypatch):
    from rar_cli.jobs.logs import log

    monkeypatch.setattr(log, "LINE_BYTES", 16)
    path = tmp_path / "rounds.jsonl"
    whole = (json.dumps(made()) + "\n").encode() * 5
    for rest in (b"", b"{", b'{"input": "half, and longer than a block of them'):
        path.write_bytes(whole + rest)
        with RoundLog(path):
            pass
        assert path.read_bytes() == whole
    path.write_bytes(b"x" * 100)
    with RoundLog(path):
        pass
    assert path.read_bytes() == b""


@pytest.mark.parametrize(("replaces", "shown"), [(True, "replace"), (False, "link")])
def test_each_output_is_in_the_log_before_it_shows_and_on_disk_before_that(tmp_path, monkeypatch, replaces, shown):
    steps = []
    for name in ("fsync", "link", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, name=name, real=real: (steps.append(name), real(*a)))
    with RoundLog(tmp_path / "l.jsonl") as log:
        write_bytes(b"x", tmp_path / "a", ready=lambda: log.write(PictureRecord("a", "b", error="x")) or replaces)
    assert steps == ["fsync", "fsync", shown]


def test_a_log_that_went_away_ends_the_run(tmp_path):
    with RoundLog(tmp_path / "l.jsonl") as log:
        (tmp_path / "l.jsonl").unlink()
        with pytest.raises(UsageError, match="the log has gone"):
            log.write(PictureRecord("a", "b", error="x"))


# --- runs beside each other -------------------------------------------------------------------------


def test_shards_of_one_division_work_beside_each_other_and_nobody_else(tmp_path):
    with held(tmp_path, Shard(1, 2)):
        with held(tmp_path, Shard(2, 2)):
            pass
        for other in (Shard(), Shard(1, 2), Shard(1, 3)):
            with pytest.raises(UsageError, match="another rar is at work"), held(tmp_path, other):
                pass
    with held(tmp_path, Shard()), pytest.raises(UsageError, match="another rar"), held(tmp_path, Shard(2, 2)):
        pass
    with FileLock(tmp_path / "unrelated.lock"), held(tmp_path, Shard()):
        pass


def test_what_another_run_is_writing_is_not_swept_and_what_a_killed_one_left_is(tmp_path):
    script = (
        "import sys, time; from pathlib import Path; from rar_cli.pictures.files import write_bytes\n"
        "def wait(): print('ready', flush=True); time.sleep(60)\n"
        "write_bytes(b'x', Path(sys.argv[1]) / 'deep' / 'a.png', ready=wait)"
    )
    with subprocess.Popen([sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        sweep(tmp_path)
        assert len(list((tmp_path / "deep").glob(".rar-*.part"))) == 1
        process.kill()
        process.wait()
        assert len(list((tmp_path / "deep").glob(".rar-*.part"))) == 1
        sweep(tmp_path)
    assert not list((tmp_path / "deep").iterdir())


def test_a_file_that_only_looks_like_a_leftover_is_not_swept(rar, folder, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    for name in (".rar-notes.part", ".rar-0123456789abcdef.part"):
        (out / name).write_text("mine")
    rar("restore", folder, out)
    assert [p.name for p in out.glob(".rar-*.part")] == [".rar-notes.part"]


@pytest.mark.slow
def test_shards_give_the_bytes_of_the_whole_run(rar, tmp_path, photo):
    source = tmp_path / "many"
    source.mkdir()
    rng = np.random.default_rng(0)
    for i in range(100):
        noisy = rng.integers(0, 256, (32 + 8 * (i % 3), 40, 3), dtype=np.uint8)
        Image.fromarray(noisy).save(source / f"{i:03d}.png")
    rar("restore", source, tmp_path / "whole", *ALWAYS)
    counts = []
    for part in ("1/3", "2/3", "3/3"):
        out = rar("restore", source, tmp_path / "parts", *ALWAYS, "--shard", part, "--json").stdout
        counts.append(len(out.splitlines()))
    assert sum(counts) == 100
    assert all(counts)
    assert pictures(tmp_path / "parts") == pictures(tmp_path / "whole")
    assert "100 skipped" in rar("restore", source, tmp_path / "parts", *ALWAYS).stdout


def test_one_file_as_output_is_known_by_a_named_log_alone(rar, folder, tmp_path):
    better, log = tmp_path / "better.png", tmp_path / "l.jsonl"
    once = ("restore", folder / "a.png", better, *ALWAYS)
    rar(*once)
    before = (better.read_bytes(), better.stat().st_ino)
    assert "use --overwrite or another OUTPUT" in rar(*once, "--quiet", code=1).stderr
    assert json.loads(rar(*once, "--dry-run", "--json").stdout)["status"] == "foreign"
    assert (better.read_bytes(), better.stat().st_ino) == before
    rar(*once, "--overwrite", "--log", log)
    before = (better.read_bytes(), better.stat().st_ino)
    assert "1 skipped" in rar(*once, "--log", log).stdout
    assert (better.read_bytes(), better.stat().st_ino) == before
    better.write_bytes(b"my own work")
    rar(*once, "--log", log, code=1)
    assert better.read_bytes() == b"my own work"


def test_the_log_of_this_version_says_so(rar, folder, tmp_path):
    rar("restore", folder, tmp_path / "out", *ALWAYS)
    assert {(r["schema"], r["version"]) for r in records(tmp_path / "out")} == {(1, __version__)}


def test_a_log_whose_last_line_lost_its_end_keeps_that_record(rar, folder, tmp_path):
    out = tmp_path / "out"
    rar("restore", folder, out, *ALWAYS)
    log = out / "rounds.jsonl"
    log.write_bytes(log.read_bytes().rstrip(b"\n"))  # as an editor saves it
    for _ in range(2):
        assert "3 skipped" in rar("restore", folder, out, *ALWAYS).stdout
    assert len(records(out)) == 3


def test_what_a_killed_run_of_one_file_left_goes_with_the_next_one(rar, folder, tmp_path):
    out, leftover = tmp_path / "out", ".rar-0123456789abcdef.part"
    for place in (out, out / "deeper"):
        place.mkdir()
        (place / leftover).write_bytes(b"half")
    rar("restore", folder / "a.png", out / "x.png", *ALWAYS)
    assert sorted(path.name for path in out.iterdir()) == ["deeper", "x.png"]
    assert (out / "deeper" / leftover).exists()
