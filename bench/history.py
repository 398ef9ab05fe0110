# SPDX-License-Identifier: GPL-2.0-or-later
"""A history of edk2 made from the real source, with a planted regression, to test and measure bisecting.

Its first commit keeps the contract in SEC: a few lines go to x2APIC mode before the first access. The others change
code all over the firmware and nothing that a run shows, except for the one that is planted.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from snp_harness.edk2.source import Source

SEC_MAIN = "OvmfPkg/Sec/SecMain.c"
MP_LIB = "UefiCpuPkg/Library/MpInitLib/MpLib.c"
#: What the commits change, in turns: code of SEC, and code of PEI and DXE.
SEC_FILES = (
    SEC_MAIN,
    "OvmfPkg/Sec/AmdSev.c",
    "OvmfPkg/Library/CcExitLib/CcExitVcHandler.c",
    "OvmfPkg/Library/BaseMemEncryptSevLib/SecMemEncryptSevLibInternal.c",
    "UefiCpuPkg/Library/BaseXApicX2ApicLib/BaseXApicX2ApicLib.c",
)
LATER_FILES = (
    MP_LIB,
    "OvmfPkg/PlatformPei/Platform.c",
    "MdeModulePkg/Universal/BdsDxe/BdsEntry.c",
    "OvmfPkg/AmdSevDxe/AmdSevDxe.c",
)
_MASKED = b"  IoWrite8 (0xA1, 0xff);\r\n"
#: APIC_BASE bit 10, EXTD: AMD64 Architecture Programmer's Manual volume 2, section 16.9.
_ENTER_X2APIC = b"  AsmWriteMsr64 (0x1B, AsmReadMsr64 (0x1B) | BIT10);\r\n"
_TIMER_SET_UP = b"  DisableApicTimerInterrupt ();\r\n"
#: In MpInitLibInitialize, which the BSP runs.
_BSP_MODE = b"  CpuMpData->InitialBspApicMode = GetApicMode ();\r\n"
#: What does not compile.
_UNFINISHED = b"#error unfinished\r\n"
_TIMEOUT_S = 300


@dataclass(frozen=True, slots=True)
class Planted:
    """A regression. edits: what is replaced in the file, by what. until, rule: what shows it."""

    name: str
    path: str
    edits: tuple[tuple[bytes, bytes], ...]
    until: str
    rule: str
    files: tuple[str, ...]


#: x2APIC mode after SEC's accesses.
SEC = Planted(
    "SEC",
    SEC_MAIN,
    ((_ENTER_X2APIC, b""), (_TIMER_SET_UP, _TIMER_SET_UP + _ENTER_X2APIC)),
    "sec",
    "x2apic-before-sec",
    SEC_FILES,
)
#: An access to the Local APIC ID register in x2APIC mode, by MMIO.
MP_INIT_LIB = Planted(
    "MpInitLib",
    MP_LIB,
    ((_BSP_MODE, b"  *(volatile UINT32 *)(UINTN)0xFEE00020;\r\n" + _BSP_MODE),),
    "pei",
    "no-xapic-after-x2apic",
    LATER_FILES,
)


@dataclass(frozen=True, slots=True)
class History:
    """The history. commits: oldest first; the first is good, the last bad, culprit the planted one."""

    repository: Path
    commits: tuple[str, ...]
    culprit: str


def make_history(
    directory: Path, source: Source, planted: Planted, *, count: int, at: int, broken: int | None = None
) -> History:
    """Make a repository of a source with count commits after the first; number `at` is the planted one.

    No two histories have the same content: an answer is never in the cache.

    broken: the number of a commit that does not compile; the one after it compiles again.
    """
    nonce = time.time_ns()
    directory.mkdir(parents=True)
    _git(directory, "init", "--quiet")
    _git(directory, "config", "gc.auto", "0")
    alternates = directory / ".git" / "objects" / "info" / "alternates"
    alternates.write_text(f"{source.store.directory / 'objects'}\n")
    (directory / ".git" / "info" / "attributes").write_text("* -text\n")
    _git(directory, "reset", "--quiet", "--hard", source.commit)
    _change(directory / SEC_MAIN, lambda text: _replaced(text, _MASKED, _MASKED + _ENTER_X2APIC))
    commits = [_commit(directory, "OvmfPkg/Sec: enter x2APIC mode before the first access")]
    for number in range(1, count + 1):
        path = directory / planted.files[number % len(planted.files)]
        if broken is not None and number == broken + 1:
            wrong = directory / planted.files[broken % len(planted.files)]
            _change(wrong, lambda text: text.removesuffix(_UNFINISHED))
        if number == at:
            for before, after in planted.edits:
                _change(directory / planted.path, partial(_replaced, before=before, after=after))
            subject = f"{planted.path}: what breaks it"
        elif number == broken:
            _change(path, lambda text: text + _UNFINISHED)
            subject = "Half of a change"
        else:
            _change(path, partial(_grown, number=number, nonce=nonce))
            subject = f"Change {number} of {path.name}"
        commits.append(_commit(directory, subject))
    return History(directory, tuple(commits), commits[at])


def _grown(text: bytes, number: int, nonce: int) -> bytes:
    return text + b"\r\nCONST UINT64  gChange%d = %dULL;\r\n" % (number, nonce)


def _replaced(text: bytes, before: bytes, after: bytes) -> bytes:
    if before not in text:
        raise ValueError(f"the source has no {before!a}")
    return text.replace(before, after, 1)


def _change(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def _commit(directory: Path, message: str) -> str:
    _git(directory, "commit", "--quiet", "--all", "-m", message)
    return _git(directory, "rev-parse", "HEAD")


def _git(directory: Path, *arguments: str) -> str:
    identity = {f"GIT_{who}_{what}": "bench" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return subprocess.run(
        ["git", *arguments],
        cwd=directory,
        env={**os.environ, **identity, "GIT_CONFIG_GLOBAL": os.devnull},
        capture_output=True,
        text=True,
        check=True,
        timeout=_TIMEOUT_S,
    ).stdout.strip()
