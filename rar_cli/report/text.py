"""Text from elsewhere (names of files, servers, manifests) made safe for a terminal."""

from __future__ import annotations


def printable(text: object) -> str:
    """One line that is shown as it is: control characters, line breaks and undecodable bytes are spelled out.

    Nothing in it is a command for the terminal, turns the order of writing round, or begins a line of its own. For a
    table of rich, wrap it in `Text`: markup is shown, too, and never obeyed.
    """
    return "".join(c if c.isprintable() else _spelled(c) for c in str(text))


def _spelled(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
