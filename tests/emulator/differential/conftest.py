# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest, compiled once, and the two hosts that it runs on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.hosts.nested import NestedHost
from harness.kvm_host.outer import Outer
from harness.kvm_host.pack import Image
from harness.vm.qemu import QemuBinary
from harness.vm.rundir import RunDirectory
from tests.emulator.differential.operations import Operation
from tests.emulator.differential.run import MEMORY_MIB, Answers, compile_guest, on_emulated, on_kvm

Both = Callable[[list[Operation]], tuple[Answers, Answers]]


@pytest.fixture(scope="session")
def operations_image(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The guest, without operations."""
    return compile_guest(tmp_path_factory.mktemp("operations"))


@pytest.fixture(scope="session")
def kvm_host(kvm_host_image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NestedHost]:
    """A nested host that all runs use."""
    directory = RunDirectory.create(tmp_path_factory.mktemp("outer") / "run", "nested")
    host = NestedHost(Outer(kvm_host_image, QemuBinary.find(None), MEMORY_MIB), directory, lambda _: None)
    yield host
    host.close()
    directory.release()


@pytest.fixture
def both(kvm_host: NestedHost, operations_image: bytes, tmp_path: Path) -> Both:
    """What KVM and the emulated host answer to the same operations."""

    def run(operations: list[Operation]) -> tuple[Answers, Answers]:
        kvm = on_kvm(kvm_host, operations_image, operations, tmp_path / "kvm")
        emulated = on_emulated(operations_image, operations, tmp_path / "emulated", kvm.facts[2])
        assert kvm.facts == emulated.facts
        return kvm, emulated

    return run
