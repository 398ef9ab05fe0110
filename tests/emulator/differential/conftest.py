# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest, compiled once, and the two hosts that it runs on."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from snp_harness.debian.qemu_bundle import cached_qemu
from snp_harness.errors import HarnessError
from snp_harness.hosts.nested import NestedHost
from snp_harness.tools.kvm_host.host_image import images
from snp_harness.tools.kvm_host.outer import Outer
from snp_harness.tools.kvm_host.pack import Image
from snp_harness.vm.qemu_binary import QemuBinary
from snp_harness.vm.rundir import RunDirectory
from tests.emulator.differential.operations import Operation
from tests.emulator.differential.run import MEMORY_MIB, Answers, on_emulated, on_kvm
from tests.helpers.guest_image import compile_guest

SOURCE = Path(__file__).parent / "guest"

Both = Callable[..., tuple[Answers, Answers]]


@pytest.fixture(scope="session")
def operations_image(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The guest, without operations."""
    return compile_guest(tmp_path_factory.mktemp("operations"), SOURCE, "operations.fd")


@pytest.fixture(scope="session")
def kvm_host(kvm_host_image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NestedHost]:
    """A nested host that all runs use."""
    with _running(kvm_host_image, tmp_path_factory.mktemp("outer") / "run") as host:
        yield host


@pytest.fixture(params=["bookworm", "sid"])
def other_kvm_host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NestedHost]:
    """Nested hosts with an older and a newer kernel."""
    try:
        other = images().image(request.param)
    except HarnessError as error:
        pytest.skip(f"no image of the nested host: {error}")
    with _running(other, tmp_path / "outer") as host:
        yield host


@contextlib.contextmanager
def _running(image: Image, directory: Path, qemu: Path | None = None) -> Iterator[NestedHost]:
    run_directory = RunDirectory.create(directory, "nested")
    host = NestedHost(Outer(image, QemuBinary.find(qemu), MEMORY_MIB), run_directory, lambda _: None)
    try:
        yield host
    finally:
        host.close()
        run_directory.release()


@pytest.fixture(scope="session")
def new_qemu_kvm_host(kvm_host_image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NestedHost]:
    """A nested host in a QEMU whose SVM delivers events as a processor does: version 7.2 does not."""
    qemu = cached_qemu("sid")
    if qemu is None:
        pytest.skip("no QEMU of debian:sid: snp-harness fetch qemu sid")
    with _running(kvm_host_image, tmp_path_factory.mktemp("new-qemu") / "run", qemu.directory) as host:
        yield host


@pytest.fixture
def both_with_new_qemu(new_qemu_kvm_host: NestedHost, operations_image: bytes, tmp_path: Path) -> Both:
    """The same with a KVM in that QEMU."""
    return functools.partial(_run, new_qemu_kvm_host, operations_image, tmp_path)


@pytest.fixture
def both(kvm_host: NestedHost, operations_image: bytes, tmp_path: Path) -> Both:
    """What KVM and the emulated host answer to the same operations."""
    return functools.partial(_run, kvm_host, operations_image, tmp_path)


@pytest.fixture
def both_with_other_kernel(other_kvm_host: NestedHost, operations_image: bytes, tmp_path: Path) -> Both:
    """The same with a KVM of another kernel."""
    return functools.partial(_run, other_kvm_host, operations_image, tmp_path)


def _run(
    host: NestedHost,
    image: bytes,
    directory: Path,
    operations: list[Operation],
    hidden: Sequence[str] = (),
    vcpus: int = 1,
) -> tuple[Answers, Answers]:
    kvm = on_kvm(host, image, operations, directory / "kvm", hidden, vcpus)
    emulated = on_emulated(image, operations, directory / "emulated", kvm.facts[2], hidden, vcpus)
    assert kvm.facts == emulated.facts
    return kvm, emulated
