# SPDX-License-Identifier: GPL-2.0-or-later
"""Fetching with the real apt, from a small mirror on this machine; the real image is test_pack.py's."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from snp_harness.debian.packages import Mirror
from snp_harness.errors import FetchError, HarnessError
from snp_harness.tools.kvm_host.host_image import explain_missing, images
from tests.debian.mirror import SUITE, Repository, serving
from tests.tools.initramfs.mirror import kernel_repository, needs_apt

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def repository(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    with kernel_repository(tmp_path / "mirror", tmp_path_factory.mktemp("k") / "a", "initramfs-tools") as repository:
        repository.add("initramfs-tools", "0.1", {"usr/share/initramfs-tools/init": b"not wanted"})
        qemu = {"usr/bin/qemu-system-x86_64": b"", "usr/share/doc/qemu/copyright": b""}
        repository.add("qemu-system-x86", "1:10.0", qemu)
        yield repository


def test_nothing_is_there(cache: Path) -> None:
    assert images().cached() is None
    assert not cache.exists()
    reason = explain_missing()
    assert (reason is None) == all(shutil.which(name) for name in ("apt-get", "dpkg-deb"))


def test_machine_of_another_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    reason = explain_missing()
    assert reason is not None
    assert "aarch64" in reason.message
    with pytest.raises(FetchError, match="do not run on aarch64"):
        images().image()


@needs_apt
def test_a_package_is_missing(repository: Repository, cache: Path) -> None:
    repository.publish()
    with serving(repository.directory) as url, pytest.raises(HarnessError, match="python3"):
        images().fetch(SUITE, mirror=Mirror(url, repository.key.keyring))
    assert images().cached(SUITE) is None


@needs_apt
def test_packages_that_make_no_image_leave_none(repository: Repository, cache: Path) -> None:
    repository.add("python3", "3.13", {"usr/share/doc/python3/copyright": b""})
    repository.publish()
    with serving(repository.directory) as url, pytest.raises(HarnessError, match="have no Python"):
        images().fetch(SUITE, mirror=Mirror(url, repository.key.keyring))
    assert images().cached(SUITE) is None
    packages = cache / "debian" / SUITE / "kvm-host-packages" / "current"
    assert (packages / "boot" / "vmlinuz-1-cloud-amd64").is_file()
    assert not (packages / "usr" / "share" / "doc").exists()
    assert not (packages / "usr" / "share" / "initramfs-tools").exists()
    assert [path.name for path in (cache / "debian" / SUITE / "kvm-host").iterdir()] == []
    # The packages are kept: the second attempt needs no network.
    with pytest.raises(HarnessError, match="have no Python"):
        images().image(SUITE)


@needs_apt
def test_packages_of_another_recipe_are_not_taken(
    repository: Repository, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.add("python3", "3.13", {"usr/share/doc/python3/copyright": b""})
    repository.publish()
    with serving(repository.directory) as url, pytest.raises(HarnessError, match="have no Python"):
        images().fetch(SUITE, mirror=Mirror(url, repository.key.keyring))
    (cache / "debian" / SUITE / "kvm-host-packages" / "current" / "packages-asked-for").write_text("others\n")
    monkeypatch.setenv("SNP_HARNESS_DEBIAN_MIRROR", "http://127.0.0.1:9")
    said: list[str] = []
    with pytest.raises(HarnessError, match="have no Python"):
        images().image(SUITE, said.append)
    # It was requested again; without a network the present one is used.
    assert any("using kvm-host-packages" in text for text in said)
