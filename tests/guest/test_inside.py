# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory and registers of guests that run."""

from __future__ import annotations

from pathlib import Path

import pytest

from snp_harness.apic.access import Phase
from snp_harness.errors import MemoryAccessError, UnsupportedError, UsageError
from snp_harness.guest.guest import Guest, boot
from snp_harness.platforms.kvm import KvmGuest

#: The SVSM's memory, which only VMPL0 may access; it begins with this.
SVSM_GPA = 0x5000000000
SVSM_MAGIC = b"FSVSM1"


def look_inside(guest: Guest) -> None:
    """What is the same on every platform, in a guest that waits in a loop of COM1."""
    guest.wait_for("ready")
    found = guest.registers()
    assert found["rdx"] & 0xFFFF == 0x3FD
    assert found["cs_base"] == 0xF0000
    # in al, dx; test al, 1; jz
    assert bytes.fromhex("eca80174") in guest.memory.read(found["cs_base"] + found["rip"] - 4, 12)
    states = [guest.paused]
    with pytest.raises(UsageError, match="the guest has no vCPU 1"):
        guest.registers(1)
    guest.pause()
    pattern = bytes(range(256)) * 20
    guest.memory.write(0x100FFB, pattern)
    assert guest.memory.read(0x100FFB, len(pattern)) == pattern
    assert guest.memory.read(0x100FFA, 3) == b"\0" + pattern[:2]
    assert guest.memory.read(0x2000, 0) == b""
    states.append(guest.paused)
    guest.resume()
    guest.memory.write(0x2000, b"in a guest that runs")
    assert guest.memory.read(0x2000, 4) == b"in a"
    assert [*states, guest.paused] == [False, True, False]
    with pytest.raises(MemoryAccessError, match="GPA FEE00000"):
        guest.memory.read(0xFEE00000, 4)
    with pytest.raises(UsageError, match="at most 1048576"):
        guest.memory.read(0, 1 << 30)
    guest.console.send("still there")
    guest.wait_for("still there")


@pytest.mark.parametrize(
    "platform",
    [
        pytest.param("emulated", marks=pytest.mark.emulated),
        pytest.param("tcg", marks=pytest.mark.tcg),
        pytest.param("nested", marks=[pytest.mark.nested, pytest.mark.slow]),
    ],
)
def test_memory_and_registers(platform: str, echo_firmware: Path, tmp_path: Path) -> None:
    config = "plain" if platform == "emulated" else None
    with boot(echo_firmware, platform=platform, config=config, out=tmp_path / "out", timeout_s=300) as guest:
        look_inside(guest)
        if platform != "emulated":
            with pytest.raises(UnsupportedError, match=f"platform {platform} cannot access memory as VMPL0"):
                guest.memory.read(0, 1, vmpl=0)
            with pytest.raises(UnsupportedError, match=f"platform {platform} cannot show the registers of VMPL1"):
                guest.registers(vmpl=1)


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
        guest.locate(lambda *_: b"", 0, None, write=False)
    with pytest.raises(UnsupportedError, match="the platform snp cannot show the guest's registers"):
        guest.registers(lambda *_: b"", "", 0, None)
