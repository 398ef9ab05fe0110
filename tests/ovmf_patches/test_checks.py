# SPDX-License-Identifier: GPL-2.0-or-later
"""The series under edk2's own checks, on its newest version: uncrustify, ECC, PatchCheck and the plugins of its CI."""

from __future__ import annotations

import difflib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from snp_harness.edk2.series import load_series
from snp_harness.edk2.source import Repository
from tests.edk2.trees import upstream_repository
from tests.ovmf_patches.checks import UNCRUSTIFY_CFG, WorkTree, ci_program, work_tree
from tests.ovmf_patches.conftest import NEWEST, SERIES
from tests.ovmf_patches.files import CHECKER, COVER_LETTER, SENT

pytestmark = [pytest.mark.edk2, pytest.mark.slow]
PACKAGES = "MdePkg,UefiCpuPkg,OvmfPkg"
#: What edk2's CI checks of each package. It does not run ECC on OvmfPkg, and nothing here is Markdown.
PLUGINS = {
    *("Char Encoding Check", "Dependency Check", "Dsc Complete Check", "EccCheck", "Guid Check"),
    *("Host Unit Test Dsc Complete Check", "Library Class Check", "License Check", "Markdown Lint", "Spell Check"),
    "Uncrustify Coding Standard",
}
#: The words that cspell does not know, as SpellCheck prints them. It only reports them for these packages.
AUDITED = "UefiCpuPkg,OvmfPkg"
UNKNOWN_WORD = re.compile(r'^    "(.*)",?$', re.MULTILINE)
#: A function of which uncrustify, and ECC, find something to say, and the file that it is added to.
ILL_FORMED = b"\r\nINTN wrong_function(INTN a)\r\n{\r\n\treturn a;\r\n}\r\n"
FORMED_IN = "UefiCpuPkg/Library/MpInitLib/MpLib.c"


#: A finding of ECC in the log: its code and file. The series' own test files carry no copyright line.
ECC_FINDING = re.compile(r"\*Error code: (\d+)$.*?\*file: (\S+)$", re.MULTILINE | re.DOTALL)
NO_COPYRIGHT = "9001"


@pytest.fixture(scope="module")
def repository() -> Repository:
    return upstream_repository()


@pytest.fixture
def series(repository: Repository, tmp_path: Path) -> Iterator[WorkTree]:
    """A work tree of the newest version with the series, each patch a commit."""
    ci_program("stuart_ci_build")
    source = repository.source(repository.commit(NEWEST)).with_series(load_series(SERIES))
    yield work_tree(repository, source, tmp_path / "edk2")
    shutil.rmtree(tmp_path / "edk2")


def test_the_cover_letter_names_those_who_would_be_asked(series: WorkTree) -> None:
    """By edk2's own script, from the Maintainers.txt of that version; and all parts of edk2's template are there."""
    script = [str(ci_program("python")), "BaseTools/Scripts/GetMaintainer.py"]
    asked = set()
    for commit in series.git("rev-list", f"-{len(SENT)}", "HEAD").split():
        done = subprocess.run([*script, commit], cwd=series.directory, capture_output=True, check=True, timeout=300)
        asked |= {line.strip() for line in done.stdout.decode().splitlines() if re.search(r"<.*@.*>", line)}
    letter = COVER_LETTER.read_text()
    assert re.findall(r"^    (.*@.*)$", letter, re.MULTILINE) == sorted(asked)
    template = (series.directory / ".github/pull_request_template.md").read_text()
    for heading in re.findall(r"^#+ (.*)$|^- \[ \] (.*)$", template, re.MULTILINE):
        assert "".join(heading) in letter


@pytest.mark.long
def test_edk2s_plugins_find_nothing(series: WorkTree) -> None:
    results, log = series.run_ci(PACKAGES)
    assert set(results) == {(package, plugin) for package in PACKAGES.split(",") for plugin in PLUGINS}, log
    audited = {(package, "Spell Check") for package in AUDITED.split(",")}
    skipped = {name for name, result in results.items() if result != "Success"}
    markdown = {name for name in results if name[1] == "Markdown Lint"}
    assert skipped - markdown == {("OvmfPkg", "EccCheck"), *audited}, log
    assert {results[name] for name in skipped} == {"Skipped"}, log


