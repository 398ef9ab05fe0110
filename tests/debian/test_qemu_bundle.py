# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import pytest

from snp_harness.debian import qemu_bundle as bundles
from snp_harness.debian.qemu_bundle import QemuBundle, cached_qemu, fetch_qemu
from snp_harness.errors import FetchError


def test_not_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cached_qemu("trixie") is None


def test_incomplete_directory(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="contains no complete QEMU"):
        QemuBundle.load(tmp_path)


def test_machine_of_another_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(FetchError, match="does not run on aarch64"):
        fetch_qemu("trixie")


def test_no_loader_among_the_files(tmp_path: Path) -> None:
    """A link to the machine's own loader does not count as the bundle's."""
    (tmp_path / "lib64").mkdir()
    (tmp_path / "lib64" / "ld-linux-x86-64.so.2").symlink_to("/lib64/ld-linux-x86-64.so.2")
    with pytest.raises(FetchError, match=r"no ld-linux-x86-64\.so\.2"):
        bundles._finish(tmp_path)


def require(suite: str) -> QemuBundle:
    try:
        return bundles.qemu_bundle(suite)
    except FetchError as error:
        pytest.skip(f"QEMU of {suite} is not in the cache and cannot be fetched: {error}")


@pytest.mark.slow
@pytest.mark.parametrize(("suite", "at_least"), [("trixie", 10), ("sid", 11)])
def test_qemu_of_another_suite_runs(suite: str, at_least: int) -> None:
    """QEMU runs with its own libraries, BIOS and option ROM files, and the modules it loads late."""
    bundle = require(suite)
    assert int(bundle.version.partition(".")[0]) >= at_least
    assert (bundle.directory / "usr/share/qemu/kvmvapic.bin").is_file()
    machine = ("-machine", "q35", "-accel", "tcg", "-display", "none", "-vga", "std", "-nodefaults", "-S")
    devices = ("-nic", "user,model=virtio-net-pci", "-monitor", "stdio")
    done = subprocess.run(
        (*bundles._argv_prefix(bundle.directory), *machine, *devices),
        input="info version\nquit\n",
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert f"QEMU {bundle.version} monitor" in done.stdout
    assert done.stderr == ""
