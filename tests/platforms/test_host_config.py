# SPDX-License-Identifier: GPL-2.0-or-later
"""The configuration block in Python is that of config.h: a program compiled from the header reads a packed block."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from msgspec import structs

from snp_harness.capture import record
from snp_harness.firmware.metadata import SevSection, SevSectionType
from snp_harness.platforms import host_config
from snp_harness.platforms.emulated import DOORBELL_PORT
from snp_harness.platforms.host_config import (
    APIC,
    HYPERVISOR_FAULTS,
    LAYOUT,
    POLICY,
    SVSM_FAULTS,
    Fault,
    HostConfig,
    SvsmBoot,
    SvsmFault,
    VcExit,
    svsm_boot,
    vc_exits,
)
from snp_harness.platforms.rom import HOST_ROM_SIZE
from snp_harness.svsm.config import (
    HYPERVISOR_FAULT_NAMES,
    SVSM_FAULT_NAMES,
    ApicServer,
    ExitsSection,
    Policy,
    parse_config,
)
from tests.capture.test_layout import INCLUDE, compile_and_run

HOST = Path(record.__file__).parents[2] / "emulator" / "host"
SECTIONS = (
    SevSection(0x800000, 0x9000, SevSectionType.SEC_MEMORY),
    SevSection(0x80D000, 0x1000, SevSectionType.SVSM_CAA),
)


def example() -> HostConfig:
    """Every field another number, so that a swap shows."""
    numbers = {
        field.name: 0x1000 + number
        for number, field in enumerate(dataclasses.fields(HostConfig))
        if field.name not in ("sev_status", "sections")
    }
    return HostConfig(**numbers, sev_status=(5, 6, 7, 8), sections=SECTIONS)


def test_every_field_is_where_the_header_has_it(tmp_path: Path) -> None:
    config = example()
    names = [field.name for field in dataclasses.fields(HostConfig) if field.name not in ("sev_status", "sections")]
    names += ["magic", "version", "size", "check"]
    prints = [f'printf("{name} %llu\\n", (unsigned long long)c->{name});' for name in names]
    prints += [f'printf("sev_status{n} %llu\\n", (unsigned long long)c->sev_status[{n}]);' for n in range(4)]
    prints += ['printf("sections %u\\n", c->sections); printf("sizeof %zu\\n", sizeof(*c));']
    for number in range(3):
        for name in ("gpa", "size", "type", "reserved"):
            prints.append(f'printf("section{number}.{name} %u\\n", c->section[{number}].{name});')
    block = ",".join(map(str, config.pack()))
    body = f"static const unsigned char b[] = {{{block}}}; const struct host_config *c = (const void *)b;\n"
    lines = compile_and_run(tmp_path, "config", body + "\n".join(prints), "config.h")
    seen = {name: int(value) for name, value in lines}
    assert seen.pop("sizeof") == seen["size"] == LAYOUT.size
    for name in names:
        expected = {
            "magic": host_config.MAGIC,
            "version": host_config.VERSION,
            "size": LAYOUT.size,
            "check": host_config.VERSION,
        }.get(name) or getattr(config, name, 0)
        assert seen[name] == expected, name
    assert [seen[f"sev_status{n}"] for n in range(4)] == [5, 6, 7, 8]
    assert seen["sections"] == 2
    for number, section in enumerate(SECTIONS):
        assert seen[f"section{number}.gpa"] == section.gpa
        assert seen[f"section{number}.size"] == section.size
        assert seen[f"section{number}.type"] == section.type
    assert seen["section2.type"] == 0


def test_numbers_of_the_header(tmp_path: Path) -> None:
    expected = {f"CONFIG_VC_{bit.name}": int(bit) for bit in VcExit}
    expected |= {f"CONFIG_APIC_{server.name}": APIC[server] for server in ApicServer}
    expected |= {f"CONFIG_SECTION_{kind.name.replace('MEMORY', 'MEM')}": kind for kind in SevSectionType}
    expected |= {f"CONFIG_FAULT_{fault.name}": int(fault) for fault in Fault}
    expected |= {
        f"CONFIG_POLICY_{policy.name.replace('ALTINJ', 'ALTERNATE_INJECTION')}": POLICY[policy] for policy in Policy
    }
    expected |= {
        "CONFIG_MAGIC": host_config.MAGIC,
        "CONFIG_VERSION": host_config.VERSION,
        "CONFIG_SECTIONS": host_config.SECTIONS,
        "CONFIG_VMPLS": host_config.VMPLS,
    }
    body = "\n".join(f'printf("{name} %llu\\n", (unsigned long long)({name}));' for name in expected)
    assert {name: int(value) for name, value in compile_and_run(tmp_path, "numbers", body, "config.h")} == expected
    text = (INCLUDE / "config.h").read_text()
    for part in ("VC", "FAULT"):
        found = set(re.findall(rf"#define (CONFIG_{part}_\w+)", text))
        assert found == {name for name in expected if name.startswith(f"CONFIG_{part}_")}


def test_numbers_of_the_svsm_s_boot_block(tmp_path: Path) -> None:
    expected = {f"SVSM_BOOT_{flag.name}": int(flag) for flag in SvsmBoot}
    expected |= {f"SVSM_FAULT_{fault.name}": int(fault) for fault in SvsmFault}
    body = "\n".join(f'printf("{name} %llu\\n", (unsigned long long)({name}));' for name in expected)
    assert {n: int(value) for n, value in compile_and_run(tmp_path, "boot", body, "svsm_boot.h")} == expected
    text = (INCLUDE / "svsm_boot.h").read_text()
    found = set(re.findall(r"#define (SVSM_(?:BOOT|FAULT)_\w+)", text)) - {"SVSM_BOOT_REGIONS"}
    assert found == set(expected)


def test_every_value_of_the_configuration_has_its_number() -> None:
    assert set(POLICY) == set(Policy)
    assert set(HYPERVISOR_FAULTS) == set(HYPERVISOR_FAULT_NAMES)
    assert set(SVSM_FAULTS) == set(SVSM_FAULT_NAMES)


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("", SvsmBoot.APIC_PROTOCOL),
        ("[svsm]\napic_protocol = false", SvsmBoot(0)),
        ("[svsm]\nscrub = true", SvsmBoot.APIC_PROTOCOL | SvsmBoot.SCRUB),
        ("[svsm]\nfeature_bit = 7", SvsmBoot.APIC_PROTOCOL | SvsmBoot.FEATURE_BIT_7),
        ("[hypervisor]\ntimer = 'svsm'", SvsmBoot.APIC_PROTOCOL | SvsmBoot.TIMER),
    ],
)
def test_flags_of_the_svsm(text: str, flags: SvsmBoot) -> None:
    assert svsm_boot(parse_config(text.encode(), "c.toml")) == flags


def test_the_page_is_full_and_its_sections_bounded() -> None:
    assert len(example().pack()) == 4096
    too_many = dataclasses.replace(example(), sections=SECTIONS * 17)
    with pytest.raises(ValueError, match="34 sections do not fit 32"):
        too_many.pack()


def test_exits_become_bits() -> None:
    none = ExitsSection(**dict.fromkeys(ExitsSection.__struct_fields__, False))
    assert vc_exits(none) == 0
    for name in ExitsSection.__struct_fields__:
        assert vc_exits(structs.replace(none, **{name: True})) == VcExit[name.upper()]


def test_host_layout_header() -> None:
    text = (HOST / "layout.h").read_text()
    size = re.search(r"#define HOST_ROM_SIZE\s+(0x[0-9A-Fa-f]+)", text)
    config = re.search(r"#define CONFIG_ROM\s+(0x[0-9A-Fa-f]+)", text)
    assert size is not None
    assert config is not None
    assert int(size[1], 16) == HOST_ROM_SIZE
    assert int(config[1], 16) == (1 << 32) - HOST_ROM_SIZE - host_config.PAGE


def test_the_doorbell_is_beside_every_port_of_the_machine() -> None:
    assert 0x3EF < DOORBELL_PORT < 0x600
    assert DOORBELL_PORT not in (0x402, 0x4D0, 0x4D1, 0x510, 0x511, 0x514)
