"""How long the sentences of a Markdown page are. Code, tables and headings do not count.

    python scripts/prose.py README.md docs/*.md

Prints sentences, median, nine in ten and the longest, in words; then the three longest sentences.
"""

import re
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

LIST_ITEM = re.compile(r"([-*+]|\d+\.)\s+")
END = re.compile(r"(?<=[.!?])[)\"*]*\s+(?=[A-Z0-9`*\"(\[~-])")


def sentences(page: str) -> list[str]:
    """The sentences of a Markdown page, in order; an item of a list begins a new one."""
    return [sentence for text in paragraphs(page) for sentence in END.split(text) if re.search(r"[A-Za-z]", sentence)]


def paragraphs(page: str) -> Iterator[str]:
    """Runs of prose, each on one line: without front matter, code blocks, tables, headings, pictures, comments."""
    page = re.sub(r"\A---\n.*?^---\n|^```.*?^```|<!--.*?-->", "", page, flags=re.S | re.M)
    gathered: list[str] = []
    for line in [*page.splitlines(), ""]:
        text = line.strip()
        item = LIST_ITEM.match(text)
        if not text or item or text[0] in "|#" or text.startswith("!["):
            if gathered:
                yield plain(" ".join(gathered))
            gathered = []
            text = text[item.end() :] if item else ""
        if text:
            gathered.append(text)


def plain(text: str) -> str:
    """Inline code counts as one word, a link as its text."""
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", re.sub(r"`[^`]*`", "Code", text))


def words(sentence: str) -> int:
    """Words, numbers among them."""
    return len(re.findall(r"[\w'./+%-]*\w[\w'./+%-]*", sentence))


def median(page: str) -> float:
    """Words of the middle sentence; 0 where there is none."""
    return statistics.median([words(each) for each in sentences(page)] or [0])


def main() -> None:
    """Print the figures of every page that is named."""
    for name in sys.argv[1:]:
        found = sorted(sentences(Path(name).read_text()), key=words)
        lengths = [words(each) for each in found]
        if found:
            ninth = lengths[int(0.9 * (len(lengths) - 1))]
            print(f"{name}: {len(found)} sentences, {statistics.median(lengths):g} / {ninth} / {lengths[-1]} words")
            print(*(f"  {length}: {each}" for length, each in zip(lengths[-3:], found[-3:], strict=True)), sep="\n")


if __name__ == "__main__":
    main()
