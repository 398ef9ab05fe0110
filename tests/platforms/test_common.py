# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU arguments that several platforms use."""

from __future__ import annotations

from pathlib import Path

from snp_harness.platforms.common import cpu_argument
from snp_harness.platforms.platform import RunSpec
from snp_harness.svsm.config_files import parse_config


def test_features_that_the_configuration_hides() -> None:
    text = "svsm.alternate_injection = false\nguest.hidden_features = ['x2apic', 'tsc-deadline']"
    spec = RunSpec(Path("F.fd"), svsm=parse_config(text.encode(), "c.toml"))
    assert cpu_argument(spec, "host") == "host,-x2apic,-tsc-deadline"
    assert cpu_argument(RunSpec(Path("F.fd")), "max") == "max"
