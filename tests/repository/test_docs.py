"""The documents say what the code does, in short sentences."""

import ast
import inspect
import re
import shlex
import sys
import tomllib
from dataclasses import fields

import pytest
import typer.main

import rar_cli
from rar_cli.bench import NEEDED
from rar_cli.cli import app
from rar_cli.networks.adapters import AssessorParams
from rar_cli.networks.restorer import RestorerParams
from rar_cli.pictures.formats import TABLE
from rar_cli.train.config import Crops, Stage, TrainConfig, load_config, shipped_config
from rar_cli.version import __version__
from scripts import make_docs, prose
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "benchmarks/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "weights/rar-s/README.md",
    ROOT / "LICENSES/README.md",
]
COMMANDS = typer.main.get_command(app).commands


def name_of(path):
    return str(path.relative_to(ROOT))


def blocks(page, kind):
    """The text of each fenced block of a kind; "" is a block of none."""
    return [text for word, text in re.findall(r"^```(\w*)\n(.*?)^```$", page, re.M | re.S) if word == kind]


def rar_lines(page):
    """The words of each `rar` command in the bash blocks of a page."""
    for block in blocks(page, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r"\|\||&&|[|;]", line.split(" #")[0]):
                if part.strip().startswith("rar ") and part.split()[1] in COMMANDS:
                    yield shlex.split(part)


def parse(words):
    """Raise where the command line would not take these words."""
    before_redirection = [w.split(">")[0] for w in words[2:] if not w.startswith((">", "2>"))]
    COMMANDS[words[1]].make_context(words[1], before_redirection)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_readme_and_every_option_among_the_commands(name):
    assert f"`rar {name}" in README
    page = (ROOT / "docs/commands.md").read_text()
    table = page[page.index(f"<!-- options of rar {name} -->") : page.index(f"<!-- end of rar {name} -->")]
    options = [option for parameter in COMMANDS[name].params for option in parameter.opts if option.startswith("--")]
    for option in set(options) - {"--help"}:
        assert re.search(rf"{option}\b", table), f"rar {name} {option}"


def test_option_tables_and_man_page_are_those_of_this_program():
    cure = "run python scripts/make_docs.py"
    page = (ROOT / "docs/commands.md").read_text()
    assert make_docs.with_tables(page) == page, cure
    assert make_docs.man_page() == (ROOT / "docs/man/rar.1").read_text(), cure


def test_nothing_in_the_man_page_is_taken_for_a_request():
    assert make_docs.roff(".PP\na\\fB-b\n'x") == "\\&.PP\na\\efB\\-b\n\\&'x"


EXAMPLES = [(name_of(path), words) for path in PAGES if path.exists() for words in rar_lines(path.read_text())]


@pytest.mark.parametrize(("page", "words"), EXAMPLES, ids=[" ".join(words) for _, words in EXAMPLES])
def test_every_example_parses(page, words):
    try:
        parse(words)
    except (Exception, SystemExit) as error:
        raise AssertionError(f"{page}: {' '.join(words)}: {error}") from error


def test_the_cron_line_needs_no_path_and_no_shell_but_crons():
    (line,) = blocks(README, "cron")
    minute, hour, *_, command = line.strip().split(maxsplit=5)
    assert 0 <= int(minute) < 60
    assert 0 <= int(hour) < 24
    assert "%" not in command, "cron takes it for the end of the line"
    program, *rest = command.split()
    assert program == "$HOME/.local/bin/rar"
    parse(["rar", *(word for word in rest if word not in {">>", "2>&1"} and not word.endswith(".log"))])


def test_ci_finds_the_commands_that_it_runs_in_the_readme():
    for heading, needed in {
        "## Quick start": "rar restore samples/degraded out",
        "## Tests": "python -m pytest",
    }.items():
        after = README[README.index(f"\n{heading}\n") :]
        assert needed in blocks(after, "bash")[0]
        assert heading in (ROOT / ".ci/run").read_text()


def test_the_changelog_and_the_citation_know_the_version():
    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text()
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_the_tree_in_the_readme_has_one_line_for_each_room():
    (tree,) = [block for block in blocks(README, "") if block.startswith("rar_cli/")]
    rooms = {path.parent.name for path in (ROOT / "rar_cli").glob("*/__init__.py")}
    assert set(re.findall(r"^  (\w+)/ ", tree, re.M)) == rooms


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_every_link_leads_to_a_file(path):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text()):
        assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", [ROOT / "docs/design.md", ROOT / "docs/how-to-add.md"], ids=name_of)
def test_every_file_that_is_named_is_there(path):
    for name in re.findall(r"`((?:[a-z][\w-]*/)+[\w.-]*)`", path.read_text()):
        assert (ROOT / name).exists() or (ROOT / "rar_cli" / name).exists(), name


def test_the_readme_has_at_most_1500_words():
    assert len(README.split()) <= 1500


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_sentences_are_short(path):
    assert prose.median(path.read_text()) < 15


def test_help_is_short():
    texts = [text for command in COMMANDS.values() for text in (command.help, *(p.help for p in command.params))]
    assert prose.median("\n\n".join(text or "" for text in texts)) < 15


def test_sentences_are_told_from_code_tables_headings_and_each_other():
    page = "---\nno: no\n---\n# No\n\nOne two. Three `f(x). G` four!\n- Five\n  six.\n\n| no | no |\n\n"
    page += "```bash\nno\n```\n<!-- no -->\n"
    assert prose.sentences(page) == ["One two.", "Three Code four!", "Five six."]
    assert [prose.words(each) for each in prose.sentences(page)] == [2, 3, 2]
    assert prose.median(page) == 2
    assert prose.median("") == 0


