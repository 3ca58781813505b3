"""The example notebook runs, cell by cell, as a reader would run it."""

import json

import pytest

from tests.conftest import ROOT

NOTEBOOK = json.loads((ROOT / "docs" / "example.ipynb").read_text())


@pytest.mark.slow
@pytest.mark.weights
def test_the_example_notebook_runs(tmp_path, monkeypatch, capsys):
    (tmp_path / "samples").symlink_to(ROOT / "samples")
    monkeypatch.chdir(tmp_path)
    names = {}
    for cell in NOTEBOOK["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    assert (tmp_path / "better.jpg").exists()
    assert "before" in names["result"]._repr_html_() or names["result"].accepted
    assert "<Restored samples/degraded/chelsea.png, " in capsys.readouterr().out


def test_the_notebook_is_kept_without_outputs():
    assert all(not cell.get("outputs") for cell in NOTEBOOK["cells"])
