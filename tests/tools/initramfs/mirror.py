# SPDX-License-Identifier: GPL-2.0-or-later
"""A small mirror with a kernel's packages, in which nothing can run."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.debian.mirror import Repository, SigningKey

needs_apt = pytest.mark.skipif(
    any(shutil.which(name) is None for name in ("apt-get", "dpkg-deb", "gpg")), reason="needs apt, dpkg and gpg"
)


@contextlib.contextmanager
def kernel_repository(directory: Path, key_directory: Path, depends: str = "") -> Iterator[Repository]:
    """A repository with a kernel; other packages can be added. depends: of the kernel's package."""
    key = SigningKey(key_directory)
    repository = Repository(directory, key)
    kernel = {"boot/vmlinuz-1-cloud-amd64": b"kernel", "lib/modules/1-cloud-amd64/modules.builtin": b""}
    repository.add("linux-image-1-cloud-amd64", "1.1-1", kernel, depends=depends)
    repository.add("linux-image-cloud-amd64", "1.1-1", {}, depends="linux-image-1-cloud-amd64")
    yield repository
    key.close()
