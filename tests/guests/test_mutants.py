# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutants of the reference SVSM: each of them fails the points that test for what it lacks, and no others."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from snp_harness.conformance.series import run_conformance
from snp_harness.conformance.tap import PointStatus
from snp_harness.platforms import rom
from snp_harness.svsm.config import load_config

pytestmark = pytest.mark.emulated

EMULATOR = Path(__file__).parents[2] / "harness" / "emulator"
TIMEOUT_S = 900.0

LAPIC = "svsm/lapic.c"
ALTERNATE = "svsm/alternate.c"
REFUSED = "(APIC_ICR_X2_RESERVED | APIC_ICR_BUSY)"
IGNORED_BY_IPI = "values/icr-level-and-trigger-ignored"
IGNORED_BY_SHORTHAND = "values/icr-destination-ignored-with-shorthand"
IGNORED_BY_NMI = "nmi/icr-vector-and-others-ignored"

NMI_VECTOR = "other-vcpu/nmi-vector-ignored"

#: An NMI reaches the other vCPU there.
NMI_THERE = {NMI_VECTOR} | {
    f"other-vcpu/nmi-{name}" for name in ("id", "logical-id", "others", "all", "broadcast", "wakes-hlt")
}

#: File of the SVSM, its text, what replaces it, and the points that fail.
MUTANTS = {
    "loses an interrupt that an exit cut short": (
        LAPIC,
        "\tvmsa->event_inj = info;\n",
        "",
        {"delivery/cut-short"},
    ),
    "sends an NMI to another vCPU as a fixed interrupt": (
        LAPIC,
        "\tif (icr_is_nmi(icr))\n\t\t__atomic",
        "\tif (false)\n\t\t__atomic",
        NMI_THERE,
    ),
    "refuses ICR's level bit": (
        LAPIC,
        REFUSED,
        "(APIC_ICR_X2_RESERVED | APIC_ICR_BUSY | APIC_ICR_ASSERT)",
        {IGNORED_BY_IPI, IGNORED_BY_NMI, "values/icr-reads-back"},
    ),
    "accepts a reserved bit of ICR": (
        LAPIC,
        REFUSED,
        "((APIC_ICR_X2_RESERVED & ~0x2000ull) | APIC_ICR_BUSY)",
        {"values/icr-reserved-bits-refused"},
    ),
}
#: The same for what the others leave of each register.
MORE_MUTANTS = {
    "sends to itself with the shorthand others": (
        LAPIC,
        "if (!x2apic_ipi_reaches(icr, lapic->id, lapic->id))",
        "if ((icr & APIC_ICR_SHORTHAND) != APIC_SHORTHAND_OTHERS && !x2apic_ipi_reaches(icr, lapic->id, lapic->id))",
        {
            "delivery/icr-others-is-not-self",
            "nmi/icr-others-is-not-self",
            "other-vcpu/icr-others",
            "other-vcpu/nmi-others",
            "other-vcpu/sends-to-others",
        },
    ),
    "takes a logical destination for an ID": (
        ALTERNATE,
        "x2apic_ipi_reaches(icr, vcpu->apic_id, target->apic_id)",
        "x2apic_ipi_reaches(icr & ~(u64)APIC_ICR_LOGICAL, vcpu->apic_id, target->apic_id)",
        {
            "other-vcpu/icr-logical-id",
            "other-vcpu/icr-both-logical-ids",
            "other-vcpu/icr-own-logical-id",
            "other-vcpu/nmi-logical-id",
            "other-vcpu/nmi-own-logical-id",
        },
    ),
    "sends to no other vCPU with the shorthand all": (
        ALTERNATE,
        "if (!sent)",
        "if (!sent || (icr & APIC_ICR_SHORTHAND) == APIC_SHORTHAND_ALL)",
        {"other-vcpu/icr-all", "other-vcpu/nmi-all", "other-vcpu/sends-to-all"},
    ),
    "sends SELF_IPI to the others, too": (
        ALTERNATE,
        "\treturn result;\n}\n\nvoid alternate_forget_caa",
        "\tif (result == SVSM_SUCCESS && msr == MSR_X2APIC_FIRST + APIC_SELF_IPI / 16)\n"
        "\t\tsend_ipi(vcpu, value | APIC_SHORTHAND_OTHERS);\n\treturn result;\n}\n\nvoid alternate_forget_caa",
        {"other-vcpu/self-ipi"},
    ),
    "refuses ICR's trigger bit": (
        LAPIC,
        REFUSED,
        "(APIC_ICR_X2_RESERVED | APIC_ICR_BUSY | APIC_ICR_LEVEL)",
        {IGNORED_BY_IPI, IGNORED_BY_NMI},
    ),
    "refuses a destination beside a shorthand": (
        LAPIC,
        "if ((icr & (APIC_ICR_X2_RESERVED",
        "if (((icr & APIC_ICR_SHORTHAND) && icr >> 32) || (icr & (APIC_ICR_X2_RESERVED",
        {IGNORED_BY_SHORTHAND, IGNORED_BY_NMI, "other-vcpu/icr-self", "other-vcpu/nmi-self"},
    ),
    "refuses a logical destination beside a shorthand": (
        LAPIC,
        "if ((icr & (APIC_ICR_X2_RESERVED",
        "if (((icr & APIC_ICR_SHORTHAND) && (icr & APIC_ICR_LOGICAL)) || (icr & (APIC_ICR_X2_RESERVED",
        {IGNORED_BY_SHORTHAND, IGNORED_BY_NMI},
    ),
    "refuses the vector of an NMI": (
        LAPIC,
        "delivery != APIC_DELIVER_NMI))",
        "(delivery != APIC_DELIVER_NMI || (icr & APIC_ICR_VECTOR))))",
        {IGNORED_BY_NMI, NMI_VECTOR, "values/icr-reads-back"},
    ),
    "accepts delivery status": (
        LAPIC,
        REFUSED,
        "APIC_ICR_X2_RESERVED",
        {"values/icr-reserved-bits-refused", "values/icr-reads-back"},
    ),
    "refuses the lower half of TPR": (
        LAPIC,
        "return (rule.access & access) && value <= rule.limit",
        "if (number == APIC_TPR >> 4 && access == WRITE && (value & 15))\n"
        "\t\treturn SVSM_ERR_INVALID_PARAMETER;\n\treturn (rule.access & access) && value <= rule.limit",
        {"values/tpr-reads-back"},
    ),
    "accepts nine bits of TPR": (
        LAPIC,
        "[APIC_TPR >> 4] = { READ | WRITE, UINT8_MAX },",
        "[APIC_TPR >> 4] = { READ | WRITE, 0x1FF },",
        {"values/tpr-has-8-bits"},
    ),
    "accepts any EOI": (
        LAPIC,
        "[APIC_EOI >> 4] = { WRITE, 0 },",
        "[APIC_EOI >> 4] = { WRITE, UINT64_MAX },",
        {"values/eoi-takes-zero-only"},
    ),
    "reads EOI": (
        LAPIC,
        "[APIC_EOI >> 4] = { WRITE, 0 },",
        "[APIC_EOI >> 4] = { READ | WRITE, 0 },",
        {"registers/read-eoi-refused"},
    ),
    "accepts nine bits of SELF_IPI": (
        LAPIC,
        "[APIC_SELF_IPI >> 4] = { WRITE, UINT8_MAX },",
        "[APIC_SELF_IPI >> 4] = { WRITE, 0x1FF },",
        {"values/self-ipi-has-8-bits"},
    ),
    "reads SELF_IPI": (
        LAPIC,
        "[APIC_SELF_IPI >> 4] = { WRITE, UINT8_MAX },",
        "[APIC_SELF_IPI >> 4] = { READ | WRITE, UINT8_MAX },",
        {"registers/read-self-ipi-refused"},
    ),
    **{
        f"writes {name}": (
            LAPIC,
            f"[{register}] = {{ READ, 0 }},",
            f"[{register}] = {{ READ | WRITE, UINT64_MAX }},",
            {f"registers/write-{name.lower()}-refused"},
        )
        for name, register in (
            ("ID", "APIC_ID >> 4"),
            ("PPR", "APIC_PPR >> 4"),
            ("LDR", "APIC_LDR >> 4"),
            ("ISR", "VECTOR_REGISTERS(APIC_ISR)"),
            ("TMR", "VECTOR_REGISTERS(APIC_TMR)"),
            ("IRR", "VECTOR_REGISTERS(APIC_IRR)"),
        )
    },
}


