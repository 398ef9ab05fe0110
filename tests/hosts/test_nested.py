# SPDX-License-Identifier: GPL-2.0-or-later
"""The nested host as a host: booted, from a snapshot, in parallel, and when it is lost."""

from __future__ import annotations

import io
import os
import signal
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from snp_harness.errors import EXIT_ENVIRONMENT
from snp_harness.hosts import bundle, nested
from snp_harness.hosts.host_errors import HostLostError
from snp_harness.hosts.nested import NestedHost, OuterConnection
from snp_harness.tools.initramfs.cpio import CpioWriter
from snp_harness.tools.initramfs.image import INITRAMFS
from snp_harness.tools.kvm_host import snapshot
from snp_harness.tools.kvm_host.outer import READY, Outer
from snp_harness.tools.kvm_host.pack import Image
from snp_harness.tools.kvm_host.snapshot import snapshot_of
from snp_harness.vm.qemu_binary import QemuBinary
from snp_harness.vm.rundir import OUTER_CONSOLE, RunDirectory

pytestmark = pytest.mark.nested

MEMORY_MIB = 512
LOST_S = 120.0


class Said(list[str]):
    """The lines that progress was called with."""

    def __call__(self, text: str) -> None:
        self.append(text)


@pytest.fixture
def outer(kvm_host_image: Image) -> Outer:
    return Outer(kvm_host_image, QemuBinary.find(None), MEMORY_MIB)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[RunDirectory]:
    made = RunDirectory.create(tmp_path / "run", "nested")
    yield made
    made.release()


def _kernel(host: NestedHost) -> object:
    host.link()
    facts = host.facts()["host_facts"]
    assert isinstance(facts, dict)
    return facts["kernel"]


@pytest.mark.parametrize("cold", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["snapshot", "cold"])
def test_agent_answers(outer: Outer, directory: RunDirectory, cold: bool) -> None:
    host = NestedHost(outer, directory, Said(), cold=cold)
    try:
        assert _kernel(host) == outer.image.manifest.kernel
        assert host.qemu(None).version >= (7, 2, 0)
        assert host.facts()["outer"] == {"qemu": str(outer.binary), "image": outer.image.directory.name}
    finally:
        host.close()
    # A machine started from a snapshot does not boot.
    assert (READY in directory.file("outer-console.log").read_text(errors="replace")) == cold


def test_runs_share_a_snapshot(outer: Outer, tmp_path: Path) -> None:
    before = snapshot_of(outer, Said()).memory.stat().st_mtime_ns
    hosts = [NestedHost(outer, RunDirectory.create(tmp_path / str(number), "nested"), Said()) for number in range(2)]
    kernels: list[object] = []
    threads = [threading.Thread(target=lambda host=host: kernels.append(_kernel(host))) for host in hosts]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        for host in hosts:
            host.close()
    assert kernels == [outer.image.manifest.kernel] * 2
    assert snapshot_of(outer, Said()).memory.stat().st_mtime_ns == before


def test_qemu_dies(outer: Outer, directory: RunDirectory) -> None:
    host = NestedHost(outer, directory, Said())
    try:
        link = host.link()
        os.kill(_outer_process(directory), signal.SIGKILL)
        with pytest.raises(HostLostError, match=r"its QEMU ended with signal 9 \(SIGKILL\)") as raised:
            link.call("nothing", LOST_S)
        assert raised.value.exit_status == EXIT_ENVIRONMENT
    finally:
        host.close()


def _outer_process(directory: RunDirectory) -> int:
    """The QEMU that has this run's console open."""
    mark = str(directory.file("outer-qemu-stderr.log"))
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str((process / "fd" / "2").readlink()) == mark:
                return int(process.name)
        except OSError:
            continue
    raise AssertionError("no QEMU of this run")


