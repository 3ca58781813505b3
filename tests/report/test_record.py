"""Records: what every command prints and logs fits its JSON Schema, and a picture without a number has none."""

import json
import math
from dataclasses import FrozenInstanceError

import pytest
import torch
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from rar_cli.cli import app
from rar_cli.report.record import AssessmentRecord, PictureRecord, Subject
from rar_cli.types import DEGRADATIONS, Restoration, Round, Verdict
from tests.conftest import ROOT


def schema(name):
    return Draft202012Validator(json.loads((ROOT / "docs" / "schema" / f"{name}.schema.json").read_text()))


def restoration(score=50.0, severity=0.1, best=1):
    severities = dict.fromkeys(DEGRADATIONS, severity)
    rounds = (
        Round(0, 40.0, severities, Verdict.REPEAT, "below", 0.1),
        Round(1, score, severities, Verdict.EXHAUSTED, "used", 0.2),
    )
    return Restoration(rounds, best, torch.zeros(1))


def test_a_record_is_made_once_and_what_happens_later_makes_another():
    subject = Subject("a.png", "out/a.png", (4, 6), "tiny", "0" * 64, "1" * 64, "2" * 16)
    record = PictureRecord.of(subject, restoration(), 1.23456)
    assert (record.status, record.stop, record.best_round, record.seconds) == ("restored", "exhausted", 1, 1.2346)
    assert (record.width, record.height, record.pixels) == (6, 4, 24)
    written = record.written(10, "3" * 64, ["dropped"])
    assert (written.output_bytes, written.output_sha256, written.warnings) == (10, "3" * 64, ("dropped",))
    failed = written.failed("no room")
    assert (failed.status, failed.error, failed.output_sha256) == ("failed", "no room", None)
    assert record.output_sha256 is None
    with pytest.raises(FrozenInstanceError):
        record.status = "failed"
    for each in (written, failed, PictureRecord.of(subject).skipped()):
        schema("record").validate(json.loads(each.to_json()))
        assert PictureRecord.from_json(json.loads(each.to_json())) == each


@pytest.mark.parametrize("broken", [{"score": math.nan}, {"severity": math.inf}, {"score": -math.inf}])
def test_what_is_no_number_makes_no_record(broken):
    with pytest.raises(ValueError, match="check the weights"):
        PictureRecord.of(Subject("a.png"), restoration(**broken))


def test_the_schema_refuses_what_no_record_is():
    good = PictureRecord.of(Subject("a.png", "b.png", (4, 6)), restoration()).written(1, "3" * 64, ()).as_dict()
    assert schema("record").is_valid(good)
    for key in good:
        assert not schema("record").is_valid({k: v for k, v in good.items() if k != key}), key
    assert not schema("record").is_valid({**good, "output_sha256": None})
    assert not schema("record").is_valid({**good, "status": "failed"})
    assert not schema("assess").is_valid(AssessmentRecord("a.png").as_dict())


def test_what_the_commands_print_and_log_fits_the_schemas(folder, tmp_path, weights_dir):
    (folder / "bad.png").write_bytes(b"x")
    out = tmp_path / "out"
    common = ["--weights", str(weights_dir), "--json"]
    lines = []
    for _ in range(2):  # restored and failed, then skipped and failed
        result = CliRunner().invoke(app, ["restore", str(folder), str(out), "--accept", "100", *common])
        assert result.exit_code == 1, result.output
        lines += [json.loads(line) for line in result.stdout.splitlines()]
    lines += [json.loads(line) for line in (out / "rounds.jsonl").read_text().splitlines()]
    assert {line["status"] for line in lines} >= {"restored", "failed", "skipped"}
    for line in lines:
        schema("record").validate(line)
    assessed = []
    for extra in ([], ["--explain"]):
        result = CliRunner().invoke(app, ["assess", str(folder), *common, *extra])
        assessed += [json.loads(line) for line in result.stdout.splitlines()]
    assert len(assessed) == 8
    for line in assessed:
        schema("assess").validate(line)