def _mutant(directory: Path, source: str, text: str, replacement: str) -> bytes:
    """The SVSM's image, compiled with a change."""
    copy = directory / "emulator"
    shutil.copytree(EMULATOR, copy, ignore=shutil.ignore_patterns("build"))
    code = (copy / source).read_text(encoding="utf-8")
    assert code.count(text) == 1, f"{source} has not just one {text!r}"
    (copy / source).write_text(code.replace(text, replacement), encoding="utf-8")
    done = subprocess.run(["make", "-s", "-C", str(copy)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return (copy / rom.SVSM_IMAGE.relative_to(EMULATOR)).read_bytes()


@pytest.mark.parametrize("name", [*MUTANTS, *(pytest.param(name, marks=pytest.mark.slow) for name in MORE_MUTANTS)])
def test_mutant(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, text, replacement, failing = {**MUTANTS, **MORE_MUTANTS}[name]
    svsm = _mutant(tmp_path, source, text, replacement)
    monkeypatch.setattr(rom, "read_svsm", lambda: svsm)
    result = run_conformance(load_config("alternate-injection"), out=tmp_path / "run", timeout_s=TIMEOUT_S, icount=True)
    assert {point.name for point in result.of(PointStatus.FAILED)} == failing
    assert not result.tap.defects