def test_agent_that_is_not_the_snapshots(
    outer: Outer, directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent in the snapshot is replaced by the one that is sent."""
    taken = snapshot_of(outer, Said())
    length, archive = bundle.payload()[:8], io.BytesIO(bundle.payload()[8:])
    with zipfile.ZipFile(archive, "a") as changed:
        changed.writestr("snp_harness/agent/another.py", "")
    assert len(archive.getvalue()) > int(length)
    other = f"{len(archive.getvalue()):08}".encode() + archive.getvalue()
    monkeypatch.setattr(bundle, "payload", lambda: other)
    monkeypatch.setattr(nested, "snapshot_of", lambda *_: taken)
    host = NestedHost(outer, directory, Said())
    try:
        assert _kernel(host) == outer.image.manifest.kernel
    finally:
        host.close()


def test_the_same_agent_is_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    first = bundle.payload()
    bundle.payload.cache_clear()
    monkeypatch.setattr(time, "localtime", lambda *_: time.gmtime(0))
    assert bundle.payload() == first


@pytest.mark.slow
def test_snapshot_that_is_damaged(outer: Outer, directory: RunDirectory, tmp_path: Path) -> None:
    """The machine is booted instead, and the next use makes a new snapshot."""
    copy = _copy_of(outer, tmp_path / "image")
    damaged = snapshot_of(copy, Said())
    state = damaged.directory / "state"
    state.write_bytes(state.read_bytes()[:50000])
    said = Said()
    host = NestedHost(copy, directory, said)
    try:
        assert _kernel(host) == outer.image.manifest.kernel
    finally:
        host.close()
    assert any("the snapshot of the nested host cannot be used" in text for text in said)
    assert not damaged.directory.exists()


@pytest.mark.slow
def test_no_room_for_a_snapshot(
    outer: Outer, directory: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine is booted instead."""
    monkeypatch.setattr(snapshot, "_DISK_MIB", 1 << 40)
    said = Said()
    host = NestedHost(_copy_of(outer, tmp_path / "image"), directory, said)
    try:
        assert _kernel(host) == outer.image.manifest.kernel
    finally:
        host.close()
    assert any("no snapshot of the nested host" in text and "MiB for a snapshot" in text for text in said)


@pytest.mark.slow
def test_kernel_panics(outer: Outer, directory: RunDirectory, tmp_path: Path) -> None:
    empty = io.BytesIO()
    CpioWriter(empty).finish()
    copy = _copy_of(outer, tmp_path / "image")
    (copy.image.directory / INITRAMFS).unlink()
    (copy.image.directory / INITRAMFS).write_bytes(empty.getvalue())
    with pytest.raises(HostLostError, match="did not start: its console reports: Kernel panic - not syncing: VFS"):
        OuterConnection(copy, directory, None)
    assert "Kernel panic" in directory.file(OUTER_CONSOLE).read_text()


@pytest.mark.slow
def test_init_cannot_go_on(outer: Outer, directory: RunDirectory, tmp_path: Path) -> None:
    archive = io.BytesIO()
    writer = CpioWriter(archive)
    writer.character_device("dev/console", 5, 1)
    writer.add("init", Path("guests/kvm_host/build/kvm-host-init").read_bytes(), 0o755)
    writer.add("lib/modules.list", b"/lib/modules/none.ko\n")
    writer.finish()
    copy = _copy_of(outer, tmp_path / "image")
    (copy.image.directory / INITRAMFS).unlink()
    (copy.image.directory / INITRAMFS).write_bytes(archive.getvalue())
    with pytest.raises(HostLostError, match=r"kvm-host: cannot load /lib/modules/none\.ko: error 2"):
        OuterConnection(copy, directory, None)


def _copy_of(outer: Outer, directory: Path) -> Outer:
    """The same image in another directory, without its snapshots."""
    directory.mkdir()
    for path in outer.image.directory.iterdir():
        if path.is_file():
            (directory / path.name).symlink_to(path)
    return replace(outer, image=Image.load(directory))
