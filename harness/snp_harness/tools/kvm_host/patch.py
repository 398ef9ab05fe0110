# SPDX-License-Identifier: GPL-2.0-or-later
"""The one change that is made to a kernel module: kvm-amd intercepts every write of CR8.

KVM lets a guest write CR8 while no interrupt waits below it (svm_update_cr8_intercept, arch/x86/kvm/svm/svm.c). QEMU's
TCG, as late as 11.1, ends with a failed assertion when a guest writes CR8 while a virtual interrupt is pending
(target/i386: helper_write_crN calls cpu_interrupt without the lock), which firmware's interrupt handlers do. With the
function as a no-op the intercept stays as KVM sets it up for a new vCPU. The APIC's code, kvm.ko, is Debian's.
"""

from __future__ import annotations

from snp_harness.errors import BrokenEnvironmentError
from snp_harness.tools.kvm_host.elf import function_offset

FUNCTION = "svm_update_cr8_intercept"
MODULE = "kvm_amd"
_ENDBR = b"\xf3\x0f\x1e\xfa"
#: What ftrace rewrites, and so has to find as it is: a call, to be relocated.
_CALL = 0xE8
_CALL_SIZE = 5
_RETURN = 0xC3
#: Linux, kernel/module_signature.c: the signature, a struct whose last four bytes are its size, this.
_MARK = b"~Module signature appended~\n"
_STRUCT_SIZE = 12


def without_signature(module: bytes) -> bytes:
    """A module without the signature behind it: a wrong one is refused, none is not."""
    if not module.endswith(_MARK):
        return module
    end = len(module) - len(_MARK)
    size = int.from_bytes(module[end - 4 : end], "big")
    start = end - _STRUCT_SIZE - size
    if start <= 0:
        raise BrokenEnvironmentError("a kernel module's signature is damaged", "fetch its package again")
    return module[:start]


def intercept_cr8(module: bytes) -> bytes:
    """kvm-amd, changed as described above; as it is where it has no such function. Raises BrokenEnvironmentError."""
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
