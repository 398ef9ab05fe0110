# SPDX-License-Identifier: GPL-2.0-or-later
"""The only change to a kernel module: kvm-amd intercepts every write of CR8.

KVM does not intercept CR8 while no interrupt is pending below it (svm_update_cr8_intercept, arch/x86/kvm/svm/svm.c).
QEMU's TCG, up to 11.1, ends with a failed assertion when a guest writes CR8 while a virtual interrupt is pending
(target/i386: helper_write_crN calls cpu_interrupt without the lock), which firmware's interrupt handlers do. With the
function as a no-op the intercept remains as KVM sets it for a new vCPU. The APIC's code, kvm.ko, is Debian's.
"""

from __future__ import annotations

from snp_harness.errors import BrokenEnvironmentError
from snp_harness.tools.initramfs.elf import function_offset

FUNCTION = "svm_update_cr8_intercept"
MODULE = "kvm_amd"
_ENDBR = b"\xf3\x0f\x1e\xfa"
#: ftrace rewrites this call, with its relocation, and requires it unchanged.
_CALL = 0xE8
_CALL_SIZE = 5
_RETURN = 0xC3
#: Linux, kernel/module_signature.c: this follows the signature and a struct whose last four bytes are its size.
_MARK = b"~Module signature appended~\n"
_STRUCT_SIZE = 12


def without_signature(module: bytes) -> bytes:
    """Return a module without its signature: the kernel refuses a wrong one, and accepts none."""
    if not module.endswith(_MARK):
        return module
    end = len(module) - len(_MARK)
    size = int.from_bytes(module[end - 4 : end], "big")
    start = end - _STRUCT_SIZE - size
    if start <= 0:
        raise BrokenEnvironmentError("a kernel module's signature is damaged", "fetch its package again")
    return module[:start]


def intercept_cr8(module: bytes) -> bytes:
    """Return kvm-amd changed as described above; unchanged if it lacks the function. Raises BrokenEnvironmentError."""
    start = function_offset(module, FUNCTION, MODULE)
    if start is None:
        return module
    if module[start : start + len(_ENDBR)] == _ENDBR:
        start += len(_ENDBR)
    if module[start] == _CALL:
        start += _CALL_SIZE
    changed = bytearray(without_signature(module))
    changed[start] = _RETURN
    return bytes(changed)
