# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import gzip
import lzma
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snp_harness.errors import BrokenEnvironmentError
from snp_harness.tools.kvm_host.kernel import vmlinux

ELF = b"\x7fELF\x02\x01\x01" + bytes(range(256)) * 8


def bzimage(payload: bytes, version: int = 0x20F, sectors: int = 3) -> bytes:
    """A setup of so many sectors behind the first, 40h bytes of code, the payload."""
    setup = bytearray((sectors + 1) * 512)
    setup[0x1F1] = 0 if sectors == 4 else sectors
    setup[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", setup, 0x206, version)
    struct.pack_into("<II", setup, 0x248, 0x40, len(payload))
    return bytes(setup) + bytes(0x40) + payload + b"rest"


@pytest.mark.parametrize("sectors", [3, 4, 31])
@pytest.mark.parametrize("payload", [lzma.compress(ELF) + struct.pack("<I", len(ELF)), gzip.compress(ELF)])
def test_kernel_comes_out(payload: bytes, sectors: int) -> None:
    assert vmlinux(bzimage(payload, sectors=sectors)) == ELF


def test_other_compression_is_left_to_the_kernel() -> None:
    assert vmlinux(bzimage(b"\x02\x21\x4c\x18" + bytes(100))) is None


@pytest.mark.parametrize(
    "image",
    [b"", bytes(4096), bzimage(gzip.compress(ELF), version=0x207), bzimage(gzip.compress(b"no ELF"))],
    ids=["empty", "no header", "old", "no ELF"],
)
def test_no_kernel(image: bytes) -> None:
    with pytest.raises(BrokenEnvironmentError, match="the fetched kernel is damaged"):
        vmlinux(image)


@given(st.binary(max_size=64), st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFFFFFFFF))
def test_damaged_images_raise_nothing_else(junk: bytes, offset: int, length: int) -> None:
    image = bytearray(bzimage(b"\xfd7zXZ\0" + junk))
    struct.pack_into("<II", image, 0x248, offset, length)
    try:
        vmlinux(bytes(image))
    except BrokenEnvironmentError:
        return
