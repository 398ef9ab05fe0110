# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests whether KVM runs a guest of three instructions here, with the kernel's interface alone.

It is not enough that /dev/kvm can be opened: in some virtual machines and containers a guest is created and never
runs. A separate process runs the guest; it is killed if it hangs.

kvm    -> {"error": "" if it runs, "hint", "modules": [...], "accelerated": the parameter by which the processor serves
           the APIC without KVM, or ""}
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import mmap
import os
import select
import signal
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from snp_harness.launch.patience import Patience, run

DEVICE = Path("/dev/kvm")
MODULES = Path("/sys/module")
#: Timeout of the guest, seconds: it needs a millisecond.
TIMEOUT_S = 25.0
#: Modules that use the processor's virtualization, whose trace events the harness can decode.
HARDWARE_MODULES = ("kvm_amd", "kvm_intel")
#: With APICv a processor serves the APIC by itself. KVM inhibits AMD's AVIC for the guests that are run here: those
#: with SEV, and those with an in-kernel PIT that reinjects ticks, QEMU's default.
ACCELERATED = (("kvm_intel", "enable_apicv"),)

# Linux include/uapi/linux/kvm.h: ioctl numbers, exit reasons; sizes of struct kvm_sregs and kvm_regs on x86.
_GET_API_VERSION = 0xAE00
_CREATE_VM = 0xAE01
_GET_VCPU_MMAP_SIZE = 0xAE04
_CREATE_VCPU = 0xAE41
_SET_USER_MEMORY_REGION = 0x4020AE46
_RUN = 0xAE80
_SET_REGS = 0x4090AE82
_GET_SREGS = 0x8138AE83
_SET_SREGS = 0x4138AE84
_API_VERSION = 12
_EXIT_IO = 2
_EXIT_HLT = 5
_EXIT_REASON_AT = 8
_SREGS_SIZE = 312
_REGS_SIZE = 144
_RIP_AT = 128
_RFLAGS_AT = 136
_REGION = struct.Struct("=IIQQQ")
#: mov al, 5Ah; out 10h, al; hlt
_CODE = bytes.fromhex("b05ae610f4")
_CODE_AT = 0x1000
#: Program of the separate process: its arguments are source and device.
_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path;"
    " from snp_harness.agent.kvm_probe import run_guest; print(run_guest(Path(sys.argv[2])), end='')"
)


def kvm_facts(device: Path = DEVICE, modules: Path = MODULES, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
    """Return the answer to `kvm`, as the module describes it. timeout_s: of the guest."""
    facts: dict[str, Any] = {"error": "", "hint": "", "modules": [], "accelerated": ""}
    try:
        facts["modules"] = sorted(path.name for path in modules.iterdir() if path.name.startswith("kvm"))[:16]
    except OSError:
        facts["modules"] = []
    for module, parameter in ACCELERATED:
        if _is_on(modules / module / "parameters" / parameter):
            facts["accelerated"] = f"{module}.{parameter}"
    facts["error"], facts["hint"] = _problem(device, facts["modules"], timeout_s)
    return facts


def run_guest(device: Path) -> str:
    """Run the guest in this process. Return "" or the problem."""
    try:
        return _run_guest(device)
    except OSError as error:
        return f"KVM does not run a guest: {error.strerror}"


def _problem(device: Path, modules: list[str], timeout_s: float) -> tuple[str, str]:
    if not device.exists():
        return f"{device} is absent", "load kvm_amd or kvm_intel, or turn on virtualization in the machine's firmware"
    if not os.access(device, os.R_OK | os.W_OK, effective_ids=True):
        return f"no permission to use {device}", "become a member of the group kvm, or use SNP_HARNESS_SUDO=1"
    if not any(name in modules for name in HARDWARE_MODULES):
        found = ", ".join(modules) or "none"
        return f"neither kvm_amd nor kvm_intel is loaded, but {found}", "this machine's KVM does not run firmware"
    said = _in_child(device, timeout_s)
    return (said, "see the kernel's log") if said else ("", "")


def _in_child(device: Path, timeout_s: float) -> str:
    """Run the guest in a process that can be killed. Return "" or the problem."""
    late = f"KVM did not run three instructions in {timeout_s:g} s"
    source = Path(__file__).parents[2]
    if threading.active_count() > 1 and source.is_dir():
        # In the harness itself: a fork would not copy its threads.
        argv = [sys.executable, "-I", "-B", "-c", _PROGRAM, str(source), str(device)]
        try:
            done = run(argv, timeout_s)
        except subprocess.TimeoutExpired:
            return late
        except OSError as error:
            return f"{sys.executable} cannot be started: {error.strerror}"
        said = done.stdout if done.returncode == 0 else done.stderr[-400:].splitlines()[-1:] or [b"it ended"]
        return (said if isinstance(said, bytes) else said[0]).decode("utf-8", "replace")
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(theirs, run_guest(device).encode()[:400])
        finally:
            os._exit(0)
    os.close(theirs)
    try:
        patience = Patience(timeout_s)
        while (step_s := patience.step()) > 0:
            if select.select([ours], [], [], step_s)[0]:
                return os.read(ours, 400).decode("utf-8", "replace")
        os.kill(pid, signal.SIGKILL)
        return late
    finally:
        os.close(ours)
        os.waitpid(pid, 0)


def _run_guest(device: Path) -> str:
    with contextlib.ExitStack() as opened:
        return _run_in(device, opened)


def _run_in(device: Path, opened: contextlib.ExitStack) -> str:
    """Run the guest; return "" or the problem. opened: closes the descriptors."""

    def own(fd: int) -> int:
        opened.callback(os.close, fd)
        return fd

    kvm = own(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    version = fcntl.ioctl(kvm, _GET_API_VERSION, 0)
    if version != _API_VERSION:
        return f"KVM's interface has version {version}, not {_API_VERSION}"
    vm = own(fcntl.ioctl(kvm, _CREATE_VM, 0))
    memory = mmap.mmap(-1, mmap.PAGESIZE)
    memory[: len(_CODE)] = _CODE
    anchor = ctypes.c_char.from_buffer(memory)
    region = _REGION.pack(0, 0, _CODE_AT, mmap.PAGESIZE, ctypes.addressof(anchor))
    fcntl.ioctl(vm, _SET_USER_MEMORY_REGION, region)
    vcpu = own(fcntl.ioctl(vm, _CREATE_VCPU, 0))
    shared = mmap.mmap(vcpu, fcntl.ioctl(kvm, _GET_VCPU_MMAP_SIZE, 0))
    special = bytearray(_SREGS_SIZE)
    fcntl.ioctl(vcpu, _GET_SREGS, special)
    # CS, the first segment: base and selector 0 replace the reset vector's.
    struct.pack_into("=QIH", special, 0, 0, 0xFFFF, 0)
    fcntl.ioctl(vcpu, _SET_SREGS, bytes(special))
    general = bytearray(_REGS_SIZE)
    struct.pack_into("=Q", general, _RIP_AT, _CODE_AT)
    struct.pack_into("=Q", general, _RFLAGS_AT, 2)
    fcntl.ioctl(vcpu, _SET_REGS, bytes(general))
    for wanted in (_EXIT_IO, _EXIT_HLT):
        fcntl.ioctl(vcpu, _RUN, 0)
        (reason,) = struct.unpack_from("=I", shared, _EXIT_REASON_AT)
        if reason != wanted:
            return f"KVM ended the guest with exit {reason}, expected {wanted}"
    return ""


def _is_on(parameter: Path) -> bool:
    try:
        return parameter.read_text(encoding="ascii", errors="replace").strip() in ("Y", "1")
    except OSError:
        return False
