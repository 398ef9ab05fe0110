# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs in an unmodified Linux as a guest of the emulated host: the nested host's image runs them."""

from __future__ import annotations

import contextlib
import io
import re
import socket
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from snp_harness.apic.access import Phase
from snp_harness.apic.event_kinds import AGREEMENT, GUEST_POWER_OFF
from snp_harness.debian.cache import Entries
from snp_harness.debian.firmware_names import package_directory
from snp_harness.firmware_run import RunSpec
from snp_harness.svsm.config_files import load_config
from snp_harness.tools.initramfs.cpio import CpioWriter
from snp_harness.tools.initramfs.kernel_modules import Module, load_order
from snp_harness.tools.kvm_host.pack import Image
from snp_harness.vm import rundir
from tests.platforms.boots import run

_MODULE_LIST = re.compile(rb"(/lib/modules/[\w-]+\.ko\n)+")


def kernel_modules(image: Image, *names: str) -> list[Module]:
    """Modules of the image's kernel, with those they need. Skips the test if its packages are not in the cache."""
    packages = Entries(package_directory(image.manifest.suite, "kvm-host-packages")).current()
    found = [] if packages is None else [*packages.glob(f"**/lib/modules/{image.manifest.kernel}")]
    if not found:
        pytest.skip("the packages of the nested host are not in the cache: snp-harness fetch nested")
    return load_order(found[0], names)


def _without_kvm(initramfs: Path, modules: Sequence[Module], into: Path) -> None:
    """The nested host's initramfs for a processor without SVM: a second archive replaces the list of modules."""
    base = initramfs.read_bytes()
    listed = _MODULE_LIST.search(base)
    assert listed is not None
    wanted = [line for line in listed[0].splitlines(keepends=True) if b"virtio" in line]
    with into.open("wb") as file:
        file.write(base)
        writer = CpioWriter(file)
        for module in modules:
            path = f"lib/modules/{module.name}.ko"
            writer.add(path, module.data)
            wanted.append(f"/{path}\n".encode())
        writer.add("lib/modules.list", b"".join(wanted))
        writer.finish()


def _archive(program: str) -> bytes:
    """A program as the nested host's agent, with its size in front (guests/kvm_host/start.py)."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in {"": "", "agent/": "", "agent/__main__.py": program}.items():
            archive.writestr(f"snp_harness/{name}" if name.endswith("py") else f"snp_harness/{name}__init__.py", text)
    return b"%08d" % len(content.getvalue()) + content.getvalue()


def run_in_linux(
    program: str,
    image: Image,
    firmware: Path,
    config: str,
    vcpus: int = 1,
    modules: Sequence[Module] = (),
    memory_mib: int = 1024,
    devices: Sequence[str] = (),
    timeout_s: float = 300,
    end: str = GUEST_POWER_OFF,
    watch: Callable[[int], None] = lambda _: None,
) -> str:
    """What Linux and the program print until Linux powers the machine off.

    The program defines main(), and its standard streams are a port that echoes. end: the event that ends the run.
    watch: called several times a second with the number of accesses so far.

    Runs in the current directory: a socket's path is short.
    """
    directory = Path.cwd()
    _without_kvm(image.initramfs, modules, directory / "initrd")
    out = directory / "out"
    port, connected = socket.socket(socket.AF_UNIX), list[bool]()

    def send_when_ready(_phase: Phase, accesses: int, _exits: int | None) -> None:
        """Connect once QEMU listens; send once Linux has opened the port; then return what comes."""
        watch(accesses)
        if not connected:
            with contextlib.suppress(OSError):
                port.connect("port")
                connected.append(True)
        elif len(connected) == 1 and b"kvm-host: ready" in (out / rundir.SERIAL).read_bytes():
            port.sendall(_archive(program))
            connected.append(True)
        elif len(connected) == 2:
            # QEMU ends with the guest.
            with contextlib.suppress(BlockingIOError, ConnectionError):
                port.sendall(port.recv(4096, socket.MSG_DONTWAIT))

    arguments = (
        *("-kernel", str(image.kernel), "-initrd", str(directory / "initrd")),
        *("-append", "console=ttyS0 quiet nokaslr panic=-1", "-device", "virtio-serial-pci,id=bus,max_ports=2"),
        *("-chardev", f"socket,id=port,path={directory / 'port'},server=on,wait=off"),
        *("-device", "virtserialport,bus=bus.0,nr=1,chardev=port"),
        *devices,
    )
    spec = RunSpec(
        firmware,
        vcpus=vcpus,
        memory_mib=memory_mib,
        svsm=load_config(config),
        until="shell",
        timeout_s=timeout_s,
        extra_args=arguments,
    )
    with port:
        result = run(spec, "emulated", out, send_when_ready)
    text = (out / rundir.SERIAL).read_text(errors="replace")
    kinds = [event.kind for event in result.timeline.events]
    # Whatever Linux did, the hypervisor's memory is whole.
    assert kinds.count(AGREEMENT) == 1, text
    assert end in kinds, text
    return text
