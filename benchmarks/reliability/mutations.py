"""Breaks important lines, one at a time: does a test notice?

    python benchmarks/reliability/mutations.py --out docs/mutations.md

Each mutation of mutations.toml is applied in a copy of the tree, and its tests are run there. First the same tests run
on the copy as it is. Exits with 1 where a mutation is missed or a test fails without one, with 2 where a line to change
is no longer there.
"""

import argparse
import compileall
import importlib
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

LEFT_OUT = shutil.ignore_patterns(".git", "__pycache__", ".*_cache", ".hypothesis", "out", "training")

PASSED, FAILED = 0, 1
"""Exit codes of pytest."""

LIMIT_S = 90
"""Of one mutation's tests; those that end no more have noticed."""

WHOLE_LIMIT_S = 1200
"""Of all tests together."""


@dataclass(frozen=True)
class Mutation:
    """One change of one line. old: stands exactly once in `file`. tests: "FILE -k NAMES", as pytest takes them."""

    name: str
    file: str
    old: str
    new: str
    tests: str

    def applied(self, text: str) -> str:
        """The text of `file` with the change. Raises LookupError where there is not one such line."""
        count = text.count(self.old)
        if count != 1 or self.old == self.new:
            raise LookupError(f"{self.name}: {count} times in {self.file}: {self.old!r}")
        return text.replace(self.old, self.new)


@dataclass(frozen=True)
class Result:
    """The result of a mutation: noticed, missed, or broken where pytest could not run."""

    mutation: Mutation
    verdict: str
    seconds: float


def read(path: Path) -> list[Mutation]:
    """The mutations of a file. Raises TypeError on unknown or missing keys."""
    return [Mutation(**table) for table in tomllib.loads(path.read_text())["mutation"]]


def check(mutations: Sequence[Mutation], root: Path) -> list[str]:
    """What is wrong with the list: lines that are not there, names that stand twice."""
    faults = []
    for mutation in mutations:
        try:
            mutation.applied((root / mutation.file).read_text())
        except (LookupError, OSError) as error:
            faults.append(str(error))
    names = [mutation.name for mutation in mutations]
    return faults + [f"{name}: stands twice" for name in sorted({n for n in names if names.count(n) > 1})]


def load_packages() -> None:
    """Import what the tests need, and forget rar itself: processes forked from here begin with the packages loaded."""
    sys.path.insert(0, str(ROOT))
    importlib.import_module("tests.conftest")
    for name in [name for name in sys.modules if name.split(".")[0] in {"rar_cli", "tests"}]:
        del sys.modules[name]
    sys.path.remove(str(ROOT))


def run_tests(root: Path, tests: Sequence[str], limit_s: float = LIMIT_S) -> int:
    """Exit code of pytest in a tree for the tests of some mutations; that of a failed test where it takes too long."""
    paths = dict.fromkeys(path for each in tests for path in each.partition(" -k ")[0].split())
    names = dict.fromkeys(each.partition(" -k ")[2] for each in tests)
    quiet = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # the packages were imported before pytest began
    command = ["-q", "-x", "-p", "no:cacheprovider", *quiet, *paths, "-k", " or ".join(names)]
    process = multiprocessing.get_context("fork").Process(target=_pytest, args=(root, command))
    process.start()
    process.join(limit_s)
    if process.exitcode is None:
        process.kill()
        process.join()
        return FAILED
    return process.exitcode


def _pytest(root: Path, command: Sequence[str]) -> None:
    """Run pytest in this process, silently, and end it."""
    os.chdir(root)
    sys.path.insert(0, str(root))
    sys.dont_write_bytecode = True  # a file that changes twice in a second would be taken for the same
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    os._exit(int(pytest.main(list(command))))


def run(mutations: Sequence[Mutation], root: Path) -> Iterator[Result]:
    """Apply each mutation in a tree, run its tests, take it back."""
    chosen = list(dict.fromkeys(mutation.tests for mutation in mutations))
    together = run_tests(root, chosen, WHOLE_LIMIT_S) == PASSED  # all at once, else one by one
    whole = {tests: together or run_tests(root, [tests]) == PASSED for tests in chosen}
    for mutation in mutations:
        path = root / mutation.file
        text = path.read_text()
        started = time.perf_counter()
        path.write_text(mutation.applied(text))
        try:
            code = run_tests(root, [mutation.tests])
        finally:
            path.write_text(text)
        verdict = {PASSED: "missed", FAILED: "noticed"}.get(code, "broken") if whole[mutation.tests] else "broken"
        yield Result(mutation, verdict, time.perf_counter() - started)


def page(results: Sequence[Result]) -> str:
    """The results as a page of Markdown."""
    counts = {verdict: sum(r.verdict == verdict for r in results) for verdict in ("noticed", "missed", "broken")}
    listed = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    rows = "".join(
        f"| {r.mutation.name} | `{r.mutation.file}` | `{r.mutation.tests}` | {r.verdict} |\n" for r in results
    )
    return (
        "# Mutations\n\n"
        "Each row breaks one important line of the code. A test must then fail. Written by\n"
        "`python benchmarks/reliability/mutations.py --out docs/mutations.md`.\n\n"
        f"{len(results)} mutations: {listed}.\n\n"
        "| What is broken | File | Tests | Result |\n|---|---|---|---|\n" + rows
    )


def main() -> int:
    """Check the list, run it, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write the results here, as Markdown")
    parser.add_argument("--only", default="", help="only mutations with this in their name or file")
    options = parser.parse_args()
    mutations = read(Path(__file__).with_suffix(".toml"))
    faults = check(mutations, ROOT)
    if faults:
        print("\n".join(faults), file=sys.stderr)
        return 2
    chosen = [m for m in mutations if options.only in m.name or options.only in m.file]
    results = []
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(ROOT, tree, ignore=LEFT_OUT)
        compileall.compile_dir(tree / "rar_cli", quiet=1)
        load_packages()
        for result in run(chosen, tree):
            print(f"{result.verdict:8} {result.seconds:5.1f} s  {result.mutation.name}", flush=True)
            results.append(result)
    if options.out is not None:
        options.out.write_text(page(results))
    return int(any(result.verdict != "noticed" for result in results))


if __name__ == "__main__":
    sys.exit(main())
