"""Mark the tests that took too long for scripts/check, from pytest's own table of durations.

    python -m pytest -m "not slow" --durations=0 --durations-min=0.5 | tee durations.txt
    python scripts/mark_slow.py durations.txt --seconds 2

Adds `@pytest.mark.slow` above each such test. A parametrised test counts with all its cases.
"""

import argparse
import ast
import re
from collections import Counter
from pathlib import Path

LINE = re.compile(r"^([\d.]+)s (?:call|setup) +(tests/[\w/]+\.py)::(?:\w+::)*(\w+)", re.M)
MARK = "@pytest.mark.slow"


def slow_tests(table: str, seconds: float) -> dict[Path, set[str]]:
    """File -> names of the tests that took at least so many seconds."""
    took: Counter[tuple[str, str]] = Counter()
    for length, path, name in LINE.findall(table):
        took[path, name] += float(length)
    found: dict[Path, set[str]] = {}
    for (path, name), length in took.items():
        if length >= seconds:
            found.setdefault(Path(path), set()).add(name)
    return found


def marked(source: str, names: set[str]) -> str:
    """The source with the marker above those of the named tests that lack it."""
    lines = source.splitlines(keepends=True)
    tests = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef) and node.name in names]
    for node in reversed(tests):
        if MARK not in {f"@{ast.unparse(each)}" for each in node.decorator_list}:
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            lines.insert(first - 1, f"{MARK}\n")
    return "".join(lines)


def main() -> None:
    """Mark and say how many."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("durations", type=Path)
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args()
    for path, names in sorted(slow_tests(options.durations.read_text(), options.seconds).items()):
        before = path.read_text()
        after = marked(before, names)
        path.write_text(after)
        print(f"{path}: {after.count(MARK) - before.count(MARK)} marked")


if __name__ == "__main__":
    main()
