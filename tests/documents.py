# SPDX-License-Identifier: GPL-2.0-or-later
"""The documents as the tests read them: pages, their links and anchors, and what they show of a program's output."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = (
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "ovmf_patches/README.md")),
    *sorted(DOCS.glob("*.md")),
)

_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
_RECIPE = re.compile(r"^ {4}.*?(snp-harness (?:run|report) [^\n]*)$", re.MULTILINE)
_INCLUDE = re.compile(r"^```\{include\} (\S+)$", re.MULTILINE)
#: What differs from run to run, or from build to build, and what stands for it.
_VOLATILE = (
    (re.compile(r"\b[\d.]+ s$", re.MULTILINE), "0 s"),
    (re.compile(r"\bF{3}[0-9A-F]{5}\b(?= +SecMain)"), "PC"),
    (re.compile(r"\bSecMain\+[0-9A-F]+"), "SecMain+0"),
    (re.compile(r"\S*runs/\d{8}-\d{6}-\w+"), "runs/DIR"),
    (re.compile(r"\b20\d\d\.\d\d-[\w.+]+"), "VERSION"),
    (re.compile(r" +"), " "),
)


def page_text(page: Path) -> str:
    """A page's text."""
    return page.read_text(encoding="utf-8")


def page_anchors(page: Path) -> set[str]:
    """The anchors of a page, and of the page that it includes."""
    text = page_text(page)
    return anchors(text).union(*(anchors(page_text(page.parent / other)) for other in _INCLUDE.findall(text)))


def prose(text: str) -> str:
    """A page without its blocks of code."""
    return "\n".join(line for line in _FENCE.sub("", text).splitlines() if not line.startswith("    "))


def links(text: str) -> Iterator[str]:
    """The targets of the links in a page, but not of what looks like one in code."""
    yield from _LINK.findall(_CODE.sub("", prose(text)))


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as a repository's browser and Sphinx make them."""
    headings = _HEADING.findall(_FENCE.sub("", text))
    words = (re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()) for heading in headings)
    return {word.strip().replace(" ", "-") for word in words}


def shown(text: str, command: str) -> str:
    """The output of a command that a page shows, between comments that name the command."""
    begin, end = (f"<!-- output of `{command}`: {what} -->\n" for what in ("begin", "end"))
    return text.split(begin)[1].split(end)[0].removeprefix("```text\n").removesuffix("```\n")


def files(text: str) -> dict[str, str]:
    """The files that a page shows, each a code block behind a comment that names it."""
    found = re.findall(r"^<!-- file: (\S+) -->\n```\w+\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return dict(found)


def matches(block: str, output: str) -> bool:
    """Whether the output is what a block shows. "..." stands for anything in a line; alone, for any lines."""
    pattern = ""
    for line in _stable(block).splitlines():
        if line.strip() == "...":
            pattern += r"(?:[^\n]*\n)*?"
        else:
            pattern += "[^\n]*".join(re.escape(part.rstrip()) for part in line.split("...")) + "\n"
    return re.match(pattern, _stable(output)) is not None


def _stable(text: str) -> str:
    text = text.replace(str(Path.home()), "~")
    for pattern, name in _VOLATILE:
        text = pattern.sub(name, text)
    return text


def recipes() -> list[str]:
    """The command lines of the recipes for CI systems in docs/formats.md."""
    return list(dict.fromkeys(_RECIPE.findall(page_text(DOCS / "formats.md"))))


def tutorial() -> list[str]:
    """The command lines of the tutorial's steps, in their order."""
    steps = page_text(DOCS / "tutorial.md").split("\n## 7. ")[0].split("\n## 1. ")[1]
    return re.findall(r"^    (.*)$", _FENCE.sub("", steps), re.MULTILINE)
