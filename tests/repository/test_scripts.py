"""Small tools of the repository."""

from pathlib import Path

from scripts.mark_slow import marked, slow_tests

TABLE = """
1.50s call     tests/test_a.py::test_one[x]
1.00s setup    tests/test_a.py::test_one[y]
1.90s call     tests/test_a.py::test_two
9.00s teardown tests/test_a.py::test_two
"""


def test_slow_tests_are_those_whose_cases_took_long_together():
    assert slow_tests(TABLE, 2.0) == {Path("tests/test_a.py"): {"test_one"}}


def test_a_slow_test_is_marked_once_above_its_decorators():
    source = "import pytest\n\n\n@pytest.fixture\ndef test_one():\n    pass\n\n\ndef test_two():\n    pass\n"
    once = marked(source, {"test_one"})
    assert once == source.replace("@pytest.fixture", "@pytest.mark.slow\n@pytest.fixture")
    assert marked(once, {"test_one"}) == once
