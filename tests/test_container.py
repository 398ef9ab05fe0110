# SPDX-License-Identifier: GPL-2.0-or-later
""".ci/Containerfile, with the commands of docs/ci.md.

buildah runs its steps in a chroot, which needs no network of the container's own and no cgroups, as podman does. The
image that it begins with is made from Debian's packages here: it is the one of the registry but for its size.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.documents import DOCS, ROOT, page_text
from tests.helpers import chroot

FILE = ROOT / ".ci" / "Containerfile"


def commands() -> tuple[str, str]:
    """The two commands of the page."""
    build, run = re.findall(r"^ {4}(.*podman .*)$", page_text(DOCS / "ci.md"), re.MULTILINE)
    return build, run


def test_the_page_and_the_nightly_have_the_same_command() -> None:
    build, run = commands()
    assert f"run: {build}\n" in (ROOT / ".github/workflows/nightly.yml").read_text()
    assert run.startswith("podman run ")


@pytest.fixture
def buildah(tmp_path: Path) -> Iterator[list[str]]:
    """buildah with a store of its own, which does not stay."""
    chroot.require("buildah", "mmdebstrap")
    store = tmp_path / "store"
    yield ["buildah", f"--root={store}", f"--runroot={tmp_path / 'runroot'}", "--storage-driver=vfs"]
    shutil.rmtree(tmp_path)


def base(buildah: list[str], directory: Path) -> None:
    """Make the image that the file begins with, under its name in the registry."""
    (name,) = set(re.findall(r"^FROM (\S+)", FILE.read_text(), re.MULTILINE))
    archive = directory / "base.tar"
    chroot.debootstrap(name.rpartition(":")[2], archive)
    container = chroot.call([*buildah, "from", "scratch"]).strip()
    chroot.call([*buildah, "add", "--quiet", container, str(archive), "/"])
    chroot.call([*buildah, "commit", "--quiet", "--rm", container, name])


def pip_configuration(directory: Path) -> list[str]:
    """Options that let pip in a container trust what it trusts here."""
    found = subprocess.run(["python3", "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    certificate = re.search(r"cert='(.*)'", found.stdout)
    if certificate is None:
        return []
    configuration = directory / "pip.conf"
    configuration.write_text("[global]\ncert = /etc/machine-ca.crt\n")
    return ["-v", f"{certificate[1]}:/etc/machine-ca.crt:ro", "-v", f"{configuration}:/etc/pip.conf:ro"]


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.emulated
def test_it_is_built_and_run(buildah: list[str], snp_firmware: Path, tmp_path: Path) -> None:
    base(buildah, tmp_path)
    build, run = commands()
    archive, _, rest = build.partition(" | podman build ")
    context = subprocess.run(shlex.split(archive), cwd=ROOT, capture_output=True, timeout=60, check=True).stdout
    options = ["bud", "--isolation=chroot", "--pull-never", *pip_configuration(tmp_path)]
    chroot.call([*buildah, *options, *shlex.split(rest)], directory=ROOT, given=context)

    image, arguments = re.fullmatch(r'podman run --rm -v "\$PWD:/work" (\S+) (.*)', run).groups()  # type: ignore[union-attr]
    about = json.loads(chroot.call([*buildah, "inspect", "--type=image", image]))["OCIv1"]["config"]
    assert about["WorkingDir"] == "/work"
    work = tmp_path / "work"
    work.mkdir()
    shutil.copy(snp_firmware, work / "OVMF.fd")
    container = chroot.call([*buildah, "from", "--pull-never", image]).strip()
    for words in (shlex.split(arguments), ["run"]):
        done = subprocess.run(
            [
                *buildah,
                "run",
                "--isolation=chroot",
                "-v",
                f"{work}:/work",
                container,
                "--",
                *about["Entrypoint"],
                *words,
            ],
            stdout=subprocess.PIPE,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 1
        assert done.stdout.startswith("violated: 7 local-APIC accesses in SEC before x2APIC mode")
    assert len(list((work / "runs").glob("*-emulated/verdict.json"))) == 2
