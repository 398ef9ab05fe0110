# SPDX-License-Identifier: GPL-2.0-or-later
"""edk2's host-based unit tests of the series: programs of this machine, built with edk2's `build` and run.

edk2 has the frameworks as submodules; where a source lacks them they are Debian's packages.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

from snp_harness.debian.cache import Entries, silent
from snp_harness.debian.firmware import fetch_file, with_apt
from snp_harness.debian.firmware_names import package_directory
from snp_harness.debian.packages import Archive, verified
from snp_harness.edk2.archive import Member, members
from snp_harness.edk2.debian_source import SourceAptRoot
from snp_harness.edk2.git import Store
from snp_harness.edk2.recipe import Platform, Recipe, tool_chain
from snp_harness.edk2.source import Source
from snp_harness.edk2.tools import Tools, find_tools
from snp_harness.edk2.workspace import Workspace

SUITE = "trixie"
_RECIPE = Recipe(
    Platform("OvmfPkgHostTest", "OvmfPkg/Test/OvmfPkgHostTest.dsc", "", "Build/OvmfPkg/HostTest", 20), "NOOPT", ()
)
_LIBRARY = "UnitTestFrameworkPkg/Library"
#: What the tests need of edk2.
_PACKAGES = ("BaseTools", "MdeModulePkg", "MdePkg", "OvmfPkg", "UefiCpuPkg", "UnitTestFrameworkPkg")
_EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
_GOOGLETEST = "usr/src/googletest"
_CMOCKA = "cmocka-source"
#: The directories of the programs' sources.
SUITES = {
    "AmdSvsmLibGoogleTest": "OvmfPkg/Library/AmdSvsmLib/GoogleTest",
    "CcExitLibGoogleTest": "OvmfPkg/Library/CcExitLib/GoogleTest",
    "LocalApicTimerDxeGoogleTest": "OvmfPkg/LocalApicTimerDxe/GoogleTest",
    "SecX2ApicGoogleTest": "OvmfPkg/Sec/GoogleTest",
}


class _UpstreamApt(SourceAptRoot):
    """Fetches upstream's tarballs only."""

    def upstream(self, package: str) -> Archive:
        """The tarball of the suite's present source package."""
        return self._tarball(package, "--tar-only")

    def download_upstream(self, package: str, tarball: Archive, into: Path) -> None:
        """Download it into a directory, and check it against the index."""
        command = ("source", "--download-only", "--tar-only", package)
        self._download(command, tarball.file_name, tarball.size, into)
        verified(into / tarball.file_name, tarball)


@dataclass(frozen=True, slots=True)
class Result:
    """What a program reported. status: its exit status."""

    status: int
    passed: frozenset[str]
    failed: frozenset[str]


class UnitTests(Workspace):
    """The unit tests in a directory of their own."""

    def __init__(self, directory: Path, source: Source, tools: Tools) -> None:
        super().__init__(directory, source.store, _RECIPE, tool_chain(source.store, source.tree))
        self.tools = tools

    def build_all(self) -> None:
        """Build all programs; raises CompileError."""
        self.run(self.command(os.cpu_count() or 1), self.tools)

    def program(self, name: str) -> Path:
        """The built program."""
        return self.output / "X64" / name

    def declared(self, name: str) -> frozenset[str]:
        """The names of the tests in a program's source."""
        text = (self.source / SUITES[name] / f"{name}.cpp").read_text()
        return frozenset(line.split(",")[1].strip(" ){\r") for line in text.splitlines() if line.startswith("TEST_F ("))

    def result(self, name: str) -> Result:
        """Run a program."""
        report = self.directory / f"{name}.xml"
        report.unlink(missing_ok=True)
        # The programs count their coverage, into files beside their objects.
        environment = {**os.environ, "GCOV_PREFIX": str(self.directory / "gcov"), "GTEST_OUTPUT": f"xml:{report}"}
        done = subprocess.run([self.program(name)], capture_output=True, timeout=120, env=environment, check=False)
        cases = list(ElementTree.parse(report).iter("testcase")) if report.exists() else []
        failed = frozenset(case.attrib["name"] for case in cases if case.find("failure") is not None)
        ran = frozenset(case.attrib["name"] for case in cases if case.attrib.get("status") == "run")
        return Result(done.returncode, ran - failed, failed)

    @contextmanager
    def with_change(self, name: str, path: str, before: str, after: str) -> Iterator[None]:
        """Replace text that occurs once in a file, and build the program with it; raises CompileError."""
        file = self.source / path
        content = file.read_bytes()
        old, new = (text.replace("\n", "\r\n").encode() for text in (before, after))
        assert content.count(old) == 1, f"{path} has {before!r} {content.count(old)} times"
        file.write_bytes(content.replace(old, new))
        try:
            self.run(("make", "-s", "-C", self.output / "X64" / SUITES[name] / name, "tbuild"), self.tools)
            yield
        finally:
            file.write_bytes(content)


