# SPDX-License-Identifier: GPL-2.0-or-later
"""What all tests share."""

from __future__ import annotations

import pytest

from harness.errors import HarnessError
from harness.kvm_host.fetch import image
from harness.kvm_host.pack import Image

pytest_plugins = ["pytester"]


@pytest.fixture(scope="session")
def kvm_host_image() -> Image:
    """The nested KVM host's image, of the default suite: from the cache, or made for it."""
    try:
        return image()
    except HarnessError as error:
        pytest.skip(f"no image of the nested host: {error}")
