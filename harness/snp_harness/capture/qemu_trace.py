# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's trace events: the ones that are enabled, and the parser of their lines.

QEMU's `log` trace backend, which distributions enable, writes a line for each event. Names and formats are those of
QEMU 7.2 and 11.1 (trace-events of hw/intc, system, hw/nvram and hw/char), which differ.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from datetime import UTC, datetime

#: QEMU's APIC: apic_mem_* up to 8.x (MMIO only), apic_register_* since 9.0 (MMIO and MSR alike).
APIC_EVENTS = ("apic_mem_readl", "apic_mem_writel", "apic_register_read", "apic_register_write")
BASE_EVENTS = ("cpu_get_apic_base", "cpu_set_apic_base")
#: The first use of fw_cfg: PEI has begun.
FW_CFG_EVENT = "fw_cfg_select"
#: Every access to a device's memory or ports: vCPU and size of the APIC's, and the first use of MMCONFIG.
REGION_EVENTS = ("memory_region_ops_read", "memory_region_ops_write")
#: Every write of a register of a 16550A, such as COM1.
SERIAL_EVENT = "serial_write"

#: Longest line that is parsed, bytes.
LINE_LIMIT = 512
#: Bytes of an incomplete line that are kept.
_PART_LIMIT = 4096


class TraceKind(enum.Enum):
    """The subject of a line."""

    APIC_READ = "APIC register read"
    APIC_WRITE = "APIC register written"
    BASE_READ = "APIC_BASE read"
    BASE_WRITE = "APIC_BASE written"
    FW_CFG = "fw_cfg item selected"
    PAGE_READ = "APIC page read"
    PAGE_WRITE = "APIC page written"
    MMCONFIG = "PCI configuration by MMCONFIG"
    SERIAL = "register of a serial port written"


@dataclass(frozen=True, slots=True)
class TraceEvent:
    """One line. number: offset in the APIC page, the fw_cfg key, or the register of a serial port.

    vcpu and size: of PAGE_* only, vcpu -1 for no vCPU.

    time_ns: of the host's clock, since 1970; None if the line has none.
    """

    kind: TraceKind
    number: int
    value: int
    vcpu: int | None = None
    size: int | None = None
    time_ns: int | None = None


_STAMP = rb"(?:\d{1,10}@(?P<seconds>\d{1,12})\.(?P<micro>\d{6}):|(?P<iso>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6})Z )?"
_LINE = re.compile(
    _STAMP + rb"(?:(?P<apic>apic_(?:mem_(?:read|write)l|register_(?:read|write)(?= register))) (?:register )?"
    rb"0x(?P<at>[0-9a-f]{1,16}) = 0x(?P<value>[0-9a-f]{1,16})"
    rb"|(?P<base>cpu_[gs]et_apic_base) 0x(?P<apic_base>[0-9a-f]{1,16})"
    rb"|(?P<fw_cfg>fw_cfg_select) 0x[0-9a-f]{1,16} key 0x(?P<key>[0-9a-f]{1,4})\b.*"
    rb"|serial_write (?:write addr |\[)0x(?P<uart>[0-9a-f]{1,16})(?: val |\] <- )0x(?P<sent>[0-9a-f]{1,16})"
    rb"|memory_region_ops_(?P<region>read|write) cpu (?P<cpu>-?\d{1,10}) mr 0x[0-9a-f]{1,16}"
    rb" addr 0x(?P<addr>[0-9a-f]{1,16}) value 0x(?P<data>[0-9a-f]{1,16})"
    rb" size (?P<size>\d{1,2}) name '(?P<name>apic-msi|pcie-mmcfg-mmio)')\Z"
)
_PAGE_OFFSET = 0xFFF
_REGISTER_SHIFT = 4


def parse_line(line: bytes) -> TraceEvent | None:
    """Parse a line without its newline; None if it is not one of these events."""
    if len(line) > LINE_LIMIT:
        return None
    match = _LINE.match(line)
    if match is None:
        return None
    found = match.groupdict()
    time_ns = _time(found)
    if found["apic"]:
        number = int(found["at"], 16)
        if found["apic"].startswith(b"apic_register"):
            number <<= _REGISTER_SHIFT
        kind = TraceKind.APIC_READ if b"read" in found["apic"] else TraceKind.APIC_WRITE
        return TraceEvent(kind, number, int(found["value"], 16), time_ns=time_ns)
    if found["base"]:
        kind = TraceKind.BASE_READ if found["base"] == b"cpu_get_apic_base" else TraceKind.BASE_WRITE
        return TraceEvent(kind, 0, int(found["apic_base"], 16), time_ns=time_ns)
    if found["fw_cfg"]:
        return TraceEvent(TraceKind.FW_CFG, int(found["key"], 16), 0, time_ns=time_ns)
    if found["uart"]:
        return TraceEvent(TraceKind.SERIAL, int(found["uart"], 16), int(found["sent"], 16), time_ns=time_ns)
    vcpu, size = int(found["cpu"]), int(found["size"])
    if found["name"] == b"pcie-mmcfg-mmio":
        return TraceEvent(TraceKind.MMCONFIG, int(found["addr"], 16), 0, vcpu, size, time_ns)
    kind = TraceKind.PAGE_READ if found["region"] == b"read" else TraceKind.PAGE_WRITE
    return TraceEvent(kind, int(found["addr"], 16) & _PAGE_OFFSET, int(found["data"], 16), vcpu, size, time_ns)


def _time(found: dict[str, bytes | None]) -> int | None:
    seconds, micro, iso = found["seconds"], found["micro"], found["iso"]
    if seconds is not None and micro is not None:
        return int(seconds) * 10**9 + int(micro) * 1000
    if iso is not None:
        try:
            stamp = datetime.fromisoformat(iso.decode()).replace(tzinfo=UTC)
        except ValueError:
            return None
        return int(stamp.timestamp()) * 10**9 + stamp.microsecond * 1000
    return None


class LineSplitter:
    """Splits a pipe's bytes into lines. lines: their number; cut: the number that were too long and are dropped."""

    def __init__(self) -> None:
        self.lines = 0
        self.cut = 0
        self._part = b""
        self._skipping = False

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that `data` completes, without newlines."""
        *whole, rest = data.split(b"\n")
        if whole:
            whole[0] = self._part + whole[0]
            self._part = rest
            if self._skipping:
                whole.pop(0)
                self._skipping = False
                self.cut += 1
        else:
            self._part += rest
        if len(self._part) > _PART_LIMIT:
            self._part = b""
            self._skipping = True
        self.lines += len(whole)
        return whole