def test_nothing_committed_names_a_registry_or_this_machine():
    pattern = re.compile(r"(--index-url|--extra-index-url|pypi\.org/simple|file:///(opt|root|home|work))")
    for path in ROOT.rglob("*"):
        if path.suffix in {".md", ".toml", ".py", ".sh"} and ".venv" not in path.parts and path.name != "test_docs.py":
            assert not pattern.search(path.read_text()), path


def test_every_setting_of_training_that_is_described_is_one():
    """Those of a run, of a stage, of its crops, and of the assessor and the restorer of the small model."""
    owners = {"": TrainConfig, "stage": Stage, "crops": Crops, "assessor": AssessorParams, "restorer": RestorerParams}
    rows = re.findall(r"^\| `(\w+) = ([^`]+)`(?: \((\w+)\))? \|", (ROOT / "docs/training.md").read_text(), re.M)
    assert len(rows) >= 10
    for name, value, owner in rows:
        default = {field.name: field.default for field in fields(owners[owner])}[name]
        shown = tomllib.loads(f"value = {value}")["value"]
        assert type(shown) is type(default), name
        assert shown != default, f"{name}: the page shows what is so anyway"


@pytest.mark.parametrize("name", ["rar-s", "rar-l"])
def test_shipped_configs_hold_settings_and_hardly_a_comment(name):
    path = shipped_config(name)
    assert load_config(path).name == name
    assert sum(line.startswith("#") for line in path.read_text().splitlines()) <= 5


IMPORTED_AS = {
    "Jinja2": "jinja2",
    "Pillow": "PIL",
    "opencv-python-headless": "cv2",
    "pillow-heif": "pillow_heif",
    "pillow-jxl-plugin": "pillow_jxl",
    "ray": "ray",
    "universal_pathlib": "upath",
    **{package: module for module, package in NEEDED.items()},
}


def imported():
    """Top-level names of every import in the package, those within functions too."""
    for path in (ROOT / "rar_cli").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.split(".")[0]


def test_what_is_depended_on_is_what_is_imported():
    extras = PROJECT["project"]["optional-dependencies"]
    needed = PROJECT["project"]["dependencies"] + [
        r for n, rows in extras.items() if n not in {"test", "dev"} for r in rows
    ]
    packages = {re.match(r"[\w-]+", requirement)[0] for requirement in needed}
    modules = {IMPORTED_AS.get(package, package) for package in packages}
    used = {name for name in imported() if name not in sys.stdlib_module_names} - {"rar_cli"}
    by_name = {"pywt"} | {row.module for row in TABLE if row.module}  # scikit-image imports the first one
    optional = {"albumentations", "torchvision"}  # taken where they are there
    assert modules - used == by_name
    assert used - modules <= optional


def test_every_entry_point_leads_to_the_same_program():
    assert PROJECT["project"]["scripts"] == {"rar": "rar_cli.cli:app", "rar-cli": "rar_cli.cli:app"}


def test_the_wheel_takes_the_weights_and_leaves_the_ledger():
    taken = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    weights = {name for name in taken if name.startswith("weights/")}
    there = {name_of(path) for path in (ROOT / "weights/rar-s").iterdir()}
    assert weights == there - {"weights/rar-s/training.jsonl"}


def test_every_link_from_the_code_to_a_decision_leads_to_its_heading():
    headings = re.findall(r"^#+ (.+)$", (ROOT / "docs/decisions.md").read_text(), re.M)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    files = [*(ROOT / "rar_cli").rglob("*.py"), *(ROOT / "rar_cli").rglob("*.toml"), *PAGES]
    for path in files:
        for anchor in re.findall(r"decisions\.md#([\w-]+)", path.read_text()):
            assert anchor in anchors, f"{name_of(path)}: {anchor}"


def test_the_image_runs_offline_as_an_ordinary_user():
    image = (ROOT / "Dockerfile").read_text()
    last = image[image.rindex("\nFROM ") :]
    assert "-slim" in last.split("\n")[1]
    assert "HF_HUB_OFFLINE=1" in last
    assert last.index("USER rar") < last.index("ENTRYPOINT")
    assert "docs/man" not in (ROOT / ".dockerignore").read_text(), "the wheel needs the man page"


def test_the_page_on_python_names_what_is_there():
    page = (ROOT / "docs/python.md").read_text()
    for block in blocks(page, "python"):
        compile(block, "docs/python.md", "exec")
    arguments, attributes = re.findall(r"\| (?:argument|attribute) \|.*?\n\|---\|---\|\n(.*?)\n\n", page, re.S)
    given = set(re.findall(r"^\| (.+?) \|", arguments, re.M))
    named = {name for cell in given for name in re.findall(r"`(\w+)`", cell)}
    assert named == set(inspect.signature(rar_cli.restore).parameters) - {"source"}
    for cell in re.findall(r"^\| (.+?) \|", attributes, re.M):
        for name in re.findall(r"`(\w+)", cell):
            assert name in dir(rar_cli.Restored) or name in {f.name for f in fields(rar_cli.Restored)}, name


def test_every_benchmark_is_in_the_table_of_its_folder():
    page = (ROOT / "benchmarks/README.md").read_text()
    for path in (ROOT / "benchmarks").rglob("*.py"):
        if "\ndef main(" in path.read_text():
            assert f"python {name_of(path)}" in page, name_of(path)
