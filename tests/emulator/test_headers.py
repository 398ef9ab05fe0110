# SPDX-License-Identifier: GPL-2.0-or-later
"""The numbers that tests of the emulator have of their own are those of the C headers."""

from __future__ import annotations

from snp_harness.platforms.emulated import DOORBELL_PORT
from snp_harness.svsm.reference import CONSOLE_PORT
from tests.emulator import insn, numbers, pages, rmp, vapic
from tests.emulator.differential import operations
from tests.emulator.guest import build
from tests.helpers import guest_image
from tests.helpers.c_headers import INCLUDE, assert_same, constants, layout, members

EMULATOR = "harness/emulator"
GUEST = "tests/emulator/guest/guest.h"
OPERATIONS = "tests/emulator/differential/guest/operations.h"
GHCB, SEV, SVM, SVSM, VMSA = (f"{INCLUDE}/{name}.h" for name in ("ghcb", "sev", "svm", "svsm", "vmsa"))
APIC, BOOT = f"{INCLUDE}/apic.h", f"{INCLUDE}/svsm_boot.h"


def test_virtual_apic() -> None:
    assert_same([f"{EMULATOR}/hypervisor/vapic.h"], members(vapic.Result, "VAPIC_{}"))


def test_rmp() -> None:
    assert_same(
        [f"{EMULATOR}/hardware/rmp.h", SEV],
        {
            **members(rmp.Update, "HW_RMP_{}"),
            **members(rmp.Fault, "RMP_{}"),
            **members(rmp.Result, "SEV_{}"),
            "RMP_ASSIGNED": rmp.ASSIGNED,
            "RMP_VALIDATED": rmp.VALIDATED,
            "RMP_LARGE": rmp.IS_LARGE,
            "RMP_VMSA": rmp.VMSA,
            "SVM_NPF_WRITE": rmp.WRITE,
            "SVM_NPF_FETCH": rmp.FETCH,
            "SEV_PERM_READ": rmp.READ_P,
            "SEV_PERM_WRITE": rmp.WRITE_P,
            "SEV_PERM_EXECUTE_USER": rmp.USER_P,
            "SEV_PERM_EXECUTE_SUPERVISOR": rmp.SUPERVISOR_P,
            "SEV_PERM_SUPERVISOR_SSS": rmp.SSS_P,
            "SEV_PERM_ALL": rmp.ALL_P,
            "SEV_RMPADJUST_VMSA": rmp.VMSA_ATTRIBUTE,
        },
    )


def test_page_states() -> None:
    assert_same(
        [f"{EMULATOR}/hardware/hw.h", GHCB],
        {
            **members(pages.State, "HW_{}"),
            **members(pages.Operation, "NAE_PSC_{}"),
            **members(pages.Violation, "RECORD_VIOLATION_{}"),
        },
    )


def test_instructions() -> None:
    header = f"{EMULATOR}/common/insn.h"
    assert_same([header], members(insn.Kind, "INSN_{}"))
    assert constants(header, "INSN_FORM_") == members(insn.Form, "INSN_FORM_{}")
    simple = {f"INSN_SIMPLE_{(name or 'unknown').upper()}": number for number, name in enumerate(insn.SIMPLE)}
    assert constants(header, "INSN_SIMPLE_") == simple


def test_doorbell_page() -> None:
    assert_same(
        [GHCB],
        {
            "GHCB_DOORBELL_VMPL_FIRST + sizeof(struct ghcb_doorbell_vmpl)": numbers.ENTRY,
            "GHCB_DOORBELL_STATUS_NMI": numbers.NMI,
            "GHCB_DOORBELL_STATUS_LEVEL": numbers.LEVEL,
            "GHCB_DOORBELL_STATUS_MULTIPLE": numbers.MULTIPLE,
            "GHCB_DOORBELL_STATUS_VECTOR31": numbers.VECTOR31,
            "GHCB_DOORBELL_FLAG_NO_FURTHER_SIGNAL << 8 * GHCB_DOORBELL_FLAGS": numbers.NO_FURTHER_SIGNAL,
            "1 << 8 * GHCB_DOORBELL_NO_EOI": numbers.NO_EOI,
        },
    )


