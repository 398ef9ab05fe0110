# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line of the platform snp: as COCONUT documents it, and as QEMU's own parsers take it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from snp_harness.debian.qemu_bundle import cached_qemu
from snp_harness.errors import BrokenEnvironmentError
from snp_harness.platforms.host_facts import host_facts
from snp_harness.platforms.snp_command import snp_arguments
from snp_harness.platforms.snp_preflight import CPU_MODEL
from snp_harness.vm.qemu_binary import QemuBinary
from snp_harness.vm.qemu_errors import QemuError
from tests.platforms.qemu_schema import QemuSchema, options
from tests.platforms.snp_hosts import host

#: sev-snp-guest is there since.
SNP_SINCE = (9, 1, 0)
#: What Debian's builds lack, and only COCONUT's and others have: checked against the documents, not observed.
NOT_OBSERVED = frozenset({"igvm-cfg", "device-plane"})


def arguments(*, changes: dict[str, Any] | None = None, **given: Any) -> list[str]:
    given = {"memory": 8 << 30, "vcpus": 4, **given}
    if "bios" not in given:
        given.setdefault("igvm", "/path/to/coconut-qemu.igvm")
    return snp_arguments(host_facts(host(**(changes or {}))), **given)


@pytest.fixture(scope="module", params=["installed", "sid"])
def schema(request: pytest.FixtureRequest) -> QemuSchema:
    try:
        if request.param == "installed":
            return QemuSchema(QemuBinary.find())
        bundle = cached_qemu("sid")
    except QemuError as error:
        pytest.skip(str(error))
    if bundle is None:
        pytest.skip("the QEMU of sid is not fetched: snp-harness fetch qemu sid")
    return QemuSchema(QemuBinary.find(bundle.directory))


def test_an_svsm_is_launched_as_coconut_documents_it() -> None:
    made = arguments()
    assert options(made, "machine") == [
        (
            "q35",
            {
                "smm": "off",
                "confidential-guest-support": "sev0",
                "memory-backend": "ram1",
                "igvm-cfg": "igvm0",
                "kernel-irqchip": "split",
                "device-plane": "2",
                "i8042": "off",
                "smbus": "off",
                "sata": "off",
            },
        )
    ]
    assert options(made, "object") == [
        (
            "memory-backend-memfd",
            {"id": "ram1", "size": str(8 << 30), "share": "true", "prealloc": "false", "reserve": "false"},
        ),
        ("sev-snp-guest", {"id": "sev0", "cbitpos": "51", "reduced-phys-bits": "1"}),
        ("igvm-cfg", {"id": "igvm0", "file": "/path/to/coconut-qemu.igvm"}),
    ]
    assert ("EPYC-v4", {}) in options(made, "cpu")
    assert {"-no-reboot", "-nodefaults"} <= set(made)
    assert options(made, "vga") == [("none", {})]
    assert "-bios" not in made
    assert not any(word.startswith("if=pflash") for word in made)


def test_planes_only_where_qemu_has_them() -> None:
    ((_, machine),) = options(arguments(changes={"qemu__help": {}}), "machine")
    assert "device-plane" not in machine
    assert "kernel-irqchip" not in machine
    assert machine["igvm-cfg"] == "igvm0"


def test_firmware_without_an_svsm_is_a_bios() -> None:
    made = arguments(bios="/fw/OVMF.fd")
    assert options(made, "bios") == [("/fw/OVMF.fd", {})]
    assert "igvm-cfg" not in "".join(made)
    kernel = arguments(bios="/fw/OVMF.fd", extra=("-kernel", "bzImage"))
    assert dict(options(kernel, "object"))["sev-snp-guest"]["kernel-hashes"] == "on"
    assert kernel[-2:] == ["-kernel", "bzImage"]


def test_the_c_bit_is_the_processors() -> None:
    leaf = {"eax": 0x1F, "ebx": 47, "ecx": 0, "edx": 0}
    assert dict(options(arguments(changes={"cpu__sev_leaf": leaf}), "object"))["sev-snp-guest"]["cbitpos"] == "47"
    with pytest.raises(BrokenEnvironmentError, match="C-bit is not known"):
        arguments(changes={"cpu__sev_leaf": None})


def test_a_path_with_a_comma() -> None:
    assert "igvm-cfg,id=igvm0,file=/a,,b.igvm" in arguments(igvm="/a,b.igvm")


def test_a_qemu_without_igvm_cannot_launch_an_svsm() -> None:
    with pytest.raises(BrokenEnvironmentError, match="no igvm-cfg"):
        arguments(changes={"qemu__objects": ["sev-snp-guest"]})
    with pytest.raises(ValueError, match="from an IGVM file or from"):
        arguments(bios="x", igvm="y")


def test_every_object_and_property_is_known_to_qemu(schema: QemuSchema) -> None:
    unknown = set()
    for kind, given in [
        *options(arguments(), "object"),
        *options(arguments(bios="x", extra=("-kernel", "k")), "object"),
    ]:
        properties = schema.object_properties(kind)
        if properties is None:
            unknown.add(kind)
        else:
            assert set(given) <= properties, kind
    assert unknown - NOT_OBSERVED == (set() if schema.binary.version >= SNP_SINCE else {"sev-snp-guest"})


def test_every_machine_option_is_known_to_qemu(schema: QemuSchema) -> None:
    ((kind, given),) = options(arguments(), "machine")
    assert kind == "q35"
    assert set(given) - machine_options(schema) <= NOT_OBSERVED


def test_igvm_and_planes_are_known_to_qemu(schema: QemuSchema) -> None:
    properties = schema.object_properties("igvm-cfg")
    lacking = ({"device-plane", "igvm-cfg"} - machine_options(schema)) | ({"igvm-cfg"} if properties is None else set())
    if properties is not None:
        assert {"id", "file"} <= properties
    if lacking:
        pytest.skip(f"not observed: QEMU {schema.binary} has no {' and no '.join(sorted(lacking))}")


def machine_options(schema: QemuSchema) -> set[str]:
    """What -machine q35 takes; kernel-irqchip is the accelerator's property."""
    return schema.machine_properties | ({"kernel-irqchip"} & schema.properties("kvm-accel"))


def test_the_cpu_model_is_known_to_qemu(schema: QemuSchema) -> None:
    if schema.binary.version < (8, 1, 0):
        pytest.skip(f"QEMU {schema.binary} is older than {CPU_MODEL}")
    assert CPU_MODEL in schema.cpu_models


def test_qemu_takes_the_whole_command_and_ends_for_want_of_hardware(schema: QemuSchema, tmp_path: Path) -> None:
    """Nothing about the command line is wrong: what QEMU misses is KVM, or KVM's SEV-SNP."""
    if schema.binary.version < SNP_SINCE:
        pytest.skip(f"QEMU {schema.binary} has no sev-snp-guest")
    bios = tmp_path / "OVMF.fd"
    bios.write_bytes(bytes(1 << 20))
    made = arguments(memory=256 << 20, vcpus=1, bios=str(bios))
    done = subprocess.run(
        [*schema.binary.prefix, "-chardev", "null,id=serial", "-chardev", "null,id=svsm", *made],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    said = done.stderr.strip().splitlines()
    assert any("vm-type SEV-SNP not supported by KVM" in line or "access KVM kernel module" in line for line in said), (
        said
    )
