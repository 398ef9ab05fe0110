# SPDX-License-Identifier: GPL-2.0-or-later
"""Collects facts about this machine for the preflight and doctor, which judge them. It changes nothing.

A fact that could not be determined is None, and its `error` is the reason.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import platform
import re
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any, Callable

from snp_harness.agent.agent_errors import AgentError
from snp_harness.agent.files import base_directory
from snp_harness.agent.qemu_program import VERSION_TIMEOUT_S, locate
from snp_harness.launch import patience

Facts = dict[str, Any]

VERSION = 1
#: Limits of a text, characters, and of a list.
TEXT_MAX = 400
LIST_MAX = 1000
COMMAND_TIMEOUT_S = VERSION_TIMEOUT_S
_OUTPUT_MAX = 1 << 20

PARAMETERS_DIRECTORY = "/sys/module/kvm_amd/parameters"
#: Of kvm_amd. sev_supported_vmsa_features is not in every kernel.
PARAMETERS = ("sev", "sev_es", "sev_snp", "sev_supported_vmsa_features", "avic", "npt")
KVM_DEVICE = "/dev/kvm"
SEV_DEVICE = "/dev/sev"

# ioctls and numbers of Linux include/uapi/linux/kvm.h and arch/x86/include/uapi/asm/kvm.h.
_KVM_GET_API_VERSION = 0xAE00
_KVM_CREATE_VM = 0xAE01
_KVM_CHECK_EXTENSION = 0xAE03
_KVM_GET_DEVICE_ATTR = 0x4018AEE2
_KVM_CAP_VM_TYPES = 235
_KVM_X86_GRP_SEV = 1
_KVM_X86_SEV_VMSA_FEATURES = 0
_DEVICE_ATTR = struct.Struct("=IIQQ")
#: KVM_X86_*_VM: bits of KVM_CAP_VM_TYPES.
VM_TYPES = {"default": 0, "sw-protected": 1, "sev": 2, "sev-es": 3, "sev-snp": 4, "tdx": 5}

# Linux include/uapi/linux/psp-sev.h: SEV_ISSUE_CMD, SNP_PLATFORM_STATUS, struct sev_user_data_snp_status.
_SEV_ISSUE_CMD = 0xC0105300
_SNP_PLATFORM_STATUS = 9
_ISSUE_CMD = struct.Struct("=IQI")
_SNP_STATUS = struct.Struct("=BBBBIIIQQ")

#: CPUID leaf 8000001F: encrypted memory (APM volume 3, appendix E.4.17).
SEV_LEAF = 0x8000001F
_CPUID_DEVICE = "/dev/cpu/0/cpuid"
#: x86-64, System V ABI: leaf in edi, subleaf in esi, four words out at rdx. push rbx; mov eax,edi; mov ecx,esi;
#: mov r8,rdx; cpuid; mov [r8],eax; mov [r8+4],ebx; mov [r8+8],ecx; mov [r8+12],edx; pop rbx; ret
_CPUID_CODE = bytes.fromhex("5389f889f14989d00fa241890041895804418948084189500c5bc3")

#: Words to search for in the output of QEMU's -h.
_HELP_WORDS = ("device-plane", "igvm-cfg")
_OPTION = re.compile(r"^  ([a-z0-9][\w.-]{0,60})(?:=|$)", re.MULTILINE)
_CPU_MODEL = re.compile(r"^(?:x86)? +(\S{1,60})")


def probe(path: str | None = None) -> Facts:
    """Return all facts. path: of the QEMU to examine, None for the default one (qemu_program.py)."""
    return {
        "version": VERSION,
        "machine": platform.machine(),
        "kernel": text(os.uname().release),
        "python": platform.python_version(),
        "uid": os.getuid(),
        "cpu": cpu(),
        "parameters": {name: read(f"{PARAMETERS_DIRECTORY}/{name}") for name in PARAMETERS},
        "kvm": kvm(),
        "sev": sev(),
        "qemu": located(path),
        "memory": memory(),
        "disk": disk(str(base_directory())),
    }


def text(value: Any) -> str:
    """Return at most TEXT_MAX characters of a value's text, with control characters replaced."""
    return "".join(character if character.isprintable() else "?" for character in str(value)[:TEXT_MAX])


def read(path: str) -> str | None:
    """Return the first line of a small file, None if it cannot be read."""
    try:
        with Path(path).open("rb") as stream:
            return text(stream.read(TEXT_MAX).decode("ascii", "replace").split("\n")[0].strip())
    except OSError:
        return None


