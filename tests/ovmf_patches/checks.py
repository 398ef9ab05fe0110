# SPDX-License-Identifier: GPL-2.0-or-later
"""edk2's own checks of a change, without network: a work tree, and the programs that its CI uses.

The programs are in the directory that SNP_HARNESS_EDK2_CI names; ovmf_patches/README.md says how to get them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from snp_harness.edk2.source import Repository, Source

DIRECTORY = "SNP_HARNESS_EDK2_CI"
UNCRUSTIFY_CFG = ".pytool/Plugin/UncrustifyCheck/uncrustify.cfg"
_TIMEOUT_S = 3600
_RUNNING = re.compile(r"--Running (\w+): (.+?) NO-TARGET --$")
_RESULT = re.compile(r"--->Test (\w+)")
#: The parts of edk2's *_ext_dep.yaml that are of use here.
_FIELD = re.compile(r'^\s*"(name|version)"\s*:\s*"([^"]+)"', re.MULTILINE)


def ci_program(name: str) -> Path:
    """A program of edk2's CI; skips the test without it."""
    named = os.environ.get(DIRECTORY)
    program = Path(named or "") / "bin" / name
    if not named or not program.is_file():
        pytest.skip(f"{DIRECTORY} names no directory with bin/{name}")
    return program.absolute()


@dataclass(frozen=True, slots=True)
class WorkTree:
    """A clone of edk2 in a directory, whose origin/master is what its branch is compared with."""

    directory: Path

    def git(self, *arguments: str) -> str:
        """Run git in it and return what it prints."""
        settings = ("core.autocrlf=false", "user.name=test", "user.email=test@example.org", "gc.auto=0")
        command = ["git", *(part for setting in settings for part in ("-c", setting)), *arguments]
        done = subprocess.run(command, cwd=self.directory, capture_output=True, text=True, timeout=_TIMEOUT_S)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def run_ci(self, packages: str, *plugins: str) -> tuple[dict[tuple[str, str], str], str]:
        """Run the plugins of edk2's CI that compile nothing, all or these; return their results and the log.

        The results are "Success", "Skipped", "Failed" and such, by package and plugin.
        """
        only = ("--disable-all", *(f"{plugin}=run" for plugin in plugins)) if plugins else ()
        stuart = ci_program("stuart_ci_build")
        self._satisfy_dependencies()
        command = (stuart, "-c", ".pytool/CISettings.py", "-p", packages, "-a", "X64", "-t", "NO-TARGET", *only)
        environment = {**os.environ, "PATH": f"{stuart.parent}:{os.environ['PATH']}"}
        done = subprocess.run(
            [*map(str, command), "TOOL_CHAIN_TAG=GCC"],
            cwd=self.directory,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_TIMEOUT_S,
        )
        results = {}
        name = None
        for line in done.stdout.splitlines():
            if running := _RUNNING.search(line):
                name = (running[1], running[2].removesuffix(" Test"))
            elif name is not None and (result := _RESULT.search(line)):
                results[name] = result[1]
        return results, done.stdout

    def _satisfy_dependencies(self) -> None:
        """Say that what edk2's CI would download is there. Of that, only uncrustify is used here."""
        for description in self.directory.rglob("*_ext_dep.yaml"):
            fields = dict(_FIELD.findall(description.read_text()))
            programs = description.parent / f"{fields['name']}_extdep" / "Linux-x86"
            programs.mkdir(parents=True, exist_ok=True)
            (programs.parent / "extdep_state.yaml").write_text(f"version: {fields['version']}\n")
            if "uncrustify" in fields["name"]:
                shutil.copy(ci_program("uncrustify"), programs / "uncrustify")


def work_tree(repository: Repository, source: Source, directory: Path) -> WorkTree:
    """A clone of the user's repository with a source checked out."""
    clone = ["git", "clone", "--quiet", "--shared", "--no-checkout", str(repository.path), str(directory)]
    subprocess.run(clone, check=True, timeout=_TIMEOUT_S)
    tree = WorkTree(directory)
    tree.git("fetch", "--quiet", str(source.store.directory), source.commit)
    tree.git("checkout", "--quiet", "--detach", source.commit)
    return tree
