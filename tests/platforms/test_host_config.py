# SPDX-License-Identifier: GPL-2.0-or-later
"""The configuration block in Python is that of config.h, and what both sides know of the machine is the same."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from msgspec import structs

from snp_harness.agent import images
from snp_harness.firmware.metadata import FOUR_GIB
from snp_harness.platforms import host_config
from snp_harness.platforms.emulated import DOORBELL_PORT, MAX_VCPUS, run_keys
from snp_harness.platforms.host_config import (
    APIC,
    HIDDEN,
    HYPERVISOR_FAULTS,
    LAYOUT,
    POLICY,
    Fault,
    Hidden,
    HostConfig,
    VcExit,
    vc_exits,
)
from snp_harness.platforms.memory_map import HOST_REACH
from snp_harness.platforms.platform import RunSpec
from snp_harness.platforms.rom import HOST_ROM_SIZE
from snp_harness.svsm.faults import HYPERVISOR_FAULT_NAMES
from snp_harness.svsm.sections import HIDDEN_NAMES, ApicServer, ExitsSection, Policy
from tests.helpers.c_headers import INCLUDE, assert_same, constants, layout, members

CONFIG = f"{INCLUDE}/config.h"
EMULATOR = "harness/emulator"


def example() -> HostConfig:
    """Every field another number, so that a swap shows."""
    numbers = {
        name: 0x1000 + number for number, name in enumerate(HostConfig.__struct_fields__) if name != "sev_status"
    }
    return HostConfig(**numbers, sev_status=(5, 6, 7, 8))


def test_every_field_is_where_the_header_has_it() -> None:
    config = example()
    packed = config.pack()
    names = [name for name in HostConfig.__struct_fields__ if name != "sev_status"]
    expected = {name: getattr(config, name) for name in names}
    expected |= {
        "magic": host_config.MAGIC,
        "version": host_config.VERSION,
        "size": LAYOUT.size,
        "check": host_config.VERSION,
    }
    expected |= {f"sev_status[{number}]": value for number, value in enumerate(config.sev_status)}
    places = layout([CONFIG], "struct host_config", expected)
    assert {name: int.from_bytes(packed[at : at + size], "little") for name, (at, size) in places.items()} == expected
    assert_same([CONFIG], {"sizeof(struct host_config)": LAYOUT.size})


def test_numbers_of_the_header() -> None:
    expected = members(VcExit, "CONFIG_VC_{}") | members(Fault, "CONFIG_FAULT_{}") | members(Hidden, "CONFIG_HIDE_{}")
    expected |= {f"CONFIG_APIC_{server.name}": APIC[server] for server in ApicServer}
    expected |= {
        f"CONFIG_POLICY_{policy.name.replace('ALTINJ', 'ALTERNATE_INJECTION')}": POLICY[policy] for policy in Policy
    }
    expected |= {
        "CONFIG_MAGIC": host_config.MAGIC,
        "CONFIG_VERSION": host_config.VERSION,
        "CONFIG_VMPLS": host_config.VMPLS,
        "CONFIG_FAULTS": len(Fault),
    }
    assert constants(CONFIG, "CONFIG_") == expected


def test_every_value_of_the_configuration_has_its_number() -> None:
    assert set(POLICY) == set(Policy)
    assert set(HYPERVISOR_FAULTS) == set(HYPERVISOR_FAULT_NAMES)
    assert set(HIDDEN) == set(HIDDEN_NAMES)


def test_the_page_is_full() -> None:
    assert len(example().pack()) == 4096


def test_exits_become_bits() -> None:
    none = ExitsSection(**dict.fromkeys(ExitsSection.__struct_fields__, False))
    assert vc_exits(none) == 0
    # The other keys say how they are answered.
    for name in set(ExitsSection.__struct_fields__) - {"in_place", "shortcuts"}:
        assert vc_exits(structs.replace(none, **{name: True})) == VcExit[name.upper()]


def test_sizes_and_addresses_of_the_host() -> None:
    assert_same(
        [f"{EMULATOR}/common/layout.h", f"{EMULATOR}/hardware/hw.h"],
        {
            "HOST_ROM_SIZE": HOST_ROM_SIZE,
            "CONFIG_ROM": FOUR_GIB - HOST_ROM_SIZE - host_config.PAGE,
            "PHYSICAL_WINDOW": HOST_REACH,
            "HW_CPUS": MAX_VCPUS,
        },
    )


def test_both_sides_search_for_pe_images_in_the_same_way() -> None:
    assert_same(
        [f"{EMULATOR}/hardware/image.c"],
        {
            "MAX_IMAGE": images.IMAGE_MAX,
            "MAX_UNFOUND": images.SEARCH_PAGES,
            "DOS_MAGIC": int.from_bytes(images._DOS_MAGIC, "little"),
            "PE_MAGIC": int.from_bytes(images._PE_MAGIC, "little"),
            "PE_OFFSET": images._PE_OFFSET,
            "PE_ENTRY": images._ENTRY,
            "PE_SIZE": images._SIZE,
        },
    )


def test_the_doorbell_is_beside_every_port_of_the_machine() -> None:
    assert 0x3EF < DOORBELL_PORT < 0x600
    assert DOORBELL_PORT not in (0x402, 0x4D0, 0x4D1, 0x510, 0x511, 0x514)


def test_a_guest_s_keys_are_random_unless_the_run_repeats() -> None:
    spec = RunSpec(Path("OVMF.fd"))
    assert len({run_keys(spec).psp_seed for _ in range(3)}) == 3
    assert {run_keys(dataclasses.replace(spec, icount=True)).psp_seed for _ in range(3)} == {0}
