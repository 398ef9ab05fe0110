# SPDX-License-Identifier: GPL-2.0-or-later
"""What a host needs to run an SNP guest, check by check, from the facts that snp_harness/agent/probe.py found there.

virtee's snphost (`snphost ok`) checks the same, virt-firmware's virt-kvm-caps the part about KVM.
"""

from __future__ import annotations

from snp_harness.agent.probe import SEV_DEVICE, VM_TYPES
from snp_harness.check import Check, CheckStatus
from snp_harness.platforms.host_facts import HostFacts
from snp_harness.svsm.vmsa import ALTERNATE_INJECTION, RESTRICTED_INJECTION, feature_names

#: kvm_amd's parameters that have to be on.
PARAMETERS = ("sev", "sev_es", "sev_snp")
_ON = ("Y", "1")
#: The oldest SNP ABI that Linux's KVM accepts (drivers/crypto/ccp/sev-dev.h, SNP_MIN_API_MAJOR and _MINOR).
SNP_API = (1, 51)
#: The oldest QEMU that COCONUT's launch script accepts (scripts/launch_guest.sh).
SVSM_QEMU = (11,)
#: The CPU model of COCONUT's documented command; the firmware checks the guest's CPUID against the host's.
CPU_MODEL = "EPYC-v4"
#: Space that the files of the run and of QEMU need at least, bytes.
DISK_MINIMUM = 256 << 20
#: RAM of a guest where a run names none, MiB: OVMF, the SVSM at 512 GiB, and what an operating system needs.
MEMORY_MIB = 2048

_SETUP = "switch SMEE, SEV-SNP and SNP memory coverage on in the host's firmware setup"


def checks(facts: HostFacts) -> list[Check]:
    """Return all checks, those that others depend on first."""
    return [
        _processor(facts),
        _kvm(facts),
        _parameters(facts),
        _guest_type(facts),
        _security_processor(facts),
        _vmsa_features(facts),
        _qemu(facts),
        _igvm(facts),
        _planes(facts),
        _memory(facts),
        _disk(facts),
    ]


def _ok(name: str, evidence: str) -> Check:
    return Check(name, CheckStatus.OK, evidence)


def _missing(name: str, evidence: str, hint: str) -> Check:
    return Check(name, CheckStatus.MISSING, evidence, hint)


def _warn(name: str, evidence: str, hint: str) -> Check:
    return Check(name, CheckStatus.WARN, evidence, hint)


def _processor(facts: HostFacts) -> Check:
    name = "processor"
    cpu = facts.cpu
    model = cpu.model or facts.machine or "unknown"
    if cpu.sev_leaf is None:
        return _missing(name, f"{model}: {cpu.sev_leaf_error}", "use a host with an AMD EPYC 7003 or newer")
    leaf = f"CPUID 8000001F EAX={cpu.sev_leaf.eax:X} EBX={cpu.sev_leaf.ebx:X}"
    if not cpu.snp:
        return _missing(
            name, f"{model}: no SEV-SNP ({leaf})", f"use a host with an AMD EPYC 7003 or newer, and {_SETUP}"
        )
    return _ok(name, f"{model}: SEV-SNP, {cpu.vmpls} VMPLs, C-bit {cpu.cbit} ({leaf})")


def _kvm(facts: HostFacts) -> Check:
    name = "KVM"
    kvm = facts.kvm
    if not kvm.present:
        return _missing(name, "/dev/kvm is absent", "load the module kvm_amd; SVM has to be on in the firmware setup")
    if kvm.error:
        hint = "become a member of the group kvm, or use SNP_HARNESS_SUDO=1"
        return _missing(name, f"/dev/kvm: {kvm.error}", hint)
    made = kvm.created.get("default", "ok")
    if made != "ok":
        return _missing(name, f"no guest can be created: {made}", "see the kernel's log on the host")
    return _ok(name, f"/dev/kvm, API {kvm.api}, Linux {facts.kernel}")


def _parameters(facts: HostFacts) -> Check:
    name = "kvm_amd"
    values = {parameter: facts.parameters.get(parameter) for parameter in PARAMETERS}
    evidence = ", ".join(f"{parameter}={value or 'absent'}" for parameter, value in values.items())
    if all(value in _ON for value in values.values()):
        return _ok(name, evidence)
    if not any(facts.parameters.values()):
        return _missing(name, f"{evidence}: the module is not loaded", "modprobe kvm_amd on an AMD host")
    if values["sev_snp"] is None:
        return _missing(name, f"{evidence}: built without SNP", "use Linux 6.11 or newer, with CONFIG_KVM_AMD_SEV")
    return _missing(name, evidence, f"load kvm_amd with sev=1 sev_es=1 sev_snp=1; {_SETUP}")


def _guest_type(facts: HostFacts) -> Check:
    name = "KVM SNP guests"
    kvm = facts.kvm
    if kvm.vm_types is None:
        return _missing(name, "KVM does not report its types of guests", "use Linux 6.11 or newer on the host")
    types = ", ".join(kind for kind, bit in VM_TYPES.items() if kvm.vm_types >> bit & 1)
    evidence = f"KVM_CAP_VM_TYPES {kvm.vm_types:X}: {types}"
    if not kvm.vm_types >> VM_TYPES["sev-snp"] & 1:
        return _missing(name, evidence, f"see the kernel's log (dmesg | grep -i sev); {_SETUP}")
    made = kvm.created.get("sev-snp", "ok")
    if made != "ok":
        return _missing(name, f"{evidence}; no guest can be created: {made}", "see the kernel's log on the host")
    return _ok(name, evidence)


