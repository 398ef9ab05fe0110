# SPDX-License-Identifier: GPL-2.0-or-later
"""Each number of a specification stands in a C header and in a Python module: the compiler compares them."""

from __future__ import annotations

import enum
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from snp_harness.svsm import protocol, sev
from tests.emulator.svsm.driver import BUILD_TIMEOUT_S, EMULATOR, WARNINGS

SINGLE = {
    "SEV_MSR_GHCB": sev.MSR_GHCB,
    "SEV_MSR_STATUS": sev.MSR_SEV_STATUS,
    "SEV_MSR_SVSM_CAA": sev.MSR_SVSM_CAA,
    "SEV_FEATURES_STATUS_SHIFT": sev.SEV_FEATURES_SHIFT,
    "SVSM_APIC_ERR_CANNOT_REGISTER": protocol.APIC_CANNOT_REGISTER,
    f"SVSM_CALL({protocol.Protocol.APIC}, {protocol.ApicCall.WRITE_REGISTER})": (
        protocol.Protocol.APIC << protocol.CALL_SHIFT | protocol.ApicCall.WRITE_REGISTER
    ),
    "SEV_FEATURES_SNP": sev.sev_features(sev.SevStatus.SNP),
    "SEV_FEATURES_ALTERNATE_INJECTION": sev.sev_features(sev.SevStatus.ALTERNATE_INJECTION),
    "SEV_FEATURES_SECURE_AVIC": sev.sev_features(sev.SevStatus.SECURE_AVIC),
}


def members(numbers: type[enum.IntEnum] | type[enum.IntFlag], form: str) -> dict[str, int]:
    return {form.format(member.name): int(member) for member in numbers}


TABLES: dict[str, Mapping[str, int]] = {
    "single numbers": SINGLE,
    "SVSM protocols": members(protocol.Protocol, "SVSM_PROTOCOL_{}"),
    "SVSM results": {
        name.replace("SVSM_ERR_SUCCESS", "SVSM_SUCCESS"): value
        for name, value in members(protocol.Result, "SVSM_ERR_{}").items()
    },
    "core calls": members(protocol.CoreCall, "SVSM_CORE_{}"),
    "APIC calls": members(protocol.ApicCall, "SVSM_APIC_{}"),
    "APIC CONFIGURE": members(protocol.ApicConfigure, "SVSM_APIC_CONFIGURE_{}"),
    "SEV_STATUS": members(sev.SevStatus, "SEV_STATUS_{}"),
    "hypervisor features": members(sev.HypervisorFeature, "HV_FEATURE_{}"),
    "GHCB MSR protocol": members(sev.GhcbRequest, "GHCB_MSR_{}_REQ"),
    "NAE events": members(sev.NaeEvent, "NAE_{}"),
}


@pytest.mark.parametrize("table", TABLES)
def test_headers_and_python_agree(table: str, tmp_path: Path) -> None:
    source = tmp_path / "numbers.c"
    checks = (f'_Static_assert(({name}) == {value:#x}ull, "{value:#x}");' for name, value in TABLES[table].items())
    source.write_text("\n".join(['#include "ghcb.h"', '#include "sev.h"', '#include "svsm.h"', *checks]) + "\n")
    compiled = subprocess.run(
        ["gcc", *WARNINGS, f"-I{EMULATOR / 'include'}", "-fsyntax-only", source],
        capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, check=False,
    )  # fmt: skip
    assert compiled.returncode == 0, compiled.stderr
