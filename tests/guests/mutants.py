# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutants of the reference SVSM: file, its text, what replaces it, and the points that fail."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from snp_harness.platforms import rom

EMULATOR = Path(__file__).parents[2] / "harness" / "emulator"

LAPIC = "svsm/lapic.c"
ALTERNATE = "svsm/alternate.c"
PROTOCOL = "svsm/protocol_apic.c"
CORE = "svsm/protocol_core.c"
REFUSED = "(APIC_ICR_X2_RESERVED | APIC_ICR_BUSY)"
IGNORED_BY_IPI = "values/icr-level-and-trigger-ignored"
IGNORED_BY_SHORTHAND = "values/icr-destination-ignored-with-shorthand"
IGNORED_BY_NMI = "nmi/icr-vector-and-others-ignored"

NMI_VECTOR = "other-vcpu/nmi-vector-ignored"

#: An NMI reaches the other vCPU there.
NMI_THERE = {NMI_VECTOR} | {
    f"other-vcpu/nmi-{name}" for name in ("id", "logical-id", "others", "all", "broadcast", "wakes-hlt")
}

REGISTRATION_THERE = {
    f"registration/other-vcpu-{name}"
    for name in ("is-still-served", "cannot-register", "ends-by-query", "calls-refused", "hypervisor-ipi")
}

