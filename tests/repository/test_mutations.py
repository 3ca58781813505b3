"""The list of mutations is one: enough lines, each there once; and the script says so where they are not."""

import importlib.util
import sys

import pytest

from tests.conftest import ROOT

PATH = ROOT / "benchmarks" / "reliability" / "mutations.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("mutations", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules["mutations"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["mutations"]


def test_every_line_to_change_is_there(script):
    """Where a line has moved: write it anew in mutations.toml, and run the script."""
    mutations = script.read(PATH.with_suffix(".toml"))
    assert len(mutations) >= 25
    assert script.check(mutations, ROOT) == []


def test_the_tests_that_must_notice_are_there(script):
    for mutation in script.read(PATH.with_suffix(".toml")):
        for path in mutation.tests.partition(" -k ")[0].split():
            assert (ROOT / path).is_file(), mutation.name


@pytest.mark.parametrize("old", ["nowhere", "a", "x = 1"], ids=["gone", "several", "unchanged"])
def test_a_line_that_is_not_there_once_or_not_changed_is_said(script, tmp_path, old):
    (tmp_path / "f.py").write_text("a = a\nx = 1\n")
    mutation = script.Mutation("name", "f.py", old, "x = 1", "")
    (fault,) = script.check([mutation], tmp_path)
    assert "name" in fault
    assert old in fault
    with pytest.raises(LookupError):
        mutation.applied("a = a\nx = 1\n")


@pytest.mark.slow
def test_what_is_noticed_missed_and_broken(script, tmp_path):
    (tmp_path / "f.py").write_text("A = 1\nB = 2\n")
    (tmp_path / "test_f.py").write_text("from f import A\n\n\ndef test_a():\n    assert A == 1\n")
    rows = [("one", "A = 1", "A = 2"), ("two", "B = 2", "B = 3"), ("three", "A = 1", "C = 1")]
    mutations = [script.Mutation(name, "f.py", old, new, "test_f.py -k a") for name, old, new in rows]
    results = list(script.run(mutations, tmp_path))
    assert [result.verdict for result in results] == ["noticed", "missed", "broken"]
    assert (tmp_path / "f.py").read_text() == "A = 1\nB = 2\n"
    assert "3 mutations: 1 noticed, 1 missed, 1 broken." in script.page(results)
    nothing = [script.Mutation("none", "f.py", "A = 1", "A = 2", "test_f.py -k nothing_of_that_name")]
    assert [result.verdict for result in script.run(nothing, tmp_path)] == ["broken"]