def cpu() -> Facts:
    """Return vendor and model from /proc/cpuinfo, and CPUID's SEV leaf."""
    found: Facts = {"vendor": None, "model": None}
    names = {"vendor_id": "vendor", "model name": "model"}
    try:
        with Path("/proc/cpuinfo").open("rb") as stream:
            for line in stream.read(1 << 16).decode("ascii", "replace").split("\n\n")[0].splitlines():
                key, _, value = line.partition(":")
                if key.strip() in names:
                    found[names[key.strip()]] = text(value.strip())
    except OSError:
        pass
    return {**found, **sev_leaf()}


def sev_leaf() -> Facts:
    """Return the registers of CPUID 8000001F by name, and how they were read."""
    if platform.machine() != "x86_64":
        return {"sev_leaf": None, "sev_leaf_error": f"not an x86 processor ({platform.machine()})"}
    errors = []
    for how, way in (("device", _cpuid_by_device), ("instruction", _cpuid_by_instruction)):
        try:
            if way(0x80000000)[0] < SEV_LEAF:
                return {"sev_leaf": None, "sev_leaf_error": "the processor has no CPUID leaf 8000001F"}
            registers = dict(zip(("eax", "ebx", "ecx", "edx"), way(SEV_LEAF)))
            return {"sev_leaf": registers, "sev_leaf_how": how}
        except (OSError, ValueError, struct.error) as error:
            errors.append(f"{how}: {_why(error)}")
    return {"sev_leaf": None, "sev_leaf_error": text("; ".join(errors))}


def _cpuid_by_device(leaf: int) -> tuple[int, ...]:
    descriptor = os.open(_CPUID_DEVICE, os.O_RDONLY)
    try:
        return struct.unpack("=IIII", os.pread(descriptor, 16, leaf))
    finally:
        os.close(descriptor)


def _cpuid_by_instruction(leaf: int) -> tuple[int, ...]:
    """Execute CPUID. It needs no privilege, but the kernel may forbid memory that is writable and executable."""
    code = mmap.mmap(
        -1, mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
    )
    code.write(_CPUID_CODE)
    anchor = ctypes.c_char.from_buffer(code)
    words = (ctypes.c_uint32 * 4)()
    kind: Any = ctypes.CFUNCTYPE(None, ctypes.c_uint32, ctypes.c_uint32, ctypes.POINTER(ctypes.c_uint32 * 4))
    kind(ctypes.addressof(anchor))(leaf, 0, ctypes.byref(words))
    result = tuple(words)
    del anchor
    code.close()
    return result


def kvm(device: str = KVM_DEVICE) -> Facts:
    """Return the facts of /dev/kvm. created: by type of guest that KVM has, "ok" or why none could be created."""
    facts: Facts = {"present": Path(device).exists(), "error": None, "vm_types": None}
    try:
        descriptor = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        return {**facts, "error": _why(error)}
    try:
        facts["api"] = fcntl.ioctl(descriptor, _KVM_GET_API_VERSION, 0)
        bits = fcntl.ioctl(descriptor, _KVM_CHECK_EXTENSION, _KVM_CAP_VM_TYPES)
        # 0: a kernel before 6.8, which does not know this capability.
        facts["vm_types"] = bits or None
        facts["vmsa_features"] = _vmsa_features(descriptor)
        wanted = {name: number for name, number in VM_TYPES.items() if bits >> number & 1} or {"default": 0}
        facts["created"] = {name: _created(descriptor, number) for name, number in wanted.items()}
    except OSError as error:
        facts["error"] = _why(error)
    finally:
        os.close(descriptor)
    return facts


def _vmsa_features(descriptor: int) -> int | None:
    """Return the SEV_FEATURES bits that KVM supports for a guest; None if the kernel does not report them."""
    value = ctypes.c_uint64()
    attribute = _DEVICE_ATTR.pack(0, _KVM_X86_GRP_SEV, _KVM_X86_SEV_VMSA_FEATURES, ctypes.addressof(value))
    try:
        fcntl.ioctl(descriptor, _KVM_GET_DEVICE_ATTR, attribute)
    except OSError:
        return None
    return value.value


def _created(descriptor: int, kind: int) -> str:
    try:
        os.close(fcntl.ioctl(descriptor, _KVM_CREATE_VM, kind))
    except OSError as error:
        return _why(error)
    return "ok"


