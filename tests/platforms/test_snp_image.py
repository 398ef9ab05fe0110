# SPDX-License-Identifier: GPL-2.0-or-later
"""What the platform snp makes of firmware, configuration and IGVM file before QEMU starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from snp_harness.errors import LackingHostError, UsageError
from snp_harness.platforms.host_facts import host_facts
from snp_harness.platforms.platform import RunSpec
from snp_harness.platforms.snp import IGVM_VARIABLE, check_features, check_fits, guest_image, with_igvm
from snp_harness.svsm.config_files import load_config
from snp_harness.svsm.igvm import IgvmFile
from snp_harness.svsm.igvm_firmware import contained_firmware
from snp_harness.svsm.igvm_measure import id_blocks
from snp_harness.svsm.igvm_params import find_parameter_blocks
from snp_harness.svsm.sections import SvsmKind
from tests.firmware.builder import image
from tests.platforms.snp_guests import OLD, spec
from tests.platforms.snp_hosts import host
from tests.svsm import igvm_writer as writer

NEW = OLD.replace("SecMain".encode("utf-16-le"), "SecMein".encode("utf-16-le"))


def test_the_copy_asks_for_what_the_configuration_says(tmp_path: Path) -> None:
    made = guest_image(spec(tmp_path))
    file = IgvmFile.parse(made.data, "t")
    (block,) = find_parameter_blocks(file, writer.SNP)
    assert block.use_alternate_injection
    assert (made.is_igvm, made.svsm_port) == (True, 0x2F8)
    assert id_blocks(file) == []
    assert made.notes == ("use_alternate_injection = 1 in the boot parameter block", "the ID block is left out")


def test_a_file_that_is_as_asked_for_is_taken_as_it_is(tmp_path: Path) -> None:
    made = guest_image(spec(tmp_path, alternate_injection=False))
    assert made.data == (tmp_path / "coconut.igvm").read_bytes()
    assert made.notes == ()


def test_the_firmware_under_test_is_what_runs(tmp_path: Path) -> None:
    assert NEW != OLD
    made = guest_image(spec(tmp_path, NEW))
    assert contained_firmware(IgvmFile.parse(made.data, "t")) == NEW
    assert made.notes[0] == f"firmware {tmp_path / 'OVMF.fd'}"
    with pytest.raises(UsageError, match="other SEV metadata"):
        guest_image(spec(tmp_path, image(((0x800000, 0x1000, 1),))))


def test_without_an_svsm_the_firmware_is_launched_itself(tmp_path: Path) -> None:
    path = tmp_path / "OVMF.fd"
    path.write_bytes(OLD)
    made = guest_image(RunSpec(path, svsm=load_config("no-svsm")))
    assert (made.data, made.is_igvm) == (OLD, False)
    path.write_bytes(image(None))
    with pytest.raises(UsageError, match="no SEV metadata"):
        guest_image(RunSpec(path, svsm=load_config("no-svsm")))


@pytest.mark.parametrize(
    ("configuration", "message"),
    [
        ("plain", "without SEV"),
        ("alternate-injection", "the reference SVSM runs on the emulated platform only"),
        ("fault-busy", "faults can be injected"),
        ("policy-x2apic-at-reset", "configure the emulated platform only"),
        ("two-witnesses", "configure the emulated platform only"),
    ],
)
def test_what_cannot_run_on_hardware_is_refused(tmp_path: Path, configuration: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_fits(RunSpec(tmp_path, svsm=load_config(configuration)))


def test_instructions_cannot_be_counted(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="leave out --icount"):
        check_fits(spec(tmp_path, icount=True))
    check_fits(spec(tmp_path))
    check_fits(RunSpec(tmp_path, svsm=load_config("no-svsm")))


def test_an_igvm_file_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "coconut.igvm").touch()
    with pytest.raises(UsageError, match="is not an IGVM file"):
        guest_image(spec(tmp_path))


def test_features_of_the_vmsa_that_kvm_lacks_are_named(tmp_path: Path) -> None:
    """KVM refuses a guest whose VMSA asks for more than KVM_X86_SEV_VMSA_FEATURES has."""
    made = guest_image(spec(tmp_path))
    assert made.features == 8
    with pytest.raises(LackingHostError, match="needs restricted-injection, which the host's KVM does not have"):
        check_features(host_facts(host(kvm__vmsa_features=0x21)), made.features)
    check_features(host_facts(host(kvm__vmsa_features=0x39)), made.features)
    check_features(host_facts(host(kvm__vmsa_features=None)), made.features)


def test_the_igvm_file_can_be_the_hosts_or_named_by_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = RunSpec(tmp_path, svsm=load_config("alternate-injection-off"))
    monkeypatch.delenv(IGVM_VARIABLE, raising=False)
    assert with_igvm(plain, None) is plain
    monkeypatch.setenv(IGVM_VARIABLE, "/v/coconut.igvm")
    named = with_igvm(plain, None).svsm.svsm
    assert (named.kind, named.igvm, named.alternate_injection) == (SvsmKind.IGVM, "/v/coconut.igvm", False)
    assert with_igvm(plain, Path("/h/coconut.igvm")).svsm.svsm.igvm == "/h/coconut.igvm"
    given = spec(tmp_path)
    assert with_igvm(given, Path("/h/coconut.igvm")) is given
    without = RunSpec(tmp_path, svsm=load_config("no-svsm"))
    assert with_igvm(without, Path("/h/coconut.igvm")) is without
