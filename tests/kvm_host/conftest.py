# SPDX-License-Identifier: GPL-2.0-or-later
"""The nested host's image, from the cache or made for it."""

from __future__ import annotations

import pytest

from harness.errors import HarnessError
from harness.kvm_host.fetch import image
from harness.kvm_host.pack import Image


@pytest.fixture(scope="session")
def kvm_host_image() -> Image:
    """The default suite's."""
    try:
        return image()
    except HarnessError as error:
        pytest.skip(f"no image of the nested host: {error}")
