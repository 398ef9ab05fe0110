# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snp_harness.errors import EXIT_USAGE
from snp_harness.svsm import config_files
from snp_harness.svsm.config import SvsmConfig
from snp_harness.svsm.config_files import ConfigError, load_config, parse_config
from snp_harness.svsm.faults import HYPERVISOR_FAULT_NAMES, SVSM_FAULT_NAMES
from snp_harness.svsm.keys import keys
from snp_harness.svsm.sections import ApicServer, Policy, Timer

#: The faults that have a configuration of their own: those that a boot to the shell survives.
SHIPPED_FAULTS = (*SVSM_FAULT_NAMES[:4], *HYPERVISOR_FAULT_NAMES[:4])
FAULTS = {f"fault-{name}" for name in SHIPPED_FAULTS}
WITHOUT_SVSM = {"no-svsm", "plain"}
WITHOUT_INJECTION = WITHOUT_SVSM | {"alternate-injection-off", "alternate-injection-off-native-io", "two-witnesses"}
SHIPPED = WITHOUT_INJECTION | FAULTS
SHIPPED |= {"alternate-injection", "alternate-injection-native-io", "no-apic-protocol", "timer-hv-timer", "timer-svsm"}
SHIPPED |= {"no-feature-bit-9", "feature-bit-7", "policy-x2apic-on-altinj", "policy-x2apic-at-reset"}


def test_the_shipped_configurations() -> None:
    assert set(config_files.shipped_configs()) == SHIPPED
    loaded = {name: load_config(name) for name in SHIPPED}
    assert {name for name, one in loaded.items() if one.present} == SHIPPED - WITHOUT_SVSM
    assert {name for name, one in loaded.items() if one.alternate_injection} == SHIPPED - WITHOUT_INJECTION
    assert {name for name, one in loaded.items() if one.injected_faults} == FAULTS
    assert all(loaded[name].faults.inject == (name.removeprefix("fault-"),) for name in FAULTS)
    assert [name for name, one in loaded.items() if not one.guest.sev] == ["plain"]
    assert [name for name, one in loaded.items() if one.hypervisor.apic is ApicServer.QEMU] == ["two-witnesses"]
    assert {name for name, one in loaded.items() if not one.exits.ioio} == {n for n in SHIPPED if "native-io" in n}
    assert [name for name, one in loaded.items() if one.svsm.feature_bit == 7] == ["feature-bit-7"]
    assert {one.hypervisor.timer for one in loaded.values()} == set(Timer)
    assert {one.hypervisor.policy for one in loaded.values()} == set(Policy)


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_each_shipped_configuration_says_what_it_shows(name: str) -> None:
    spdx, *comment = config_files.find_config(name).read_text(encoding="utf-8").partition("\n\n")[0].splitlines()
    assert spdx == "# SPDX-License-Identifier: GPL-2.0-or-later"
    assert len(" ".join(comment)) > 60
    assert all(line.startswith("# ") for line in comment)


