"""Pictures of one row or one column, as long as a JPEG may be, beside others."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from rar_cli.cli import app


@pytest.mark.slow
def test_a_picture_of_one_column_works_or_fails_alone(tmp_path, weights_dir):
    here, out = tmp_path / "in", tmp_path / "out"
    here.mkdir()
    rng = np.random.default_rng(0)
    for name, size in (
        ("tall.png", (65000, 1)),
        ("wide.png", (1, 65000)),
        ("photo.png", (40, 40)),
        ("dot.png", (1, 1)),
    ):
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(here / name)
    common = ["--weights", str(weights_dir), "--max-rounds", "1", "--accept", "100", "--quiet"]
    done = CliRunner().invoke(app, ["restore", str(here), str(out), *common])
    records = [json.loads(line) for line in (out / "rounds.jsonl").read_text().splitlines()]
    assert len(records) == 4
    failed = [record for record in records if record["status"] == "failed"]
    assert done.exit_code == (1 if failed else 0), done.output
    assert all(record["error"].startswith(record["input"]) for record in failed)
    for record in records:
        if record["status"] != "failed":
            with Image.open(record["output"]) as after, Image.open(record["input"]) as before:
                assert after.size == before.size
    assert {"photo.png", "dot.png"} <= {record["input"].rsplit("/", 1)[1] for record in records} - {
        record["input"].rsplit("/", 1)[1] for record in failed
    }
