# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest

from snp_harness.svsm.config import SvsmConfig
from snp_harness.svsm.config_files import load_config, parse_config, shipped_configs
from snp_harness.svsm.keys import keys, listing
from snp_harness.svsm.sections import SvsmSection
from snp_harness.svsm.sev import HypervisorFeature as Feature

ROOT = Path(__file__).parents[2]


def test_feature_bits_of_the_older_and_of_the_lacking_hypervisor() -> None:
    older, lacking = load_config("feature-bit-7").feature_bits, load_config("no-feature-bit-9").feature_bits
    assert Feature.ALTERNATE_INJECTION_OLD in older
    assert Feature.ALTERNATE_INJECTION not in older | lacking
    assert Feature.ALTERNATE_INJECTION_OLD not in lacking
    assert load_config("no-feature-bit-9").alternate_injection


def test_the_apic_protocol_comes_with_alternate_injection() -> None:
    assert load_config().apic_protocol
    assert not load_config("no-apic-protocol").apic_protocol
    assert load_config("alternate-injection-off").svsm.apic_protocol
    assert not load_config("alternate-injection-off").apic_protocol


def test_faults_are_named_once_in_the_order_of_the_model() -> None:
    text = b'[faults]\ninject = ["wrong-nae", "busy", "wrong-nae"]\nevery = 3'
    assert parse_config(text, "c.toml").injected_faults == ("busy (1 of 3)", "wrong-nae (1 of 3)")
    assert load_config().injected_faults == ()


def test_the_default_is_alternate_injection_under_an_svsm_with_everything_as_vc() -> None:
    loaded = load_config()
    assert loaded == load_config("alternate-injection") == SvsmConfig() == parse_config(b"", "empty.toml")
    assert (loaded.present, loaded.alternate_injection, loaded.guest_vmpl) == (True, True, 2)
    assert (loaded.exits.ioio, loaded.exits.mmio, loaded.exits.msr) == (True, True, True)
    assert loaded.memory.cbit == 51
    assert loaded.feature_bits == 1 << 0 | 1 << 1 | 1 << 2 | 1 << 4 | 1 << 5 | 1 << 9


def test_sev_status_of_each_configuration() -> None:
    def status(name: str) -> list[int]:
        return [int(load_config(name).sev_status(vmpl)) for vmpl in range(4)]

    assert status("alternate-injection") == [0xA7, 0x07, 0x47, 0x07]
    assert status("no-svsm")[0] == 0x07
    assert status("plain") == [0, 0, 0, 0]


def test_a_plain_guest_has_no_features() -> None:
    assert load_config("plain").feature_bits == 0
    assert load_config("plain").guest_vmpl == 0
    assert Feature.MULTI_VMPL not in load_config("no-svsm").feature_bits


@pytest.mark.parametrize(("sev", "status"), [("false", 0), ("'sev'", 1), ("'sev-es'", 3), ("true", 7)])
def test_sev_status_follows_the_kind_of_guest(sev: str, status: int) -> None:
    text = f"[svsm]\npresent = false\nalternate_injection = false\n[guest]\nsev = {sev}"
    made = parse_config(text.encode(), "c.toml")
    assert [made.sev_status(vmpl) for vmpl in range(4)] == [status] * 4
    assert made.snp == (status == 7)


def test_a_configuration_made_in_python_is_checked_too() -> None:
    with pytest.raises(ValueError, match=r"needs svsm\.present = true"):
        SvsmConfig(svsm=SvsmSection(present=False))


def test_every_key_is_documented() -> None:
    assert all(key.description for key in keys(SvsmConfig))
    page = ROOT.joinpath("docs", "svsm-configs.md").read_text(encoding="utf-8")
    assert listing(SvsmConfig) in page
    for name in shipped_configs():
        assert f"`{name}`" in page