def test_an_igvm_path_is_relative_to_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c" / "mine.toml"
    path.parent.mkdir()
    for igvm, expected in (("/x/y.igvm", Path("/x/y.igvm")), ("coconut.igvm", tmp_path / "c" / "coconut.igvm")):
        path.write_text(f'[svsm]\nkind = "igvm"\nigvm = "{igvm}"\n')
        assert load_config(path).svsm.igvm == str(expected)
    monkeypatch.chdir(path.parent)
    assert load_config("mine.toml").svsm.igvm == str(path.parent / "coconut.igvm")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "x = 1",
            "unknown section x: the sections are [svsm], [hypervisor], [exits], [memory], [log], [guest], [faults]",
        ),
        (
            "[svsm]\nfoo = 1",
            "unknown key svsm.foo: the keys of [svsm] are present, kind, igvm, alternate_injection, vmpl, ap",
        ),
        ("[svsm]\npresent = 'yes'", "svsm.present = 'yes': expected true or false"),
        ("[svsm]\nkind = 'coconut'", 'svsm.kind = \'coconut\': expected "reference" or "igvm"'),
        ("[svsm]\nkind = 'igvm'", 'svsm.kind = "igvm" and svsm.igvm go together'),
        ("[svsm]\nigvm = 'a.igvm'", 'svsm.kind = "igvm" and svsm.igvm go together'),
        ("[svsm]\nigvm = 3", "svsm.igvm = 3: expected a path"),
        ("[svsm]\nfeature_bit = 8", "svsm.feature_bit = 8: expected 7 or 9"),
        (
            "[svsm]\nkind = 'igvm'\nigvm = 'a'\npresent = false\nalternate_injection = false",
            'svsm.kind = "igvm" needs svsm.present = true',
        ),
        (
            "[hypervisor]\npolicy = 'x2apic'",
            'policy = \'x2apic\': expected "kvm" or "x2apic-on-altinj" or "x2apic-at-reset"',
        ),
        (
            "[hypervisor]\npolicy = 'x2apic-at-reset'\napic = 'qemu'\n[svsm]\nalternate_injection = false",
            'hypervisor.policy = "x2apic-at-reset" needs hypervisor.apic = "virtual"',
        ),
        (
            "[hypervisor]\npolicy = 'x2apic-on-altinj'\n[svsm]\nalternate_injection = false",
            'hypervisor.policy = "x2apic-on-altinj" needs svsm.alternate_injection = true',
        ),
        (
            "[guest]\nhidden_features = ['x2apic']",
            'svsm.alternate_injection = true and "x2apic" in guest.hidden_features contradict each other',
        ),
        ("[hypervisor]\napic = 'qemu'", 'svsm.alternate_injection = true needs hypervisor.apic = "virtual"'),
        ("[hypervisor]\ntimer = 'msr'", 'timer = \'msr\': expected "hypervisor-msr" or "hv-timer" or "svsm"'),
        (
            "[hypervisor]\ntimer = 'hv-timer'",
            'hypervisor.timer = "hv-timer" needs "restricted-injection-timer" in hypervisor.features',
        ),
        (
            "[hypervisor]\ntimer = 'svsm'\n[svsm]\napic_protocol = false",
            'hypervisor.timer = "svsm" needs svsm.apic_protocol = true',
        ),
        (
            "[hypervisor]\ntimer = 'svsm'\n[svsm]\nalternate_injection = false",
            'hypervisor.timer = "svsm" needs svsm.alternate_injection = true',
        ),
        (
            "[hypervisor]\nfeatures = ['snp', 'multi-vmpl', 'restricted-injection', 'restricted-injection-timer']",
            '"restricted-injection-timer" needs "ap-creation" in hypervisor.features',
        ),
        ("[faults]\ninject = ['lazy']", "faults.inject = 'lazy': expected a list of busy, incomplete, wrong-result"),
        ("[faults]\nevery = 0", "faults.every = 0: expected an integer of 1 to 2147483648"),
        (
            "[faults]\nresult = 0x8000000000000000",
            "faults.result = 9223372036854775808: expected an integer of 0x0 to 0x7F",
        ),
        ("[faults]\nregister = 0x900", "faults.register = 2304: expected an integer of 0x800 to 0x8FF"),
        (
            "[faults]\ninject = ['busy']\n[svsm]\nalternate_injection = false",
            '"busy" in faults.inject needs svsm.alternate_injection = true',
        ),
        (
            "[faults]\ninject = ['busy']\n[svsm]\napic_protocol = false",
            '"busy" in faults.inject needs svsm.apic_protocol = true',
        ),
        ("[svsm]\nvmpl = 0", "svsm.vmpl = 0: expected an integer of 1 to 3"),
        ("[svsm]\nvmpl = true", "svsm.vmpl = True: expected an integer of 1 to 3"),
        ("[svsm]\nvmpl = 2.0", "svsm.vmpl = 2.0: expected an integer of 1 to 3"),
        ("[svsm]\nvmpl = 0x1" + "0" * 5000, "svsm.vmpl = a huge number: expected an integer of 1 to 3"),
        ("[memory]\ncbit = 50", "memory.cbit = 50: expected 47 or 51"),
        ("[log]\nlevel = 4", "log.level = 4: expected an integer of 0 to 3"),
        ("[hypervisor]\napic = 'kvm'", 'hypervisor.apic = \'kvm\': expected "virtual" or "qemu"'),
        ("[hypervisor]\nfeatures = ['snp', 'sno']", "hypervisor.features = 'sno': expected a list of snp, ap-creation"),
        ("[hypervisor]\nfeatures = ['snp ']", "hypervisor.features = 'snp ': expected a list of snp, ap-creation"),
        ("[hypervisor]\nfeatures = [" + "'snp'," * 11 + "]", "expected a list of snp, ap-creation"),
        ("[hypervisor]\nfeatures = 'snp'", "hypervisor.features = 'snp': expected a list of snp, ap-creation"),
        (
            "svsm = 3",
            "svsm is a section: write [svsm] and its keys present, kind, igvm, alternate_injection, vmpl,"
            " apic_protocol, feature_bit, in_ram, scrub, rmp_batches, self_test below it",
        ),
        ("[svsm]\npresent = false", "svsm.alternate_injection = true needs svsm.present = true"),
        ("[guest]\nsev = false", "svsm.present = true needs guest.sev = true"),
        ("[guest]\nsev = 'sev-es'", "svsm.present = true needs guest.sev = true"),
        ("[guest]\nsev = 'snp'", 'guest.sev = \'snp\': expected true or false or "sev" or "sev-es"'),
        ("[hypervisor]\nfeatures = ['snp']", 'svsm.present = true needs "multi-vmpl" in hypervisor.features'),
        (
            "[hypervisor]\nfeatures = ['snp', 'multi-vmpl']",
            'svsm.alternate_injection = true needs "restricted-injection" in hypervisor.features',
        ),
        ("[[[", "is not TOML: "),
        ("a = " + "[" * 5000, "is not TOML: "),
        ("a = " + "1" * 5000, "is not TOML: "),
        ('[svsm]\n"a\\nb\\u001b" = 1', "unknown key svsm.a b\\x1b"),
    ],
)
def test_errors_name_file_key_and_allowed_values(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(text.encode(), "c.toml")
    assert str(caught.value).startswith("c.toml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_status == EXIT_USAGE


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_give_a_configuration_or_one_line(data: bytes) -> None:
    message = ""
    try:
        parse_config(data, "c.toml")
    except ConfigError as error:
        message = str(error)
    assert message.isprintable()


values = st.booleans() | st.integers(-1, 60) | st.text(max_size=5) | st.lists(st.sampled_from(["snp", "x"]), max_size=2)


@given(st.dictionaries(st.sampled_from([(k.section, k.name) for k in keys(SvsmConfig)]), values, max_size=4))
def test_any_values_give_a_configuration_or_one_line(chosen: dict[tuple[str, str], object]) -> None:
    import json

    text = "".join(f"{section}.{name} = {json.dumps(value)}\n" for (section, name), value in chosen.items())
    message = ""
    try:
        loaded = parse_config(text.encode("utf-8", "replace"), "c.toml")
        assert 0 <= loaded.guest_vmpl <= 3
    except ConfigError as error:
        message = str(error)
    assert message.isprintable()


def test_a_path_and_its_errors(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[log]\nlevel = 2\n")
    assert load_config(path).log.level == load_config(str(path)).log.level == 2
    with pytest.raises(ConfigError, match=r"no configuration is named 'mine': there are alternate-injection"):
        load_config("mine")
    with pytest.raises(ConfigError, match=r"cannot read .*other\.toml: No such file"):
        load_config(tmp_path / "other.toml")
    with pytest.raises(ConfigError, match="Is a directory"):
        load_config(tmp_path)
    path.write_text("#" * (config_files.FILE_MAX + 1))
    with pytest.raises(ConfigError, match="larger than 65536 bytes"):
        load_config(path)
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="is not TOML"):
        load_config(path)


def test_installation_without_configurations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "only.toml").write_text("")
    monkeypatch.setattr(config_files, "SHIPPED_DIRECTORY", tmp_path)
    assert load_config("only") == SvsmConfig()
    monkeypatch.setattr(config_files, "SHIPPED_DIRECTORY", tmp_path / "none")
    with pytest.raises(ConfigError, match="the installation is broken"):
        load_config("only")