def _security_processor(facts: HostFacts) -> Check:
    name = "security processor"
    sev = facts.sev
    if not sev.present:
        return _missing(name, f"{SEV_DEVICE} is absent", "load the module ccp; see the kernel's log")
    if sev.error or sev.api is None:
        hint = "run the harness as root, or with SNP_HARNESS_SUDO=1, which starts its part on this machine by sudo"
        return _missing(name, f"{SEV_DEVICE}: {sev.error or 'no answer'}", hint)
    evidence = (
        f"SNP API {sev.api}, {'' if sev.initialized else 'not '}initialized, RMP {'' if sev.rmp else 'not '}set up"
    )
    if not sev.rmp:
        return _missing(name, evidence, f"{_SETUP}: the RMP table is made at boot")
    if _version(sev.api) < SNP_API:
        wanted = ".".join(map(str, SNP_API))
        return _missing(name, evidence, f"SNP API {wanted} or newer is needed: update the host's SEV firmware")
    return _ok(name, evidence)


def _vmsa_features(facts: HostFacts) -> Check:
    name = "Alternate Injection"
    features = facts.kvm.vmsa_features
    told = facts.parameters.get("sev_supported_vmsa_features")
    if features is None and told is not None:
        try:
            features = int(told, 0)
        except ValueError:
            features = None
    if features is None:
        return _warn(
            name,
            "not observed: KVM does not report its VMSA features",
            "a run shows it: the SVSM stops if the feature is missing",
        )
    evidence = f"VMSA features {features:X}: {', '.join(feature_names(features)) or 'none'}"
    missing = [
        word
        for word, bit in (("alternate", ALTERNATE_INJECTION), ("restricted", RESTRICTED_INJECTION))
        if not features & bit
    ]
    if missing:
        hint = (
            "only configurations with svsm.alternate_injection = false can run; for others use a kernel with the series"
        )
        return _warn(name, f"{evidence}: no {' and no '.join(missing)} injection", hint)
    return _ok(name, evidence)


def _qemu(facts: HostFacts) -> Check:
    name = "QEMU"
    qemu = facts.qemu
    if qemu.error or qemu.version is None:
        return _missing(
            name, qemu.error or "no version", "install QEMU 10.1 or newer on the host, or name it with --qemu"
        )
    found = f"{qemu.version}, {qemu.path}"
    if "sev-snp-guest" not in qemu.objects:
        return _missing(name, f"{found}: it has no sev-snp-guest", "use QEMU 9.1 or newer; with an SVSM 10.1 or newer")
    if CPU_MODEL not in qemu.cpu_models:
        return _missing(name, f"{found}: it has no CPU model {CPU_MODEL}", "use QEMU 8.1 or newer")
    return _ok(name, found)


def _igvm(facts: HostFacts) -> Check:
    name = "QEMU IGVM"
    qemu = facts.qemu
    if not qemu.has_igvm:
        return _warn(
            name,
            "no igvm-cfg: no SVSM can be launched, only configurations without one",
            "build QEMU 10.1 or newer with --enable-igvm, or use COCONUT's; Debian's has none",
        )
    if _version(qemu.version or "") < SVSM_QEMU:
        return _warn(
            name,
            f"igvm-cfg; QEMU {qemu.version} is older than {SVSM_QEMU[0]}, which COCONUT's launch script requires",
            "use a newer QEMU, or COCONUT's",
        )
    return _ok(name, "igvm-cfg")


def _planes(facts: HostFacts) -> Check:
    name = "QEMU VMPLs"
    if facts.qemu.has_planes:
        return _ok(name, "device-plane")
    return _warn(
        name,
        "no device-plane: QEMU supports one VMPL, no guest can run below an SVSM",
        "use a QEMU with support for planes, such as COCONUT's, and a kernel that has it too",
    )


def _memory(facts: HostFacts) -> Check:
    name = "memory"
    free = facts.memory.available_kb
    if free is None:
        return _warn(name, "not observed", f"a guest has {MEMORY_MIB} MiB by default")
    evidence = f"{free >> 10} MiB available"
    if free >> 10 < MEMORY_MIB:
        return _warn(name, evidence, f"a guest has {MEMORY_MIB} MiB by default: use a smaller --memory")
    return _ok(name, evidence)


def _disk(facts: HostFacts) -> Check:
    name = "disk"
    disk = facts.disk
    if disk.free is None:
        return _warn(name, f"{disk.path}: {disk.error or 'not observed'}", "a run needs about 256 MiB there")
    evidence = f"{disk.free >> 20} MiB free at {disk.path}"
    if disk.free < DISK_MINIMUM:
        return _missing(name, evidence, f"make room: {DISK_MINIMUM >> 20} MiB are needed")
    return _ok(name, evidence)


def _version(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split("."))
    except ValueError:
        return ()
