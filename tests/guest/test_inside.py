# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory and registers of guests that run."""

from __future__ import annotations

from pathlib import Path

import pytest

from snp_harness.apic.access import Phase
from snp_harness.errors import MemoryAccessError, UnsupportedError
from snp_harness.guest.guest import boot
from snp_harness.platforms.kvm import KvmGuest
from tests.guest.inside import ON_EVERY_PLATFORM, look_inside
from tests.guest.methods import use_all

#: The SVSM's memory, which only VMPL0 may access; it begins with this.
SVSM_GPA = 0x5000000000
SVSM_MAGIC = b"FSVSM1"


@ON_EVERY_PLATFORM
def test_every_method(platform: str, echo_firmware: Path, tmp_path: Path) -> None:
    config = "plain" if platform == "emulated" else None
    with boot(echo_firmware, platform=platform, config=config, out=tmp_path / "out", timeout_s=300) as guest:
        look_inside(guest)
        if platform != "emulated":
            with pytest.raises(UnsupportedError, match=f"platform {platform} cannot access memory as VMPL0"):
                guest.memory.read(0, 1, vmpl=0)
            with pytest.raises(UnsupportedError, match=f"platform {platform} cannot show the registers of VMPL1"):
                guest.registers(vmpl=1)
        use_all(guest, "KVM's trace events begin with a new guest" if platform == "nested" else "")


@pytest.mark.emulated
def test_the_view_of_a_vmpl(snp_firmware: Path, tmp_path: Path) -> None:
    with boot(snp_firmware, out=tmp_path / "out", timeout_s=300) as guest:
        guest.wait_for(Phase.PEI)
        assert guest.memory.read(0xFFFFFFF0, 16) == snp_firmware.read_bytes()[-16:]
        assert guest.memory.read(SVSM_GPA, 6, vmpl=0) == SVSM_MAGIC
        for access in (lambda: guest.memory.read(SVSM_GPA, 6), lambda: guest.memory.write(SVSM_GPA, b"x")):
            with pytest.raises(MemoryAccessError, match=f"GPA {SVSM_GPA:X}: .*the RMP allows VMPL2 nothing"):
                access()
        at_vmpl2, at_vmpl0 = guest.registers(vmpl=2), guest.registers(vmpl=0)
        assert at_vmpl2["rip"] < 1 << 32
        assert SVSM_GPA <= at_vmpl0["rip"] < SVSM_GPA + (4 << 20)


def test_an_encrypted_guest_shows_nothing() -> None:
    guest = KvmGuest.__new__(KvmGuest)
    guest.platform, guest._ram = "snp", 0
    with pytest.raises(UnsupportedError, match="the platform snp cannot access the guest's memory: it is encrypted"):
        guest.locate(lambda *_: b"", [0], None, write=False)
    with pytest.raises(UnsupportedError, match="the platform snp cannot show the guest's registers"):
        guest.registers(lambda *_: b"", "", 0, None)
