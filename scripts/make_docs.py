"""Make the option tables and the man page from the help of the commands.

    python scripts/make_docs.py            # after any change of a command or an option
    python scripts/make_docs.py --check    # exit 1 where a document is out of date

Tables go between the markers of docs/commands.md; the man page is docs/man/rar.1.
"""

import argparse
import re
import sys
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_type_hints

import typer.main

from rar_cli.cli import app
from rar_cli.version import __version__

ROOT = Path(__file__).parent.parent
GROUP: Any = typer.main.get_command(app)
LEFT_OUT = {"--help", "--show-completion"}


def parameters(command: Any) -> list[tuple[str, str]]:
    """(how it is written, what it means) for each argument and option of a command."""
    shown = [p for p in command.params if not LEFT_OUT & set(p.opts) and not p.hidden]
    kinds = get_type_hints(command.callback)
    return [(written(parameter, kinds.get(parameter.name, str)), meaning(parameter)) for parameter in shown]


def written(parameter: Any, annotation: Any) -> str:
    """`INPUT...`, `--tile PX`, `-r, --recursive`."""
    kind = plain(annotation)
    choices = "|".join(each.value for each in kind) if issubclass(kind, Enum) else ""
    value = parameter.metavar or choices or {int: "N", float: "X", Path: "PATH"}.get(kind, "TEXT")
    if parameter.param_type_name == "argument":
        return str(value)
    names = ", ".join(sorted(parameter.opts, key=len))
    return names if parameter.is_flag else f"{names} {value}"


def plain(annotation: Any) -> type:
    """`list[Path] | None` -> Path."""
    inner = [each for each in get_args(annotation) if each is not type(None)]
    return plain(inner[0]) if inner else annotation


def meaning(parameter: Any) -> str:
    """Its help, and its default where that says something."""
    text = " ".join((parameter.help or "").split())
    default = parameter.default
    value = getattr(default, "value", default)
    shown = isinstance(value, str | int | float | Path) and not isinstance(value, bool) and str(value)
    return f"{text} Default: {value}." if shown and "efault" not in text else text


def table(command: Any) -> str:
    """The parameters of a command as Markdown."""
    cells = [(f"`{name}`".replace("|", "\\|"), text.replace("|", "\\|")) for name, text in parameters(command)]
    return "\n".join(["| option | meaning |", "|---|---|", *(f"| {name} | {text} |" for name, text in cells)])


def with_tables(page: str) -> str:
    """The page with every table between its markers made anew."""
    for name, command in {"rar": GROUP, **{f"rar {n}": c for n, c in GROUP.commands.items()}}.items():
        begin, end = f"<!-- options of {name} -->", f"<!-- end of {name} -->"
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.S)
        if len(pattern.findall(page)) != 1:
            raise SystemExit(f"docs/commands.md: needs {begin} and {end} once")
        made = f"{begin}\n{table(command)}\n{end}"
        page = pattern.sub(lambda _, made=made: made, page)
    return page


def roff(text: str) -> str:
    """Text -> roff, nothing of it taken for a request."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join(f"\\&{line}" if line[:1] in {".", "'"} else line for line in text.splitlines())


def man_page() -> str:
    """rar(1)."""
    lines = [f'.TH RAR 1 "" "rar {__version__}" "User Commands"', ".SH NAME", roff(f"rar - {first_line(GROUP)}")]
    lines += [".SH SYNOPSIS", ".B rar", ".I COMMAND", "[options]", ".SH DESCRIPTION", roff(GROUP.help or "")]
    lines += listed(GROUP)
    for name, command in GROUP.commands.items():
        lines += [f".SH RAR {roff(name.upper())}", roff(" ".join((command.help or "").split()))]
        lines += listed(command)
        if command.epilog:
            lines += [".PP", ".nf", roff(command.epilog), ".fi"]
    lines += [".SH EXIT STATUS", roff(" ".join((GROUP.epilog or "").removeprefix("Exit codes:").split()))]
    lines += [".SH FILES", ".TP", ".I OUTPUT/rounds.jsonl", "One JSON line for each picture: the round log."]
    lines += [".SH ENVIRONMENT", ".TP", ".B RAR_WEIGHTS", "Folder of downloaded weights."]
    lines += [".TP", ".B HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE", "As huggingface_hub reads them."]
    return "\n".join(lines) + "\n"


def first_line(command: Any) -> str:
    return " ".join((command.help or "").split()).split(". ")[0].rstrip(".")


def listed(command: Any) -> list[str]:
    """The parameters of a command as a tagged list."""
    return [line for name, text in parameters(command) for line in (".TP", f".B {roff(name)}", roff(text))]


def main() -> None:
    """Write or check both documents."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    commands, man = ROOT / "docs/commands.md", ROOT / "docs/man/rar.1"
    wanted = {commands: with_tables(commands.read_text()), man: man_page()}
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    for path in stale:
        if check:
            print(f"{path.relative_to(ROOT)} is out of date: run python scripts/make_docs.py")
        else:
            path.write_text(wanted[path])
    sys.exit(1 if check and stale else 0)


if __name__ == "__main__":
    main()
