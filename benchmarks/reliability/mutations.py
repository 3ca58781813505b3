"""Lines that matter, changed one at a time: does a test notice?

    python benchmarks/reliability/mutations.py --out docs/mutations.md

Each mutation of mutations.toml is applied in a copy of the tree, and its tests are run there. First the same tests run
on the copy as it is. Exits with 1 where a mutation is missed or a test fails without one, with 2 where a line to change
is no longer there.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

LEFT_OUT = shutil.ignore_patterns(".git", "__pycache__", ".*_cache", ".hypothesis", "out", "training")

PASSED, FAILED = 0, 1
"""Exit codes of pytest."""

LIMIT_S = 300


@dataclass(frozen=True)
class Mutation:
    """One change of one line. old: stands exactly once in `file`. tests: arguments of pytest."""

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
    """What became of a mutation: noticed, missed, or broken where pytest could not say."""

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


def run_tests(root: Path, tests: str) -> int:
    """Exit code of pytest in a tree; that of a failed test where it takes too long."""
    command = [sys.executable, "-B", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *_words(tests)]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        return FAILED
    return done.returncode


def _words(tests: str) -> list[str]:
    paths, _, chosen = tests.partition(" -k ")
    return [*paths.split(), *(["-k", chosen] if chosen else [])]


def run(mutations: Sequence[Mutation], root: Path) -> Iterator[Result]:
    """Apply each mutation in a tree, run its tests, take it back."""
    whole = {tests: run_tests(root, tests) == PASSED for tests in dict.fromkeys(m.tests for m in mutations)}
    for mutation in mutations:
        path = root / mutation.file
        text = path.read_text()
        started = time.perf_counter()
        path.write_text(mutation.applied(text))
        try:
            code = run_tests(root, mutation.tests)
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
        "Each row changes one line that matters. A test must fail by it. Written by\n"
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
        for result in run(chosen, tree):
            print(f"{result.verdict:8} {result.seconds:5.1f} s  {result.mutation.name}", flush=True)
            results.append(result)
    if options.out is not None:
        options.out.write_text(page(results))
    return int(any(result.verdict != "noticed" for result in results))


if __name__ == "__main__":
    sys.exit(main())
