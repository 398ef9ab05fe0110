# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory and registers of a guest without SEV, as QEMU has them."""

from __future__ import annotations

import re

from snp_harness.errors import MemoryAccessError, UnsupportedError, UsageError
from snp_harness.firmware.metadata import FOUR_GIB
from snp_harness.platforms.memory_map import LOW_LIMIT, LOW_SPLIT

_CPU = re.compile(r"^CPU#(\d+)", re.MULTILINE)
_REGISTER = re.compile(r"\b([ER][A-D]X|[ER][SD]I|[ER][SB]P|R\d+|[ER]IP|RFL|EFL|CR[0234]|EFER|CPL)\s*=([0-9a-f]+)")
_SEGMENT = re.compile(r"^([C-G]S|SS|ES)\s*=([0-9a-f]+) ([0-9a-f]+)", re.MULTILINE)
_NAMES = {"rfl": "rflags", "efl": "rflags"}


def locate_plain(platform: str, gpa: int, ram: int, rom: int, vmpl: int | None, *, write: bool) -> int:
    """Return a GPA of RAM or of the firmware's flash, which only reads reach, as the address that it is.

    ram, rom: bytes of both. Raises MemoryAccessError, UnsupportedError for a VMPL.
    """
    if vmpl is not None:
        raise UnsupportedError(platform, f"access memory as VMPL{vmpl}", "its guest has no VMPLs")
    low = ram if ram < LOW_LIMIT else LOW_SPLIT
    if gpa < low or FOUR_GIB <= gpa < FOUR_GIB + ram - low or (FOUR_GIB - rom <= gpa < FOUR_GIB and not write):
        return gpa
    raise MemoryAccessError(f"there is no RAM at GPA {gpa:X}")


def plain_registers(platform: str, printed: str, vcpu: int, vmpl: int | None) -> dict[str, int]:
    """Return the registers of a vCPU, as printed_registers. Raises UsageError, UnsupportedError for a VMPL."""
    if vmpl is not None:
        raise UnsupportedError(platform, f"show the registers of VMPL{vmpl}", "its guest has no VMPLs")
    return printed_registers(printed, vcpu)


def printed_registers(printed: str, vcpu: int) -> dict[str, int]:
    """Return the registers of a vCPU in what the monitor's `info registers -a` prints. Raises UsageError."""
    parts = _CPU.split(printed)
    by_number = dict(zip(map(int, parts[1::2]), parts[2::2], strict=True))
    if vcpu not in by_number:
        raise UsageError(f"the guest has no vCPU {vcpu}", f"it has {len(by_number)}, numbered from 0")
    found = {}
    for name, value in _REGISTER.findall(by_number[vcpu]):
        name = name.lower()
        found[_NAMES.get(name, f"r{name[1:]}" if name[0] == "e" and name != "efer" else name)] = int(value, 16)
    for name, selector, base in _SEGMENT.findall(by_number[vcpu]):
        found[name.lower()], found[f"{name.lower()}_base"] = int(selector, 16), int(base, 16)
    return found
