# SPDX-License-Identifier: GPL-2.0-or-later
"""The numbers of SEV-SNP and of the SVSM's protocols in Python are those of the C headers."""

from __future__ import annotations

from snp_harness.capture import kvm_timeline, kvm_trace
from snp_harness.svsm import protocol, sev, vmsa
from tests.helpers.c_headers import INCLUDE, assert_same, constants, layout, members

SVSM = f"{INCLUDE}/svsm.h"
SEV = f"{INCLUDE}/sev.h"
GHCB = f"{INCLUDE}/ghcb.h"
VMSA = f"{INCLUDE}/vmsa.h"
GHCB_CALL = "harness/emulator/svsm/ghcb_call.h"


def without(found: dict[str, int], *words: str) -> dict[str, int]:
    """Those constants whose names have none of the words."""
    return {name: value for name, value in found.items() if not any(word in name for word in words)}


def test_protocols_and_calls() -> None:
    assert constants(SVSM, "SVSM_PROTOCOL_") == members(protocol.Protocol, "SVSM_PROTOCOL_{}")
    assert without(constants(SVSM, "SVSM_CORE_"), "VERSION") == members(protocol.CoreCall, "SVSM_CORE_{}")
    assert without(constants(SVSM, "SVSM_APIC_"), "VERSION", "FEATURE_TIMER") == {
        **members(protocol.ApicCall, "SVSM_APIC_{}"),
        **members(protocol.ApicConfigure, "SVSM_APIC_CONFIGURE_{}"),
        "SVSM_APIC_ERR_CANNOT_REGISTER": protocol.APIC_CANNOT_REGISTER,
        "SVSM_APIC_VECTOR_MASK": protocol.APIC_VECTOR_MASK,
        "SVSM_APIC_VECTOR_ENABLE": protocol.APIC_VECTOR_ENABLE,
        "SVSM_APIC_VECTOR_ALL": protocol.APIC_VECTOR_ALL,
        "SVSM_APIC_VECTOR_ALL_MIN": protocol.APIC_VECTOR_ALL_MIN,
    }
    call = f"SVSM_CALL({protocol.Protocol.APIC}, {protocol.ApicCall.WRITE_REGISTER})"
    assert_same([SVSM], {call: protocol.Protocol.APIC << protocol.CALL_SHIFT | protocol.ApicCall.WRITE_REGISTER})


def test_results() -> None:
    results = members(protocol.Result, "SVSM_ERR_{}")
    assert_same([SVSM], {"SVSM_SUCCESS": results.pop("SVSM_ERR_SUCCESS")})
    assert constants(SVSM, "SVSM_ERR_") == results


def test_sev_status_and_features() -> None:
    assert constants(SEV, "SEV_STATUS_") == members(sev.SevStatus, "SEV_STATUS_{}")
    features = constants(SEV, "SEV_FEATURES_")
    assert features.pop("SEV_FEATURES_STATUS_SHIFT") == sev.SEV_FEATURES_SHIFT
    bits = {bit.name: sev.sev_features(bit) for bit in sev.SevStatus if sev.sev_features(bit)}
    assert features == {f"SEV_FEATURES_{name}": bit for name, bit in bits.items()}
    assert {str(name).lower().replace("_", "-"): bit for name, bit in bits.items()} == vmsa.FEATURE_BITS


def test_msr_numbers() -> None:
    msrs = {"SEV_MSR_GHCB": sev.MSR_GHCB, "SEV_MSR_STATUS": sev.MSR_SEV_STATUS, "SEV_MSR_SVSM_CAA": sev.MSR_SVSM_CAA}
    assert constants(SEV, "SEV_MSR_") == msrs


def test_hypervisor_features() -> None:
    assert constants(GHCB, "HV_FEATURE_") == members(sev.HypervisorFeature, "HV_FEATURE_{}")


def test_terminations() -> None:
    assert constants(GHCB, "GHCB_TERM_SET_") == members(sev.TerminationSet, "GHCB_TERM_SET_{}")
    assert_same([GHCB_CALL], members(sev.SvsmTermination, "SVSM_TERM_{}"))


def test_ghcb_requests() -> None:
    header = constants(GHCB, "GHCB_MSR_")
    requests = {name: value for name, value in header.items() if name.endswith("_REQ")}
    assert requests == members(sev.GhcbRequest, "GHCB_MSR_{}_REQ")


def test_nae_events() -> None:
    assert_same([GHCB], members(sev.NaeEvent, "NAE_{}"))
    # And every software-defined event of the header has its name in Python.
    events = without(constants(GHCB, "NAE_"), "NAE_EVENTINJ_")
    assert {name for name, value in events.items() if 0x80000000 <= value < 0x80010000} == {
        f"NAE_{event.name}" for event in sev.NaeEvent if event >= 0x80000000
    }


def test_vmsa() -> None:
    offsets = {name: offset for name, (offset, _) in layout([VMSA], "struct vmsa", vmsa.OFFSETS).items()}
    assert offsets == vmsa.OFFSETS
    assert_same([VMSA], {"sizeof(struct vmsa)": vmsa.SIZE})


def test_numbers_of_the_kvm_witness() -> None:
    assert_same(
        [GHCB, VMSA],
        {
            "GHCB_MSR_INFO_MASK": kvm_timeline._MSR_INFO_MASK,
            "SVM_EXIT_VMGEXIT": kvm_trace._VMGEXIT,
        },
    )