def sev(device: str = SEV_DEVICE) -> Facts:
    """Return the SNP status that the security processor's firmware reports through /dev/sev."""
    facts: Facts = {"present": Path(device).exists(), "error": None, "api": None}
    try:
        descriptor = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        return {**facts, "error": _why(error)}
    status = ctypes.create_string_buffer(_SNP_STATUS.size)
    command = _ISSUE_CMD.pack(_SNP_PLATFORM_STATUS, ctypes.addressof(status), 0)
    try:
        fcntl.ioctl(descriptor, _SEV_ISSUE_CMD, command)
        major, minor, state, rmp, build, _, guests, current, reported = _SNP_STATUS.unpack(status.raw)
    except OSError as error:
        return {**facts, "error": _why(error)}
    finally:
        os.close(descriptor)
    return {
        **facts,
        "api": f"{major}.{minor}",
        "build": build,
        "initialized": state == 1,
        "rmp": bool(rmp & 1),
        "guests": guests,
        "tcb": f"{current:#x}",
        "reported_tcb": f"{reported:#x}",
    }


def located(path: str | None) -> Facts:
    """Return the facts of the QEMU at `path`, or of the default one for None."""
    try:
        found, prefix = locate(Path(path).expanduser() if path else None)
    except AgentError as error:
        return {"path": None, "version": None, "error": text(error.message)}
    return {**qemu_facts(list(prefix)), "path": text(found)}


def qemu_facts(command: list[str], run: Callable[[list[str]], str] | None = None) -> Facts:
    """Return what a QEMU reports about itself; no guest is started. run: runs a command and returns its output."""
    run = run or output
    facts: Facts = {"path": None, "version": None, "error": None}
    try:
        first = run([*command, "-version"]).split("\n")[0].strip()
        match = re.match(r"QEMU emulator version (\d{1,4}(?:\.\d{1,4}){1,2})", first)
        if match is None:
            return {**facts, "error": text(f"-version reports {first!r}")}
        facts["version"] = match[1]
        objects = _names(run([*command, "-object", "help"]))
        facts["objects"] = objects
        facts["snp_options"] = (
            _options(run([*command, "-object", "sev-snp-guest,help"])) if "sev-snp-guest" in objects else []
        )
        facts["machine_options"] = _options(run([*command, "-machine", "q35,help"]))
        usage = run([*command, "-h"])
        facts["help"] = {word: word in usage for word in _HELP_WORDS}
        facts["cpu_models"] = _cpu_models(run([*command, "-cpu", "help"]))
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        facts["error"] = _why(error)
    return facts


def output(command: list[str]) -> str:
    """Return a command's stdout, cut. Raises OSError, SubprocessError, and ValueError for a failed command."""
    done = patience.run(command, COMMAND_TIMEOUT_S)
    if done.returncode != 0 and not done.stdout:
        said = done.stderr[-TEXT_MAX:].decode("ascii", "replace").strip().split("\n")[-1]
        raise ValueError(f"{command[-1]} ended with status {done.returncode}: {said}")
    return done.stdout[:_OUTPUT_MAX].decode("utf-8", "replace")


def _names(listing: str) -> list[str]:
    return [line.strip() for line in listing.splitlines() if line.startswith("  ")][:LIST_MAX]


def _options(listing: str) -> list[str]:
    return _OPTION.findall(listing)[:LIST_MAX]


def _cpu_models(listing: str) -> list[str]:
    models = (_CPU_MODEL.match(line) for line in listing.split("Recognized")[0].splitlines())
    return [model[1] for model in models if model and model[1].startswith("EPYC")][:LIST_MAX]


def memory() -> Facts:
    """Return total and available memory, KiB, from /proc/meminfo."""
    found: Facts = {"total_kb": None, "available_kb": None}
    try:
        with Path("/proc/meminfo").open("rb") as stream:
            for line in stream.read(1 << 14).decode("ascii", "replace").splitlines():
                match = re.match(r"(MemTotal|MemAvailable):\s{1,40}(\d{1,15}) kB", line)
                if match:
                    found["total_kb" if match[1] == "MemTotal" else "available_kb"] = int(match[2])
    except OSError:
        pass
    return found


def disk(directory: str) -> Facts:
    """Return the free bytes of the file system of a directory, or of its nearest parent that exists."""
    path = Path(directory).expanduser().absolute()
    while not path.is_dir() and path != path.parent:
        path = path.parent
    try:
        return {"path": text(path), "free": shutil.disk_usage(path).free, "error": None}
    except OSError as error:
        return {"path": text(path), "free": None, "error": _why(error)}


def _why(error: Exception) -> str:
    return text(getattr(error, "strerror", None) or error or type(error).__name__)
