# SPDX-License-Identifier: GPL-2.0-or-later
"""Fetching the Linux guest with the real apt, from a small mirror on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from snp_harness.debian.packages import Mirror
from snp_harness.errors import FetchError, HarnessError
from snp_harness.tools.linux_guest.image import images
from tests.debian.mirror import SUITE, Repository, SigningKey, serving
from tests.tools.initramfs.mirror import kernel_repository, needs_apt

pytestmark = [pytest.mark.usefixtures("cache"), needs_apt]


@pytest.fixture
def repository(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    """Packages with the right names, and nothing that can run in them."""
    with kernel_repository(tmp_path / "mirror", tmp_path_factory.mktemp("k") / "a") as repository:
        for name in ("openssh-server", "msr-tools", "cpuid", "kexec-tools", "stress"):
            repository.add(name, "1", {f"usr/share/doc/{name}/copyright": b""})
        repository.add("busybox-static", "1", {"usr/bin/busybox": b"not a program"})
        yield repository


def test_packages_that_make_no_image_leave_none(repository: Repository, cache: Path) -> None:
    repository.publish()
    with serving(repository.directory) as url, pytest.raises(HarnessError, match="busybox is not a program"):
        images().fetch(SUITE, mirror=Mirror(url, repository.key.keyring))
    assert images().cached(SUITE) is None
    assert [path.name for path in (cache / "debian" / SUITE / "linux-guest").iterdir()] == []
    # The packages are kept: the second attempt needs no network.
    with pytest.raises(HarnessError, match="busybox is not a program"):
        images().image(SUITE)


def test_packages_of_another_signer_are_refused(
    repository: Repository, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    repository.publish()
    other = SigningKey(tmp_path_factory.mktemp("k") / "b")
    with serving(repository.directory) as url, pytest.raises(FetchError, match="signature is not Debian's"):
        images().fetch(SUITE, mirror=Mirror(url, other.keyring))
    other.close()
    assert not (cache / "debian" / SUITE / "linux-guest-packages" / "current").exists()
