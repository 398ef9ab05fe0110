# SPDX-License-Identifier: GPL-2.0-or-later
"""Messages, docstrings, comments and documents are in plain technical English: subject, verb, object, exact words.

The patterns find the worst only, and must not match correct sentences.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: A pattern, and what to write instead.
PATTERNS = {
    r"(?<!\bthere )\b(?:is|are|was|were) no (?!(?:more|such|less|\w+er)\b)\w+": 'write "is not a ..."',
    r"(?<!\bthere )\b(?:is|are|was|were) (?-i:none)\b": "write what it is, or is not",
    r"\b(?:is|are|was|were|be|been) told\b(?! apart)": "write which message or value it gets",
    r"\bst(?:ands?|ood|anding) (?:still|in for|behind|before|twice)\b": 'write "wait", "block", "is not updated"',
    r"\bhangs? on\b": 'write "depends on", "is held by"',
    r"\bmend(?:s|ed|ing)?\b": 'write "repair", "fix", "correct"',
    r"\bg(?:ives?|ave|iving) way\b": 'write "is replaced by"',
    r"\bt(?:akes?|ook|aken|aking) (?:\w+ )?for (?:an?|one|the|its|granted)\b": 'write "treat as"',
    r"\bhear[sd]?\b": 'write "receive", "read"',
    r"\b(?:is|are|was|were|be) said\b": "write who reports it",
    r"\bsa(?:ys?|id|ying) so\b": 'write "reports it"',
    r"\bc(?:omes?|ame) about\b": 'write "is made", "happens"',
    r"(?:[\"'(]|: |, or )give\b": 'write "use", "name" or "set"',
    r"\bwhat (?:comes|came) of\b": 'write "the result of"',
    r'^(?:r?"""|#+)\s*See [A-Z][\w.]*\.?(?:"""|$)': "write what it does and returns",
}
#: Files that are checked.
CHECKED = (
    "*.md",
    ".ci/*",
    "Makefile",
    "hatch_build.py",
    *(f"{place}/**/*" for place in ("bench", "docs", "guests", "harness", "ovmf_patches", "svsm_configs", "tests")),
)
SUFFIXES = {".S", ".c", ".h", ".md", ".py", ".toml", ""}
#: Beginnings of paths that are not checked: the patterns themselves.
SKIPPED = ("tests/test_language.py",)


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Line numbers and lines of a file; of Python its comments and strings of several words."""
    source = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield from enumerate(source.splitlines(), 1)
        return
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and " " in token.string):
            yield from enumerate(token.string.splitlines(), token.start[0])


def findings(path: Path) -> Iterator[str]:
    """What to change in a file, a line for each match."""
    for number, line in texts(path):
        for pattern, advice in PATTERNS.items():
            if match := re.search(pattern, line, re.IGNORECASE):
                yield f"{path.relative_to(ROOT)}:{number}: {match[0]!r}: {advice}"


def checked() -> Iterator[Path]:
    """The files of the repository that the rule is for, without what is built."""
    for path in sorted({path for pattern in CHECKED for path in ROOT.glob(pattern)}):
        name = path.relative_to(ROOT)
        built = {"build", "__pycache__"} & set(name.parts)
        if path.is_file() and path.suffix in SUFFIXES and not built and not str(name).startswith(SKIPPED):
            yield path


def test_plain_english() -> None:
    found = [finding for path in checked() for finding in findings(path)]
    assert not found, "\n" + "\n".join(found)


def test_what_is_checked() -> None:
    names = {str(path.relative_to(ROOT)) for path in checked()}
    assert {"Makefile", "harness/snp_harness/apic/rules/observation.py", "tests/apic/test_ipi.py"} <= names


REFUSED = [
    "# A timeout of zero is none.",
    "# Who comes second is told who has it.",
    "# That the image is no firmware.",
    "# The thread hears nothing.",
    "# The machine stands still.",
    "# A file that is taken for the image.",
    '"""See Host."""',
    'error = f"{path} is no image"',
    'hint = f"{what}, or give --firmware"',
]
ACCEPTED = [
    "# There is no network; None if there is none.",
    "# It is no longer used, and is no faster. The result is None.",
    "# Records that are not told apart.",
    '"""Return the host. See docs/hosts.md for keys."""',
    "is_no_comment = is_none",
    "# To use your own, give it a name.",
]


@pytest.mark.parametrize(("line", "count"), [*((line, 1) for line in REFUSED), *((line, 0) for line in ACCEPTED)])
def test_what_is_refused_and_accepted(line: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.test_language.ROOT", tmp_path)
    (tmp_path / "module.py").write_text(line + "\n")
    assert len(list(findings(tmp_path / "module.py"))) == count