def test_events_and_vmsa() -> None:
    event = "SVM_EVENT_VALID | SVM_EVENT_{}"
    assert_same(
        [VMSA, SVM, SEV],
        {
            "SVM_EVENT_VALID": numbers.EVENT_VALID,
            "SVM_EVENT_VALID | SVM_EVENT_TYPE_MASK": numbers.EVENT_KIND,
            event.format("INTR"): numbers.EVENT_INTERRUPT,
            event.format("NMI"): numbers.EVENT_NMI,
            "SVM_EVENT_VALID | SVM_EVENT_EXCEPTION | SEV_VECTOR_HV": numbers.EVENT_HV,
            "offsetof(struct vmsa, vintr_ctrl)": numbers.VMSA_VINTR_CTRL,
            "offsetof(struct vmsa, event_inj)": numbers.VMSA_EVENT_INJ,
            "offsetof(struct vmsa, guest_exit_int_info)": numbers.VMSA_EXIT_INT_INFO,
            "VMSA_VINTR_IRQ": numbers.V_IRQ,
            "VMSA_VINTR_GIF": numbers.V_GIF,
            "VMSA_VINTR_SHADOW": numbers.V_SHADOW,
            "VMSA_VINTR_BUSY": numbers.V_BUSY,
            "VMSA_EFER_SVME": numbers.EFER_SVME,
            "RFLAGS_IF": numbers.RFLAGS_IF,
        },
    )


def test_calls_and_timer() -> None:
    assert_same(
        [SVSM, SEV, APIC],
        {
            "SEV_PAGE_2M": numbers.LARGE,
            "SVSM_PVALIDATE_VALIDATE": numbers.VALIDATE,
            "SVSM_PVALIDATE_IGNORE_CF": numbers.IGNORE_CF,
            "APIC_LVT_MASKED": numbers.MASKED,
            "APIC_TIMER_PERIODIC": numbers.PERIODIC,
            "APIC_TIMER_TSC_DEADLINE": numbers.DEADLINE,
        },
    )


def test_guest() -> None:
    assert_same([GUEST], members(build.Mode))
    assert_same(
        [GUEST, BOOT],
        {
            "PAYLOAD_FLASH - IMAGE_BASE": guest_image.PARAMETERS,
            "PARAMETERS_MAGIC": int.from_bytes(build.PARAMETERS_MAGIC, "little"),
            "DOORBELL_PORT": DOORBELL_PORT,
            "SVSM_CONSOLE_PORT": CONSOLE_PORT,
        },
    )
    assert constants(GUEST, "END_") == {**members(build.End, "END_{}"), "END_OFFSET": 16, "END_UNPAGED_ACCESS": 10}
    places = layout([GUEST], "struct test_parameters", ["magic", "mode", "cbit", "end", "vcpus"])
    assert list(places.values()) == [(0, 8), (8, 4), (12, 4), (16, 4), (20, 4)]


def test_operations() -> None:
    assert_same([OPERATIONS], members(operations.Kind))
    assert_same(
        [OPERATIONS, APIC],
        {
            "PARAMETERS_MAGIC": int.from_bytes(operations.MAGIC, "little"),
            "OPERATIONS_FLASH - IMAGE_BASE": operations.OPERATIONS,
            "OPERATIONS_MAX": operations.OPERATIONS_MAX,
            "offsetof(struct parameters, count)": len(operations.MAGIC),
            "sizeof(struct operation)": len(operations.Operation(operations.Kind.TAKE).pack()),
            "MSR_APIC_BASE": operations.APIC_BASE,
            "MSR_TSC_DEADLINE": operations.DEADLINE,
            "MSR_X2APIC_FIRST": operations.X2APIC,
            "APIC_DEFAULT_BASE >> 12": operations.PAGE,
            "APIC_TIMER_CURRENT": operations.CURRENT_COUNT,
            "APIC_ESR": operations.ESR,
        },
    )
    operation = operations.Operation(operations.Kind.WRITE_MSR, number=2, value=3 << 40, size=4, page=5)
    expected = {"kind": operation.kind, "size": 4, "number": 2, "page": 5, "value": 3 << 40}
    places = layout([OPERATIONS], "struct operation", expected)
    packed = operation.pack()
    assert {name: int.from_bytes(packed[at : at + size], "little") for name, (at, size) in places.items()} == expected