def unit_tests(source: Source, directory: Path) -> UnitTests:
    """Check out and build a source's unit tests; raises FetchError, CompileError."""
    store = source.store
    with store.editing(_EMPTY_TREE) as editor:
        for name in _PACKAGES:
            editor.graft(name, f"{source.tree}:{name}")
        for path, landmark, files in (
            (f"{_LIBRARY}/GoogleTestLib/googletest", "googletest/src/gtest-all.cc", _googletest),
            (f"{_LIBRARY}/CmockaLib/cmocka", "src/cmocka.c", _cmocka),
        ):
            if store.read(source.tree, f"{path}/{landmark}") is None:
                editor.graft(path, _tree(store, files()))
        # A directory that the package names, of which these tests use nothing.
        editor.graft(f"{_LIBRARY}/SubhookLib/subhook", _tree(store, [Member("placeholder.txt", b"")]))
        tree = editor.tree()
    built = UnitTests(directory, source, _with_compiler(find_tools(silent), directory / "bin"))
    built.check_out(tree)
    built.build_all()
    return built


def _tree(store: Store, files: list[Member]) -> str:
    return store.tree(store.import_files(files, "Unit test framework\n"))


def _googletest() -> list[Member]:
    """The source of GoogleTest and GoogleMock, of Debian's package."""
    entry = Entries(package_directory(SUITE, "googletest")).current()
    top = entry / _GOOGLETEST if entry else fetch_file(SUITE, "googletest", f"{_GOOGLETEST}/CMakeLists.txt").parent
    files = (path for part in ("googletest", "googlemock") for path in sorted((top / part).rglob("*")))
    return [Member(str(path.relative_to(top)), path.read_bytes()) for path in files if path.is_file()]


def _cmocka() -> list[Member]:
    """The source of cmocka, of Debian's source package; edk2's replacement of ASSERT needs it."""

    def fetch(apt: _UpstreamApt, entries: Entries) -> Path:
        tarball = apt.upstream("cmocka")
        if entries.find(tarball.file_name) is None:
            with entries.adding(tarball.file_name) as directory:
                apt.download_upstream("cmocka", tarball, directory)
        return entries.select(tarball.file_name)

    entry = Entries(package_directory(SUITE, _CMOCKA)).current()
    entry = entry or with_apt(_UpstreamApt, SUITE, _CMOCKA, fetch, silent, None)
    return list(members(next(entry.glob("*.orig.tar.xz"))))


def _with_compiler(tools: Tools, directory: Path) -> Tools:
    """Return tools whose gcc compiles C++, which edk2 does with it: where g++ was fetched, its package's gcc."""
    fetched = next((path / "g++" for path in tools.path if (path / "g++").is_file()), None)
    if fetched is None:
        return tools
    directory.mkdir(parents=True)
    wrapper = directory / "gcc"
    wrapper.write_text(fetched.read_text(encoding="utf-8").replace("/usr/bin/g++", "/usr/bin/gcc"), encoding="utf-8")
    shutil.copymode(fetched, wrapper)
    return replace(tools, path=(directory, *tools.path))
