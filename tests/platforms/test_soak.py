# SPDX-License-Identifier: GPL-2.0-or-later
"""An unmodified Linux below the SVSM under load for long: processors, disk and network; and many reboots."""

from __future__ import annotations

import contextlib
import re
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from snp_harness.apic.event_kinds import GUEST_RESET
from snp_harness.apic.timeline import Timeline
from snp_harness.capture.condense import ACCESS_LIMIT
from snp_harness.tools.kvm_host.pack import Image
from snp_harness.vm import rundir
from tests.platforms.linux_guest import kernel_modules, run_in_linux

pytestmark = [pytest.mark.emulated, pytest.mark.slow, pytest.mark.long]

CONFIGURATION = "alternate-injection-off"
VCPUS = 4
#: Of the harness, after the timeline is full: a leak of one byte a record would be more.
GROWTH_KIB = 4096
#: What Linux prints of lost interrupts, vCPUs that do not run, and a clock that is wrong.
TROUBLE = r"rcu: INFO|soft lockup|hung_task|blocked for more|nobody cared|Call Trace|unstable|timed? ?out|I/O error"
#: A process on each CPU; disk and network in turn, and what was written is compared.
STRESS = """
import fcntl, hashlib, mmap, os, socket, struct, sys, time
SECONDS, PORT = %d, %d
END = time.monotonic() + SECONDS

def connect():
    control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    def address(text):
        return struct.pack("=HH4s8x", socket.AF_INET, 0, socket.inet_aton(text))
    # SIOCSIFADDR, SIOCSIFNETMASK, SIOCSIFFLAGS: up and running
    settings = {0x8916: address("10.0.2.15"), 0x891C: address("255.255.255.0"), 0x8914: struct.pack("=H14x", 0x41)}
    for number, data in settings.items():
        fcntl.ioctl(control, number, b"eth0".ljust(16, bytes(1)) + data)
    return socket.create_connection(("10.0.2.2", PORT), timeout=60)

def network(connection, data):
    connection.sendall(data)
    got = b""
    while len(got) < len(data):
        part = connection.recv(len(data) - len(got))
        assert part
        got += part
    assert got == data

def disk(file, number, data):
    at = number %% 32 * len(data)
    buffer = mmap.mmap(-1, len(data))
    buffer[:] = data
    assert os.pwritev(file, [buffer], at) == len(data)
    buffer[:] = bytes(len(data))
    assert os.preadv(file, [buffer], at) == len(data)
    assert buffer[:] == data

def busy(cpu):
    os.sched_setaffinity(0, {cpu})
    data = bytes(1 << 16)
    while time.monotonic() < END:
        data = hashlib.sha256(data).digest() * (len(data) // 32)
    os._exit(0)

def main():
    children = []
    for cpu in range(os.cpu_count()):
        child = os.fork()
        if not child:
            busy(cpu)
        children.append(child)
    file, connection = os.open("/dev/vda", os.O_RDWR | os.O_DIRECT), connect()
    rounds, told = 0, time.monotonic()
    while time.monotonic() < END:
        data = hashlib.sha256(b"%%d" %% rounds).digest() * 2048
        disk(file, rounds, data)
        network(connection, data)
        rounds += 1
        if time.monotonic() > told + SECONDS / 10:
            told = time.monotonic()
            print("soak: rounds", rounds, file=sys.stderr, flush=True)
    states = [os.waitpid(child, 0)[1] for child in children]
    print(open("/proc/interrupts").read(), file=sys.stderr)
    print("soak: done", rounds, states, file=sys.stderr, flush=True)
"""


class Echo(socketserver.BaseRequestHandler):
    """Returns what it receives."""

    def handle(self) -> None:
        while data := self.request.recv(1 << 16):
            self.request.sendall(data)


@contextlib.contextmanager
def echo() -> Iterator[int]:
    """A server on this machine; yields its port."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def resident_kib() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4


@pytest.mark.parametrize("seconds", [60, 3600])
def test_nothing_is_lost_under_load(
    seconds: int, trixie_path: Path, kvm_host_image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "disk").touch()
    with (tmp_path / "disk").open("r+b") as disk:
        disk.truncate(4 << 20)
    memory: list[int] = []

    def watch(accesses: int) -> None:
        if accesses > ACCESS_LIMIT + 500:
            memory.append(resident_kib())

    with echo() as port:
        devices = (
            *("-drive", f"file={tmp_path / 'disk'},format=raw,if=none,id=disk", "-device", "virtio-blk-pci,drive=disk"),
            *("-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net"),
        )
        text = run_in_linux(
            STRESS % (seconds, port),
            kvm_host_image,
            trixie_path,
            CONFIGURATION,
            vcpus=VCPUS,
            modules=kernel_modules(kvm_host_image, "virtio_blk", "virtio_net"),
            devices=devices,
            timeout_s=4 * seconds + 600,
            watch=watch,
        )
    [rounds] = re.findall(r"^soak: done (\d+) \[0(?:, 0)*\]", text, re.MULTILINE)
    steps = [int(number) for number in re.findall(r"^soak: rounds (\d+)", text, re.MULTILINE)]
    assert len(steps) >= 8
    assert steps == sorted(set(steps)), "no interval without input and output"
    assert int(rounds) >= steps[-1]
    assert not re.findall(TROUBLE, text)
    timer = next(line.split() for line in text.splitlines() if line.lstrip().startswith("LOC:"))
    assert all(int(ticks) > seconds for ticks in timer[1 : VCPUS + 1]), timer
    timeline = Timeline.from_jsonl((tmp_path / "out" / rundir.TIMELINE).read_text())
    assert timeline.lost == 0
    assert not [event.text for event in timeline.events if event.kind == "rmp-violation"]
    if seconds >= 3600:
        assert len(memory) > 1000
    assert not memory or max(memory) - memory[0] < GROWTH_KIB


#: LINUX_REBOOT_CMD_RESTART
REBOOT = """
import ctypes
def main():
    ctypes.CDLL(None).reboot(0x01234567)
"""


def test_ten_reboots(trixie_path: Path, kvm_host_image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reset ends an SNP guest, and the next one is a new run."""
    for turn in range(10):
        directory = tmp_path / str(turn)
        directory.mkdir()
        monkeypatch.chdir(directory)
        run_in_linux(REBOOT, kvm_host_image, trixie_path, CONFIGURATION, vcpus=VCPUS, end=GUEST_RESET)
