# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import re
import shutil
import subprocess
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snp_harness.agent.probe import probe
from snp_harness.check import CheckStatus, first_missing
from snp_harness.errors import BrokenEnvironmentError
from snp_harness.platforms.host_facts import HostFacts, host_facts
from snp_harness.platforms.snp_preflight import checks
from tests.platforms.snp_hosts import GOOD, host


def judged(**changes: Any) -> dict[str, Any]:
    return {check.name: check for check in checks(host_facts(host(**changes)))}


def test_a_host_that_has_everything() -> None:
    found = checks(host_facts(GOOD))
    assert [check.status for check in found] == [CheckStatus.OK] * len(found)
    assert "4 VMPLs, C-bit 51" in found[0].evidence
    assert "restricted-injection, alternate-injection" in judged()["Alternate Injection"].evidence


@pytest.mark.parametrize(
    ("changes", "name", "evidence", "hint"),
    [
        ({"cpu__sev_leaf": {"eax": 0, "ebx": 0, "ecx": 0, "edx": 0}}, "processor", "no SEV-SNP", "EPYC 7003"),
        ({"cpu__sev_leaf": None, "cpu__sev_leaf_error": "no x86 processor"}, "processor", "no x86 processor", "EPYC"),
        ({"kvm__present": False}, "KVM", "absent", "kvm_amd"),
        ({"kvm__error": "Permission denied"}, "KVM", "Permission denied", "group kvm"),
        ({"kvm__created": {"default": "Device or resource busy"}}, "KVM", "busy", "kernel's log"),
        ({"parameters__sev_snp": "N"}, "kvm_amd", "sev_snp=N", "sev_snp=1"),
        ({"parameters__sev_snp": None}, "kvm_amd", "sev_snp=absent", "Linux 6.11"),
        ({"parameters": {}}, "kvm_amd", "not loaded", "modprobe"),
        ({"parameters": {"npt": "Y"}}, "kvm_amd", "sev=absent, sev_es=absent, sev_snp=absent: built without", "Linux"),
        ({"kvm__vm_types": None}, "KVM SNP guests", "does not report its types", "Linux 6.11"),
        ({"kvm__vm_types": 0x0D}, "KVM SNP guests", "D: default, sev, sev-es", "dmesg"),
        ({"kvm__created": {"sev-snp": "Invalid argument"}}, "KVM SNP guests", "Invalid argument", "kernel's log"),
        ({"sev__present": False}, "security processor", "/dev/sev is absent", "ccp"),
        ({"sev__error": "Permission denied"}, "security processor", "Permission denied", "SNP_HARNESS_SUDO"),
        ({"sev__rmp": False}, "security processor", "RMP not set up", "RMP table"),
        ({"sev__api": "1.49"}, "security processor", "SNP API 1.49", "1.51"),
        ({"sev__api": "x"}, "security processor", "SNP API x", "1.51"),
        ({"qemu__error": "qemu-system-x86_64 is not in PATH"}, "QEMU", "not in PATH", "install QEMU"),
        ({"qemu__objects": ["sev-guest"]}, "QEMU", "no sev-snp-guest", "9.1"),
        ({"qemu__cpu_models": []}, "QEMU", "no CPU model EPYC-v4", "8.1"),
        ({"disk__free": 1 << 20}, "disk", "1 MiB free", "make room"),
    ],
)
def test_what_is_missing_is_named_with_what_to_do(changes: dict[str, Any], name: str, evidence: str, hint: str) -> None:
    check = judged(**changes)[name]
    assert check.status is CheckStatus.MISSING
    assert evidence in check.evidence
    assert hint in check.hint
    missing = first_missing(checks(host_facts(host(**changes))))
    assert missing is not None
    assert missing.name == name


@pytest.mark.parametrize(
    ("changes", "name", "evidence"),
    [
        ({"qemu__objects": ["sev-snp-guest"]}, "QEMU IGVM", "no igvm-cfg"),
        ({"qemu__version": "10.1.0"}, "QEMU IGVM", "older than 11"),
        ({"qemu__help": {}}, "QEMU VMPLs", "no device-plane"),
        ({"kvm__vmsa_features": 0x21}, "Alternate Injection", "no alternate and no restricted injection"),
        ({"kvm__vmsa_features": None}, "Alternate Injection", "not observed"),
        (
            {"kvm__vmsa_features": None, "parameters__sev_supported_vmsa_features": "?"},
            "Alternate Injection",
            "not obs",
        ),
        ({"memory__available_kb": 1 << 20}, "memory", "1024 MiB available"),
        ({"memory__available_kb": None}, "memory", "not observed"),
        ({"disk__free": None}, "disk", "not observed"),
    ],
)
def test_what_runs_with_a_loss_is_a_warning(changes: dict[str, Any], name: str, evidence: str) -> None:
    check = judged(**changes)[name]
    assert check.status is CheckStatus.WARN
    assert evidence in check.evidence
    assert check.hint
    assert first_missing(checks(host_facts(host(**changes)))) is None


def test_vmsa_features_of_the_modules_parameter() -> None:
    changes = {"kvm__vmsa_features": None, "parameters__sev_supported_vmsa_features": "0x19"}
    assert judged(**changes)["Alternate Injection"].status is CheckStatus.OK


def test_this_machine_is_judged_too() -> None:
    found = checks(host_facts(probe()))
    assert all(check.evidence for check in found)
    assert all(check.hint for check in found if check.status is not CheckStatus.OK)


#: A check, and the output of `snphost ok` (virtee) if it is met.
SNPHOST = {
    "processor": ("Secure Nested Paging (SEV-SNP)",),
    "KVM": ("KVM supported",),
    "kvm_amd": ("SEV enabled in KVM", "SEV-ES enabled in KVM", "SEV-SNP enabled in KVM"),
}


def test_this_machine_is_judged_as_snphost_judges_it() -> None:
    program = shutil.which("snphost")
    if program is None:
        pytest.skip("snphost is not installed: Debian's sid has it")
    done = subprocess.run([program, "ok"], capture_output=True, text=True, timeout=60, check=False)
    text = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
    passed = {name.split(":")[0].strip() for name in re.findall(r"^\[ PASS \][ -]*(.+)$", text, re.MULTILINE)}
    ours = {check.name: check.status is CheckStatus.OK for check in checks(host_facts(probe()))}
    assert {name: ours[name] for name in SNPHOST} == {name: passed.issuperset(said) for name, said in SNPHOST.items()}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 70), 1 << 70) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*GOOD, "eax", "free"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(JSON)
def test_any_answer_is_judged_or_refused(answer: Any) -> None:
    _judge_all(answer)
    _judge_all({"version": 1, **answer} if isinstance(answer, dict) else {"version": answer})


@settings(deadline=None)
@given(st.sampled_from(["cpu", "kvm", "sev", "qemu", "memory", "disk", "parameters"]), JSON)
def test_any_part_of_an_answer_is_judged_or_refused(part: str, value: Any) -> None:
    _judge_all(host(**{part: value}))


def _judge_all(answer: Any) -> None:
    try:
        facts = host_facts(answer)
    except BrokenEnvironmentError as error:
        assert "facts cannot be read" in error.message  # noqa: PT017
        return
    assert isinstance(facts, HostFacts)
    assert len(checks(facts)) == len(checks(host_facts(GOOD)))
