# SPDX-License-Identifier: GPL-2.0-or-later
"""What the exits of a log are counted as."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from snp_harness.capture.exit_profile import CONSOLE_MARK, EXIT_NAMES, ExitProfile, Row
from snp_harness.capture.record import FLAG_WRITE, RecordKind, RecordRmpOp
from snp_harness.svsm.sev import GhcbRequest, NaeEvent
from tests.capture.host_records import BDS_BASE, DXE_BASE, FIRMWARE, GUEST, PEI_BASE, SEC_BASE
from tests.launch.ring import make_record

HEADER = Path(__file__).parents[2] / "harness/emulator/include/svm_exit.h"
UD, CPUID, IOIO, MSR, NPF, VMGEXIT = 0x46, 0x72, 0x7B, 0x7C, 0x400, 0x403
SEC, PEI, DXE, BDS = SEC_BASE + 0x10, PEI_BASE + 0x10, DXE_BASE + 0x10, BDS_BASE + 0x10
COM1 = 0x3F8


class Log:
    """Gives records to a profile, one batch each."""

    def __init__(self) -> None:
        self.profile = ExitProfile(FIRMWARE, GUEST)
        self.seq = 0

    def add(self, kind: int, **fields: int) -> None:
        self.seq += 1
        self.profile.take(make_record(self.seq, kind=kind, **{"vmpl": GUEST, **fields}))

    def exit(self, code: int, rip: int = SEC, **fields: int) -> None:
        self.add(RecordKind.EXIT, address=code, rip=rip, **fields)

    def image(self, base: int, name: str) -> None:
        (module,) = (module for module in FIRMWARE.modules if module.name == name)
        self.add(RecordKind.MODULE, address=base, value=module.size_of_image | module.entry_rva << 32)

    def rows(self) -> dict[Row, int]:
        self.profile.finish()
        return dict(self.profile.rows)


@pytest.mark.parametrize(
    ("fields", "kind", "register"),
    [
        ({"code": MSR, "extra": 0xC0010130}, "RDMSR", "C0010130"),
        ({"code": MSR, "value": 1, "extra": 0x1B}, "WRMSR", "1B"),
        ({"code": CPUID, "extra": 0x8000001F}, "CPUID", "8000001F"),
        ({"code": IOIO, "value": 0x03FD0219}, "IOIO", "3FD"),
        ({"code": NPF, "extra": 0x1234}, "NPF", ""),
        ({"code": UD}, "#UD", ""),
        ({"code": 0x123}, "exit 123", ""),
    ],
)
def test_an_exit_by_itself(fields: dict[str, int], kind: str, register: str) -> None:
    log = Log()
    log.exit(**fields)
    assert log.rows() == {Row(GUEST, kind, register, "SecMain"): 1}


@pytest.mark.parametrize(
    ("code", "after", "kind", "register"),
    [
        (VMGEXIT, {"kind": RecordKind.NAE, "address": NaeEvent.CPUID, "rip": SEC}, "VMGEXIT CPUID", ""),
        (VMGEXIT, {"kind": RecordKind.NAE, "address": IOIO, "value": 0x06080241, "rip": SEC}, "VMGEXIT IOIO", "608"),
        (
            VMGEXIT,
            {"kind": RecordKind.NAE, "address": NaeEvent.MMIO_READ, "value": 0xFEE00320, "rip": SEC},
            "VMGEXIT MMIO_READ",
            "FEE00000",
        ),
        (VMGEXIT, {"kind": RecordKind.GHCB_MSR, "address": 0x7000 | GhcbRequest.REG_GPA}, "VMGEXIT REG_GPA", ""),
        (VMGEXIT, {"kind": RecordKind.VMPL_SWITCH, "vmpl": 0}, "VMGEXIT RUN_VMPL", ""),
        (UD, {"kind": RecordKind.RMP_CHANGE, "aux": RecordRmpOp.RMPADJUST}, "#UD RMPADJUST", ""),
        (UD, {"kind": RecordKind.RMP_CHANGE, "aux": RecordRmpOp.PVALIDATE}, "#UD PVALIDATE", ""),
        (UD, {"kind": RecordKind.RMP_CHANGE, "aux": RecordRmpOp.RESCIND}, "#UD PVALIDATE", ""),
        (NPF, {"kind": RecordKind.VC}, "NPF MMIO", "FEE00000"),
        (NPF, {"kind": RecordKind.RMP_CHANGE, "aux": RecordRmpOp.PVALIDATE}, "NPF", ""),
        (MSR, {"kind": RecordKind.VC}, "RDMSR", "0"),
    ],
)
def test_the_record_after_an_exit_says_what_it_was_for(
    code: int, after: dict[str, int], kind: str, register: str
) -> None:
    log = Log()
    log.exit(code, extra=0xFEE00320 if code == NPF else 0)
    log.add(**after)
    log.exit(0x78)
    log.add(**after)  # of the other exit, which it does not explain
    assert log.rows() == {Row(GUEST, kind, register, "SecMain"): 1, Row(GUEST, "HLT", "", "SecMain"): 1}


def test_the_module_of_a_vmgexit_is_that_of_the_instruction_that_caused_it() -> None:
    log = Log()
    log.image(DXE_BASE, "CpuDxe")
    log.exit(VMGEXIT, DXE)
    log.add(RecordKind.NAE, address=NaeEvent.CPUID, rip=PEI)
    log.exit(MSR, DXE, extra=0xC0010130)
    assert {(row.kind, row.module) for row in log.rows()} == {("VMGEXIT CPUID", "CpuMpPei"), ("RDMSR", "CpuDxe")}


def test_the_svsm_and_unknown_code() -> None:
    log = Log()
    log.exit(UD, 0xFFFFFF8000000000, vmpl=0)
    log.exit(MSR, 0x123)
    assert {row.module for row in log.rows()} == {"(SVSM)", ""}


def test_marks_have_the_exits_before_them() -> None:
    log = Log()
    log.image(BDS_BASE, "BdsDxe")
    log.exit(MSR, SEC, extra=0x10)
    log.exit(MSR, PEI, vmpl=0)  # the SVSM's, at an address that PEI has later
    log.exit(CPUID, PEI)
    log.exit(CPUID, PEI)
    log.exit(MSR, BDS, extra=0x1B)
    for text in b"dsDxe: BdsDxe: BdsDxe: ":
        log.exit(IOIO, BDS, value=COM1 << 16)
        log.add(RecordKind.VC, address=IOIO)
        log.add(RecordKind.IO, address=COM1, value=text, flags=FLAG_WRITE)
    log.profile.finish()
    sec = {"RDMSR 0": 1, "RDMSR 10": 1}
    before = {"CPUID": 2, **sec}
    # The exit of the text's last character is not counted yet when it is written.
    assert log.profile.marks == {
        "end of SEC": sec,
        "first exit of BdsDxe": before,
        CONSOLE_MARK: {"IOIO": 14, **before, "RDMSR 1B": 1},
    }
    assert log.profile.to_json()["exits"] == 28


def test_the_svsm_does_not_write_the_guests_console() -> None:
    log = Log()
    for text in b"BdsDxe: ":
        log.add(RecordKind.IO, address=COM1, value=text, flags=FLAG_WRITE, vmpl=0)
        log.add(RecordKind.IO, address=COM1, value=text)
    assert log.profile.marks == {}


def test_mtrrs_are_one_kind_and_the_tables_are_bounded() -> None:
    log = Log()
    for msr in (0xFE, 0x200, 0x26F, 0x2FF, 0x270):
        log.exit(MSR, extra=msr)
    log.exit(IOIO)
    log.profile.finish()
    assert log.profile.kinds() == {"RDMSR of MTRRs": 4, "IOIO": 1, "RDMSR 270": 1}
    assert [line.strip() for line in log.profile.lines(1)] == [
        "exits by kind: 6",
        "4  66.7 %  RDMSR of MTRRs",
        "2  33.3 %  2 others",
        "exits by VMPL, kind, register and module: 6",
        "1  16.7 %  VMPL2 IOIO                 0          SecMain",
        "5  83.3 %  5 others",
    ]


def test_a_log_without_exits() -> None:
    log = Log()
    log.add(RecordKind.START)
    assert [*log.profile.lines(1)] == ["exits by kind: 0", "exits by VMPL, kind, register and module: 0"]


def test_the_exit_codes_are_those_of_the_header() -> None:
    text = HEADER.read_text(encoding="utf-8")
    codes = {int(number, 16): name for name, number in re.findall(r"SVM_EXIT_(\w+) = (0x\w+),", text)}
    for code, name in EXIT_NAMES.items():
        assert codes[code].replace("EXC_", "#").replace("_", " ").lower() == name.lower()


def test_exits_at_the_console_where_port_io_is_native_are_not_counted() -> None:
    """The hypervisor intercepts this port for the mark alone."""
    log = Log()
    log.exit(CPUID)
    for byte in b"BdsDxe: ":
        log.exit(IOIO, value=COM1 << 16 | 0x210)
        log.add(RecordKind.IO, address=COM1, value=byte, flags=FLAG_WRITE)
    log.exit(IOIO, value=(COM1 + 5) << 16 | 0x211)
    assert log.rows() == {Row(GUEST, "CPUID", "0", "SecMain"): 1, Row(GUEST, "IOIO", "3FD", "SecMain"): 1}
    assert log.profile.marks == {CONSOLE_MARK: {"CPUID": 1}}
