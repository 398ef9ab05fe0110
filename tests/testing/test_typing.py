# SPDX-License-Identifier: GPL-2.0-or-later
"""A user's tests are checked by mypy --strict: the package's types reach them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents import DOCS, ROOT, files, page_text

MISTAKES = """
from snp_harness import SnpBoot, assert_violated


def test_it(snp_boot: SnpBoot) -> None:
    assert_violated(snp_boot(), rule="x2apic-before-sek")
    assert_violated(snp_boot().verdict)
    snp_boot(vcpus="2")
"""


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What mypy prints about the tests of docs/pytest.md, and about one with mistakes."""
    directory = tmp_path_factory.mktemp("user")
    for name, text in files(page_text(DOCS / "pytest.md")).items():
        (directory / name).write_text(text, encoding="utf-8")
    (directory / "test_mistakes.py").write_text(MISTAKES, encoding="utf-8")
    argv = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(ROOT / ".mypy_cache" / "user")]
    argv += [path.name for path in directory.glob("*.py")]
    done = subprocess.run(argv, cwd=directory, capture_output=True, text=True, timeout=300, check=False)
    return done.stdout + done.stderr


def test_the_tests_that_the_page_shows_are_typed(checked: str) -> None:
    assert [line for line in checked.splitlines() if "error:" in line and not line.startswith("test_mistakes.py")] == []
    count = len([name for name in files(page_text(DOCS / "pytest.md")) if name.endswith(".py")]) + 1
    assert f"checked {count} source files" in checked


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (6, 'Argument "rule" to "assert_violated" has incompatible type "Literal[\'x2apic-before-sek\']"'),
        (7, 'Argument 1 to "assert_violated" has incompatible type "Verdict"'),
        (8, 'Argument "vcpus" to "__call__" of "SnpBoot" has incompatible type "str"'),
    ],
)
def test_mistakes_are_found(checked: str, line: int, message: str) -> None:
    assert f"test_mistakes.py:{line}: error: {message}" in checked


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(ROOT) / "harness" / "snp_harness" / "py.typed").is_file()
