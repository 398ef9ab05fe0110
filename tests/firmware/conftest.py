# SPDX-License-Identifier: GPL-2.0-or-later
"""Real images: from the cache, or fetched into it."""

from __future__ import annotations

from pathlib import Path

import pytest

from snp_harness.errors import FetchError
from snp_harness.firmware.find import find_firmware
from snp_harness.firmware.image import FirmwareImage


def _image(name: str) -> Path:
    try:
        return find_firmware(name)
    except FetchError as error:
        pytest.skip(f"{name} is not in the cache and cannot be fetched: {error}")


@pytest.fixture(scope="session", params=["debian:trixie", "debian:sid/amdsev", "debian:bookworm"])
def debian_image(request: pytest.FixtureRequest) -> FirmwareImage:
    """Each of Debian's combined images."""
    return FirmwareImage.open(_image(request.param))


@pytest.fixture(scope="session")
def trixie_path() -> Path:
    """Debian trixie's OVMF.fd, 2025.02; the halves of the split image are in ../OVMF."""
    return _image("debian:trixie")


@pytest.fixture(scope="session")
def bookworm_path() -> Path:
    """Debian bookworm's OVMF.fd, 2022.11: with SEV metadata, but no calling area for an SVSM."""
    return _image("debian:bookworm")


@pytest.fixture(scope="session")
def amdsev_path() -> Path:
    """Debian sid's OVMF.amdsev.fd."""
    return _image("debian:sid/amdsev")