#: These run in every test run.
MUTANTS = {
    "loses an interrupt that an exit cut short": (
        LAPIC,
        "\tvmsa->event_inj = info;\n",
        "",
        {"delivery/cut-short", "delivery/cut-short-nmi"},
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
#: These are slow tests.
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
    "loses an NMI that an exit cut short": (
        LAPIC,
        "\tvmsa->event_inj = info;\n",
        "\tif ((info & SVM_EVENT_TYPE_MASK) == SVM_EVENT_NMI)\n\t\treturn;\n\tvmsa->event_inj = info;\n",
        {"delivery/cut-short-nmi"},
    ),
    "injects an event that its instruction raises again": (
        LAPIC,
        "if (!(info & SVM_EVENT_VALID) || is_raised_again(info))",
        "if (!(info & SVM_EVENT_VALID) || (is_raised_again(info) && false))",
        {"delivery/cut-short-int-n", "delivery/cut-short-int3"},
    ),
    "keeps the lower half of a vector in PPR": (
        LAPIC,
        "CLASS_OF(tpr) ? vector & APIC_PRIORITY_CLASS : tpr",
        "CLASS_OF(tpr) ? vector : tpr",
        {"classes/ppr-low-nibble"},
    ),
    "leaves TPR out of PPR": (
        LAPIC,
        "return CLASS_OF(vector) > CLASS_OF(tpr) ? vector & APIC_PRIORITY_CLASS : tpr;",
        "return CLASS_OF(vector) && tpr ? vector & APIC_PRIORITY_CLASS : vector & APIC_PRIORITY_CLASS;",
        {
            "classes/ppr-by-tpr-and-in-service",
            "classes/tpr-by-vector",
            "in-service/ppr-is-the-higher-of-two",
            "other-vcpu/tpr-holds-back",
            "timer/held-by-tpr",
            "values/ppr-is-tpr-with-nothing-in-service",
        },
    ),
    "injects an interrupt of TPR's class": (
        LAPIC,
        "CLASS_OF(vector) <= CLASS_OF(ppr(lapic, vmsa))",
        "CLASS_OF(vector) < CLASS_OF(ppr(lapic, vmsa))",
        {"classes/tpr-by-vector", "other-vcpu/tpr-holds-back", "timer/held-by-tpr"},
    ),
    "compares vectors in service, not classes": (
        LAPIC,
        "if (highest == VECTOR_NONE || CLASS_OF(vector) <= CLASS_OF(in_service(lapic)))",
        "if (highest == VECTOR_NONE || vector <= in_service(lapic))",
        {"classes/in-service-by-higher-vector", "other-vcpu/eoi", "priority/same-class-waits"},
    ),
    "leaves a class out of ISR": (
        LAPIC,
        "if (lapic->classes & BIT(class))",
        "if ((lapic->classes & BIT(class)) && class != 0xD)",
        {"classes/bits-of-each-vector"},
    ),
    "refuses SELF_IPI of class 1": (
        LAPIC,
        "\t\tlapic_post(lapic, (u8)value);\n",
        "\t\tif (CLASS_OF(value) == 1)\n\t\t\treturn SVSM_ERR_INVALID_PARAMETER;\n\t\tlapic_post(lapic, (u8)value);\n",
        {"classes/class-1"},
    ),
    "refuses a vector beside all vectors": (
        PROTOCOL,
        "\tif (request->rcx & SVSM_APIC_VECTOR_ALL)\n",
        "\tif ((request->rcx & SVSM_APIC_VECTOR_ALL) && (request->rcx & SVSM_APIC_VECTOR_MASK))\n"
        "\t\treturn SVSM_ERR_INVALID_PARAMETER;\n\tif (request->rcx & SVSM_APIC_VECTOR_ALL)\n",
        {"vectors/all-ignores-the-vector"},
    ),
    "refuses RDX beside a query": (
        PROTOCOL,
        "\tcase SVSM_APIC_CONFIGURE_QUERY:\n\t\tbreak;\n",
        "\tcase SVSM_APIC_CONFIGURE_QUERY:\n\t\tif (request->rdx)\n\t\t\treturn SVSM_ERR_INVALID_PARAMETER;\n"
        "\t\tbreak;\n",
        {"calls/unused-registers-ignored"},
    ),
    "keeps the upper half of RDX when it reads": (
        LAPIC,
        "*value = register_value(lapic,",
        "*value = (*value & ~(u64)UINT32_MAX) | register_value(lapic,",
        {"registers/upper-half-reads-as-zero"},
    ),
    "keeps the APIC of a vCPU that comes again": (
        ALTERNATE,
        "\tlapic_init(&vcpu->lapic, vcpu->apic_id);\n}\n\n/* The guest's side",
        "}\n\n/* The guest's side",
        {"other-vcpu/comes-again-as-after-init", "other-vcpu/comes-again-and-is-served"},
    ),
    "keeps IPIs for a vCPU that comes again": (
        ALTERNATE,
        "\tlapic_take_ipis(&vcpu->lapic, &vcpu->inbox);\n\tlapic_init(",
        "\tlapic_init(",
        {"other-vcpu/comes-again-as-after-init", "other-vcpu/comes-again-and-is-served"},
    ),
    "refuses an IPI to a vCPU that was deleted": (
        ALTERNATE,
        "\tguest = guest_begin(vcpu, guest_vmsa(vcpu->vmsa_gpa));\n\tresult = lapic_write(",
        "\tstruct vcpu *other = &vcpu_areas[1].vcpu;\n"
        "\tif (msr == MSR_X2APIC_FIRST + APIC_ICR / 16 && vcpu->index == 0 &&\n"
        "\t    !other->vmsa_gpa && other->lapic.classes)\n"
        "\t\treturn SVSM_ERR_INVALID_PARAMETER;\n"
        "\tguest = guest_begin(vcpu, guest_vmsa(vcpu->vmsa_gpa));\n\tresult = lapic_write(",
        {"other-vcpu/icr-to-a-deleted-one"},
    ),
    "deletes a vCPU twice": (
        CORE,
        "\tif (!entry || !entry->guest_owned)\n\t\treturn SVSM_ERR_INVALID_PARAMETER;\n",
        "\tif (!entry || !entry->guest_owned)\n\t\treturn SVSM_SUCCESS;\n",
        {"other-vcpu/delete-again-refused"},
    ),
    "creates a vCPU once": (
        CORE,
        "\ttarget->caa_gpa = caa_gpa;\n\t__atomic_store_n(&target->created",
        "\tstatic u32 times;\n\tif (times++)\n\t\treturn SVSM_ERR_INVALID_REQUEST;\n"
        "\ttarget->caa_gpa = caa_gpa;\n\t__atomic_store_n(&target->created",
        REGISTRATION_THERE
        | {
            "other-vcpu/comes-again",
            "other-vcpu/comes-again-as-after-init",
            "other-vcpu/comes-again-and-is-served",
            "other-vcpu/goes-again",
        },
    ),
    "offers the protocol on vCPU 0 only": (
        PROTOCOL,
        "\treturn vcpu->emulation && (vcpu->svsm->boot.flags & SVSM_BOOT_APIC_PROTOCOL);\n",
        "\treturn vcpu->index == 0 && vcpu->emulation && (vcpu->svsm->boot.flags & SVSM_BOOT_APIC_PROTOCOL);\n",
        {"other-vcpu/query-protocol"},
    ),
    "allows vectors for all vCPUs": (
        PROTOCOL,
        "\t\tlapic_allow(&vcpu->lapic, request->rcx & SVSM_APIC_VECTOR_MASK, allowed);\n",
        "\t\tfor (u32 i = 0; i < vcpu->svsm->vcpus; i++)\n"
        "\t\t\tlapic_allow(&vcpu_areas[i].vcpu.lapic, request->rcx & SVSM_APIC_VECTOR_MASK, allowed);\n",
        {"other-vcpu/timer-not-allowed-there"},
    ),
    "reads vCPU 0's doorbell page for all": (
        ALTERNATE,
        "\tif (events.guest)\n",
        "\tif (events.guest && vcpu->index == 0)\n",
        # The device's interrupt stays in service in the I/O APIC.
        {"other-vcpu/timer-allowed-there", "other-vcpu/device-edge", "other-vcpu/device-level-ends-there-only"}
        | {f"device/{name}" for name in ("edge", "edge-after-level", "level")}
        | {f"device/{name}" for name in ("level-again-until-served", "level-ends-in-order")},
    ),
    "ends a level-triggered interrupt at its delivery on another vCPU": (
        ALTERNATE,
        "\twrite_no_eoi_required(vcpu, &guest);\n\ttell_host_eois(vcpu);\n}\n\nu64 alternate_read",
        "\twrite_no_eoi_required(vcpu, &guest);\n\ttell_host_eois(vcpu);\n"
        "\tif (vcpu->index != 0 && vcpu->lapic.classes)\n\t\tnae_specific_eoi(vcpu, 0x61);\n}\n\nu64 alternate_read",
        {"other-vcpu/device-level-ends-there-only"},
    ),
    "ends the APIC of all vCPUs with the last registration": (
        PROTOCOL,
        "\treturn vcpu->emulation && (vcpu->svsm->boot.flags & SVSM_BOOT_APIC_PROTOCOL);\n",
        "\treturn vcpu->emulation && (vcpu->svsm->boot.flags & SVSM_BOOT_APIC_PROTOCOL) &&\n"
        "\t       vcpu->svsm->apic_registrations;\n",
        REGISTRATION_THERE,
    ),
    "registers again after the last deregistration": (
        PROTOCOL,
        "\t\tif (count == 0 || count == UINT32_MAX)\n",
        "\t\tif (count == UINT32_MAX)\n",
        {f"registration/other-vcpu-{name}" for name in ("cannot-register", "ends-by-query", "calls-refused")},
    ),
    "ends no APIC by a query": (
        PROTOCOL,
        "\tif (__atomic_load_n(registrations, __ATOMIC_SEQ_CST) == 0)\n",
        "\tif (__atomic_load_n(registrations, __ATOMIC_SEQ_CST) == 0 && request->rcx != SVSM_APIC_CONFIGURE_QUERY)\n",
        {"registration/other-vcpu-ends-by-query", "registration/other-vcpu-calls-refused"},
    ),
    "leaves no_eoi_required at the end": (
        LAPIC,
        "isr_word(lapic, i), __ATOMIC_SEQ_CST);\n\t}\n\tguest->no_eoi_required = 0;\n",
        "isr_word(lapic, i), __ATOMIC_SEQ_CST);\n\t}\n\tguest->no_eoi_required = 1;\n",
        {"registration/no-eoi-required-is-clear"},
    ),
    "refuses another deregistration with a code of its own": (
        "svsm/protocol.c",
        "\tif (!protocol_find(vcpu, request->protocol, &protocol))\n",
        "\tif (request->protocol == SVSM_PROTOCOL_APIC && request->call == SVSM_APIC_CONFIGURE && request->rcx < 2 &&\n"
        "\t    !protocol_apic_offered(vcpu))\n\t\treturn SVSM_APIC_ERR_CANNOT_REGISTER;\n"
        "\tif (!protocol_find(vcpu, request->protocol, &protocol))\n",
        {"registration/query-again", "registration/deregister-again"},
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


def mutant(directory: Path, source: str, text: str, replacement: str) -> bytes:
    """The SVSM's image, compiled with a change."""
    copy = directory / "emulator"
    shutil.copytree(EMULATOR, copy)  # with what is built: only the changed file is compiled
    code = (copy / source).read_text(encoding="utf-8")
    assert code.count(text) == 1, f"{source} has not just one {text!r}"
    (copy / source).write_text(code.replace(text, replacement), encoding="utf-8")
    image = str(rom.SVSM_IMAGE.relative_to(EMULATOR))
    command = ["make", "-s", "-C", str(copy), image]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return (copy / image).read_bytes()