@pytest.mark.long
def test_ecc_finds_no_fault_in_code_of_ovmfpkg_either(series: WorkTree) -> None:
    """Where edk2's CI does not run it, as the code there has too many findings: only changed lines count."""
    configuration = series.directory / "OvmfPkg/OvmfPkg.ci.yaml"
    content = configuration.read_bytes()
    assert content.count(b'"skip": True') == 1
    configuration.write_bytes(content.replace(b'"skip": True', b'"skip": False'))
    results, log = series.run_ci("OvmfPkg", "EccCheck")
    found = ECC_FINDING.findall(log)
    assert results["OvmfPkg", "EccCheck"] == ("Failed" if found else "Success"), log
    assert {(code, Path(path).suffix) for code, path in found} <= {(NO_COPYRIGHT, ".inf"), (NO_COPYRIGHT, ".dsc")}, log


@pytest.mark.long
def test_no_word_is_new(series: WorkTree) -> None:
    ci_program("cspell")
    _, log = series.run_ci(AUDITED, "SpellCheck")
    after = set(UNKNOWN_WORD.findall(log))
    series.git("checkout", "--quiet", "origin/master")
    _, log = series.run_ci(AUDITED, "SpellCheck")
    before = set(UNKNOWN_WORD.findall(log))
    assert before
    assert after - before == set()


@pytest.mark.long
def test_the_plugins_would_find_a_fault(series: WorkTree) -> None:
    path = series.directory / FORMED_IN
    path.write_bytes(path.read_bytes() + ILL_FORMED)
    series.git("commit", "--quiet", "--all", "--message=UefiCpuPkg: Be wrong")
    results, log = series.run_ci("UefiCpuPkg", "EccCheck", "UncrustifyCheck")
    assert results["UefiCpuPkg", "EccCheck"] == "Failed", log
    assert results["UefiCpuPkg", "Uncrustify Coding Standard"] == "Failed", log


def _formatted(content: bytes, configuration: Path) -> bytes:
    command = [str(ci_program("uncrustify")), "-q", "-c", str(configuration), "-l", "C"]
    return subprocess.run(command, input=content, capture_output=True, check=True, timeout=300).stdout


def _complaints(content: bytes, configuration: Path) -> set[bytes]:
    """The lines of a file that uncrustify would change."""
    formatted = _formatted(content, configuration)
    changes = difflib.diff_bytes(difflib.unified_diff, content.splitlines(), formatted.splitlines(), n=0)
    return {line for line in changes if line.startswith(b"-") and not line.startswith(b"--- ")}


def test_uncrustify_changes_no_line_of_any_patch(repository: Repository, tmp_path: Path) -> None:
    ci_program("uncrustify")
    plain = repository.source(repository.commit(NEWEST))
    source = plain.with_series(load_series(SERIES))
    store = source.store
    configuration = tmp_path / "uncrustify.cfg"
    configuration.write_bytes(store.read(plain.tree, UNCRUSTIFY_CFG) or b"")
    assert _complaints(b"VOID\r\nF (\r\n  VOID\r\n  )" + ILL_FORMED, configuration)
    commits = store.git("rev-list", "--reverse", f"{plain.commit}..{source.commit}").stdout.decode().split()
    assert len(commits) == len(SENT)
    for commit in commits:
        for path in store.git("diff", "--name-only", f"{commit}^", commit).stdout.decode().split():
            if path.endswith((".c", ".h")):
                before, after = (store.read(store.tree(name), path) or b"" for name in (f"{commit}^", commit))
                assert _complaints(after, configuration) <= _complaints(before, configuration), (commit, path)


def test_the_newest_checker_of_patches_passes(repository: Repository, tmp_path: Path) -> None:
    source = repository.source(repository.commit(NEWEST))
    checker = tmp_path / "PatchCheck.py"
    checker.write_bytes(source.store.read(source.tree, CHECKER) or b"")
    command = [sys.executable, str(checker), *map(str, SENT)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("The code passed all checks.") == len(SENT)
    assert "WARNING" not in done.stdout
