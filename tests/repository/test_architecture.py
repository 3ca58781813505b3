"""The house rules, read from the syntax tree: imports run downwards, no prints, files and functions of one size."""

import ast
import re
import sys
from functools import cache

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "rar_cli"
FILES = sorted(PACKAGE.rglob("*.py"))

FLOORS = [
    {"errors", "types", "version"},
    {"compute", "loop", "pictures", "synthesis", "weights"},
    {"networks"},
    {"engine"},
    {"report", "train"},
    {"bench"},
    {"jobs"},
    {"api", "cli"},
    {"__main__", "__init__"},
]
"""From the ground up; a room imports from itself and from the floors below."""

FILE_LINES, FUNCTION_LINES, PARAMETERS = 250, 60, 6
"""The most that a file, a function and a signature may have; commands apart, whose parameters are their options."""


@cache
def tree_of(path):
    return ast.parse(path.read_text())


@cache
def nodes_of(path):
    return tuple(ast.walk(tree_of(path)))


def module_of(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def floor_of(name):
    return next(i for i, floor in enumerate(FLOORS) if name in floor)


def imports(path):
    for node in nodes_of(path):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "rar_cli":
            parts = node.module.split(".")
            yield from [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from (a.name.split(".")[1] for a in node.names if a.name.startswith("rar_cli."))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_downwards(path):
    own = module_of(path)
    if path == PACKAGE / "__init__.py":
        return
    for name in imports(path):
        assert name == own or floor_of(name) < floor_of(own), f"{own} imports {name}, which is not below it"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_have_one_size_a_docstring_and_no_stray_print(path):
    tree = tree_of(path)
    assert ast.get_docstring(tree), "a module says what it is"
    assert len(path.read_text().splitlines()) <= FILE_LINES
    printing = [n for n in nodes_of(path) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "print"]
    assert not printing or path.stem == "progress"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_functions_are_short_and_take_few_parameters(path):
    for node in nodes_of(path):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            command = module_of(path) in {"api", "cli"}  # the rim: options that people name
            begin = node.body[0].lineno if command else node.lineno
            assert (node.end_lineno or 0) - begin < FUNCTION_LINES, node.name
            given = [a for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs) if a.arg != "self"]
            assert command or len(given) <= PARAMETERS, f"{node.name}: {len(given)} parameters"


def test_the_floors_in_the_design_are_these():
    page = (ROOT / "docs/design.md").read_text()
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", page, re.M)
    shown = {int(floor): set(re.findall(r"`(\w+)(?:\.py|/)`", rooms)) for floor, rooms in rows}
    assert shown == {place + 1: floor - {"version"} for place, floor in enumerate(FLOORS[:-1])}


def test_only_the_networks_name_transformers_and_diffusers():
    for path in FILES:
        heavy = {
            (a.name if isinstance(n, ast.Import) else n.module or "").split(".")[0]
            for n in nodes_of(path)
            if isinstance(n, ast.Import | ast.ImportFrom)
            for a in n.names
        } & {"transformers", "diffusers"}
        assert not heavy or path.stem in {"codec", "assessor", "restorer"}, path


def test_nothing_is_unpickled_but_training_checkpoints_with_weights_only():
    for path in FILES:
        text = path.read_text()
        assert "import pickle" not in text
        for line in text.splitlines():
            if "torch.load(" in line:
                assert "weights_only=True" in line


def test_what_python_calls_names_no_option_of_the_command_line():
    shared = ("api", "compute", "engine", "loop", "networks", "pictures")
    for path in (*(p for name in shared for p in (PACKAGE / name).rglob("*.py")), PACKAGE / "types.py"):
        for node in nodes_of(path):
            if isinstance(node, ast.Raise) or (isinstance(node, ast.Call) and "warnings" in ast.unparse(node.func)):
                said = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
                assert not re.search(r"(^|\s)--\w", " ".join(said)), f"{path}:{node.lineno}: {said}"


def test_the_public_names_exist():
    import rar_cli

    for name in rar_cli.__all__:
        assert getattr(rar_cli, name)
    assert callable(rar_cli.restore)
    assert callable(rar_cli.load)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = rar_cli.nothing
    assert sys.version_info >= (3, 11)
