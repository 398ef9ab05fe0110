# SPDX-License-Identifier: GPL-2.0-or-later
"""debian/: agrees with the project; built, checked, installed and tested with the commands of the nightly."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from snp_harness.version import NEXT_RELEASE
from tests.documents import DOCS, ROOT, page_text
from tests.helpers import chroot

yaml = pytest.importorskip("yaml")
CONTROL = (ROOT / "debian" / "control").read_text()


def step(name: str) -> str:
    """The commands of a step of the nightly."""
    workflow = yaml.safe_load((ROOT / ".github/workflows/nightly.yml").read_text())
    (script,) = [step["run"] for step in workflow["jobs"]["package"]["steps"] if step.get("name") == name]
    return str(script)


def test_it_builds_with_what_the_project_depends_on() -> None:
    """Each dependency, with the same lower bound; dh_python3 writes those of the package from pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    listed = re.search(r"^Build-Depends:\n((?: .*\n)+)", CONTROL, re.MULTILINE)
    assert listed is not None
    for requirement in needed:
        name, bound = requirement.split(">=")
        debian = f"python3-{name.replace('.', '-')}"
        # Debian's own version of qemu.qmp is the first that was released.
        assert re.search(rf"^ {debian}(?: \(>= {re.escape(bound)}\))?,$", listed[1], re.MULTILINE), requirement


def test_the_version_is_that_of_the_next_release() -> None:
    first = (ROOT / "debian" / "changelog").read_text().splitlines()[0]
    assert first.startswith(f"snp-harness ({NEXT_RELEASE}~dev-")


def test_the_page_shows_the_commands_that_build_it() -> None:
    page = page_text(DOCS / "install.md")
    assert "dpkg-buildpackage -us -uc -b\n" in page
    assert "dpkg-buildpackage -us -uc -b\n" in step("Build the package")


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A directory that does not stay: a Debian has a gigabyte."""
    yield tmp_path
    shutil.rmtree(tmp_path)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.emulated
def test_it_is_built_installed_and_tested(directory: Path) -> None:
    """In a Debian with what it is built with, and in another one with what it depends on alone."""
    chroot.require("mmdebstrap", "unshare")
    building, testing = directory / "building", directory / "testing"
    chroot.debootstrap("sid", directory / "sid.tar")
    for root in (building, testing):
        chroot.unpack(directory / "sid.tar", root)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    archive = subprocess.run(
        ["tar", "--create", "--null", "--files-from=-"],
        cwd=ROOT, input=listed.stdout, capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    source = building / "build" / "snp-harness"
    source.mkdir(parents=True)
    chroot.call(["tar", "--extract", f"--directory={source}"], given=archive.stdout)

    inside = "cd /build/snp-harness\n"
    tools = step("Install what a checkout needs")
    chroot.enter(building, f"{tools}\n{inside}{step('Build the package')}")
    (package,) = (building / "build").glob("*.deb")
    contents = chroot.call(["dpkg", "--contents", str(package)])
    for file in ("snp-host.bin", "snp-svsm.bin", "svsm-apic-conformance.fd", "man1/snp-harness.1.gz"):
        assert f"/{file}\n" in contents
    assert "/usr/bin/snp-harness\n" in contents

    shutil.copytree(building / "build", testing / "build", symlinks=True)
    update = tools.splitlines()[0]
    printed = chroot.enter(
        testing,
        f"{update}\napt-get install -y -q --no-install-recommends autopkgtest\n{inside}{step('Test the package')}",
    )
    assert re.search(r"^violated: .* before x2APIC mode \(emulated SNP host, not hardware\)$", printed, re.MULTILINE)
    assert re.search(r"^main-job +PASS$", printed, re.MULTILINE)
