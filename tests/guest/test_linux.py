# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's unmodified Linux, as an SNP guest that a test logs in to."""

from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path

import pytest

from snp_harness import LinuxGuest, Phase, SnpLinux
from snp_harness.apic.access import Outcome
from snp_harness.apic.apic_base import ApicMode

pytestmark = [pytest.mark.emulated, pytest.mark.slow]

WAIT_S = 300.0
SECTOR = 512
DISK_MIB = 8
#: Seconds for which a vCPU is busy, and how often its timer ticks at least: Debian's HZ is 250.
BUSY_S = 10
LEAST_HZ = 20
CLOCK_ERROR_S = 0.1
#: How long before the start of its clock, on a busy machine, the harness may have read the time of day.
DATE_ERROR_S = 30
CLOCK_SOURCE = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
#: EXTD of APIC_BASE.
EXTD = 1 << 10
#: Rows of /proc/interrupts whose interrupts end with an EOI of the local APIC.
EOI_ROWS = ("LOC", "RES", "CAL")


def sev_lines(guest: LinuxGuest) -> str:
    return "\n".join(line for line in guest.dmesg().splitlines() if "SEV" in line)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A raw disk, with a word in its first sector."""
    path = tmp_path / "disk.raw"
    path.write_bytes(b"first".ljust(SECTOR, b".") + bytes((DISK_MIB << 20) - SECTOR))
    return path


@pytest.mark.parametrize(
    ("suite", "config", "vmpl", "vcpus"),
    [
        ("trixie", "alternate-injection-off", 2, 4),
        ("trixie", "no-svsm", 0, 1),
        pytest.param("trixie", "alternate-injection-off", 2, 1, marks=pytest.mark.long),
        pytest.param("trixie", "no-svsm", 0, 4, marks=pytest.mark.long),
        pytest.param("sid", "alternate-injection-off", 2, 1, marks=pytest.mark.long),
        ("sid", "alternate-injection-off", 2, 4),
        pytest.param("sid", "no-svsm", 0, 1, marks=pytest.mark.long),
        pytest.param("sid", "no-svsm", 0, 4, marks=pytest.mark.long),
    ],
)
def test_to_a_command_with_network_and_disk(
    suite: str, config: str, vmpl: int, vcpus: int, linux_guest: SnpLinux, disk: Path, tmp_path: Path
) -> None:
    """The command line has a console, and what the firmware adds."""
    drive = ("-drive", f"if=none,id=d,format=raw,file={disk}", "-device", "virtio-blk-pci,drive=d")
    guest = linux_guest(suite, config=config, vcpus=vcpus, timeout_s=WAIT_S, extra_args=drive)
    assert guest.run("cat /proc/cmdline") == (0, "console=ttyS0 initrd=initrd\n", "")
    assert guest.run("nproc").out == f"{vcpus}\n"
    assert guest.run("exit 7").status == 7
    # What Linux says of where it runs.
    said = sev_lines(guest)
    assert "Memory Encryption Features active: AMD SEV SEV-ES SEV-SNP" in said
    assert f"SEV: SNP running at VMPL{vmpl}." in said
    # APIC_BASE of every vCPU, as Linux reads it: enabled, one BSP, and in x2APIC mode, as Linux wants it on KVM.
    bases = [int(line.split()[-1], 16) for line in guest.run("rdmsr -a 0x1b").out.splitlines()]
    assert bases == [0xFEE00D00, *[0xFEE00C00] * (vcpus - 1)]
    # Its clock needs no exit, and has the time of day.
    assert guest.run(f"cat {CLOCK_SOURCE}").out == "kvm-clock\n"
    before = time.time()
    assert before - DATE_ERROR_S <= float(guest.run("date +%s").out) <= time.time() + DATE_ERROR_S
    # The disk, through QEMU's IOMMU and Linux' bounce buffers.
    assert guest.run("head -c 5 /dev/vda").out == "first"
    assert guest.run("dd if=/dev/urandom of=/dev/vda bs=64k seek=16 count=32 conv=fsync").status == 0
    inside = guest.run("dd if=/dev/vda bs=64k skip=16 count=32 iflag=direct 2>/dev/null | sha256sum").out.split()[0]
    written = disk.read_bytes()[1 << 20 : 3 << 20]
    assert written.strip(b"\0")
    assert hashlib.sha256(written).hexdigest() == inside
    # Files, by SFTP over the network.
    here, back = tmp_path / "here", tmp_path / "back"
    here.write_bytes(bytes(range(256)) * 1024)
    guest.put(here, "/tmp/there")
    guest.get("/tmp/there", back)
    assert back.read_bytes() == here.read_bytes()
    # The interrupts of card and disk were taken, and every vCPU has its timer's.
    rows = interrupts(guest)
    for device in ("virtio0-", "virtio1-"):
        assert sum(sum(counts) for name, counts in rows.items() if name.startswith(device)) > 0
    assert all(count > 0 for count in rows["LOC"])
    assert rows.get("ERR", [0]) == [0]
    # The console, and an end by Linux itself.
    guest.login()
    guest.console.sendline("echo $((6 * 7))")
    guest.console.expect_exact("\n42")
    own = [access for access in guest.accesses.of(phase=Phase.OS) if access.vmpl == vmpl]
    assert {access.vcpu for access in own} == set(range(vcpus))
    assert {access.outcome for access in own} == {Outcome.OK}
    guest.console.sendline("poweroff")
    assert guest.wait_ended().error is None


@pytest.mark.parametrize(
    ("config", "vcpus"), [("alternate-injection-off", 4), pytest.param("no-svsm", 1, marks=pytest.mark.long)]
)
def test_linux_goes_on_from_a_snapshot(config: str, vcpus: int, linux_guest: SnpLinux) -> None:
    """With its files, its processes, its clock and its network; what a command has done since is undone."""
    guest = linux_guest(config=config, vcpus=vcpus, timeout_s=WAIT_S)
    assert guest.run("echo before > /tmp/x; sleep 1000 > /dev/null 2>&1 & echo $! > /tmp/pid").status == 0
    boot_id = guest.run("cat /proc/sys/kernel/random/boot_id").out
    uptime = float(guest.run("cat /proc/uptime").out.split()[0])
    snapshot = guest.snapshot()
    assert guest.run("echo after > /tmp/x; kill $(cat /tmp/pid)").status == 0
    for _ in range(2):
        guest.restore(snapshot)
        assert guest.run("cat /tmp/x").out == "before\n"
        assert guest.run("kill -0 $(cat /tmp/pid)").status == 0
        assert guest.run("cat /proc/sys/kernel/random/boot_id").out == boot_id
        before = sum(interrupts(guest)["LOC"])
        assert guest.run("sleep 1").status == 0
        assert sum(interrupts(guest)["LOC"]) > before
        assert uptime < float(guest.run("cat /proc/uptime").out.split()[0]) < uptime + WAIT_S
    result = guest.power_off()
    assert (result.timeline.gaps, result.timeline.reached) == ((), Phase.OS)


def interrupts(guest: LinuxGuest) -> dict[str, list[int]]:
    """The counts of /proc/interrupts, a number a vCPU, by the last word of their line or their short name."""
    found = {}
    for line in guest.run("cat /proc/interrupts").out.splitlines()[1:]:
        name, _, rest = line.strip().partition(":")
        counts = re.match(r"[\s\d]*", rest)
        assert counts is not None
        words = rest.split()
        found[words[-1] if name.isdigit() else name] = [int(count) for count in counts[0].split()]
    return found


def test_disks_clock_and_interrupts(linux_guest: SnpLinux, tmp_path: Path) -> None:
    """Disks behind three controllers, the clock, and what Linux and the log say of the APIC."""
    disks = {name: tmp_path / f"{name}.raw" for name in ("sata", "scsi", "nvme")}
    arguments = ["-device", "virtio-scsi-pci,id=scsi"]
    for name, path in disks.items():
        path.write_bytes(name.encode() + bytes((DISK_MIB << 20) - len(name)))
        arguments += ["-drive", f"if=none,id=d-{name},format=raw,file={path}"]
    arguments += ["-device", "ide-hd,drive=d-sata,bus=ide.0", "-device", "scsi-hd,drive=d-scsi,bus=scsi.0"]
    arguments += ["-device", "nvme,serial=1,drive=d-nvme"]
    guest = linux_guest(vcpus=2, timeout_s=WAIT_S, extra_args=tuple(arguments))
    found = {guest.run(f"head -c 4 /dev/{device}").out: device for device in ("sda", "sdb", "nvme0n1")}
    assert found.keys() == disks.keys()
    for name, device in found.items():
        assert guest.run(f"dd if=/dev/urandom of=/dev/{device} bs=64k seek=16 count=16 conv=fsync").status == 0
        inside = guest.run(f"dd if=/dev/{device} bs=64k skip=16 count=16 iflag=direct | sha256sum").out.split()[0]
        assert hashlib.sha256(disks[name].read_bytes()[1 << 20 : 2 << 20]).hexdigest() == inside
    # What Linux has of the SVSM.
    assert guest.run("cat /sys/devices/system/cpu/sev/vmpl").out == "2\n"
    # The guest's clock goes as the one here: each reading of it was made between two of ours.
    first, second = clock(guest), interrupts(guest)
    count = guest.accesses.count
    guest.run(f"timeout {BUSY_S} taskset 2 sh -c 'while :; do :; done'")
    busy, last = interrupts(guest), clock(guest)
    passed = last[1] - first[1]
    assert last[0] - first[2] - CLOCK_ERROR_S <= passed <= last[2] - first[0] + CLOCK_ERROR_S
    # Every interrupt that Linux counts ends with an EOI, which the log has.
    assert busy["LOC"][1] - second["LOC"][1] >= BUSY_S * LEAST_HZ
    taken = sum(sum(counts) - sum(second.get(name, [])) for name, counts in busy.items() if name in EOI_ROWS)
    guest.verdict()
    assert guest.accesses.count - count >= taken
    # The mode of each APIC, as Linux reads it and as the log has it of the last access.
    bases = [int(line.split()[-1], 16) for line in guest.run("rdmsr -a 0x1b").out.splitlines()]
    modes = {
        access.vcpu: access.mode for access in guest.accesses.of(phase=Phase.OS, vmpl=2) if access.mode is not None
    }
    assert [ApicMode.X2APIC if base & EXTD else ApicMode.XAPIC for base in bases] == [modes[0], modes[1]]


def clock(guest: LinuxGuest) -> tuple[float, float, float]:
    """The seconds of the guest since its start, between two readings of the clock here."""
    before = time.monotonic()
    seconds = float(guest.run("cat /proc/uptime").out.split()[0])
    return before, seconds, time.monotonic()
