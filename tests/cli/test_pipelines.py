"""Every example of docs/commands.md that needs nothing but pictures, and the README's cron line, in a real shell."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT

pytestmark = pytest.mark.slow

ELSEWHERE = ("--engine ray", "s3://", "someone/", "--shard")
"""Examples that need a cluster, a store or a hub, or that leave a picture to other machines."""

COMMANDS = (ROOT / "docs" / "commands.md").read_text()
LINES = [line for block in re.findall(r"^```bash\n(.*?)^```", COMMANDS, re.M | re.S) for line in block.splitlines()]
EXAMPLES = [
    line for line in LINES if re.search(r"\bin/|photo\.jpg", line) and not any(each in line for each in ELSEWHERE)
]
CRON = re.findall(r"^```cron\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)[0].split(maxsplit=5)[5].strip()


@pytest.fixture
def shell(tmp_path, photo):
    """A working folder with photo.jpg and in/, and `rar` on the path; runs a line of bash."""
    (tmp_path / "bin").mkdir()
    rar = tmp_path / "bin" / "rar"
    rar.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m rar_cli "$@"\n')
    rar.chmod(0o755)
    noisy = np.clip(photo + np.random.default_rng(0).normal(0, 25, photo.shape), 0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(tmp_path / "photo.jpg")
    for folder in ("in", "archive/new/below"):
        (tmp_path / folder).mkdir(parents=True)
        Image.fromarray(noisy).save(tmp_path / folder / "a.png")
        Image.fromarray(photo).save(tmp_path / folder / "b.jpg")
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"

    def run(line):
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", line], cwd=tmp_path, env={**os.environ, "PATH": path},
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    return run


@pytest.mark.parametrize("line", EXAMPLES)
def test_the_example_runs_as_it_stands(shell, line):
    result = shell(line)
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr


def test_the_streamed_picture_is_a_whole_one(shell, tmp_path):
    shell("cat photo.jpg | rar restore - - --format png > better.png")
    with Image.open(tmp_path / "better.png") as image:
        image.load()
        assert image.format == "PNG"


def test_json_goes_to_stdout_alone(shell, tmp_path):
    result = shell("rar restore in/ out/ --json --quiet > records.jsonl")
    assert result.stdout == ""
    lines = (tmp_path / "records.jsonl").read_text().splitlines()
    assert [json.loads(line)["status"] in {"restored", "accepted"} for line in lines] == [True, True]


def test_the_cron_line_runs_twice_and_the_second_time_has_nothing_to_do(shell, tmp_path):
    line = (
        CRON.replace("$HOME/.local/bin/rar", "rar").replace("$HOME", str(tmp_path)).replace("/photos", "/archive/new")
    )
    assert shell(line).returncode == 0
    restored = tmp_path / "restored" / "below" / "a.png"
    before = restored.stat().st_mtime_ns
    assert shell(line).returncode == 0
    assert restored.stat().st_mtime_ns == before
    assert (tmp_path / "rar.log").exists()
